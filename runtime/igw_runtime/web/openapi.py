"""The API described: an OpenAPI document, and one page that shows it without a CDN."""

from collections.abc import Collection
from importlib.resources import files
from typing import Any, Final

from starlette.types import Receive, Scope, Send

from igw_runtime import __version__
from igw_runtime.serving.deadlines import MAX_HEADER_MILLISECONDS
from igw_runtime.web.endpoint import Handler
from igw_runtime.web.exchange import encode_json, send_response
from igw_runtime.web.openapi_schemas import SCHEMAS

_PAGE_POLICY: Final = (
    "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; connect-src 'self'"
)
_PROBLEMS: Final = {
    "400": "No body, or a malformed envelope",
    "401": "No bearer token, or one that is not valid, where tokens are demanded",
    "408": "The body was too slow",
    "413": "Too many bytes or pixels",
    "415": "Unsupported content type or image format",
    "422": "A broken or truncated image",
    "503": "Not ready, stopping, the queue is full, or no token can be checked",
    "504": "The deadline was exceeded",
}


def build_openapi(open_paths: Collection[str] | None = None) -> Handler:
    """Return the handler of `/openapi.json`; with `open_paths` all others demand a token."""
    document = build_document()
    if open_paths is not None:
        _demand_tokens(document, open_paths)
    content = encode_json(document)

    async def openapi(_scope: Scope, _receive: Receive, send: Send) -> None:
        await send_response(send, 200, content)

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
        "/health": _describe_probe("The process is alive", "Live"),
        "/ready": _describe_probe("Traffic should be sent here", "Ready"),
        "/metrics": {"get": _describe_metrics()},
        "/v1/models": _describe_get("The models of this server (KServe v1)", "V1Models"),
        "/v1/models/{model}": _describe_probe(
            "The model is ready (KServe v1)", "ModelReady", model
        ),
        "/v1/models/{model}:predict": {"post": _describe_v1_predict(model)},
        "/v2": _describe_get("Server metadata", "Server"),
        "/v2/health/live": _describe_probe("The process is alive", "Live"),
        "/v2/health/ready": _describe_probe("All models are ready", "Ready"),
        "/v2/repository/index": {"post": _describe_index()},
        "/v2/models/stats": _describe_get("What all models have done", "ModelStatistics", []),
    }
    for prefix, parameters in (
        ("/v2/models/{model}", model),
        ("/v2/models/{model}/versions/{version}", versioned),
    ):
        paths[prefix] = _describe_get("Model metadata", "ModelMetadata", parameters)
        paths[f"{prefix}/ready"] = _describe_probe("The model is ready", "ModelReady", parameters)
        paths[f"{prefix}/stats"] = _describe_get(
            "What the model has done", "ModelStatistics", parameters
        )
        paths[f"{prefix}/infer"] = {"post": _describe_infer(parameters)}
    return {
        "openapi": "3.1.0",
        "info": {"title": "Inference gateway runtime", "version": __version__},
        "paths": paths,
        "components": {"schemas": SCHEMAS, "headers": {"RequestId": _REQUEST_ID}},
    }


def _demand_tokens(document: dict[str, Any], open_paths: Collection[str]) -> None:
    scheme = {"type": "http", "scheme": "bearer", "bearerFormat": "JWT"}
    document["components"]["securitySchemes"] = {"bearer": scheme}
    document["security"] = [{"bearer": []}]
    for path in document["paths"].keys() & set(open_paths):
        for operation in document["paths"][path].values():
            operation["security"] = []


def _describe_predict() -> dict[str, Any]:
    form = {"type": "object", "properties": {"file": _BINARY}, "required": ["file"]}
    in_json = {
        "type": "object",
        "properties": {"image": {"type": "string", "format": "byte", "minLength": 1}},
        "required": ["image"],
    }
    return {
        "summary": "Classify one image",
        "parameters": _COMMON_HEADERS,
        "requestBody": {
            "required": True,
            "content": {
                "image/*": {"schema": _BINARY},
                "application/octet-stream": {"schema": _BINARY},
                "multipart/form-data": {"schema": form},
                "application/json": {"schema": in_json, "example": {"image": _RED_DOT}},
            },
        },
        "responses": {
            "200": _answer("The best classes", **{"application/json": _refer("Prediction")}),
            **{
                status: _answer(text, **{"application/problem+json": _refer("Problem")})
                for status, text in _PROBLEMS.items()
            },
        },
    }


def _describe_infer(parameters: list[dict[str, Any]]) -> dict[str, Any]:
    length = _header_parameter("Inference-Header-Content-Length", {"type": "integer", "minimum": 0})
    return {
        "summary": "Infer (Open Inference Protocol v2, JSON or binary tensors)",
        "parameters": [*parameters, *_COMMON_HEADERS, length],
        "requestBody": {
            "required": True,
            "content": {
                "application/json": {"schema": _refer("InferRequest"), "example": _INFER_EXAMPLE},
                "application/octet-stream": {"schema": _BINARY},
            },
        },
        "responses": {
            "200": _answer(
                "The output tensors",
                **{
                    "application/json": _refer("InferResponse"),
                    "application/octet-stream": _BINARY,
                },
            ),
            **_refuse(*_PROBLEMS, "404"),
        },
    }


def _describe_v1_predict(parameters: list[dict[str, Any]]) -> dict[str, Any]:
    return {
        "summary": "Classify instances (KServe v1)",
        "parameters": [*parameters, *_COMMON_HEADERS],
        "requestBody": {
            "required": True,
            "content": {
                "application/json": {
                    "schema": _refer("V1Request"),
                    "example": {"instances": [{"b64": _RED_DOT}]},
                }
            },
        },
        "responses": {
            "200": _answer(
                "One prediction for each instance, in order",
                **{"application/json": _refer("V1Response")},
            ),
            **_refuse(*_PROBLEMS, "404"),
        },
    }


def _describe_index() -> dict[str, Any]:
    question = {"type": "object", "properties": {"ready": {"type": "boolean"}}}
    return {
        "summary": "The models of this server (Open Inference Protocol v2)",
        "requestBody": {"content": {"application/json": {"schema": question}}},
        "responses": {
            "200": _answer(
                "Name, version and state of each model",
                **{"application/json": _refer("RepositoryIndex")},
            ),
            **_refuse("400", "408", "413"),
        },
    }


def _describe_metrics() -> dict[str, Any]:
    text = {"type": "string"}
    return {
        "summary": "Prometheus or OpenMetrics text",
        "responses": {
            "200": _answer(
                "All metrics", **{"text/plain": text, "application/openmetrics-text": text}
            )
        },
    }


def _describe_get(
    summary: str, schema: str, parameters: list[dict[str, Any]] | None = None
) -> dict[str, Any]:
    """Describe a question; with parameters it is about a model, which may not be there."""
    return {
        "get": {
            "summary": summary,
            "parameters": parameters or [],
            "responses": {
                "200": _answer(summary, **{"application/json": _refer(schema)}),
                **(_refuse("503") if parameters is not None else {}),
                **(_refuse("404") if parameters else {}),
            },
        }
    }


def _describe_probe(
    summary: str, schema: str, parameters: list[dict[str, Any]] | None = None
) -> dict[str, Any]:
    """Describe a question whose status is the answer; the body is of one shape."""
    described = _describe_get(summary, schema, parameters)
    described["get"]["responses"]["503"] = _answer(
        f"Not so: {summary[0].lower()}{summary[1:]}", **{"application/json": _refer(schema)}
    )
    return described


def _path_parameter(name: str) -> dict[str, Any]:
    return {"name": name, "in": "path", "required": True, "schema": {"type": "string"}}


def _header_parameter(name: str, schema: dict[str, Any]) -> dict[str, Any]:
    return {"name": name, "in": "header", "required": False, "schema": schema}


def _refer(schema: str) -> dict[str, Any]:
    return {"$ref": f"#/components/schemas/{schema}"}


def _refuse(*statuses: str) -> dict[str, Any]:
    """Describe errors in the Open Inference Protocol's words."""
    return {
        status: _answer(
            _PROBLEMS.get(status, "Unknown model or version"),
            **{"application/json": _refer("ProtocolError")},
        )
        for status in statuses
    }


def _answer(description: str, **schemas: dict[str, Any]) -> dict[str, Any]:
    """Describe one answer, by media type."""
    return {
        "description": description,
        "headers": {"X-Request-ID": {"$ref": "#/components/headers/RequestId"}},
        "content": {media: {"schema": schema} for media, schema in schemas.items()},
    }


_RED_DOT: Final = (
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAIAAACQd1PeAAAADElEQVR42mP4z8AAAAMBAQD3A0FDAAAAAElFTkSuQmCC"
)
"""A picture, so that the examples can be sent as they are."""
_INFER_EXAMPLE: Final = {
    "inputs": [{"name": "image", "datatype": "BYTES", "shape": [1], "data": [_RED_DOT]}]
}
_BINARY: Final = {"type": "string", "format": "binary"}
_REQUEST_ID: Final = {
    "description": "The client's, if it is short and harmless, else a new one",
    "required": True,
    "schema": {"type": "string"},
}
_COMMON_HEADERS: Final = [
    _header_parameter("X-Request-ID", {"type": "string"}),
    _header_parameter(
        "X-Request-Timeout-Ms",
        {"type": "integer", "minimum": 1, "maximum": MAX_HEADER_MILLISECONDS},
    ),
    _header_parameter("traceparent", {"type": "string"}),
]
