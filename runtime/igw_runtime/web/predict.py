"""`POST /predict`: one image in, its five best classes out.

The image is the raw body, the first file of a form, or base64 in JSON.
"""

from collections.abc import Callable
from typing import Any

from starlette.types import Receive, Scope, Send

from igw_runtime.models.catalog import ModelCatalog
from igw_runtime.models.served import ServedModel
from igw_runtime.serving.jobs import Classification
from igw_runtime.serving.payloads import check_content_type
from igw_runtime.web.endpoint import Handler
from igw_runtime.web.exchange import (
    Exchange,
    encode_json,
    get_exchange,
    read_headers,
    send_response,
)
from igw_runtime.web.submission import Desk


def build_predict(desk: Desk, catalog: ModelCatalog) -> Handler:
    """Return the handler; the default model answers."""

    async def predict(scope: Scope, receive: Receive, send: Send) -> None:
        exchange = get_exchange(scope)
        model = exchange.model = catalog.default
        ticket, deadline = desk.admit(scope)
        with ticket:
            headers = read_headers(scope)
            check_content_type(headers.get("content-type", ""), headers.get("content-encoding", ""))
            payload = await desk.read_payload(scope, receive)
            render = build_renderer(exchange, model, desk.clock)
            [answer] = await desk.classify(model, [payload], render, deadline, receive)
        await send_response(send, 200, answer)

    return predict


def build_renderer(
    exchange: Exchange, model: ServedModel, clock: Callable[[], float]
) -> Callable[[Classification], bytes]:
    """Return what turns a classification into this request's answer, in a worker thread."""

    def render(result: Classification) -> bytes:
        return encode_json(
            {
                "request_id": exchange.request_id,
                "trace_id": exchange.trace_id,
                "model": model.name,
                "model_version": model.version,
                "weights": model.weights,
                **describe_prediction(result),
                "duration_ms": round((clock() - exchange.started) * 1000, 3),
            }
        )

    return render


def describe_prediction(result: Classification) -> dict[str, Any]:
    """Return what the model says of an image, the best class first."""
    best = [
        {"class": label, "index": index, "confidence": round(confidence, 6)}
        for index, label, confidence in result.top
    ]
    return {
        "prediction": best[0]["class"],
        "confidence": best[0]["confidence"],
        "predictions": best,
    }
