"""What autoscalers ask Prometheus, asked: KEDA's triggers and the adapter's rules."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import pytest
import yaml

from igw_operator.plan.inputs import Defaults
from plan_kit.children import EVERY_API, build
from plan_kit.prometheus import Check, RuleBench, flat, near, queue, requests, steps

pytestmark = pytest.mark.integration

REQUESTS = "http_requests_per_second"
QUEUE = "inference_queue_size"
RULES = Path(__file__).parents[4] / "manifests" / "prometheus-adapter" / "rules.yaml"


def keda(metric: str) -> str:
    """KEDA's query: the whole gateway's load in one number."""
    built = build(
        capabilities=replace(EVERY_API, scaled_objects=True),
        defaults=Defaults(prometheus_url="http://prometheus:9090"),
        scaling={"engine": "KEDA"},
    )
    triggers = built["ScaledObject", "photos"]["spec"]["triggers"]
    (query,) = (it["metadata"]["query"] for it in triggers if it.get("name") == metric)
    return str(query)


def adapter(metric: str, pods: str) -> str:
    """The adapter's query for some pods, with its blanks filled in as the adapter does."""
    rules = yaml.safe_load(yaml.safe_load(RULES.read_text())["data"]["config.yaml"])["rules"]
    (query,) = (rule["metricsQuery"] for rule in rules if rule["name"]["as"] == metric)
    query = query.replace("<<.LabelMatchers>>", f'namespace="demo",pod=~"{pods}"')
    query = query.replace("<<.GroupBy>>", "pod")
    assert not re.search(r"<<|>>", query), query
    return str(query)


BUSY_AND_IDLE = [
    requests("2xx", steps((10, 600)), pod="a"),
    requests("2xx", flat(10), pod="b"),
    queue(flat(10, 7), pod="a"),
    queue(flat(10, 0), pod="b"),
]


def test_the_load_of_a_gateway_is_that_of_its_pods(bench: RuleBench) -> None:
    """600 a minute are 10 a second; KEDA's HPA divides by the replicas."""
    bench.run(BUSY_AND_IDLE, near("8m", keda(REQUESTS), 10), near("8m", keda(QUEUE), 7))


def test_each_pod_has_its_own_load(bench: RuleBench) -> None:
    """A pod that nobody asks has 0, which is a value: without one no HPA scales down."""
    both = adapter(REQUESTS, "a|b")
    bench.run(
        BUSY_AND_IDLE,
        near("8m", f"({both}) and on (pod) label_replace(vector(1), 'pod', 'a', '', '')", 10),
        near("8m", f"({both}) and on (pod) label_replace(vector(1), 'pod', 'b', '', '')", 0),
        Check("8m", f"count({both})", 2),
        Check("8m", f"count({adapter(QUEUE, 'a|b')})", 2),
        near("8m", adapter(QUEUE, "a"), 7),
    )


def test_a_pod_has_a_value_from_its_first_scrape_on(bench: RuleBench) -> None:
    """Long before there is a rate."""
    bench.run(
        [requests("2xx", "_ _ _ _ 0"), queue("_ _ _ _ 0")],
        near("2m", adapter(REQUESTS, "a"), 0),
        near("2m", keda(REQUESTS), 0),
    )


def test_only_predictions_count(bench: RuleBench) -> None:
    """Probes and scrapes are no load; the protocols' endpoints are."""
    bench.run(
        [
            requests("2xx", steps((10, 6000)), endpoint="/health"),
            requests("2xx", steps((10, 60)), endpoint="/v2/models/{model}/infer"),
            requests("4xx", steps((10, 120))),
            queue(flat(10)),
        ],
        near("8m", keda(REQUESTS), 3),
        near("8m", adapter(REQUESTS, "a"), 3),
    )


@pytest.mark.pain(11)
def test_nothing_scraped_is_no_number(bench: RuleBench) -> None:
    """Zero would scale a busy gateway down while Prometheus is blind."""
    queries = [keda(REQUESTS), keda(QUEUE), adapter(REQUESTS, "a"), adapter(QUEUE, "a")]
    bench.run([], *(Check("8m", query, None) for query in queries))
