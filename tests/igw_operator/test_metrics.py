"""The operator's own metrics, and the page about them."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from harness.metrics_page import QUESTIONS, metrics_page
from igw_operator.metrics import Metrics

PAGE = Path(__file__).parents[2] / "docs" / "metrics.md"


def test_the_page_is_in_step() -> None:
    """`make generate` was run after the last change of a metric."""
    assert PAGE.read_text() == metrics_page()


def test_every_metric_is_on_the_page_and_explained() -> None:
    """Whatever is exported can be looked up."""
    rows = re.findall(r"^\| `(\w+)` \| (\w+) \| .* \| (.+) \|$", PAGE.read_text(), re.MULTILINE)
    names = {name.removesuffix("_total") for name, _, _ in rows}
    assert names == {metric.name for metric in Metrics().registry.collect()}
    assert all(text.endswith(".") for _, _, text in rows)


@pytest.mark.parametrize("question", QUESTIONS)
def test_a_question_asks_for_what_is_exported(question: str) -> None:
    """Nobody copies a query that never answers."""
    exported = {metric.name for metric in Metrics().registry.collect()}
    asked = set(re.findall(r"igw_operator_\w+", QUESTIONS[question]))
    assert asked
    assert {re.sub("_(total|bucket)$", "", name) for name in asked} <= exported
