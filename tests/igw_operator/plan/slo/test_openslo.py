from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Literal
from zoneinfo import ZoneInfo

import pytest
import yaml
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, model_validator
from pydantic.alias_generators import to_camel

from factories import a_gateway, gateway_manifest
from igw_operator.api.objects import parse_gateway
from igw_operator.plan.slo.openslo import build_openslo
from plan_kit.cases import GOLDEN, dump
from plan_kit.prometheus import RuleBench, latencies, near, requests, steps

EXPORTED = ("default", "everything-set", "calendar-month")


class Part(BaseModel):
    """As openslo/v1 specifies it; what it does not know is an error."""

    model_config = ConfigDict(extra="forbid", strict=True, alias_generator=to_camel)


Name = Annotated[str, Field(max_length=63, pattern="^[a-z0-9]([-a-z0-9]*[a-z0-9])?$")]
Description = Annotated[str, Field(max_length=1050)]
Duration = Annotated[str, Field(pattern="^[1-9][0-9]*[mhdwMQY]$")]


class Metadata(Part):
    name: Name
    display_name: str | None = None
    labels: dict[str, str | list[str]] = {}


class Query(Part):
    query: str


class Source(Part):
    type: Literal["Prometheus"]
    spec: Query


class Metric(Part):
    metric_source: Source


class Ratio(Part):
    counter: bool
    good: Metric | None = None
    bad: Metric | None = None
    total: Metric

    @model_validator(mode="after")
    def _has_either(self) -> Ratio:
        assert (self.good is None) != (self.bad is None)
        return self


class RatioSpec(Part):
    ratio_metric: Ratio


class Indicator(Part):
    metadata: Metadata
    spec: RatioSpec


class Calendar(Part):
    start_time: str
    time_zone: str

    @model_validator(mode="after")
    def _is_a_time(self) -> Calendar:
        zone = ZoneInfo(self.time_zone)
        datetime.strptime(self.start_time, "%Y-%m-%d %H:%M:%S").replace(tzinfo=zone)
        return self


class TimeWindow(Part):
    duration: Duration
    is_rolling: bool
    calendar: Calendar | None = None

    @model_validator(mode="after")
    def _has_a_calendar_or_rolls(self) -> TimeWindow:
        assert self.is_rolling == (self.calendar is None)
        return self


class Objective(Part):
    display_name: str
    target: Annotated[float, Field(gt=0, lt=1)]


class SloSpec(Part):
    description: Description
    service: Name
    indicator: Indicator
    time_window: Annotated[list[TimeWindow], Field(min_length=1, max_length=1)]
    budgeting_method: Literal["Occurrences", "Timeslices", "RatioTimeslices"]
    objectives: Annotated[list[Objective], Field(min_length=1)]


class ServiceSpec(Part):
    description: Description


class Slo(Part):
    api_version: Literal["openslo/v1"]
    kind: Literal["SLO"]
    metadata: Metadata
    spec: SloSpec


class Service(Part):
    api_version: Literal["openslo/v1"]
    kind: Literal["Service"]
    metadata: Metadata
    spec: ServiceSpec


DOCUMENTS: TypeAdapter[list[Service | Slo]] = TypeAdapter(
    list[Annotated[Service | Slo, Field(discriminator="kind")]]
)


@pytest.mark.parametrize("case", EXPORTED)
def test_exports_each_case_as_reviewed(case: str, update_golden: bool) -> None:
    """Documents of OpenSLO, each as its specification wants it."""
    (gateway, *_) = yaml.safe_load_all((GOLDEN / case / "in.yaml").read_text())
    documents = build_openslo(parse_gateway(gateway))
    path = GOLDEN / case / "openslo.yaml"
    if update_golden:
        path.write_text(dump(documents))
    assert path.read_text() == dump(documents)
    DOCUMENTS.validate_python(documents)


@pytest.mark.parametrize("window", ["7d", "28d", "30d", "month"])
def test_names_the_service_that_it_exports(window: str) -> None:
    """One service and two objectives of it, whatever the window."""
    service, *slos = build_openslo(a_gateway(slo={"window": window}))
    DOCUMENTS.validate_python([service, *slos])
    assert [slo["spec"]["service"] for slo in slos] == [service["metadata"]["name"]] * 2
    assert [slo["spec"]["objectives"][0]["target"] for slo in slos] == [0.995, 0.99]


def test_keeps_long_names_apart() -> None:
    """Names of 63 characters leave no room for a namespace."""
    manifests = [gateway_manifest("a" * 63, space) for space in ("demo", "demo2")]
    documents = [it for each in manifests for it in build_openslo(parse_gateway(each))]
    DOCUMENTS.validate_python(documents)
    names = [it["metadata"]["name"] for it in documents]
    assert len(set(names)) == len(names) == 6


def query(slo: dict[str, Any], part: str) -> str:
    """One query of an exported SLO."""
    metric = slo["spec"]["indicator"]["spec"]["ratioMetric"][part]
    return str(metric["metricSource"]["spec"]["query"])


@pytest.mark.integration
def test_exports_what_the_rules_measure(bench: RuleBench) -> None:
    """Whoever divides the exported counters gets the ratio that we record."""
    _, availability, latency = build_openslo(a_gateway())
    bad, total = (query(availability, part) for part in ("bad", "total"))
    good, answers = (query(latency, part) for part in ("good", "total"))
    bench.run(
        [
            requests("2xx", steps((30, 90))),
            requests("5xx", steps((30, 10))),
            requests("4xx", steps((30, 50))),
            *latencies(steps((30, 90)), steps((30, 60))),
        ],
        near("20m", f"sum(rate({bad}[5m])) / sum(rate({total}[5m]))", 0.1),
        near("20m", 'igw:slo_errors_per_event:ratio_rate5m{slo="availability"}', 0.1),
        near("20m", f"1 - sum(rate({good}[5m])) / sum(rate({answers}[5m]))", 1 / 3),
        near("20m", 'igw:slo_errors_per_event:ratio_rate5m{slo="latency"}', 1 / 3),
    )
