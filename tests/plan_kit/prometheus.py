"""Runs a gateway's rules in Prometheus itself, on series that are made up.

``promtool test rules`` evaluates rules and queries as the server does. A sample is 30 s after
the one before, which is also the interval of evaluation; time starts at 0.
"""

from __future__ import annotations

import subprocess
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import yaml

from factories import with_drill
from igw_operator.api.objects import Manifest
from igw_operator.plan.slo.rule import build_prometheus_rule
from plan_kit.children import an_input, build

SAMPLES_A_MINUTE: Final = 2
IDENTITY: Final = 'namespace="demo",gateway="photos"'


@dataclass(frozen=True, slots=True)
class Series:
    """One series with its values in promtool's notation, such as ``0+1x10``."""

    name: str
    values: str


@dataclass(frozen=True, slots=True)
class Check:
    """What a query gives at a time: one number, or None for nothing at all."""

    at: str
    query: str
    value: float | None


def steps(*parts: tuple[int, float]) -> str:
    """A counter from 0 that grows, for each ``(minutes, increase per minute)``, evenly."""
    values, at = ["0"], 0.0
    for minutes, per_minute in parts:
        samples, step = minutes * SAMPLES_A_MINUTE, per_minute / SAMPLES_A_MINUTE
        values.append(f"{at + step:g}+{step:g}x{samples - 1}")
        at += step * samples
    return " ".join(values)


def flat(minutes: int, value: float = 0) -> str:
    """A value that stays."""
    return f"{value:g}+0x{minutes * SAMPLES_A_MINUTE}"


def requests(status: str, values: str, *, endpoint: str = "/predict", pod: str = "a") -> Series:
    """One of the runtime's request counters, as it is scraped."""
    labels = f'{IDENTITY},pod="{pod}",method="POST",endpoint="{endpoint}",status="{status}"'
    return Series(f"http_requests_total{{{labels}}}", values)


def latencies(
    total: str, within: str | None, *, le: str = "0.3", status: str = "2xx", pod: str = "a"
) -> list[Series]:
    """The count of a latency histogram and the bucket at the threshold, if it has one."""
    labels = f'{IDENTITY},pod="{pod}",method="POST",endpoint="/predict",status="{status}"'
    metric = "http_request_duration_seconds"
    series = [Series(f"{metric}_count{{{labels}}}", total)]
    if within is not None:
        series.append(Series(f'{metric}_bucket{{{labels},le="{le}"}}', within))
    return series


def queue(values: str, *, pod: str = "a") -> Series:
    """The runtime's gauge of admitted requests, as it is scraped."""
    return Series(f'inference_queue_size{{{IDENTITY},pod="{pod}"}}', values)


def desired(values: str) -> Series:
    """What the operator says that should run."""
    return Series(f"igw_operator_gateway_desired_replicas{{{IDENTITY}}}", values)


def firing(at: str, alert: str, expected: bool, **labels: str) -> Check:
    """Whether an alert fires at a time."""
    matchers = "".join(f',{key}="{value}"' for key, value in labels.items())
    query = f'count(ALERTS{{alertstate="firing",alertname="{alert}"{matchers}}}) or vector(0)'
    return Check(at, query, 1 if expected else 0)


def near(at: str, query: str, value: float, tolerance: float = 0.002) -> Check:
    """That a query's series add up to about a number."""
    return Check(at, f"abs(sum({query}) - {value}) < bool {tolerance}", 1)


def build_groups(namespace: str = "demo", **spec: Any) -> list[Manifest]:
    """The rule groups of the gateway photos; keyword arguments are fields of its spec."""
    rule = build(namespace=namespace, **spec)["PrometheusRule", "photos-slo"]
    groups: list[Manifest] = rule["spec"]["groups"]
    return groups


def build_drill_groups(at: str, namespace: str = "demo", **spec: Any) -> list[Manifest]:
    """The rule group of the drill of a gateway that asks for one at a time."""
    inputs = an_input(namespace=namespace, **spec)
    rule = build_prometheus_rule(replace(inputs, gateway=with_drill(inputs.gateway, at)))
    assert rule is not None
    groups: list[Manifest] = rule["spec"]["groups"]
    return [it for it in groups if it["name"].endswith("-drill")]


class RuleBench:
    """Runs checks against the rules of one gateway, or of some."""

    def __init__(self, promtool: str, folder: Path) -> None:
        self._promtool = promtool
        self._folder = folder

    def run(
        self,
        series: Sequence[Series],
        *checks: Check,
        rules: Sequence[Manifest] | None = None,
        alert_tests: Sequence[dict[str, Any]] = (),
        evaluation: str = "30s",
        **spec: Any,
    ) -> None:
        """Fail with promtool's words where a check does not hold.

        ``rules`` are rule groups in place of those of the gateway demo/photos, of which ``spec``
        has the fields. promtool evaluates all groups alike, every ``evaluation``.
        """
        groups = list(rules) if rules is not None else build_groups(**spec)
        (self._folder / "rules.yaml").write_text(yaml.safe_dump({"groups": groups}))
        test = {
            "interval": "30s",
            "input_series": [{"series": each.name, "values": each.values} for each in series],
            "promql_expr_test": [_render_check(check) for check in checks],
            "alert_rule_test": list(alert_tests),
        }
        document = {
            "rule_files": ["rules.yaml"],
            "evaluation_interval": evaluation,
            # Otherwise their order is another one each time.
            "group_eval_order": [group["name"] for group in groups],
            "tests": [test],
        }
        path = self._folder / "test.yaml"
        path.write_text(yaml.safe_dump(document))
        result = subprocess.run(
            [self._promtool, "test", "rules", str(path)],
            capture_output=True,
            text=True,
            check=False,
        )
        assert result.returncode == 0, result.stdout + result.stderr


def _render_check(check: Check) -> dict[str, Any]:
    samples = [] if check.value is None else [{"value": check.value}]
    return {"expr": check.query, "eval_time": check.at, "exp_samples": samples}
