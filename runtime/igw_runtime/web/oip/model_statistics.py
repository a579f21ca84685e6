"""The statistics extension, read from the metrics: the same numbers are never counted twice.

https://docs.nvidia.com/deeplearning/triton-inference-server/user-guide/docs/protocol/extension_statistics.html
"""

from collections import defaultdict
from collections.abc import Callable, Mapping
from typing import Any, Final

from prometheus_client import CollectorRegistry

from igw_runtime.models.served import ServedModel
from igw_runtime.telemetry.metrics import INFERENCE_ENDPOINTS

_REQUESTS: Final = "http_request_duration_seconds"
_STAGES: Final = "igw_runtime_stage_duration_seconds"
_BATCHES: Final = "igw_runtime_batch_inference_seconds"
_FORWARD: Final = "model_inference_duration_seconds"
_IMAGES: Final = "model_prediction_confidence"
_LAST: Final = "igw_runtime_last_inference_timestamp_seconds"
# The protocol's stages, as the sums of ours.
_COMPUTE: Final = {
    "queue": ("queue",),
    "compute_input": ("validate", "preprocess"),
    "compute_infer": ("infer",),
    "compute_output": ("format",),
}
Samples = Mapping[tuple[str, tuple[str, ...]], float]
Duration = dict[str, int]


def build_statistics(registry: CollectorRegistry, model: ServedModel) -> dict[str, Any]:
    """Return what the model has done since the process started; times are nanoseconds.

    `success` and `fail` count requests, the stages count images; there is no cache.
    """
    samples = _read(registry)
    stages = {name: _sum_stages(samples, parts) for name, parts in _COMPUTE.items()}
    return {
        "name": model.name,
        "version": model.version,
        "last_inference": int(samples.get((_LAST, ()), 0.0) * 1000),
        "inference_count": int(samples.get((f"{_IMAGES}_count", (model.name,)), 0.0)),
        "execution_count": int(samples.get((f"{_FORWARD}_count", (model.name,)), 0.0)),
        "inference_stats": {
            "success": _sum_requests(samples, lambda status: status == "2xx"),
            "fail": _sum_requests(samples, lambda status: status != "2xx"),
            **stages,
            "cache_hit": _duration(0, 0),
            "cache_miss": _duration(0, 0),
        },
        "batch_stats": _list_batches(samples),
    }


def _read(registry: CollectorRegistry) -> Samples:
    """Return the samples of the metrics above by name and label values."""
    suffixes = ("_count", "_sum")
    names = [
        name + end for name in (_REQUESTS, _STAGES, _BATCHES, _FORWARD, _IMAGES) for end in suffixes
    ]
    samples: dict[tuple[str, tuple[str, ...]], float] = defaultdict(float)
    for metric in registry.restricted_registry([*names, _LAST]).collect():
        for sample in metric.samples:
            samples[sample.name, tuple(sample.labels.values())] = sample.value
    return samples


def _sum_stages(samples: Samples, stages: tuple[str, ...]) -> Duration:
    # Every image passes all parts of a stage that it enters: the last one counts those done.
    count = samples.get((f"{_STAGES}_count", (stages[-1],)), 0.0)
    return _duration(count, sum(samples.get((f"{_STAGES}_sum", (stage,)), 0.0) for stage in stages))


def _sum_requests(samples: Samples, belongs: Callable[[str], bool]) -> Duration:
    totals = {"_count": 0.0, "_sum": 0.0}
    for (name, labels), value in samples.items():
        end = name.removeprefix(_REQUESTS)
        if end in totals and labels[1] in INFERENCE_ENDPOINTS and belongs(labels[2]):
            totals[end] += value
    return _duration(totals["_count"], totals["_sum"])


def _list_batches(samples: Samples) -> list[dict[str, Any]]:
    sizes = sorted(int(labels[0]) for name, labels in samples if name == f"{_BATCHES}_count")
    return [
        {
            "batch_size": size,
            "compute_input": _duration(0, 0),
            "compute_infer": _duration(
                samples[f"{_BATCHES}_count", (str(size),)],
                samples[f"{_BATCHES}_sum", (str(size),)],
            ),
            "compute_output": _duration(0, 0),
        }
        for size in sizes
    ]


def _duration(count: float, seconds: float) -> Duration:
    return {"count": int(count), "ns": int(seconds * 1e9)}
