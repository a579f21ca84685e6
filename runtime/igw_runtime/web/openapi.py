"""The API described: an OpenAPI document, and one page that shows it without a CDN."""

from collections.abc import Collection
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
        "/health": {"get": _describe_get("The process is alive")},
        "/ready": {"get": _describe_get("Traffic should be sent here")},
        "/metrics": {"get": _describe_get("Prometheus or OpenMetrics text")},
        "/v1/models": {"get": _describe_get("The models of this server (KServe v1)")},
        "/v1/models/{model}": {"get": _describe_get("The model is ready (KServe v1)", model)},
        "/v1/models/{model}:predict": {"post": _describe_v1_predict(model)},
        "/v2": {"get": _describe_get("Server metadata")},
        "/v2/health/live": {"get": _describe_get("The process is alive")},
        "/v2/health/ready": {"get": _describe_get("All models are ready")},
        "/v2/repository/index": {"post": _describe_index()},
        "/v2/models/stats": {"get": _describe_get("What all models have done")},
    }
    for prefix, parameters in (
        ("/v2/models/{model}", model),
        ("/v2/models/{model}/versions/{version}", versioned),
    ):
        paths[prefix] = {"get": _describe_get("Model metadata", parameters)}
        paths[f"{prefix}/ready"] = {"get": _describe_get("The model is ready", parameters)}
        paths[f"{prefix}/stats"] = {"get": _describe_get("What the model has done", parameters)}
        paths[f"{prefix}/infer"] = {"post": _describe_infer(parameters)}
    return {
        "openapi": "3.1.0",
        "info": {"title": "Inference gateway runtime", "version": __version__},
        "paths": paths,
        "components": {"schemas": _SCHEMAS},
    }


def _demand_tokens(document: dict[str, Any], open_paths: Collection[str]) -> None:
    scheme = {"type": "http", "scheme": "bearer", "bearerFormat": "JWT"}
    document["components"]["securitySchemes"] = {"bearer": scheme}
    document["security"] = [{"bearer": []}]
    for path in document["paths"].keys() & set(open_paths):
        for operation in document["paths"][path].values():
            operation["security"] = []


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
        "parameters": _COMMON_HEADERS,
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
    length = _header_parameter("Inference-Header-Content-Length", "integer")
    request, answer = _refer("InferRequest"), _refer("InferResponse")
    binary = {"schema": {"type": "string", "format": "binary"}}
    return {
        "summary": "Infer (Open Inference Protocol v2, JSON or binary tensors)",
        "parameters": [*parameters, *_COMMON_HEADERS, length],
        "requestBody": {
            "required": True,
            "content": {"application/json": request, "application/octet-stream": binary},
        },
        "responses": {
            "200": {
                "description": "The output tensors",
                "content": {"application/json": answer, "application/octet-stream": binary},
            },
            **_PROTOCOL_ERRORS,
        },
    }


def _describe_v1_predict(parameters: list[dict[str, Any]]) -> dict[str, Any]:
    return {
        "summary": "Classify instances (KServe v1)",
        "parameters": [*parameters, *_COMMON_HEADERS],
        "requestBody": {"required": True, "content": {"application/json": _refer("V1Request")}},
        "responses": {
            "200": {
                "description": "One prediction for each instance, in order",
                "content": {"application/json": _refer("V1Response")},
            },
            **_PROTOCOL_ERRORS,
        },
    }


def _describe_index() -> dict[str, Any]:
    question = {"type": "object", "properties": {"ready": {"type": "boolean"}}}
    return {
        "summary": "The models of this server (Open Inference Protocol v2)",
        "requestBody": {"content": {"application/json": {"schema": question}}},
        "responses": {
            "200": {"description": "Name, version and state of each model"},
            "400": _PROTOCOL_ERRORS["400"],
        },
    }


def _describe_get(summary: str, parameters: list[dict[str, Any]] | None = None) -> dict[str, Any]:
    return {
        "summary": summary,
        "parameters": parameters or [],
        "responses": {"200": {"description": summary}},
    }


def _path_parameter(name: str) -> dict[str, Any]:
    return {"name": name, "in": "path", "required": True, "schema": {"type": "string"}}


def _refer(schema: str) -> dict[str, Any]:
    return {"schema": {"$ref": f"#/components/schemas/{schema}"}}


def _header_parameter(name: str, kind: str) -> dict[str, Any]:
    return {"name": name, "in": "header", "required": False, "schema": {"type": kind}}


_COMMON_HEADERS: Final = [
    _header_parameter("X-Request-ID", "string"),
    _header_parameter("X-Request-Timeout-Ms", "integer"),
    _header_parameter("traceparent", "string"),
]
_PROTOCOL_ERRORS: Final = {
    status: {"description": text, "content": {"application/json": _refer("ProtocolError")}}
    for status, text in {**_PROBLEMS, "404": "Unknown model or version"}.items()
}
_BEST: Final[dict[str, Any]] = {
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
}
_PREDICTION: Final[dict[str, Any]] = {
    "type": "object",
    "properties": {
        "request_id": {"type": "string"},
        "trace_id": {"type": "string"},
        "model": {"type": "string"},
        "model_version": {"type": "string"},
        "weights": {"type": "string"},
        **_BEST,
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
_TENSOR: Final[dict[str, Any]] = {
    "name": {"type": "string"},
    "datatype": {"type": "string"},
    "shape": {"type": "array", "items": {"type": "integer"}},
    "parameters": {"type": "object"},
    "data": {"type": "array"},
}
_SCHEMAS: Final[dict[str, Any]] = {
    "Prediction": _PREDICTION,
    "Problem": _PROBLEM,
    "ProtocolError": {
        "type": "object",
        "required": ["error"],
        "properties": {"error": {"type": "string"}},
    },
    "InferRequest": {
        "type": "object",
        "required": ["inputs"],
        "properties": {
            "id": {"type": "string"},
            "parameters": {
                "type": "object",
                "properties": {
                    "binary_data_output": {"type": "boolean"},
                    "timeout": {"type": "integer", "minimum": 0},
                },
            },
            "inputs": {
                "type": "array",
                "minItems": 1,
                "maxItems": 1,
                "items": {
                    "type": "object",
                    "required": ["name", "datatype", "shape"],
                    "properties": {
                        **_TENSOR,
                        "name": {"enum": ["image", "input"]},
                        "datatype": {"enum": ["BYTES", "FP32"]},
                    },
                },
            },
            "outputs": {
                "type": "array",
                "items": {
                    "type": "object",
                    "required": ["name"],
                    "properties": {
                        "name": {"enum": ["probabilities", "labels"]},
                        "parameters": {
                            "type": "object",
                            "properties": {"binary_data": {"type": "boolean"}},
                        },
                    },
                },
            },
        },
    },
    "InferResponse": {
        "type": "object",
        "properties": {
            "model_name": {"type": "string"},
            "model_version": {"type": "string"},
            "id": {"type": "string"},
            "outputs": {"type": "array", "items": {"type": "object", "properties": _TENSOR}},
        },
    },
    "V1Request": {
        "type": "object",
        "required": ["instances"],
        "properties": {
            "instances": {
                "type": "array",
                "minItems": 1,
                "items": {
                    "anyOf": [
                        {
                            "type": "object",
                            "required": ["b64"],
                            "properties": {"b64": {"type": "string", "format": "byte"}},
                        },
                        {"type": "object", "minProperties": 1, "maxProperties": 1},
                        {"type": "array"},
                    ]
                },
            }
        },
    },
    "V1Response": {
        "type": "object",
        "properties": {
            "predictions": {"type": "array", "items": {"type": "object", "properties": _BEST}}
        },
    },
}
