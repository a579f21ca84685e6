"""The statistics extension, read from the metrics: the same numbers are never counted twice.

https://docs.nvidia.com/deeplearning/triton-inference-server/user-guide/docs/protocol/extension_statistics.html
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any, Final

from prometheus_client import CollectorRegistry

from igw_runtime.models.served import ServedModel

_REQUESTS: Final = "igw_runtime_model_request_duration_seconds"
_STAGES: Final = "igw_runtime_stage_duration_seconds"
_BATCHES: Final = "igw_runtime_batch_inference_seconds"
_LAST: Final = "igw_runtime_last_inference_timestamp_seconds"
_READ: Final = (
    *(f"{name}_{part}" for name in (_REQUESTS, _STAGES, _BATCHES) for part in ("count", "sum")),
    _LAST,
)
# The protocol's stages, as the sums of ours.
_COMPUTE: Final = {
    "queue": ("queue",),
    "compute_input": ("validate", "preprocess"),
    "compute_infer": ("infer",),
    "compute_output": ("format",),
}
# By name and the one label that is neither the model's name nor its version.
Samples = Mapping[tuple[str, str], float]
Duration = dict[str, int]


def build_statistics(
    registry: CollectorRegistry, models: Sequence[ServedModel]
) -> list[dict[str, Any]]:
    """Return what the models have done since the process started; times are nanoseconds.

    `success` and `fail` count requests, the stages count images; there is no cache.
    """
    samples = _read(registry)
    return [_describe(model, samples[model.name, model.version]) for model in models]


def _describe(model: ServedModel, samples: Samples) -> dict[str, Any]:
    batches = _list_batches(samples)
    return {
        "name": model.name,
        "version": model.version,
        "last_inference": int(samples.get((_LAST, ""), 0.0) * 1000),
        "inference_count": int(samples.get((f"{_STAGES}_count", "format"), 0.0)),
        "execution_count": sum(batch["compute_infer"]["count"] for batch in batches),
        "inference_stats": {
            "success": _sum_up(samples, _REQUESTS, ("2xx",)),
            "fail": _sum_up(samples, _REQUESTS, ("4xx", "5xx")),
            **{name: _sum_stages(samples, parts) for name, parts in _COMPUTE.items()},
            "cache_hit": _duration(0, 0),
            "cache_miss": _duration(0, 0),
        },
        "batch_stats": batches,
    }


def _read(registry: CollectorRegistry) -> Mapping[tuple[str, str], Samples]:
    """Return the samples of the metrics above by model and version."""
    found: dict[tuple[str, str], dict[tuple[str, str], float]] = defaultdict(dict)
    for metric in registry.restricted_registry(_READ).collect():
        for sample in metric.samples:
            labels = dict(sample.labels)
            model = labels.pop("model"), labels.pop("version")
            found[model][sample.name, "".join(labels.values())] = sample.value
    return found


def _sum_stages(samples: Samples, stages: tuple[str, ...]) -> Duration:
    # Every image passes all parts of a stage that it enters: the last one counts those done.
    count = samples.get((f"{_STAGES}_count", stages[-1]), 0.0)
    return _duration(count, sum(samples.get((f"{_STAGES}_sum", stage), 0.0) for stage in stages))


def _sum_up(samples: Samples, name: str, labels: tuple[str, ...]) -> Duration:
    count, seconds = (
        sum(samples.get((f"{name}_{part}", label), 0.0) for label in labels)
        for part in ("count", "sum")
    )
    return _duration(count, seconds)


def _list_batches(samples: Samples) -> list[dict[str, Any]]:
    sizes = sorted(int(size) for name, size in samples if name == f"{_BATCHES}_count")
    return [
        {
            "batch_size": size,
            "compute_input": _duration(0, 0),
            "compute_infer": _sum_up(samples, _BATCHES, (str(size),)),
            "compute_output": _duration(0, 0),
        }
        for size in sizes
    ]


def _duration(count: float, seconds: float) -> Duration:
    return {"count": int(count), "ns": int(seconds * 1e9)}
