from collections.abc import Callable
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry, generate_latest

from igw_runtime.serving.cpu import CpuBudget
from igw_runtime.settings import MetricsSettings
from igw_runtime.telemetry.metrics import CpuCollector, Metrics
from runtime_kit.colours import SERVED

SEED_BUCKETS = [
    "0.005",
    "0.1",
    "0.15",
    "0.2",
    "0.25",
    "0.3",
    "0.4",
    "0.5",
    "0.75",
    "1.0",
    "1.5",
    "2.5",
    "5.0",
    "10.0",
]


@pytest.fixture
def metrics() -> Metrics:
    """Return metrics with a model shown."""
    built = Metrics(MetricsSettings())
    built.models.show(SERVED)
    return built


def render(metrics: Metrics) -> str:
    """Return the exposition text."""
    return generate_latest(metrics.registry).decode()


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("http_requests_total", "counter"),
        ("http_request_duration_seconds", "histogram"),
        ("model_predictions_total", "counter"),
        ("model_inference_duration_seconds", "histogram"),
        ("model_prediction_confidence", "histogram"),
        ("inference_queue_size", "gauge"),
        ("model_memory_usage_bytes", "gauge"),
    ],
)
def test_seed_metrics_exist_by_exact_name_and_type(metrics: Metrics, name: str, kind: str) -> None:
    """Dashboards and SLO rules name these; they may not be renamed."""
    assert f"# TYPE {name} {kind}\n" in render(metrics)


@pytest.mark.parametrize("status", ["2xx", "4xx", "5xx"])
@pytest.mark.parametrize(
    "endpoint",
    [
        "/predict",
        "/v2/models/{model}/infer",
        "/v2/models/{model}/versions/{version}/infer",
    ],
)
def test_inference_series_exist_before_the_first_request(
    metrics: Metrics, endpoint: str, status: str
) -> None:
    """The first error is an increase from zero, which `rate()` sees."""
    labels = {"method": "POST", "endpoint": endpoint, "status": status}

    assert metrics.registry.get_sample_value("http_requests_total", labels) == 0
    count = "http_request_duration_seconds_count"
    assert metrics.registry.get_sample_value(count, labels) == 0


@pytest.mark.parametrize("bound", SEED_BUCKETS)
def test_default_buckets_hold_the_usual_thresholds(metrics: Metrics, bound: str) -> None:
    """An SLO at a usual threshold needs no new bucket."""
    assert f'http_request_duration_seconds_bucket{{endpoint="/predict",le="{bound}"' in render(
        metrics
    )


def test_threshold_of_the_settings_becomes_a_bucket() -> None:
    """An SLO at an unusual threshold is measurable from the start."""
    assert 'le="0.123"' in render(Metrics(MetricsSettings(latencyBucketsSeconds=[0.123])))


def test_no_created_series(metrics: Metrics) -> None:
    """Half of the series would be noise."""
    assert "_created" not in render(metrics)


def test_prediction_classes_are_bounded(metrics: Metrics) -> None:
    """Classes beyond the limit share one series; known ones keep theirs; the limit is live."""
    read = read_prediction(metrics)
    metrics.apply(MetricsSettings(maxPredictionClasses=2))
    for label in ("cat", "dog", "bird", "cat", "fish"):
        metrics.models.meter(SERVED).count_prediction(label, 0.5)

    assert (read("cat"), read("dog"), read("bird"), read("_other")) == (2, 1, None, 2)

    metrics.apply(MetricsSettings(maxPredictionClasses=3))
    metrics.models.meter(SERVED).count_prediction("bird", 0.5)
    assert read("bird") == 1


def read_prediction(metrics: Metrics) -> Callable[[str], float | None]:
    """Return a reader of one class's count."""

    def read(label: str) -> float | None:
        return metrics.registry.get_sample_value(
            "model_predictions_total", {"model": "colours", "prediction_class": label}
        )

    return read


def test_live_hash_has_one_series(metrics: Metrics) -> None:
    """The operator sees which settings are in force, and only those."""
    metrics.show_live_hash("aaaa")
    metrics.show_live_hash("bbbb")

    assert 'igw_runtime_live_settings_info{hash="bbbb"} 1.0' in render(metrics)
    assert "aaaa" not in render(metrics)


def test_model_info_names_the_true_precision_and_weights(metrics: Metrics) -> None:
    """What is really served can be queried."""
    assert (
        'igw_runtime_model_info{device="cpu",engine="openvino",model="colours",'
        'precision="fp32",version="1",weights="custom"} 1.0'
    ) in render(metrics)


def test_cpu_collector_reports_quota_and_throttling(tmp_path: Path) -> None:
    """Throttling, the usual reason for odd latency, is in the scrape."""
    stat = tmp_path / "cpu.stat"
    stat.write_text("nr_throttled 3\nthrottled_usec 2500000\n")
    registry = CollectorRegistry()
    registry.register(
        CpuCollector(CpuBudget(threads=2, quota_cores=1.5, limited=True, stat_path=stat))
    )

    assert registry.get_sample_value("igw_runtime_cpu_quota_cores") == 1.5
    assert registry.get_sample_value("igw_runtime_cpu_throttled_seconds_total") == 2.5
