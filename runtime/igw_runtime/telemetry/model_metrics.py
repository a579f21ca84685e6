"""The metrics of models: what each one is, and what it has done.

The seed's metrics know a model by its name; ours by name and version, so that several versions
in one process can be told apart. Labels are looked up once for each model, not for each image.
"""

import threading
from collections.abc import Mapping
from typing import Final

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, Summary

from igw_runtime.models.served import ServedModel
from igw_runtime.telemetry.names import OTHER

IMAGE_STAGES: Final = ("queue", "validate", "preprocess", "infer", "format")
STATUSES: Final = ("2xx", "4xx", "5xx")
INFERENCE_BUCKETS: Final = (
    *(0.0025, 0.005, 0.01, 0.015, 0.02, 0.03, 0.04, 0.05, 0.075, 0.1),
    *(0.15, 0.2, 0.25, 0.3, 0.5, 1.0, 2.5),
)
STAGE_BUCKETS: Final = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0)
CONFIDENCE_BUCKETS: Final = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.99, 1.0)
_OURS: Final = ("model", "version")


class ModelMetrics:
    """The declared metrics, shared by all models of the process."""

    def __init__(self, registry: CollectorRegistry, class_limit: int) -> None:
        self._registry = registry
        self._classes: set[str] = set()
        self._class_limit = class_limit
        self._lock = threading.Lock()
        self._meters: dict[ServedModel, ModelMeter] = {}
        self._declare_seed()
        self._declare_own()
        self.read_seconds = self.stage_seconds.labels("", "", "read")
        """Reading a body, which may come before anybody knows whom it is for."""

    def _declare_seed(self) -> None:
        self.predictions = Counter(
            "model_predictions_total",
            "Answers by predicted class; classes over the limit count as _other.",
            ["model", "prediction_class"],
            registry=self._registry,
        )
        self.inference_seconds = Histogram(
            "model_inference_duration_seconds",
            "Time of the forward pass alone.",
            ["model"],
            buckets=INFERENCE_BUCKETS,
            registry=self._registry,
        )
        self.confidence = Histogram(
            "model_prediction_confidence",
            "Softmax probability of the predicted class.",
            ["model"],
            buckets=CONFIDENCE_BUCKETS,
            registry=self._registry,
        )
        self._memory_bytes = Gauge(
            "model_memory_usage_bytes",
            "Resident memory that loading and warming the model took.",
            ["model"],
            registry=self._registry,
        )

    def _declare_own(self) -> None:
        self.stage_seconds = Histogram(
            "igw_runtime_stage_duration_seconds",
            "Time of each stage of an answered request; reading belongs to no model.",
            [*_OURS, "stage"],
            buckets=STAGE_BUCKETS,
            registry=self._registry,
        )
        self.request_seconds = Summary(
            "igw_runtime_model_request_duration_seconds",
            "Time of the requests for a model, by status class.",
            [*_OURS, "status"],
            registry=self._registry,
        )
        self.batch_seconds = Summary(
            "igw_runtime_batch_inference_seconds",
            "Time of forward passes by how many images they had.",
            [*_OURS, "size"],
            registry=self._registry,
        )
        self.last_inference = Gauge(
            "igw_runtime_last_inference_timestamp_seconds",
            "When the last forward pass ended, in seconds since the epoch; 0 before the first.",
            _OURS,
            registry=self._registry,
        )
        self._info = Gauge(
            "igw_runtime_model_info",
            "A model that is served, and how it is truly run.",
            [*_OURS, "precision", "engine", "device", "weights"],
            registry=self._registry,
        )
        self._max_batch = Gauge(
            "igw_runtime_max_batch",
            "Images that one forward pass takes at most.",
            _OURS,
            registry=self._registry,
        )
        self._swept_seconds = Gauge(
            "igw_runtime_batch_sweep_seconds_per_image",
            "What the start-up sweep measured, by size of batch; nothing without a sweep.",
            [*_OURS, "size"],
            registry=self._registry,
        )

    def show(self, model: ServedModel, swept: Mapping[int, float] | None = None) -> None:
        """Publish once what is served, and how long its batches took; create its series at zero."""
        self.meter(model)
        # Versions of one name share the series.
        self._memory_bytes.labels(model.name).inc(model.memory_bytes)
        self._max_batch.labels(model.name, model.version).set(model.max_batch)
        self._info.labels(
            model=model.name,
            version=model.version,
            precision=model.precision,
            engine=model.engine,
            device=model.device,
            weights=model.weights,
        ).set(1)
        for size, seconds in (swept or {}).items():
            self._swept_seconds.labels(model.name, model.version, str(size)).set(seconds)

    def meter(self, model: ServedModel) -> "ModelMeter":
        """Return what counts for this model."""
        meter = self._meters.get(model)
        if meter is None:
            meter = self._meters.setdefault(model, ModelMeter(self, model))
        return meter

    def limit_classes(self, limit: int) -> None:
        """Change how many classes have series of their own; those that have one keep it."""
        self._class_limit = limit

    def bound_class(self, label: str) -> str:
        """Return the class, or what all classes over the limit count as."""
        with self._lock:
            if label not in self._classes and len(self._classes) < self._class_limit:
                self._classes.add(label)
            return label if label in self._classes else OTHER


class ModelMeter:
    """One model's series."""

    def __init__(self, metrics: ModelMetrics, model: ServedModel) -> None:
        own = (model.name, model.version)
        self._metrics = metrics
        self._own = own
        self._name = model.name
        self._stages = {each: metrics.stage_seconds.labels(*own, each) for each in IMAGE_STAGES}
        self._requests = {each: metrics.request_seconds.labels(*own, each) for each in STATUSES}
        self._inference = metrics.inference_seconds.labels(model.name)
        self._confidence = metrics.confidence.labels(model.name)
        self._last_inference = metrics.last_inference.labels(*own)
        self._batches: dict[int, Summary] = {}

    def observe_stage(self, stage: str, seconds: float) -> None:
        """Count one image's stage."""
        self._stages[stage].observe(seconds)

    def count_request(self, status: str, seconds: float) -> None:
        """Count one request, by the class of its status."""
        self._requests[status].observe(seconds)

    def count_inference(self, images: int, seconds: float) -> None:
        """Count one forward pass."""
        self._inference.observe(seconds)
        batch = self._batches.get(images)
        if batch is None:
            batch = self._metrics.batch_seconds.labels(*self._own, str(images))
            self._batches[images] = batch
        batch.observe(seconds)
        self._last_inference.set_to_current_time()

    def count_prediction(self, label: str, confidence: float) -> None:
        """Count one answer, folding classes over the limit into one."""
        self._metrics.predictions.labels(self._name, self._metrics.bound_class(label)).inc()
        self._confidence.observe(confidence)
