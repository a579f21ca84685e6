"""What the runbooks ask Prometheus has an answer, and each command of theirs is tried somewhere."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final

import pytest

from harness.commands import NOT_RUN, PAGES, list_commands, list_queries
from igw_operator.plan.slo.alerts import ALERT_NAMES
from plan_kit.exported import grow, scrape_operator, scrape_runtime
from plan_kit.prometheus import (
    IDENTITY,
    Check,
    RuleBench,
    Series,
    build_drill_groups,
    build_groups,
    flat,
)

# Scraping and the alert drill: what neither runtime nor operator export.
OTHERS: Final = (
    Series(f'up{{{IDENTITY},pod="photos-0"}}', flat(60, 1)),
    Series('up{namespace="igw-system",pod="igw-operator-0"}', flat(60, 1)),
)


def test_each_page_has_commands() -> None:
    """The parser sees them."""
    found = {it.page.stem for it in list_commands()}
    assert found == {page.stem for page in PAGES} >= {*ALERT_NAMES, "README", "troubleshooting"}


def test_what_is_not_run_is_still_there() -> None:
    """A reason outlives no command; what is typed on a node is not listed as well."""
    texts = {it.text: it for it in list_commands()}
    assert NOT_RUN.keys() <= texts.keys()
    assert all(re.search(r"[a-z]", reason) for reason in NOT_RUN.values())


def test_every_command_names_its_namespace() -> None:
    """Somebody who was woken up has any context; what has no namespace needs none."""
    cluster_wide = re.compile(
        r"get (igw -A|igwr|gateway -A|gatewayclass|prometheus -A|pods -A|apiservice|--raw)"
        r"|(annotate|describe) igwr|describe nodes|label namespace|apply -k|auth can-i .* -n "
    )
    for command in list_commands():
        if command.text.startswith("kubectl") and command.text not in NOT_RUN:
            assert re.search(r" -n \S+", command.text) or cluster_wide.search(command.text), command


@pytest.mark.integration
def test_each_query_has_an_answer(promtool: str, tmp_path: Path) -> None:
    """Asked in Prometheus, of a gateway that is asked and fails; as the page has it."""
    series = [grow(sample) for sample in (*scrape_runtime(), *scrape_operator())]
    groups = [*build_groups(), *build_drill_groups("1970-01-01T00:20:00Z")]
    asked = sorted({query for _, query in list_queries()})
    assert len(asked) > 15
    checks = [Check("30m", f"count(({it}) == ({it})) > bool 0", 1) for it in asked]
    RuleBench(promtool, tmp_path).run([*series, *OTHERS], *checks, rules=groups)
