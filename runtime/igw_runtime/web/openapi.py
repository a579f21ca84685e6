"""The API described: an OpenAPI document, and one page that shows it without a CDN."""

from importlib.resources import files
from typing import Any, Final

from starlette.types import Receive, Scope, Send

from igw_runtime import __version__
from igw_runtime.web.endpoint import Handler
from igw_runtime.web.exchange import encode_json, send_response

_PAGE_POLICY: Final = (
    "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; connect-src 'self'"
)
_PROBLEMS: Final = {
    "400": "No body, or a malformed envelope",
    "408": "The body was too slow",
    "413": "Too many bytes or pixels",
    "415": "Unsupported content type or image format",
    "422": "A broken or truncated image",
    "503": "Not ready, stopping, or the queue is full",
    "504": "The deadline was exceeded",
}


def build_openapi() -> Handler:
    """Return the handler of `/openapi.json`."""
    document = encode_json(build_document())

    async def openapi(_scope: Scope, _receive: Receive, send: Send) -> None:
        await send_response(send, 200, document)

    return openapi


def build_docs() -> Handler:
    """Return the handler of `/docs`."""
    page = files("igw_runtime.web").joinpath("docs.html").read_bytes()
    headers = {"Content-Security-Policy": _PAGE_POLICY, "X-Content-Type-Options": "nosniff"}

    async def docs(_scope: Scope, _receive: Receive, send: Send) -> None:
        await send_response(
            send, 200, page, content_type="text/html; charset=utf-8", headers=headers
        )

    return docs


def build_document() -> dict[str, Any]:
    """Describe every route."""
    model = [_path_parameter("model")]
    versioned = [*model, _path_parameter("version")]
    paths: dict[str, Any] = {
        "/predict": {"post": _describe_predict()},
        "/health": {"get": _describe_get("The process is alive")},
        "/ready": {"get": _describe_get("Traffic should be sent here")},
        "/metrics": {"get": _describe_get("Prometheus or OpenMetrics text")},
        "/v2": {"get": _describe_get("Server metadata")},
        "/v2/health/live": {"get": _describe_get("The process is alive")},
        "/v2/health/ready": {"get": _describe_get("All models are ready")},
    }
    for prefix, parameters in (
        ("/v2/models/{model}", model),
        ("/v2/models/{model}/versions/{version}", versioned),
    ):
        paths[prefix] = {"get": _describe_get("Model metadata", parameters)}
        paths[f"{prefix}/ready"] = {"get": _describe_get("The model is ready", parameters)}
        paths[f"{prefix}/infer"] = {"post": _describe_infer(parameters)}
    return {
        "openapi": "3.1.0",
        "info": {"title": "Inference gateway runtime", "version": __version__},
        "paths": paths,
        "components": {"schemas": {"Prediction": _PREDICTION, "Problem": _PROBLEM}},
    }


def _describe_predict() -> dict[str, Any]:
    binary = {"schema": {"type": "string", "format": "binary"}}
    form = {"type": "object", "properties": {"file": {"type": "string", "format": "binary"}}}
    in_json = {"type": "object", "properties": {"image": {"type": "string", "format": "byte"}}}
    problem = {"application/problem+json": {"schema": {"$ref": "#/components/schemas/Problem"}}}
    answer = {"application/json": {"schema": {"$ref": "#/components/schemas/Prediction"}}}
    responses: dict[str, Any] = {"200": {"description": "The best classes", "content": answer}}
    for status, text in _PROBLEMS.items():
        responses[status] = {"description": text, "content": problem}
    return {
        "summary": "Classify one image",
        "parameters": [
            _header_parameter("X-Request-ID", "string"),
            _header_parameter("X-Request-Timeout-Ms", "integer"),
            _header_parameter("traceparent", "string"),
        ],
        "requestBody": {
            "required": True,
            "content": {
                "image/*": binary,
                "application/octet-stream": binary,
                "multipart/form-data": {"schema": form},
                "application/json": {"schema": in_json},
            },
        },
        "responses": responses,
    }


def _describe_infer(parameters: list[dict[str, Any]]) -> dict[str, Any]:
    return {
        "summary": "Infer (Open Inference Protocol v2, JSON)",
        "parameters": parameters,
        "requestBody": {
            "required": True,
            "content": {"application/json": {"schema": {"type": "object"}}},
        },
        "responses": {"200": {"description": "The response tensors"}},
    }


def _describe_get(summary: str, parameters: list[dict[str, Any]] | None = None) -> dict[str, Any]:
    return {
        "summary": summary,
        "parameters": parameters or [],
        "responses": {"200": {"description": summary}},
    }


def _path_parameter(name: str) -> dict[str, Any]:
    return {"name": name, "in": "path", "required": True, "schema": {"type": "string"}}


def _header_parameter(name: str, kind: str) -> dict[str, Any]:
    return {"name": name, "in": "header", "required": False, "schema": {"type": kind}}


_PREDICTION: Final[dict[str, Any]] = {
    "type": "object",
    "properties": {
        "request_id": {"type": "string"},
        "trace_id": {"type": "string"},
        "model": {"type": "string"},
        "model_version": {"type": "string"},
        "weights": {"type": "string"},
        "prediction": {"type": "string"},
        "confidence": {"type": "number"},
        "predictions": {
            "type": "array",
            "items": {
                "type": "object",
                "properties": {
                    "class": {"type": "string"},
                    "index": {"type": "integer"},
                    "confidence": {"type": "number"},
                },
            },
        },
        "duration_ms": {"type": "number"},
    },
}
_PROBLEM: Final[dict[str, Any]] = {
    "type": "object",
    "properties": {
        "type": {"type": "string"},
        "title": {"type": "string"},
        "status": {"type": "integer"},
        "detail": {"type": "string"},
        "request_id": {"type": "string"},
    },
}
