"""The shapes of requests and answers, as the OpenAPI document has them.

What an answer always has is required here: clients are generated from this, and
`make conformance` holds the server to it.
"""

from typing import Any, Final

from igw_runtime.serving.lifecycle import State


def _whole(**properties: Any) -> dict[str, Any]:
    """Return an object that has all of these, and may have more one day."""
    return {"type": "object", "required": list(properties), "properties": properties}


def _list(items: dict[str, Any]) -> dict[str, Any]:
    return {"type": "array", "items": items}


_TEXT: Final = {"type": "string"}
_NUMBER: Final = {"type": "number"}
_COUNT: Final = {"type": "integer", "minimum": 0}
_FLAG: Final = {"type": "boolean"}
_CONFIDENCE: Final = {"type": "number", "minimum": 0, "maximum": 1}
_STATE: Final = {"enum": [state.value for state in State]}
_BEST: Final[dict[str, Any]] = {
    "prediction": _TEXT,
    "confidence": _CONFIDENCE,
    "predictions": _list(_whole(**{"class": _TEXT, "index": _COUNT, "confidence": _CONFIDENCE})),
}
_PREDICTION: Final = _whole(
    request_id=_TEXT,
    trace_id={"type": "string", "pattern": "^[0-9a-f]{32}$"},
    model=_TEXT,
    model_version=_TEXT,
    weights=_TEXT,
    **_BEST,
    duration_ms=_NUMBER,
)
_PROBLEM: Final = _whole(
    type={"type": "string", "pattern": "^urn:inference-gateway:problem:"},
    title=_TEXT,
    status={"type": "integer", "minimum": 400, "maximum": 599},
    detail=_TEXT,
    request_id=_TEXT,
)
_DURATION: Final = _whole(count=_COUNT, ns=_COUNT)
_DESCRIBED_TENSOR: Final = _whole(
    name=_TEXT, datatype=_TEXT, shape=_list({"type": "integer", "minimum": -1})
)
_STATISTICS: Final = _whole(
    name=_TEXT,
    version=_TEXT,
    last_inference=_COUNT,
    inference_count=_COUNT,
    execution_count=_COUNT,
    inference_stats=_whole(
        success=_DURATION,
        fail=_DURATION,
        queue=_DURATION,
        compute_input=_DURATION,
        compute_infer=_DURATION,
        compute_output=_DURATION,
        cache_hit=_DURATION,
        cache_miss=_DURATION,
    ),
    batch_stats=_list(
        _whole(
            batch_size=_COUNT,
            compute_input=_DURATION,
            compute_infer=_DURATION,
            compute_output=_DURATION,
        )
    ),
)
_TENSOR: Final[dict[str, Any]] = {
    "name": {"type": "string"},
    "datatype": {"type": "string"},
    "shape": {"type": "array", "items": {"type": "integer"}},
    "parameters": {"type": "object"},
    "data": {"type": "array"},
}
SCHEMAS: Final[dict[str, Any]] = {
    "Prediction": _PREDICTION,
    "Problem": _PROBLEM,
    "ProtocolError": _whole(error=_TEXT),
    "Live": _whole(status={"enum": ["ok", "stuck"]}, live=_FLAG, state=_STATE),
    "Ready": _whole(ready=_FLAG, state=_STATE),
    "ModelReady": _whole(name=_TEXT, ready=_FLAG),
    "V1Models": _whole(models=_list(_TEXT)),
    "Server": _whole(name=_TEXT, version=_TEXT, extensions=_list(_TEXT)),
    "ModelMetadata": _whole(
        name=_TEXT,
        versions=_list(_TEXT),
        platform=_TEXT,
        inputs=_list(_DESCRIBED_TENSOR),
        outputs=_list(_DESCRIBED_TENSOR),
        parameters=_whole(weights=_TEXT, precision=_TEXT, engine=_TEXT, device=_TEXT),
    ),
    "ModelStatistics": _whole(model_stats=_list(_STATISTICS)),
    "RepositoryIndex": _list(_whole(name=_TEXT, state=_TEXT, reason=_TEXT)),
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
        "required": ["model_name", "model_version", "outputs"],
        "properties": {
            "model_name": _TEXT,
            "model_version": _TEXT,
            "id": _TEXT,
            "outputs": _list(
                {
                    "type": "object",
                    "required": ["name", "datatype", "shape"],
                    "properties": _TENSOR,
                }
            ),
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
    "V1Response": _whole(predictions=_list(_whole(**_BEST))),
}
