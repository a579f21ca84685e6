from __future__ import annotations

import pytest

from igw_operator.plan.inputs import Defaults
from plan_kit.children import build

KEY = ("ServiceMonitor", "photos")


def test_selects_the_metrics_service() -> None:
    """The monitor's selector and port are the metrics Service's label and port name."""
    children = build()
    spec = children[KEY]["spec"]
    service = children["Service", "photos-metrics"]
    wanted = spec["selector"]["matchLabels"].items()
    assert wanted <= service["metadata"]["labels"].items()
    assert not wanted <= children["Service", "photos"]["metadata"]["labels"].items()
    (endpoint,) = spec["endpoints"]
    assert endpoint["port"] == service["spec"]["ports"][0]["name"]


def test_gives_series_the_identity_that_rules_select_by() -> None:
    """The gateway's real name, also where its label is cut, and the runtime's own endpoint."""
    name = "x" * 63
    monitors = [child for (kind, _), child in build(name=name).items() if kind == "ServiceMonitor"]
    relabelings = monitors[0]["spec"]["endpoints"][0]["relabelings"]
    assert {"action": "replace", "targetLabel": "gateway", "replacement": name} in relabelings
    assert {"action": "labeldrop", "regex": "endpoint"} in relabelings


@pytest.mark.pain(13)
def test_is_found_by_a_prometheus_that_selects_by_label() -> None:
    """The gateway's labels win over the operator's; none of them can hide whose it is."""
    defaults = Defaults(monitor_labels={"release": "a", "tier": "b"})
    labels = {"release": "c", "app.kubernetes.io/managed-by": "me"}
    children = build(defaults=defaults, observability={"metrics": {"labels": labels}})
    for key in (KEY, ("PrometheusRule", "photos-slo")):
        found = children[key]["metadata"]["labels"]
        assert (found["release"], found["tier"]) == ("c", "b")
        assert found["app.kubernetes.io/managed-by"] == "igw-operator"


def test_bounds_the_samples_of_a_pod() -> None:
    """The bound follows the number of prediction classes, so that it never bites wrongly."""
    limits = [
        build(observability={"metrics": {"maxPredictionClasses": classes}})[KEY]["spec"][
            "sampleLimit"
        ]
        for classes in (0, 10_000)
    ]
    assert limits == [5000, 25_000]
