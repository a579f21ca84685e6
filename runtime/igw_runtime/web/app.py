"""The ASGI application: every route in one table, inside one middleware.

Built by `serving.server` once, before the model is loaded: probes must answer during start-up.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

from starlette.routing import Route, Router
from starlette.types import ASGIApp, Receive, Scope, Send

from igw_runtime.errors import NotFoundError
from igw_runtime.models.catalog import ModelCatalog
from igw_runtime.serving.lifecycle import Lifecycle
from igw_runtime.telemetry.metrics import (
    INFER_ENDPOINT,
    METHODS,
    PREDICT_ENDPOINT,
    V1_PREDICT_ENDPOINT,
    VERSIONED_INFER_ENDPOINT,
    Metrics,
)
from igw_runtime.web.endpoint import (
    Endpoint,
    ErrorBody,
    Handler,
    demand_token,
    oip_error,
    problem_error,
)
from igw_runtime.web.health import build_live, build_metrics, build_ready
from igw_runtime.web.kserve_v1 import KServeV1
from igw_runtime.web.middleware import RequestTelemetry
from igw_runtime.web.oip.rest import OpenInference
from igw_runtime.web.openapi import build_docs, build_openapi
from igw_runtime.web.predict import build_predict
from igw_runtime.web.recording import Recorder
from igw_runtime.web.submission import Desk


@dataclass(frozen=True, slots=True, kw_only=True)
class Services:
    """What the application is made of; the catalog is filled while it already answers."""

    desk: Desk
    metrics: Metrics
    recorder: Recorder
    lifecycle: Lifecycle
    catalog: ModelCatalog
    longest_busy_seconds: Callable[[], float]
    check_token: Callable[[str | None], None] | None = None
    """Raises unless an Authorization header may infer; None: everybody may."""


OPEN_PATHS: Final = frozenset(
    {
        "/health",
        "/ready",
        "/openapi.json",
        "/docs",
        "/v1/models/{model}",
        "/v2/health/live",
        "/v2/health/ready",
        "/v2/models/{model}/ready",
        "/v2/models/{model}/versions/{version}/ready",
    }
)
"""What never needs a token: probes, and the pages that say that one is needed."""


def build_open_inference(services: Services) -> OpenInference:
    """Return what speaks for the models in the Open Inference Protocol."""
    return OpenInference(
        desk=services.desk,
        lifecycle=services.lifecycle,
        metrics=services.metrics,
        catalog=services.catalog,
    )


def build_app(services: Services) -> ASGIApp:
    """Assemble the routes and wrap them."""
    router = Router(
        routes=[*_own_routes(services), *_protocol_routes(services)],
        redirect_slashes=False,
        default=_build_nowhere(services.recorder),
    )
    return RequestTelemetry(router, recorder=services.recorder, lifecycle=services.lifecycle)


def _own_routes(services: Services) -> list[Route]:
    open_paths = OPEN_PATHS if services.check_token else None
    table: dict[str, dict[str, Handler]] = {
        PREDICT_ENDPOINT: {"POST": build_predict(services.desk, services.catalog)},
        "/health": {"GET": build_live(services.lifecycle, services.longest_busy_seconds)},
        "/ready": {"GET": build_ready(services.lifecycle)},
        "/metrics": {"GET": build_metrics(services.metrics.registry)},
        "/openapi.json": {"GET": build_openapi(open_paths)},
        "/docs": {"GET": build_docs()},
    }
    return _build_routes(services, table, problem_error)


def _protocol_routes(services: Services) -> list[Route]:
    v1 = KServeV1(
        desk=services.desk,
        lifecycle=services.lifecycle,
        catalog=services.catalog,
    )
    oip = build_open_inference(services)
    table: dict[str, dict[str, Handler]] = {
        "/v1/models": {"GET": v1.models},
        V1_PREDICT_ENDPOINT: {"POST": v1.predict},  # before a model whose name ends like this
        "/v1/models/{model}": {"GET": v1.ready},
        "/v2": {"GET": oip.server},
        "/v2/health/live": {"GET": build_live(services.lifecycle, services.longest_busy_seconds)},
        "/v2/health/ready": {"GET": build_ready(services.lifecycle)},
        "/v2/repository/index": {"POST": oip.index},
        "/v2/models/stats": {"GET": oip.statistics},  # before a model of that name
        INFER_ENDPOINT: {"POST": oip.infer},
        VERSIONED_INFER_ENDPOINT: {"POST": oip.infer},
    }
    for prefix in ("/v2/models/{model}", "/v2/models/{model}/versions/{version}"):
        table[prefix] = {"GET": oip.model}
        table[f"{prefix}/ready"] = {"GET": oip.ready}
        table[f"{prefix}/stats"] = {"GET": oip.statistics}
    return _build_routes(services, table, oip_error)


def _build_routes(
    services: Services, table: Mapping[str, Mapping[str, Handler]], error_body: ErrorBody
) -> list[Route]:
    return [
        Route(path, Endpoint(_protect(services, path, methods), services.recorder, error_body))
        for path, methods in table.items()
    ]


def _protect(
    services: Services, path: str, methods: Mapping[str, Handler]
) -> Mapping[str, Handler]:
    check = services.check_token
    if check is None or path in OPEN_PATHS:
        return methods
    return {method: demand_token(handler, check) for method, handler in methods.items()}


def _build_nowhere(recorder: Recorder) -> ASGIApp:
    """Say that a path does not exist, in the language of those who ask below it."""
    methods = dict.fromkeys(METHODS, _not_found)
    own = Endpoint(methods, recorder, problem_error)
    protocol = Endpoint(methods, recorder, oip_error)

    async def nowhere(scope: Scope, receive: Receive, send: Send) -> None:
        answer = protocol if scope["path"].startswith(("/v1/", "/v2/")) else own
        await answer(scope, receive, send)

    return nowhere


async def _not_found(_scope: Scope, _receive: Receive, _send: Send) -> None:
    message = "there is nothing at this path; see /docs"
    raise NotFoundError(message)
