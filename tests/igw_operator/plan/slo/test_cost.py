from __future__ import annotations

import pytest

from plan_kit.prometheus import (
    IDENTITY,
    Check,
    RuleBench,
    Series,
    build_groups,
    desired,
    flat,
    near,
    steps,
)

pytestmark = pytest.mark.integration

COST = "igw:cost_per_1000_predictions:rate1h"
RULES = [it for it in build_groups(cost={"perReplicaHour": 0.5}) if it["name"].endswith("-cost")]


def predictions(values: str, *, pod: str = "a") -> Series:
    """The runtime's count of predictions, as it is scraped."""
    return Series(
        f'model_prediction_confidence_count{{{IDENTITY},pod="{pod}",model="resnet50"}}', values
    )


def of_pod(pod: str, values: str) -> Series:
    """What one operator says that should run."""
    return Series(f'igw_operator_gateway_desired_replicas{{{IDENTITY},pod="{pod}"}}', values)


def test_divides_the_price_of_an_hour_by_its_predictions(bench: RuleBench) -> None:
    """Four replicas for 0.50 made 10,000 predictions in an hour: 0.20 for a thousand."""
    bench.run(
        [
            desired(flat(120, 4)),
            predictions(steps((120, 5000 / 60)), pod="a"),
            predictions(steps((120, 5000 / 60)), pod="b"),
        ],
        near("2h", COST, 0.2),
        near("2h", f'{COST}{{namespace="demo",gateway="photos"}}', 0.2),
        rules=RULES,
    )


def test_pays_for_replicas_as_long_as_they_were_wanted(bench: RuleBench) -> None:
    """Half an hour of two and half an hour of six cost as much as an hour of four."""
    bench.run(
        [
            desired(f"2+0x{90 * 2 - 1} 6+0x60"),
            predictions(steps((120, 10000 / 60))),
        ],
        near("2h", COST, 0.2, tolerance=0.004),
        rules=RULES,
    )


def test_does_not_charge_a_new_gateway_for_the_hour_before_it(bench: RuleBench) -> None:
    """After 15 minutes it has cost a quarter of an hour."""
    bench.run(
        [desired(flat(60, 4)), predictions(steps((60, 10000 / 60)))],
        near("15m", COST, 0.2, tolerance=0.02),
        rules=RULES,
    )


def test_counts_two_operators_once(bench: RuleBench) -> None:
    """One that was restarted, or one that stands by, speaks of the same replicas."""
    bench.run(
        [
            of_pod("a", f"4+0x{70 * 2} stale"),
            of_pod("b", f"_x{60 * 2} 4+0x{60 * 2}"),
            predictions(steps((120, 10000 / 60))),
        ],
        near("110m", COST, 0.2, tolerance=0.004),
        rules=RULES,
    )


def test_has_no_cost_of_no_predictions(bench: RuleBench) -> None:
    """An idle hour costs money, and its thousand predictions would cost infinitely much."""
    bench.run([desired(flat(90, 4)), predictions(flat(90))], Check("80m", COST, None), rules=RULES)


def test_costs_nothing_while_scaled_to_zero(bench: RuleBench) -> None:
    """The hour before still counts for what it was."""
    bench.run(
        [desired(f"4+0x{60 * 2 - 1} 0+0x180"), predictions(f"{steps((60, 10000 / 60))} stale")],
        near("90m", COST, 0.2, tolerance=0.01),
        Check("130m", COST, None),
        rules=RULES,
    )
