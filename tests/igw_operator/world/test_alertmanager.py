"""What an Alertmanager says, and whom the operator asks for it."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from igw_operator.world.alertmanager import find_problem, name_alertmanager, parse_alerts

ADDRESS = "http://10.1.2.3:9093/api/v2/alerts"


def an_alert(state: str = "active", **status: list[str]) -> dict[str, Any]:
    """One alert as Alertmanager 0.25 prints it."""
    return {
        "annotations": {"summary": "x"},
        "endsAt": "2026-03-04T12:06:00.000Z",
        "fingerprint": "3d1c",
        "receivers": [{"name": "team"}, {"name": "pager"}],
        "startsAt": "2026-03-04T12:01:10.123Z",
        "status": {"inhibitedBy": [], "silencedBy": [], "state": state, **status},
        "updatedAt": "2026-03-04T12:02:15.456Z",
        "generatorURL": "http://prometheus/graph",
        "labels": {"alertname": "InferenceGatewayAlertDrill", "gateway": "photos"},
    }


def test_an_alert_that_is_passed_on() -> None:
    """Its labels, its receivers in order, and when it came last."""
    (alert,) = parse_alerts([an_alert()])

    assert alert.labels["gateway"] == "photos"
    assert alert.receivers == ("pager", "team")
    assert alert.updated_at == datetime(2026, 3, 4, 12, 2, 15, 456000, tzinfo=UTC)
    assert alert.kept_back == ""


@pytest.mark.parametrize(
    ("status", "why"),
    [
        ({"silencedBy": ["1f2e", "3d"]}, "silenced by 1f2e"),
        ({"inhibitedBy": ["aa"]}, "inhibited by another alert"),
        ({"mutedBy": ["nights"]}, "muted at this time"),
    ],
)
def test_an_alert_that_is_kept_back(status: dict[str, list[str]], why: str) -> None:
    """By whom, as far as it says."""
    (alert,) = parse_alerts([an_alert("suppressed", **status)])

    assert alert.kept_back == why


def test_what_it_has_not_looked_at_yet_is_left_out() -> None:
    """It may be kept back a moment later."""
    assert parse_alerts([an_alert("unprocessed")]) == []


@pytest.mark.parametrize("host", ["10.1.2.3:9093", "[fd00::3]:9093", "alertmanager.monitoring.svc"])
def test_an_alertmanager_of_the_cluster_is_asked(host: str) -> None:
    """With or without a prefix, by any scheme."""
    for prefix in ("http://", "https://"):
        for path in ("", "/alerts/eu"):
            address = f"{prefix}{host}{path}/api/v2/alerts"
            assert find_problem(address, is_trusted=False) == ""
            assert name_alertmanager(address) == f"{prefix}{host}{path}"


@pytest.mark.parametrize(
    "address",
    [
        "",
        "alerts",
        "file:///api/v2/alerts",
        "ftp://10.1.2.3/api/v2/alerts",
        "http:///api/v2/alerts",
        "http://[::/api/v2/alerts",
        "http://user:word@10.1.2.3/api/v2/alerts",
        "http://10.1.2.3/api/v1/secrets",
        "http://10.1.2.3/api/v2/alerts?x=1",
        "http://10.1.2.3/api/v1/pods#/api/v2/alerts",
    ],
)
@pytest.mark.parametrize("is_trusted", [True, False])
def test_nothing_else_is_asked(address: str, is_trusted: bool) -> None:
    """Whoever named it."""
    assert find_problem(address, is_trusted=is_trusted)


@pytest.mark.parametrize(
    "host", ["127.0.0.1", "localhost", "[::1]", "[::]", "169.254.169.254", "[fe80::1]"]
)
def test_the_node_is_asked_only_in_the_name_of_the_platform_team(host: str) -> None:
    """Not because somebody made a Prometheus object whose server says so."""
    address = f"http://{host}/api/v2/alerts"

    assert "the operator's own node" in find_problem(address, is_trusted=False)
    assert find_problem(address, is_trusted=True) == ""
