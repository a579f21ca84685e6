"""Panels about a gateway's requests, pods, telemetry, model and cost."""

from __future__ import annotations

from typing import Any, Final

from harness.dashboards.asking import RANGE, of_gateway, quantile, quantiles, rate, total
from harness.dashboards.grafana import (
    GREEN,
    ORANGE,
    RED,
    YELLOW,
    Panel,
    Query,
    Row,
    Step,
    coloured,
    dashed,
)
from igw_operator import conventions
from igw_operator.plan.slo.names import COST

_PREDICTING: Final = f'endpoint=~"{conventions.ENDPOINT_PATTERN}"'
_REQUESTS: Final = of_gateway(conventions.METRIC_REQUESTS, _PREDICTING)
# The raw histograms: what is recorded of them has no exemplars.
_ANSWERED, _FAILED = (
    of_gateway(f"{conventions.METRIC_DURATION}_bucket", _PREDICTING, f'status="{status}"')
    for status in ("2xx", "5xx")
)
_FORWARD: Final = "model_inference_duration_seconds"
_STAGES: Final = "igw_runtime_stage_duration_seconds"
_STATE: Final = "igw_runtime_state"
READY: Final = 'state="ready"'
_LOST: Final = (Step(colour=GREEN), Step(value=0.001, colour=ORANGE))


def build_requests() -> Row:
    """Rate, errors, duration."""
    abandoned = rate(of_gateway("igw_runtime_abandoned_requests_total"))
    return Row(
        title="Requests",
        panels=(
            Panel(
                title="Requests by status",
                description="Predictions only. 4xx, with the clients that went away, count neither "
                "as good nor as bad; shed load and time-outs are 5xx.",
                kind="timeseries",
                unit="reqps",
                queries=(Query(expression=total("status", rate(_REQUESTS)), legend="{{status}}"),),
                minimum=0,
                is_stacked=True,
                overrides=(
                    coloured("^2xx$", GREEN),
                    coloured("^4xx$", YELLOW),
                    coloured("^5xx$", RED),
                ),
            ),
            Panel(
                title="Requests by endpoint",
                description="Everything that is asked, probes and scrapes too.",
                kind="timeseries",
                unit="reqps",
                queries=(
                    Query(
                        expression=total("endpoint", rate(of_gateway(conventions.METRIC_REQUESTS))),
                        legend="{{endpoint}}",
                    ),
                ),
                minimum=0,
                is_stacked=True,
            ),
            Panel(
                title="Refused or failed, by reason",
                description="The reasons are in docs/runtime.md. queue-full and "
                "deadline-unreachable are load that was shed; abandoned: dropped uncomputed.",
                kind="timeseries",
                unit="reqps",
                queries=(
                    Query(
                        expression=total(
                            "reason", rate(of_gateway("igw_runtime_rejected_requests_total"))
                        ),
                        legend="{{reason}}",
                    ),
                    Query(
                        expression=f"sum({abandoned})",
                        legend="abandoned",
                    ),
                ),
                minimum=0,
                is_stacked=True,
            ),
            Panel(
                title="Latency of answers",
                description="Dashed: the threshold of the latency objective. Dots are exemplars: "
                "slow requests whose trace is kept. The objective counts answers above the "
                "threshold, never a quantile.",
                kind="timeseries",
                unit="s",
                queries=(
                    *quantiles(_ANSWERED, 0.5, 0.9, 0.99),
                    # Without rules the variable is empty, and `+ 0` is still a number.
                    Query(expression="vector($threshold + 0) > 0", legend="threshold"),
                ),
                minimum=0,
                overrides=(dashed("^threshold$", RED),),
            ),
            Panel(
                title="Latencies",
                description="Answers by how long they took. Dots are exemplars: follow one to its "
                "trace.",
                kind="heatmap",
                unit="short",
                queries=(
                    Query(
                        expression=total("le", f"increase({_ANSWERED}[{RANGE}])"),
                        legend="{{le}}",
                        shape="heatmap",
                        exemplars=True,
                    ),
                ),
            ),
            Panel(
                title="Time to fail",
                description="Of 5xx. At once: shed, or a bug; after spec.serving.timeout: "
                "overload. Dots are exemplars: failed requests, whose trace is kept.",
                kind="timeseries",
                unit="s",
                queries=quantiles(_FAILED, 0.5, 0.99),
                minimum=0,
            ),
        ),
    )


def build_stages() -> Row:
    """Where the time of a request goes."""
    spent, counted = (rate(of_gateway(f"{_STAGES}_{end}")) for end in ("sum", "count"))
    made = rate(of_gateway(conventions.METRIC_PREDICTIONS))
    passes = rate(of_gateway("igw_runtime_batch_inference_seconds_count"))
    return Row(
        title="Stages",
        panels=(
            Panel(
                title="Mean time by stage",
                description="Stacked: where an answered request spends its time. queue grows with "
                "too few replicas, preprocess (decoding) with larger pictures, infer with the "
                "model or a crowded node.",
                kind="timeseries",
                unit="s",
                queries=(
                    Query(
                        expression=f"{total('stage', spent)} / {total('stage', counted)}",
                        legend="{{stage}}",
                    ),
                ),
                minimum=0,
                is_stacked=True,
            ),
            Panel(
                title="p99 by stage",
                description="The slowest hundredth of each stage.",
                kind="timeseries",
                unit="s",
                queries=(
                    Query(
                        expression=quantile(0.99, of_gateway(f"{_STAGES}_bucket"), "stage"),
                        legend="{{stage}}",
                    ),
                ),
                minimum=0,
            ),
            Panel(
                title="Forward pass",
                description="The model alone.",
                kind="timeseries",
                unit="s",
                queries=quantiles(of_gateway(f"{_FORWARD}_bucket"), 0.5, 0.99),
                minimum=0,
            ),
            Panel(
                title="Queue by pod",
                description="Pictures admitted and not yet answered.",
                kind="timeseries",
                unit="short",
                queries=(
                    Query(
                        expression=f"max by (pod) ({of_gateway(conventions.METRIC_QUEUE)})",
                        legend="{{pod}}",
                    ),
                ),
                minimum=0,
            ),
            Panel(
                title="Pictures to a forward pass",
                description="Batches form only of what waits already. Dashed: the most that one "
                "takes (spec.serving.maxBatch, or what was measured for auto).",
                kind="timeseries",
                unit="short",
                queries=(
                    Query(expression=f"sum({made}) / sum({passes})", legend="mean"),
                    Query(expression=f"max({of_gateway('igw_runtime_max_batch')})", legend="most"),
                ),
                minimum=0,
                overrides=(dashed("^most$", ORANGE),),
            ),
            Panel(
                title="Forward passes by size",
                description="How many pictures they had.",
                kind="timeseries",
                unit="ops",
                queries=(Query(expression=total("size", passes), legend="{{size}}"),),
                minimum=0,
                is_stacked=True,
            ),
        ),
    )


def build_saturation() -> Row:
    """Replicas, and what they are scaled by."""
    desired = of_gateway(conventions.METRIC_DESIRED_REPLICAS)
    ready = f"sum({of_gateway(_STATE, READY)})"
    cpu = rate(of_gateway("process_cpu_seconds_total"))
    return Row(
        title="Replicas and saturation",
        panels=(
            Panel(
                title="Replicas",
                description="Dashed: what should run, which is the autoscaler's number where there "
                "is one (HPA or KEDA), or else the spec's. Ready: what runs and says so.",
                kind="timeseries",
                unit="short",
                queries=(
                    Query(expression=f"max({desired})", legend="desired"),
                    # Without any pod there is no such series, and that is 0.
                    Query(expression=f"{ready} or 0 * max({desired})", legend="ready"),
                ),
                minimum=0,
                decimals=0,
                overrides=(dashed("^desired$", ORANGE), coloured("^ready$", GREEN)),
            ),
            Panel(
                title="Pods by state",
                description="starting: the model loads; draining: told to stop, still serving.",
                kind="timeseries",
                unit="short",
                queries=(Query(expression=total("state", of_gateway(_STATE)), legend="{{state}}"),),
                minimum=0,
                decimals=0,
                is_stacked=True,
            ),
            Panel(
                title="Load of a replica",
                description="What spec.scaling.requestsPerSecond and queueDepth look at.",
                kind="timeseries",
                unit="short",
                queries=(
                    Query(
                        expression=f"sum({rate(_REQUESTS)}) / {ready}",
                        legend="requests a second",
                    ),
                    Query(
                        expression=f"sum({of_gateway(conventions.METRIC_QUEUE)}) / {ready}",
                        legend="queued",
                    ),
                ),
                minimum=0,
            ),
            Panel(
                title="CPU by pod",
                description="Of what the limit allows. An HPA looks at the share of the *request*, "
                "which is higher.",
                kind="timeseries",
                unit="percentunit",
                queries=(
                    Query(
                        expression=f"{cpu} / on (pod) {of_gateway('igw_runtime_cpu_quota_cores')}",
                        legend="{{pod}}",
                    ),
                ),
                minimum=0,
            ),
            Panel(
                title="Throttled by the CPU limit",
                description="Seconds of waiting for each second. More than a little makes latency "
                "odd: raise spec.resources.limits.cpu.",
                kind="timeseries",
                unit="s",
                queries=(
                    Query(
                        expression=total(
                            "pod", rate(of_gateway("igw_runtime_cpu_throttled_seconds_total"))
                        ),
                        legend="{{pod}}",
                    ),
                ),
                minimum=0,
            ),
            Panel(
                title="Memory by pod",
                description="Resident. Dashed: what loading the model took.",
                kind="timeseries",
                unit="bytes",
                queries=(
                    Query(expression=of_gateway("process_resident_memory_bytes"), legend="{{pod}}"),
                    Query(
                        expression=f"max({of_gateway('model_memory_usage_bytes')})", legend="model"
                    ),
                ),
                minimum=0,
                overrides=(dashed("^model$", ORANGE),),
            ),
        ),
    )


def build_model() -> Row:
    """What is served, what it says, what it costs."""
    info = of_gateway("igw_runtime_model_info")
    classes = f"increase({of_gateway('model_predictions_total')}[1h])"
    labels = "model, version, precision, engine, device, weights"
    last = of_gateway("igw_runtime_last_inference_timestamp_seconds")
    return Row(
        title="Model and cost",
        panels=(
            Panel(
                title="Model",
                description="As it is truly run; several lines while a rollout is under way.",
                kind="table",
                unit="short",
                queries=(Query(expression=f"count by ({labels}) ({info})", shape="table"),),
                width=12,
                height=6,
                transformations=(without("Time", Value="pods"),),
            ),
            Panel(
                title="Since the last inference",
                description="Of all pods.",
                kind="stat",
                unit="s",
                queries=(Query(expression=f"time() - max({last} > 0)", shape="now"),),
                width=4,
                height=6,
            ),
            Panel(
                title="Cost of 1,000 predictions",
                description="Of the last hour, from spec.cost; none without a price, or while "
                "nothing is predicted.",
                kind="timeseries",
                unit="none",
                queries=(Query(expression=of_gateway(COST), legend="{{currency}}"),),
                minimum=0,
                decimals=4,
                height=6,
            ),
            Panel(
                title="Most predicted, last hour",
                description="A sudden change of this list is a change of what is sent, or of the "
                "model.",
                kind="bargauge",
                unit="short",
                queries=(
                    Query(
                        expression=f"topk(10, {total('prediction_class', classes)})",
                        legend="{{prediction_class}}",
                        shape="now",
                    ),
                ),
                width=12,
            ),
            Panel(
                title="Confidence",
                description="Of the predicted class. A drop says that the pictures are not those "
                "that the model was made for.",
                kind="timeseries",
                unit="percentunit",
                queries=quantiles(of_gateway("model_prediction_confidence_bucket"), 0.1, 0.5),
                minimum=0,
                maximum=1,
                width=12,
            ),
        ),
    )


def build_telemetry() -> Row:
    """Whether what is seen here is all there was."""
    spans = rate(of_gateway("igw_runtime_spans_lost_total"))
    lines = rate(of_gateway("igw_runtime_log_lines_dropped_total"))
    settings = of_gateway("igw_runtime_live_settings_info")
    return Row(
        title="Telemetry",
        panels=(
            Panel(
                title="Spans lost, by reason",
                description="That no collector got. Requests are never held up by it.",
                kind="timeseries",
                unit="ops",
                queries=(Query(expression=total("reason", spans), legend="{{reason}}"),),
                minimum=0,
                steps=_LOST,
            ),
            Panel(
                title="Log lines dropped, by level and reason",
                description="sampling is meant (spec.observability); rate and unread are not.",
                kind="timeseries",
                unit="ops",
                queries=(
                    Query(expression=total("level, reason", lines), legend="{{level}} {{reason}}"),
                ),
                minimum=0,
                steps=_LOST,
            ),
            Panel(
                title="Live settings in force",
                description="Pods by the digest of their settings. More than one for minutes: an "
                "edit has not reached all pods.",
                kind="timeseries",
                unit="short",
                queries=(
                    Query(
                        expression=f"count by (hash) ({settings})",
                        legend="{{hash}}",
                    ),
                ),
                minimum=0,
                decimals=0,
                is_stacked=True,
            ),
        ),
    )


def without(*columns: str, **names: str) -> dict[str, Any]:
    """A transformation of a table: columns left out, and others renamed."""
    return {
        "id": "organize",
        "options": {
            "excludeByName": dict.fromkeys(columns, True),
            "indexByName": {},
            "renameByName": names,
        },
    }
