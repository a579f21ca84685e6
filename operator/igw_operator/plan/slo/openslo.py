"""A gateway's objectives in OpenSLO's words, for tools that read those.

Called by ``python -m igw_operator openslo -f FILE``. An export and nothing more: the rules are
never made of it. Source: the specification of ``openslo/v1`` (github.com/OpenSLO/OpenSLO).
"""

from __future__ import annotations

import hashlib
from typing import Any, Final

from igw_operator.api.objects import Gateway, Manifest
from igw_operator.api.windows import Window
from igw_operator.plan.slo.objective import Objective, build_identity, build_objectives

API_VERSION: Final = "openslo/v1"

_NAME_LIMIT: Final = 63
_DIGEST_LENGTH: Final = 8
_CALENDAR_START: Final = "2024-01-01 00:00:00"  # a first of a month; which one does not matter


def build_openslo(gateway: Gateway) -> list[Manifest]:
    """The gateway as a Service, and one SLO for each of its objectives."""
    service = _build_document(
        "Service",
        _join_name(gateway.namespace, gateway.name),
        gateway,
        f"{gateway.key}",
        {"description": f"InferenceGateway {gateway.key}, model {gateway.spec.model.name}."},
    )
    slos = [_build_slo(gateway, objective) for objective in build_objectives(gateway)]
    return [service, *slos]


def _build_slo(gateway: Gateway, objective: Objective) -> Manifest:
    name = _join_name(gateway.namespace, gateway.name, objective.name)
    title = f"{gateway.key} {objective.name}"
    spec = {
        "description": _describe(gateway, objective),
        "service": _join_name(gateway.namespace, gateway.name),
        "indicator": {
            "metadata": {"name": name, "displayName": title},
            "spec": {"ratioMetric": _build_ratio(objective)},
        },
        "timeWindow": [_build_window(gateway.spec.slo.window)],
        "budgetingMethod": "Occurrences",
        "objectives": [{"displayName": title, "target": float(objective.target)}],
    }
    return _build_document("SLO", name, gateway, title, spec)


def _describe(gateway: Gateway, objective: Objective) -> str:
    if objective.name == "availability":
        return "Share of requests for predictions that were answered without a server error."
    threshold = gateway.spec.slo.latency.threshold
    return f"Share of successful answers that took at most {threshold}."


def _build_ratio(objective: Objective) -> dict[str, Any]:
    counters = objective.counters
    queries = {"good": counters.good, "bad": counters.bad, "total": counters.total}
    return {
        "counter": True,
        **{
            part: {"metricSource": {"type": "Prometheus", "spec": {"query": query}}}
            for part, query in queries.items()
            if query
        },
    }


def _build_window(window: Window) -> dict[str, Any]:
    if window.is_calendar:
        return {
            "duration": "1M",
            "isRolling": False,
            "calendar": {"startTime": _CALENDAR_START, "timeZone": "UTC"},
        }
    return {"duration": window.value, "isRolling": True}


def _build_document(
    kind: str, name: str, gateway: Gateway, title: str, spec: dict[str, Any]
) -> Manifest:
    return {
        "apiVersion": API_VERSION,
        "kind": kind,
        "metadata": {"name": name, "displayName": title, "labels": build_identity(gateway)},
        "spec": spec,
    }


def _join_name(*parts: str) -> str:
    """A name within OpenSLO's limit: a longer one is cut, and stays its own by a digest."""
    name = "-".join(parts)
    if len(name) <= _NAME_LIMIT:
        return name
    digest = hashlib.sha256("/".join(parts).encode()).hexdigest()[:_DIGEST_LENGTH]
    return f"{name[: _NAME_LIMIT - _DIGEST_LENGTH - 1].rstrip('-')}-{digest}"
