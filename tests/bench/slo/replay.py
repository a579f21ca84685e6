"""Runs rules over a month in Prometheus itself: ``rule-replay`` of the local node's parts.

How rules of both kinds were to be evaluated over a month, truly and within minutes:

- ``promtool tsdb create-blocks-from rules`` backfills records, and knows no alerts. It evaluates
  them in ranges of hours, in which ``@ end()`` (our days are summed with it) is another time.
- ``promtool test rules`` evaluates both, all groups at the same times and not each at its own
  interval, and needs every sample in its input; a month of it takes hours.
- A server on the wall clock takes a month for a month.

So a small program (``tests/node/build/rule-replay``) uses Prometheus' own storage, query engine
and rules, of the version that the node runs, with the times of the past: each group at its own
interval and at its own place within it, ``for`` and staleness as the server has them. It reads
OpenMetrics; the same file makes blocks for a server (``promtool tsdb create-blocks-from``).
"""

from __future__ import annotations

import json
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.slo.contestants import Contestant
from bench.slo.scenario import Scenario
from bench.slo.scraping import EPOCH, Series, render
from igw_operator.plan.slo.records import TILE
from localnode.toolchain import binary_path
from localnode.versions import load_versions


@dataclass(frozen=True, slots=True, kw_only=True)
class Alert:
    """An alert that fired; times in seconds since the month's begin."""

    name: str
    labels: Mapping[str, str]
    fired: float
    resolved: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Said:
    """What the rules said in a month."""

    records: Mapping[tuple[str, str], Mapping[float, float]]
    """By record and objective: values by the second of their evaluation."""
    alerts: tuple[Alert, ...]


def write_samples(series: list[Series], path: Path) -> None:
    """What was scraped, as OpenMetrics; the samples of a series lie together."""
    with path.open("w") as file:
        for each in series:
            file.write(render(each))
        file.write("# EOF\n")


def replay(contestant: Contestant, scenario: Scenario, samples: Path, folder: Path) -> Said:
    """Evaluate a contestant's rules over what was scraped."""
    # Its path, here a relative one, decides when a group is evaluated within its interval.
    rules = folder / f"{contestant.name}-rules.yaml"
    rules.write_text(contestant.rules)
    command: list[str | Path] = [
        binary_path(load_versions().tools["rule-replay"], "rule-replay"),
        f"--samples={samples}",
        f"--rules={rules.name}",
        f"--from={EPOCH}",
        f"--to={EPOCH + scenario.length}",
        # Of groups that have none of their own; ours have.
        f"--interval={contestant.interval_seconds['page']}s",
        f"--mark={TILE}",
        f"--records={contestant.ratio},{contestant.remaining}",
        *(f"--skip={EPOCH + span.begin}:{EPOCH + span.end}" for span in scenario.down),
    ]
    done = subprocess.run(command, cwd=folder, check=False, capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(done.stderr)
    return _read(contestant, json.loads(done.stdout))


def _read(contestant: Contestant, output: dict[str, Any]) -> Said:
    records: dict[tuple[str, str], dict[float, float]] = {}
    for each in output["series"] or []:
        labels = each["labels"]
        found = records.setdefault((labels["__name__"], contestant.reads_slo(labels)), {})
        found |= {at - EPOCH: float(value) for at, value in each["samples"]}
    alerts = [_read_alert(each) for each in output["alerts"] or [] if each["fired_at"] is not None]
    return Said(records=records, alerts=tuple(sorted(alerts, key=lambda it: it.fired)))


def _read_alert(found: dict[str, Any]) -> Alert:
    resolved = found["resolved_at"]
    return Alert(
        name=found["labels"]["alertname"],
        labels=found["labels"],
        fired=found["fired_at"] - EPOCH,
        resolved=None if resolved is None else resolved - EPOCH,
    )
