"""The dashboard of the operator: whether it works, keeps up, and leaves alone what is right."""

from __future__ import annotations

from typing import Final

from harness.dashboards.asking import RANGE, quantiles, rate, total
from harness.dashboards.grafana import (
    GREEN,
    ORANGE,
    RED,
    Dashboard,
    Panel,
    Query,
    Row,
    Step,
    Variable,
    coloured,
)
from igw_operator import conventions
from igw_operator.plan.slo.promql import render_selector

_CHOSEN: Final = 'pod=~"$pod"'
_LATE: Final = (Step(colour=GREEN), Step(value=10, colour=ORANGE), Step(value=60, colour=RED))


def build_operator() -> Dashboard:
    """In the order in which one would ask."""
    return Dashboard(
        uid="igw-operator",
        title="InferenceGateway operator",
        description="The operator itself: its queue, its reconciles, what it writes and why.",
        variables=(
            Variable(
                name="pod",
                label="Operator pod",
                query=f"label_values({conventions.METRIC_PREFIX}active, pod)",
                has_all=True,
            ),
        ),
        rows=(_build_now(), _build_work(), _build_writes(), _build_view(), _build_process()),
    )


def _own(name: str, *matchers: str) -> str:
    return render_selector(f"{conventions.METRIC_PREFIX}{name}", {}, _CHOSEN, *matchers)


def _build_now() -> Row:
    def now(title: str, text: str, unit: str, expression: str, *steps: Step) -> Panel:
        return Panel(
            title=title,
            description=text,
            kind="stat",
            unit=unit,
            queries=(Query(expression=expression, shape="now"),),
            steps=steps or (Step(colour=GREEN),),
            width=4,
            height=4,
        )

    return Row(
        title="Now",
        panels=(
            now(
                "Active",
                "Processes that hold the lease: one.",
                "short",
                f"sum({_own('active')})",
                Step(colour=RED),
                Step(value=1, colour=GREEN),
                Step(value=2, colour=RED),
            ),
            now(
                "Oldest key",
                "How long the oldest key has waited for a worker.",
                "s",
                f"max({_own('queue_oldest_seconds')})",
                *_LATE,
            ),
            now(
                "Age of the oldest LIST",
                "Everything is listed anew every IGW_RESYNC_SECONDS (600).",
                "s",
                f"max({_own('resync_age_seconds')})",
                Step(colour=GREEN),
                Step(value=1800, colour=ORANGE),
            ),
            now(
                "Objects in the cache",
                "Gateways, runtimes and what belongs to them.",
                "short",
                f"max({_own('cached_objects')})",
            ),
            now(
                "Children held",
                "That wait to be written after a refusal.",
                "short",
                f"sum({_own('held_children')})",
                Step(colour=GREEN),
                Step(value=1, colour=ORANGE),
            ),
            now(
                "Children contested",
                "Whose fields somebody else sets, too, again and again.",
                "short",
                f"sum({_own('contested_children')})",
                Step(colour=GREEN),
                Step(value=1, colour=ORANGE),
            ),
        ),
    )


def _build_work() -> Row:
    depths = {
        "queue_depth": "waiting",
        "queue_busy": "worked on",
        "queue_slow": "last one was slow",
    }
    return Row(
        title="Work",
        panels=(
            Panel(
                title="Queue",
                description="Keys: gateways and runtimes. A queue that does not empty needs "
                "IGW_WORKERS, or a faster API server.",
                kind="timeseries",
                unit="short",
                queries=tuple(
                    Query(expression=f"sum({_own(name)})", legend=legend)
                    for name, legend in depths.items()
                ),
                minimum=0,
                decimals=0,
            ),
            Panel(
                title="Waiting time of the oldest key",
                description="How far behind it is.",
                kind="timeseries",
                unit="s",
                queries=(Query(expression=_own("queue_oldest_seconds"), legend="{{pod}}"),),
                minimum=0,
                steps=(Step(colour=GREEN), Step(value=60, colour=RED)),
                shows_steps=True,
            ),
            Panel(
                title="Lag of the event loop",
                description="More than a tenth of a second for long: the process has too little "
                "CPU, or too many gateways.",
                kind="timeseries",
                unit="s",
                queries=(Query(expression=_own("loop_lag_seconds"), legend="{{pod}}"),),
                minimum=0,
            ),
            Panel(
                title="Reconciles by result",
                description="waiting is normal: for pods, for a wave. refused: the spec; failed: "
                "the API server; crashed: a bug, with its trace in the log.",
                kind="timeseries",
                unit="ops",
                queries=(
                    Query(
                        expression=total("result", rate(_own("reconciles_total"))),
                        legend="{{result}}",
                    ),
                ),
                minimum=0,
                is_stacked=True,
                width=12,
                overrides=(
                    coloured("^done$", GREEN),
                    coloured("^failed$", ORANGE),
                    coloured("^crashed$", RED),
                ),
            ),
            Panel(
                title="Duration of a reconcile",
                description="With all reads and writes.",
                kind="timeseries",
                unit="s",
                queries=quantiles(_own("reconcile_duration_seconds_bucket"), 0.5, 0.99),
                minimum=0,
                width=12,
            ),
        ),
    )


def _build_writes() -> Row:
    writes, errors = _own("api_writes_total"), _own("api_errors_total")
    return Row(
        title="API server",
        panels=(
            Panel(
                title="Writes by reason",
                description="A settled fleet is left alone: then there are none. drift is somebody "
                "else's change, put right.",
                kind="timeseries",
                unit="ops",
                queries=(Query(expression=total("reason", rate(writes)), legend="{{reason}}"),),
                minimum=0,
                is_stacked=True,
            ),
            Panel(
                title="Writes by kind",
                description="The same, by what was written and how.",
                kind="timeseries",
                unit="ops",
                queries=(
                    Query(expression=total("kind, verb", rate(writes)), legend="{{verb}} {{kind}}"),
                ),
                minimum=0,
                is_stacked=True,
            ),
            Panel(
                title="Requests that failed",
                description="By HTTP status; 0 is no answer. A 409 now and then is normal; 403 is "
                "a missing right, 429 a busy API server.",
                kind="timeseries",
                unit="ops",
                queries=(
                    Query(
                        expression=total("method, status", rate(errors)),
                        legend="{{method}} {{status}}",
                    ),
                ),
                minimum=0,
                is_stacked=True,
            ),
            Panel(
                title="Fields that others set, by manager",
                description="On children, where the operator says nothing; they are left as they "
                "are.",
                kind="timeseries",
                unit="short",
                queries=(
                    Query(
                        expression=total("kind, manager", _own("foreign_fields")),
                        legend="{{manager}} {{kind}}",
                    ),
                ),
                minimum=0,
                decimals=0,
                is_stacked=True,
                width=12,
            ),
            Panel(
                title="Events not sent",
                description="Kubernetes Events that the rate limit kept back.",
                kind="timeseries",
                unit="ops",
                queries=(
                    Query(
                        expression=f"sum({rate(_own('events_dropped_total'))})", legend="dropped"
                    ),
                ),
                minimum=0,
                width=12,
            ),
        ),
    )


def _build_view() -> Row:
    return Row(
        title="What it sees",
        panels=(
            Panel(
                title="Resync discrepancies",
                description="Objects that a LIST found, and no watch had told of. Any at all is a "
                "watch that broke without a word.",
                kind="timeseries",
                unit="short",
                queries=(
                    Query(
                        expression="sum by (kind, what) "
                        f"(increase({_own('resync_discrepancies_total')}[{RANGE}]))",
                        legend="{{kind}} {{what}}",
                    ),
                ),
                minimum=0,
                is_stacked=True,
            ),
            Panel(
                title="Age of the oldest LIST",
                description="A saw: it falls with each resync.",
                kind="timeseries",
                unit="s",
                queries=(Query(expression=_own("resync_age_seconds"), legend="{{pod}}"),),
                minimum=0,
            ),
            Panel(
                title="Objects in the cache",
                description="Of each process.",
                kind="timeseries",
                unit="short",
                queries=(Query(expression=_own("cached_objects"), legend="{{pod}}"),),
                minimum=0,
                decimals=0,
            ),
        ),
    )


def _build_process() -> Row:
    def of_the_operator(expression: str) -> str:
        # Every process has metrics of these names: only the operator's have the other one, too.
        return f"{expression} and on (namespace, pod) {_own('active')}"

    memory = render_selector("process_resident_memory_bytes", {}, _CHOSEN)
    cpu = rate(render_selector("process_cpu_seconds_total", {}, _CHOSEN))
    return Row(
        title="Process",
        panels=(
            Panel(
                title="Memory",
                description="Resident: about 85 MiB, and 45 KiB for each gateway.",
                kind="timeseries",
                unit="bytes",
                queries=(Query(expression=of_the_operator(memory), legend="{{pod}}"),),
                minimum=0,
            ),
            Panel(
                title="CPU",
                description="Cores. It computes on one at most.",
                kind="timeseries",
                unit="short",
                queries=(Query(expression=of_the_operator(cpu), legend="{{pod}}"),),
                minimum=0,
            ),
            Panel(
                title="Prometheus could not be read",
                description="Rounds that failed: then MonitoringReady is Unknown, and no status "
                "shows a new budget.",
                kind="timeseries",
                unit="ops",
                queries=(
                    Query(
                        expression=f"sum({rate(_own('prometheus_errors_total'))})",
                        legend="failed",
                    ),
                ),
                minimum=0,
            ),
        ),
    )
