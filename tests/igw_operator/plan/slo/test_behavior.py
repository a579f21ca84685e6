from __future__ import annotations

from typing import Any

import pytest

from factories import a_gateway
from igw_operator.api.objects import Manifest
from igw_operator.plan.slo.names import EVENTS_BAD, EVENTS_TOTAL, TILE_BAD, TILE_TOTAL
from igw_operator.plan.slo.objective import build_objectives
from plan_kit.prometheus import (
    IDENTITY,
    Check,
    RuleBench,
    Series,
    build_groups,
    desired,
    firing,
    flat,
    latencies,
    near,
    requests,
    steps,
)

pytestmark = pytest.mark.integration

Slo = dict[str, Any]
WEEK: Slo = {"window": "7d"}
AVAILABILITY = "InferenceGatewayAvailabilityBudgetBurn"
LATENCY = "InferenceGatewayLatencyBudgetBurn"
EXHAUSTED = "InferenceGatewayErrorBudgetExhausted"
ABSENT = "InferenceGatewayMetricsAbsent"
BLIND = "InferenceGatewayOperatorBlind"
BUCKET = "InferenceGatewayLatencyBucketMissing"
OF_AVAILABILITY = '{slo="availability"}'
TILES = (TILE_TOTAL, TILE_BAD)
OF_LATENCY = '{slo="latency"}'
RECORDED = (
    f"sum(sum_over_time({EVENTS_BAD}{OF_AVAILABILITY}[1h])) "
    f"/ sum(sum_over_time({EVENTS_TOTAL}{OF_AVAILABILITY}[1h]))"
)


def ratio(window: str, of: str = OF_AVAILABILITY) -> str:
    """The recorded error ratio over a window."""
    return f"sum(igw:slo_errors_per_event:ratio_rate{window}{of})"


def history(slo: Slo, minutes: int, total: float, bad: float) -> list[Series]:
    """What the rules of an SLO recorded, in events of 30 s, of a constant traffic."""
    return [
        Series(objective.record(name), flat(minutes, value))
        for objective in build_objectives(a_gateway(slo=slo))
        for name, value in ((EVENTS_TOTAL, total), (EVENTS_BAD, bad))
    ]


def long_groups(slo: Slo) -> list[Manifest]:
    """The rules that read what was recorded of days, without those that record events."""
    groups = build_groups(slo=slo)
    tiles = [
        it
        | {"rules": [rule for rule in it["rules"] if rule.get("record") in (TILE_TOTAL, TILE_BAD)]}
        for it in groups
        if it["name"].endswith("-short")
    ]
    return [*tiles, *(it for it in groups if it["name"].endswith("-long"))]


def test_weighs_an_hour_by_its_traffic(bench: RuleBench) -> None:
    """One busy hour with 10 % errors and five idle hours are 9.5 % errors, and not 1.8 %."""
    bench.run(
        [
            requests("2xx", steps((60, 180), (300, 2))),
            requests("5xx", steps((60, 20), (300, 0))),
        ],
        near("6h", ratio("6h"), 0.0952),
    )


def test_is_not_poisoned_by_a_quiet_time(bench: RuleBench) -> None:
    """Without events there is no ratio, and later ones are as if the silence had not been."""
    bench.run(
        [
            requests("2xx", steps((30, 0), (30, 90))),
            requests("5xx", steps((30, 0), (30, 10))),
        ],
        Check("20m", ratio("5m"), None),
        near("1h", ratio("1h"), 0.1),
    )


def test_reads_an_error_series_that_was_never_made_as_no_errors(bench: RuleBench) -> None:
    """No 5xx series yet means no failure yet: a ratio of 0, and one series of bad events."""
    bench.run(
        [requests("2xx", steps((30, 60)))],
        Check("30m", ratio("5m"), 0),
        Check("30m", f"count({EVENTS_BAD}{OF_AVAILABILITY})", 1),
    )


def test_has_one_series_of_bad_events_when_there_are_errors(bench: RuleBench) -> None:
    """The filler never stands beside the real sum."""
    bench.run(
        [requests("2xx", steps((30, 60))), requests("5xx", steps((30, 60)))],
        Check("30m", f"count({EVENTS_BAD}{OF_AVAILABILITY})", 1),
        near("30m", ratio("5m"), 0.5),
    )


def test_counts_neither_client_errors_nor_probes(bench: RuleBench) -> None:
    """4xx is neither good nor bad; other endpoints do not exist for the objective."""
    bench.run(
        [
            requests("2xx", steps((30, 90))),
            requests("5xx", steps((30, 10))),
            requests("4xx", steps((30, 1000))),
            requests("2xx", steps((30, 1000)), endpoint="/ready"),
            requests("5xx", steps((30, 1000)), endpoint="/metrics"),
        ],
        near("30m", ratio("5m"), 0.1),
    )


@pytest.mark.parametrize(
    "endpoint", ["/predict", "/v2/models/{model}/infer", "/v1/models/{model}:predict"]
)
def test_counts_every_way_to_ask(bench: RuleBench, endpoint: str) -> None:
    """All protocols serve the same objective."""
    bench.run(
        [requests("5xx", steps((30, 60)), endpoint=endpoint)],
        Check("30m", ratio("5m"), 1),
    )


@pytest.mark.pain(11)
def test_does_not_page_for_one_failure_of_a_quiet_service(bench: RuleBench) -> None:
    """One of six requests an hour burns far above the limit, and wakes nobody."""
    failed_once = f"0+0x20 {'1 ' * 100}"
    bench.run(
        [requests("2xx", steps((60, 0.1))), requests("5xx", failed_once)],
        Check("13m", f"{ratio('1h')} / 0.005 > bool 14.4", 1),
        *(firing(f"{minute}m", AVAILABILITY, expected=False) for minute in (13, 14, 20, 40)),
    )


def test_pages_for_the_outage_of_a_quiet_service(bench: RuleBench) -> None:
    """Twelve failures an hour, all there is, are found: the guard counts failures, not traffic."""
    bench.run(
        [requests("2xx", steps((240, 0))), requests("5xx", steps((240, 0.2)))],
        firing("30m", AVAILABILITY, expected=False, burn="fast"),
        firing("1h10m", AVAILABILITY, expected=True, burn="fast"),
    )


@pytest.mark.pain(14)
@pytest.mark.parametrize("healthy", [60, 360], ids=["an hour", "six hours"])
def test_pages_for_a_full_outage_within_seven_minutes(bench: RuleBench, healthy: int) -> None:
    """All fails, after some time in good health: 4.3 minutes are the limit, 2 are waited for."""
    bench.run(
        [
            requests("2xx", steps((healthy, 60), (30, 0))),
            requests("5xx", steps((healthy, 0), (30, 60))),
        ],
        firing(f"{healthy + 4}m", AVAILABILITY, expected=False),
        firing(f"{healthy + 7}m", AVAILABILITY, expected=True, burn="fast", severity="critical"),
        rules=[it for it in build_groups() if it["name"].endswith("availability-short")],
    )


def test_does_not_page_for_the_first_answers_of_a_gateway(bench: RuleBench) -> None:
    """Half of its first minute is slow, and that minute is all there is yet."""
    bench.run(
        latencies(steps((20, 300)), steps((1, 150), (19, 300))),
        Check("2m", f"{ratio('1h', OF_LATENCY)} > bool 0.2", 1),
        *(firing(f"{minute}m", LATENCY, expected=False) for minute in range(2, 20)),
    )


def test_pages_for_a_gateway_that_fails_from_the_start(bench: RuleBench) -> None:
    """Five minutes are enough to know."""
    bench.run(
        [requests("2xx", steps((20, 0))), requests("5xx", steps((20, 60)))],
        firing("8m30s", AVAILABILITY, expected=True, burn="fast"),
    )


def test_stops_paging_while_the_long_windows_still_remember(bench: RuleBench) -> None:
    """The short windows end the page although the long ones still remember."""
    bench.run(
        [requests("2xx", steps((60, 60), (20, 0), (40, 60))),
         requests("5xx", steps((60, 0), (20, 60), (40, 0)))],
        firing("1h20m", AVAILABILITY, expected=True, burn="fast"),
        Check("1h26m", ratio("5m"), 0),
        near("1h26m", ratio("1h"), 1 / 3, tolerance=0.03),
        firing("1h56m", AVAILABILITY, expected=False, burn="fast"),
    )  # fmt: skip


def test_makes_a_ticket_of_a_slow_burn(bench: RuleBench) -> None:
    """Four times the allowed errors page nobody, and are not forgotten either."""
    bench.run(
        [requests("2xx", steps((180, 98))), requests("5xx", steps((180, 2)))],
        firing("3h", AVAILABILITY, expected=True, burn="slow", severity="warning"),
        firing("3h", AVAILABILITY, expected=False, burn="fast"),
    )


def test_is_silent_within_the_objective(bench: RuleBench) -> None:
    """Half of the allowed errors is what a budget is for."""
    bench.run(
        [
            requests("2xx", steps((180, 997.5))),
            requests("5xx", steps((180, 2.5))),
            *latencies(steps((180, 1000)), steps((180, 995))),
            desired(flat(180, 3)),
        ],
        Check("3h", 'count(ALERTS{alertstate="firing"}) or vector(0)', 0),
    )


def test_tells_the_burn_rate(bench: RuleBench) -> None:
    """The page says who, what, and how many times too fast."""
    bench.run(
        [requests("2xx", steps((150, 50))), requests("5xx", steps((150, 50)))],
        alert_tests=[
            {
                "eval_time": "2h30m",
                "alertname": AVAILABILITY,
                "exp_alerts": [
                    {
                        "exp_labels": {
                            "namespace": "demo",
                            "gateway": "photos",
                            "slo": "availability",
                            "burn": speed,
                            "severity": severity,
                        },
                        "exp_annotations": {
                            "summary": summary,
                            "description": "demo/photos spends its availability error budget 100 "
                            "times as fast as its objective of 99.5% over 30d allows.",
                        },
                    }
                    for speed, severity, summary in (
                        ("fast", "critical", "A gateway spends its availability budget too fast."),
                        (
                            "slow",
                            "warning",
                            "A gateway spends its availability budget slowly but steadily.",
                        ),
                    )
                ],
            }
        ],
    )


def test_pages_for_slow_answers(bench: RuleBench) -> None:
    """A third of the answers above the threshold burns the latency budget."""
    bench.run(
        latencies(steps((60, 90)), steps((60, 60))),
        near("30m", ratio("5m", OF_LATENCY), 1 / 3),
        firing("30m", LATENCY, expected=True, burn="fast"),
        firing("30m", AVAILABILITY, expected=False),
    )


def test_does_not_page_for_fast_answers(bench: RuleBench) -> None:
    """All within the threshold; that failures are slow is the other objective's affair."""
    bench.run(
        [
            *latencies(steps((60, 90)), steps((60, 90))),
            *latencies(steps((60, 90)), steps((60, 0)), status="5xx"),
        ],
        Check("30m", ratio("5m", OF_LATENCY), 0),
        firing("30m", LATENCY, expected=False),
    )


@pytest.mark.pain(13)
def test_finds_the_bucket_of_a_whole_second(bench: RuleBench) -> None:
    """1s is le="1.0", as the runtime writes it."""
    bench.run(
        latencies(steps((30, 60)), steps((30, 30)), le="1.0"),
        near("30m", ratio("5m", OF_LATENCY), 0.5),
        firing("30m", BUCKET, expected=False),
        slo={"latency": {"threshold": "1s"}},
    )


@pytest.mark.pain(11)
def test_has_no_latency_where_the_bucket_is_missing(bench: RuleBench) -> None:
    """A missing bucket is no data, never "all good" or "all slow", and somebody is told."""
    bench.run(
        latencies(steps((30, 60)), steps((30, 60)), le="0.25"),
        Check("20m", ratio("5m", OF_LATENCY), None),
        firing("9m", BUCKET, expected=False),
        firing("11m", BUCKET, expected=True),
        firing("20m", LATENCY, expected=False),
    )


def test_tells_how_many_pods_are_not_measured(bench: RuleBench) -> None:
    """One pod of three without the bucket is left out of the objective: not without a word."""
    bench.run(
        [
            *latencies(steps((30, 60)), steps((30, 60)), pod="a"),
            *latencies(steps((30, 60)), steps((30, 60)), pod="b"),
            *latencies(steps((30, 60)), steps((30, 0)), le="0.25", pod="c"),
            *latencies(steps((30, 60)), steps((30, 0)), le="0.25", pod="c", status="5xx"),
        ],
        Check("20m", ratio("5m", OF_LATENCY), 0),
        firing("9m", BUCKET, expected=False),
        firing("11m", BUCKET, expected=True, namespace="demo", gateway="photos"),
        alert_tests=[
            {
                "eval_time": "11m",
                "alertname": BUCKET,
                "exp_alerts": [
                    {
                        "exp_labels": {
                            "namespace": "demo",
                            "gateway": "photos",
                            "severity": "warning",
                        },
                        "exp_annotations": {
                            "summary": "The latency of some pods of a gateway cannot be measured.",
                            "description": "1 pods of demo/photos have no latency bucket at its "
                            "threshold of 300ms: the runtime did not take over its settings. The "
                            "latency objective does not see these pods.",
                        },
                    }
                ],
            }
        ],
    )


def test_gives_every_pod_the_time_to_take_over_a_threshold(bench: RuleBench) -> None:
    """Pods get the new bucket one after the other, within minutes: nobody is told."""
    bench.run(
        [
            *latencies(steps((60, 60)), f"_x10 {flat(50)}", pod="a"),
            *latencies(steps((60, 60)), f"_x14 {flat(50)}", pod="b"),
        ],
        *(firing(f"{minute}m", BUCKET, expected=False) for minute in range(4, 30, 2)),
    )


def test_does_not_take_a_new_bucket_for_slow_answers(bench: RuleBench) -> None:
    """A new threshold gives each pod a new bucket while it runs; nobody is paged for that."""
    bench.run(
        [
            # One pod got its bucket after 20 minutes, level with the one below it, ...
            *latencies(steps((60, 60)), "_x40 0+30x79", pod="a"),
            # ... the other one had it from the start.
            *latencies(steps((60, 60)), steps((60, 60)), pod="b"),
        ],
        Check("19m", ratio("5m", OF_LATENCY), 0),
        *(
            Check(f"{minute}m", f"{ratio('5m', OF_LATENCY)} > bool 0.01", 0)
            for minute in (21, 22, 23, 24, 25)
        ),
        firing("24m", LATENCY, expected=False),
    )


def test_counts_a_pod_from_its_bucket_on(bench: RuleBench) -> None:
    """What it answered before is left out; what it answers from then on counts."""
    bench.run(
        [
            *latencies(steps((60, 60)), f"_x40 {flat(40)}", pod="a"),
            *latencies(steps((60, 60)), steps((60, 60)), pod="b"),
        ],
        Check("20m30s", ratio("5m", OF_LATENCY), 0),
        near("30m", ratio("5m", OF_LATENCY), 0.5),
    )


@pytest.mark.parametrize(
    ("values", "events"),
    [
        ("0+10x59", 590),
        ("0x30 0+1x29", 28),
        ("0+10x20 4+10x38", 200 + 384),
        ("0+10x20 stale _x18 500+10x19", 690),
        ("0+10x20 _x19 500+10x19", 690),
        ("0+10x20 stale _x18 7+10x19", 200 + 197),
    ],
    ids=[
        "steadily",
        "its first ones",
        "across a restart",
        "across ten minutes without a scrape",
        "across ten minutes without Prometheus",
        "across a restart that nobody saw",
    ],
)
def test_counts_every_event_once(bench: RuleBench, values: str, events: float) -> None:
    """Sums over time are exact; what is scraped at the end is counted half a minute later."""
    bench.run(
        [requests("2xx", flat(30)), requests("5xx", values)],
        Check("30m", f"sum(sum_over_time({EVENTS_BAD}{OF_AVAILABILITY}[1h]))", events),
    )


@pytest.mark.parametrize(
    ("started", "events"), [(1180, 25 + 190), (5, 190)], ids=["a new pod", "an old pod"]
)
def test_counts_what_a_new_pod_did_before_its_first_scrape(
    bench: RuleBench, started: int, events: float
) -> None:
    """An old one that is scraped for the first time has done its part in another story."""
    label = f'{IDENTITY},pod="b"'
    bench.run(
        [
            requests("2xx", flat(30)),
            requests("2xx", "_x40 25+10x19", pod="b"),
            Series(f"process_start_time_seconds{{{label}}}", f"_x40 {started}+0x19"),
        ],
        Check("30m", f"sum(sum_over_time({EVENTS_TOTAL}{OF_AVAILABILITY}[1h]))", events),
    )


def test_counts_the_last_events_of_a_pod_that_is_gone(bench: RuleBench) -> None:
    """Its series end before the evaluation that would have read them."""
    bench.run(
        [requests("2xx", flat(30)), requests("2xx", "0+10x20 stale", pod="b")],
        Check("30m", f"sum(sum_over_time({EVENTS_TOTAL}{OF_AVAILABILITY}[1h]))", 200),
    )


def test_counts_what_a_new_pod_answered_before_its_first_scrape(bench: RuleBench) -> None:
    """A young pod with both at first sight counts whole; so does its first slow answer."""
    bench.run(
        [
            *latencies(flat(30), flat(30)),
            *latencies("_x40 25+10x19", "_x40 20+10x19", pod="b"),
            Series(f'process_start_time_seconds{{{IDENTITY},pod="b"}}', "_x40 1180+0x19"),
        ],
        Check("30m", f"sum(sum_over_time({EVENTS_TOTAL}{OF_LATENCY}[1h]))", 215),
        Check("30m", f"sum(sum_over_time({EVENTS_BAD}{OF_LATENCY}[1h]))", 5),
    )


@pytest.mark.pain(11)
def test_pages_when_nothing_is_measured(bench: RuleBench) -> None:
    """The objectives are blind when no pod answers, so that has an alert of its own."""
    bench.run(
        [desired(flat(30, 3))],
        firing("4m", ABSENT, expected=False),
        firing("6m", ABSENT, expected=True, severity="critical"),
        firing("20m", BLIND, expected=False),
    )


def test_pages_when_scraping_stops(bench: RuleBench) -> None:
    """Series that went stale are as absent as those that never were."""
    bench.run(
        [
            desired(flat(60, 3)),
            requests("2xx", f"{steps((10, 60))} stale"),
        ],
        firing("10m", ABSENT, expected=False),
        firing("17m", ABSENT, expected=True),
    )


def test_ends_the_page_with_the_first_scrape(bench: RuleBench) -> None:
    """Series that come back end the alert at once."""
    bench.run(
        [desired(flat(60, 3)), requests("2xx", f"_x40 {flat(40)}")],
        firing("19m30s", ABSENT, expected=True),
        firing("20m30s", ABSENT, expected=False),
    )


def test_does_not_page_while_it_scales_to_zero(bench: RuleBench) -> None:
    """The last pod goes, its series with it, and nobody is called."""
    bench.run(
        [
            desired(f"3+0x{20 * 2} 0+0x{40 * 2}"),
            requests("2xx", f"{steps((20, 60))} stale"),
        ],
        *(firing(f"{minute}m", ABSENT, expected=False) for minute in (19, 20, 21, 25, 26, 30, 50)),
    )


@pytest.mark.parametrize(
    "series",
    [[desired(flat(30, 0))], [desired(flat(30, 3)), requests("2xx", flat(30))]],
    ids=["scaled to zero", "quiet"],
)
def test_does_not_page_for_what_is_meant_to_be_silent(
    bench: RuleBench, series: list[Series]
) -> None:
    """Zero replicas send no metrics on purpose; a quiet service still has its series."""
    bench.run(series, firing("20m", ABSENT, expected=False))


def test_tells_when_the_operator_is_not_seen(bench: RuleBench) -> None:
    """Without its word on what should run, an outage could go unnoticed."""
    bench.run(
        [requests("2xx", steps((30, 60)))],
        firing("14m", BLIND, expected=False),
        firing("16m", BLIND, expected=True, severity="warning"),
        firing("20m", ABSENT, expected=False),
    )


@pytest.mark.parametrize(("objective", "left"), [("availability", -3.0), ("latency", -1.0)])
def test_says_that_the_budget_is_gone_once_it_knows(
    bench: RuleBench, objective: str, left: float
) -> None:
    """In its first hours a new gateway's whole history is a bad minute; later it is the truth."""
    bench.run(
        history(WEEK, 18 * 60, 50, 1),
        # 7 days, a tenth of them is 16.8 hours.
        near("17h30m", f'igw:slo_error_budget_remaining:ratio{{slo="{objective}"}}', left),
        near("17h30m", f'igw:slo_window_coverage:ratio{{slo="{objective}"}}', 0.104),
        firing("16h50m", EXHAUSTED, expected=False, slo=objective),
        firing("17h10m", EXHAUSTED, expected=True, slo=objective),
        rules=long_groups(WEEK),
        evaluation="2m",
    )


def test_says_nothing_while_some_budget_is_left(bench: RuleBench) -> None:
    """A budget that is half spent is not exhausted."""
    bench.run(
        history(WEEK, 18 * 60, 1000, 2.5),
        near("17h30m", f"igw:slo_error_budget_remaining:ratio{OF_AVAILABILITY}", 0.5),
        firing("17h30m", EXHAUSTED, expected=False),
        rules=long_groups(WEEK),
        evaluation="2m",
    )


def test_records_the_objective(bench: RuleBench) -> None:
    """A dashboard reads the target where it reads the rest."""
    bench.run(
        [desired(flat(5, 3))],
        Check("4m", f"sum(igw:slo_objective:ratio{OF_AVAILABILITY})", 0.995),
        Check("4m", f"sum(igw:slo_objective:ratio{OF_LATENCY})", 0.99),
    )


def test_shows_a_budget_from_the_first_minutes(bench: RuleBench) -> None:
    """Nobody has to wait for the first ten minutes to be whole, nor for the last ones."""
    bench.run(
        [
            requests("2xx", steps((12, 90), (3, 0), (30, 90))),
            requests("5xx", steps((12, 10), (3, 100), (30, 10))),
        ],
        near("3m", f"igw:slo_error_budget_remaining:ratio{OF_AVAILABILITY}", -19),
        Check("3m", f"sum(igw:slo_window_coverage:ratio{OF_AVAILABILITY})", 0),
        # The outage from minute 12 to 15 lies across a tile; each of its samples counts once.
        *(
            Check(at, f"abs({ratio('30d')} - {RECORDED}) < bool 1e-9", 1)
            for at in ("9m30s", "10m", "10m30s", "14m", "19m30s", "20m", "20m30s", "44m")
        ),
        near("19m30s", ratio("30d"), (1.2 * 100 + 300 + 45) / 1950, tolerance=0.03),
    )


def test_makes_no_ticket_of_the_first_hour_of_a_gateway(bench: RuleBench) -> None:
    """Its days hold nothing but that hour: pages may call, a ticket waits for two hours."""
    bench.run(
        [requests("2xx", steps((180, 80))), requests("5xx", steps((180, 20)))],
        firing("1h", AVAILABILITY, expected=True, burn="fast"),
        firing("2h", AVAILABILITY, expected=False, burn="slow"),
        firing("2h30m", AVAILABILITY, expected=True, burn="slow"),
    )


def test_keeps_its_history_when_the_objective_is_edited(bench: RuleBench) -> None:
    """What happened stays; only what may happen is judged anew."""
    edited = {"availability": {"objective": 99.9}, "latency": {"objective": 95}}
    bench.run(
        history({}, 120, 10, 0.01),
        near("2h", ratio("30d"), 0.001),
        near("2h", f"igw:slo_error_budget_remaining:ratio{OF_AVAILABILITY}", 0),
        near("2h", f"igw:slo_error_budget_remaining:ratio{OF_LATENCY}", 0.98),
        rules=long_groups(edited),
    )


def test_starts_a_new_budget_when_the_threshold_is_edited(bench: RuleBench) -> None:
    """Slower than 300 ms and slower than 500 ms are two measures: they are never mixed."""
    bench.run(
        history({}, 120, 10, 1),
        Check("2h", ratio("30d", OF_LATENCY), None),
        near("2h", ratio("30d"), 0.1),
        rules=long_groups({"latency": {"threshold": "500ms"}}),
    )


def test_keeps_namesakes_apart(bench: RuleBench) -> None:
    """Two gateways of one name in two namespaces share nothing, not even a group of rules."""
    other = 'namespace="prod",gateway="photos",pod="z",method="POST",endpoint="/predict"'
    bench.run(
        [
            requests("2xx", steps((90, 60))),
            Series(f'http_requests_total{{{other},status="2xx"}}', steps((90, 0))),
            Series(f'http_requests_total{{{other},status="5xx"}}', steps((90, 60))),
        ],
        Check("80m", 'sum(igw:slo_errors_per_event:ratio_rate1h{namespace="demo"})', 0),
        Check("80m", 'sum(igw:slo_errors_per_event:ratio_rate1h{namespace="prod"})', 1),
        firing("80m", AVAILABILITY, expected=False, namespace="demo"),
        firing("80m", AVAILABILITY, expected=True, namespace="prod", burn="fast"),
        rules=[*build_groups(), *build_groups(namespace="prod")],
    )


def test_does_not_take_the_metrics_of_another_application(bench: RuleBench) -> None:
    """The seed's names are everybody's names; what counts is whose gateway they are of."""
    foreign = 'namespace="demo",pod="shop-0",method="POST",endpoint="/predict"'
    bench.run(
        [
            desired(flat(30, 3)),
            requests("2xx", steps((30, 60)), pod="a"),
            Series(f'http_requests_total{{{foreign},status="5xx"}}', steps((30, 600))),
            Series(f'http_requests_total{{{foreign},gateway="shop",status="5xx"}}', flat(30)),
        ],
        Check("20m", ratio("5m"), 0),
        firing("20m", AVAILABILITY, expected=False),
    )


def test_is_not_reassured_by_the_metrics_of_another_application(bench: RuleBench) -> None:
    """A namesake's series in the namespace do not stand for the gateway's own."""
    foreign = 'namespace="demo",pod="shop-0",method="POST",endpoint="/predict",status="2xx"'
    bench.run(
        [desired(flat(30, 3)), Series(f"http_requests_total{{{foreign}}}", steps((30, 60)))],
        firing("6m", ABSENT, expected=True),
    )


def test_is_blind_where_prometheus_renames_the_namespace(bench: RuleBench) -> None:
    """With enforcedNamespaceLabel the operator's word arrives under the operator's namespace.

    Then nobody is paged for a gateway without metrics, and that is said within 15 minutes.
    """
    renamed = 'igw_operator_gateway_desired_replicas{namespace="igw-system",gateway="photos"}'
    bench.run(
        [Series(renamed, flat(30, 3))],
        firing("20m", ABSENT, expected=False),
        firing("14m", BLIND, expected=False),
        firing("16m", BLIND, expected=True, namespace="demo"),
    )
