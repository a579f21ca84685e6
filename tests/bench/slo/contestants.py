"""Whose rules are compared: ours as the operator renders them, and Sloth's for the same metrics.

Sloth gets what its documentation shows: a ``prometheus/v1`` spec with the queries of errors and of
all events, and makes the rules itself. Its groups have no interval of their own, so that Prometheus
evaluates them every minute, its default.
"""

from __future__ import annotations

import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import yaml

from bench.slo.scenario import Call
from factories import a_gateway
from igw_operator.plan.slo.names import BUDGET_REMAINING, ratio_name
from igw_operator.plan.slo.objective import Objective, build_objectives
from localnode.toolchain import binary_path
from localnode.versions import load_versions
from plan_kit.prometheus import build_groups

OBJECTIVES: Final = {each.name: each for each in build_objectives(a_gateway())}
_WINDOW: Final = "{{.window}}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Contestant:
    """Rules, and how what they say is read."""

    name: str
    rules: str
    """File of rules, as text."""
    ratio: str
    """Record of the error ratio of 30 days."""
    remaining: str
    """Record of what is left of the budget."""
    slo_label: str
    """Label with the objective's name."""
    pages: Mapping[str, str]
    """Labels of an alert that calls somebody at once."""
    evidence: int
    """Bad events without which it never calls."""
    wait_seconds: Mapping[Call, int]
    """Its ``for``."""
    interval_seconds: Mapping[Call, int]
    """How often its rules are evaluated."""

    def reads_slo(self, labels: Mapping[str, str]) -> str:
        """Which objective a series is of; ``none`` of an alert that is of neither."""
        return labels.get(self.slo_label, "none")

    def is_page(self, labels: Mapping[str, str]) -> bool:
        """Whether an alert calls somebody at once."""
        return self.pages.items() <= labels.items()


def build_contestants(folder: Path) -> tuple[Contestant, ...]:
    """Ours, then Sloth's; ``folder`` is for files on the way."""
    return (
        Contestant(
            name="ours",
            rules=yaml.safe_dump({"groups": build_groups(slo={"window": "30d"})}),
            ratio=ratio_name("30d"),
            remaining=BUDGET_REMAINING,
            slo_label="slo",
            pages={"severity": "critical"},
            evidence=10,
            wait_seconds={"page": 120, "ticket": 900},
            interval_seconds={"page": 30, "ticket": 120},
        ),
        Contestant(
            name="sloth",
            rules=_generate_sloth(folder),
            ratio="slo:sli_error:ratio_rate30d",
            remaining="slo:period_error_budget_remaining:ratio",
            slo_label="sloth_slo",
            pages={"sloth_severity": "page"},
            evidence=0,
            wait_seconds={"page": 0, "ticket": 0},
            interval_seconds={"page": 60, "ticket": 60},
        ),
    )


def build_sloth_spec() -> dict[str, Any]:
    """The same objectives in Sloth's words."""
    return {
        "version": "prometheus/v1",
        "service": "photos",
        "slos": [_build_sloth_slo(each) for each in OBJECTIVES.values()],
    }


def _build_sloth_slo(objective: Objective) -> dict[str, Any]:
    counters = objective.counters
    total = f"sum(rate({counters.total}[{_WINDOW}]))"
    # As the examples of its documentation do for availability and for latency.
    bad = (
        f"sum(rate({counters.bad}[{_WINDOW}]))"
        if counters.bad
        else f"{total} - sum(rate({counters.good}[{_WINDOW}]))"
    )
    return {
        "name": objective.name,
        "objective": float(objective.target * 100),
        "sli": {"events": {"error_query": bad, "total_query": total}},
        "alerting": {"name": f"Photos{objective.name.capitalize()}"},
    }


def _generate_sloth(folder: Path) -> str:
    sloth = binary_path(load_versions().tools["sloth"], "sloth")
    spec, out = folder / "sloth.yaml", folder / "sloth-rules.yaml"
    spec.write_text(yaml.safe_dump(build_sloth_spec()))
    command: list[str | Path] = [sloth, "generate", "--input", spec, "--out", out]
    subprocess.run(command, check=True, capture_output=True, text=True)
    return out.read_text()
