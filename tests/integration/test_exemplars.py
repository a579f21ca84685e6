"""From a dashboard to a trace: a real Prometheus, and the runtime's own metrics page."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import prometheus_client
import pytest

from harness.dashboards.asked import Asked
from harness.dashboards.every import dashboards
from igw_runtime.settings import MetricsSettings
from igw_runtime.telemetry.metrics import Metrics
from integration.cluster import wait_for
from integration.prometheus_process import PrometheusProcess, scrape_job

pytestmark = pytest.mark.integration

SLOW = "4bf92f3577b34da6a3ce929d0e0e4736"
FAILED = "0af7651916cd43dd8448eb211c80319c"
# Panels of the gateway's dashboard, and whose trace their dots lead to.
LEADS_TO = {"Latency of answers": SLOW, "Latencies": SLOW, "Time to fail": FAILED}
GATEWAY = {"namespace": "demo", "gateway": "photos"}


@pytest.fixture
def prometheus(tmp_path: Path) -> Iterator[PrometheusProcess]:
    """It keeps exemplars, as that of manifests/monitoring does."""
    process = PrometheusProcess(tmp_path, "exemplar-storage")
    process.start()
    yield process
    process.kill()


@pytest.fixture
def runtime() -> Iterator[int]:
    """Port of the metrics of a runtime that had a slow and a failed request, both traced."""
    metrics = Metrics(MetricsSettings())
    for status, trace in (("2xx", SLOW), ("5xx", FAILED)):
        exemplar = {"trace_id": trace}
        metrics.request_seconds.observe(1.2, "POST", "/predict", status, exemplar=exemplar)
    server, thread = prometheus_client.start_http_server(
        0, addr="127.0.0.1", registry=metrics.registry
    )
    yield server.server_port
    server.shutdown()
    server.server_close()
    thread.join()


def test_the_latency_panels_lead_to_the_traces_of_slow_and_failed_requests(
    prometheus: PrometheusProcess, runtime: int
) -> None:
    """Grafana asks for the exemplars of the panel's own query; a record would have none."""
    prometheus.configure([scrape_job("photos", runtime, **GATEWAY)], [])
    (dashboard,) = (it for it in dashboards() if it.uid == "igw-gateway")
    asked = {
        panel.title: Asked(place=panel.title, expression=query.expression).fill(GATEWAY)
        for panel in dashboard.panels()
        for query in panel.queries
        if query.exemplars and "http_request" in query.expression
    }
    assert asked.keys() == LEADS_TO.keys()
    for title, promql in asked.items():
        wait_for(lambda promql=promql: prometheus.exemplars(promql), f"the dots of {title}")  # type: ignore[misc]
        (found,) = prometheus.exemplars(promql)
        assert found["labels"] == {"trace_id": LEADS_TO[title]}
