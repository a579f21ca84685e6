"""Every span, log event and attribute name the runtime emits, declared once.

Metric names are declared where they are built, in `telemetry.metrics` and
`telemetry.model_metrics`. HTTP attributes follow the stable OpenTelemetry conventions; inference
has none yet, so those live in a private `inference.*` namespace that only this module spells out.
"""

from typing import Final

OTHER: Final = "_other"
"""What a bounded label says of everything that has no value of its own."""

SPAN_VALIDATE_INPUT: Final = "validate_input"
SPAN_PREPROCESS_IMAGE: Final = "preprocess_image"
SPAN_MODEL_INFERENCE: Final = "model_inference"
SPAN_LOAD_MODEL: Final = "load_model"
SPAN_FORWARD_PASS: Final = "forward_pass"  # noqa: S105
SPAN_FORMAT_RESPONSE: Final = "format_response"

EVENT_REQUEST_RECEIVED: Final = "request_received"
EVENT_PREDICTION_COMPLETED: Final = "prediction_completed"
EVENT_REQUEST_COMPLETED: Final = "request_completed"
EVENT_REQUEST_FAILED: Final = "request_failed"
EVENT_LOGS_DROPPED: Final = "logs_dropped"
EVENT_SPANS_LOST: Final = "spans_lost"
EVENT_SETTINGS_APPLIED: Final = "settings_applied"
EVENT_SETTINGS_REJECTED: Final = "settings_rejected"
EVENT_SETTINGS_UNKNOWN: Final = "settings_unknown"
EVENT_SETTINGS_NEED_RESTART: Final = "settings_need_restart"
EVENT_KEYS_APPLIED: Final = "jwks_applied"
EVENT_KEYS_FETCH_FAILED: Final = "jwks_fetch_failed"
EVENT_CERTIFICATE_APPLIED: Final = "certificate_applied"
EVENT_CERTIFICATE_REJECTED: Final = "certificate_rejected"
EVENT_RANDOM_WEIGHTS: Final = "model_has_random_weights"

HTTP_REQUEST_METHOD: Final = "http.request.method"
HTTP_RESPONSE_STATUS_CODE: Final = "http.response.status_code"
HTTP_ROUTE: Final = "http.route"
URL_PATH: Final = "url.path"
URL_SCHEME: Final = "url.scheme"
SERVER_ADDRESS: Final = "server.address"
SERVER_PORT: Final = "server.port"
CLIENT_ADDRESS: Final = "client.address"
NETWORK_PROTOCOL_VERSION: Final = "network.protocol.version"
USER_AGENT: Final = "user_agent.original"
RPC_SYSTEM: Final = "rpc.system"
RPC_SERVICE: Final = "rpc.service"
RPC_METHOD: Final = "rpc.method"
RPC_GRPC_STATUS_CODE: Final = "rpc.grpc.status_code"
ERROR_TYPE: Final = "error.type"

REQUEST_ID: Final = "inference.request_id"
MODEL_NAME: Final = "inference.model.name"
MODEL_VERSION: Final = "inference.model.version"
MODEL_CACHED: Final = "inference.model.cached"
BATCH_SIZE: Final = "inference.batch.size"
QUEUE_SECONDS: Final = "inference.queue.seconds"
IMAGE_BYTES: Final = "inference.image.bytes"
IMAGE_FORMAT: Final = "inference.image.format"
IMAGE_WIDTH: Final = "inference.image.width"
IMAGE_HEIGHT: Final = "inference.image.height"
PREDICTION: Final = "inference.prediction"
CONFIDENCE: Final = "inference.confidence"
SLOW: Final = "inference.slow"
OVER_OBJECTIVE: Final = "inference.over_objective"
