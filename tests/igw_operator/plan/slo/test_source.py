"""What rules read is what the shipped runtime exports: an alert that nothing feeds is dead."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import pytest
from prometheus_client import generate_latest
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.samples import Sample

from igw_operator import conventions
from igw_runtime.settings import parse_settings
from igw_runtime.telemetry.metrics import Metrics
from plan_kit.children import build
from runtime_kit.colours import SERVED

RULES = ("PrometheusRule", "photos-slo")
CONFIG = ("ConfigMap", "photos-config")
# Scraping puts these on: `test_gives_series_the_identity_that_rules_select_by`.
IDENTITY = {"namespace": "demo", "gateway": "photos"}
_SELECTOR = re.compile(r"((?:http|model|inference)_\w+)\{([^}]*)\}")
_MATCHER = re.compile(r'(\w+)(=~|!=|!~|=)"((?:[^"\\]|\\.)*)"')


def selectors(children: dict[tuple[str, str], Any]) -> set[tuple[str, str]]:
    """Every metric of the runtime that a rule reads, with its matchers."""
    rules = (rule for group in children[RULES]["spec"]["groups"] for rule in group["rules"])
    return {found for rule in rules for found in _SELECTOR.findall(rule["expr"])}


def exported(children: dict[tuple[str, str], Any]) -> list[Sample]:
    """What a runtime with this gateway's settings exports before its first request."""
    document = children[CONFIG]["data"][conventions.CONFIG_FILE]
    metrics = Metrics(parse_settings(document.encode()).settings.live.metrics)
    metrics.show_model(SERVED)
    text = generate_latest(metrics.registry).decode()
    return [it for family in text_string_to_metric_families(text) for it in family.samples]


def find(samples: list[Sample], name: str, matchers: str) -> Iterator[Sample]:
    """Samples that a selector selects."""
    for sample in samples:
        labels = sample.labels | IDENTITY
        if sample.name == name and all(
            _matches(labels.get(label, ""), operator, value.replace("\\\\", "\\"))
            for label, operator, value in _MATCHER.findall(matchers)
        ):
            yield sample


def _matches(value: str, operator: str, wanted: str) -> bool:
    is_equal = re.fullmatch(wanted, value) is not None if "~" in operator else value == wanted
    return is_equal is not operator.startswith("!")


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
