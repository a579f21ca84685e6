"""What rules read is what the shipped runtime exports: an alert that nothing feeds is dead."""

from __future__ import annotations

import re
from typing import Any

import pytest
from prometheus_client.samples import Sample

from igw_operator import conventions
from igw_runtime.settings import parse_settings
from igw_runtime.telemetry.metrics import Metrics
from plan_kit.children import build
from plan_kit.exported import IDENTITY, find, scrape
from runtime_kit.colours import SERVED

RULES = ("PrometheusRule", "photos-slo")
CONFIG = ("ConfigMap", "photos-config")
_SELECTOR = re.compile(r"((?:http|model|inference)_\w+)\{([^}]*)\}")


def selectors(children: dict[tuple[str, str], Any]) -> set[tuple[str, str]]:
    """Every metric of the runtime that a rule reads, with its matchers."""
    rules = (rule for group in children[RULES]["spec"]["groups"] for rule in group["rules"])
    return {found for rule in rules for found in _SELECTOR.findall(rule["expr"])}


def exported(children: dict[tuple[str, str], Any]) -> list[Sample]:
    """What a runtime with this gateway's settings exports before its first request."""
    document = children[CONFIG]["data"][conventions.CONFIG_FILE]
    metrics = Metrics(parse_settings(document.encode()).settings.live.metrics)
    metrics.models.show(SERVED)
    return scrape(metrics.registry, **IDENTITY)


@pytest.mark.parametrize("threshold", ["300ms", "1s", "0.123s"])
@pytest.mark.pain(13, 14)
def test_every_series_that_a_rule_reads_is_exported_before_the_first_request(
    threshold: str,
) -> None:
    """Names, labels, statuses and the bucket of the objective, to the letter (`le="1.0"`)."""
    children = build(slo={"latency": {"threshold": threshold}})
    samples = exported(children)
    read = selectors(children)
    assert {name for name, _ in read} == {
        conventions.METRIC_REQUESTS,
        f"{conventions.METRIC_DURATION}_bucket",
        f"{conventions.METRIC_DURATION}_count",
    }
    dead = [selector for selector in read if not list(find(samples, *selector))]
    assert dead == []
