"""A real Prometheus beside a private API server, and something for it to scrape.

What the Prometheus Operator would make of monitors and rules is written by the test: which
targets there are, with the labels that relabeling gives them, and the rules as they were
rendered, only evaluated more often.
"""

from __future__ import annotations

import itertools
import json
import os
import signal
import subprocess
import threading
import time
from collections.abc import Mapping, Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Self

import httpx
import yaml

from integration.cluster import Manifest, wait_for
from localnode.controlplane import free_port
from localnode.toolchain import binary_path
from localnode.versions import load_versions

_SECOND = "1s"


class PrometheusProcess:
    """Starts, configures and ends one Prometheus."""

    def __init__(self, folder: Path, *features: str) -> None:
        self._folder = folder
        self._features = features
        self._port = free_port()
        self._process: subprocess.Popen[bytes] | None = None
        self.log = folder / "prometheus.log"
        self.configure([], [])

    @property
    def url(self) -> str:
        """Where it answers."""
        return f"http://127.0.0.1:{self._port}"

    def configure(
        self,
        jobs: Sequence[Mapping[str, Any]],
        groups: Sequence[Mapping[str, Any]],
        alertmanagers: Sequence[str] = (),
    ) -> None:
        """Have it scrape these jobs and evaluate these rule groups, every second.

        ``alertmanagers`` are hosts with ports, to which it sends alerts.
        """
        rules = {"groups": [{**group, "interval": _SECOND} for group in groups]}
        (self._folder / "rules.yaml").write_text(yaml.safe_dump(rules))
        config = {
            "global": {"scrape_interval": _SECOND, "evaluation_interval": _SECOND},
            "rule_files": ["rules.yaml"],
            "scrape_configs": [self._discover(number, job) for number, job in enumerate(jobs)],
            "alerting": {"alertmanagers": [{"static_configs": [{"targets": list(alertmanagers)}]}]},
        }
        (self._folder / "prometheus.yaml").write_text(yaml.safe_dump(config))
        if self._process is not None:
            httpx.post(f"{self.url}/-/reload", trust_env=False, timeout=10).raise_for_status()

    def _discover(self, number: int, job: Mapping[str, Any]) -> Manifest:
        """The job with its targets in a file of their own.

        As a cluster's pods, they come and go without a reload: one that changes a job makes
        Prometheus forget to say that the targets are gone.
        """
        file = self._folder / f"targets-{number}.json"
        new = file.with_suffix(".new")
        new.write_text(json.dumps(job["static_configs"]))
        new.rename(file)
        rest = {key: value for key, value in job.items() if key != "static_configs"}
        return {**rest, "file_sd_configs": [{"files": [str(file)], "refresh_interval": _SECOND}]}

    def start(self) -> None:
        """Start it, and wait until it answers."""
        command = [
            str(binary_path(load_versions().tools["prometheus"], "prometheus")),
            f"--config.file={self._folder / 'prometheus.yaml'}",
            f"--storage.tsdb.path={self._folder / 'data'}",
            f"--web.listen-address=127.0.0.1:{self._port}",
            "--web.enable-lifecycle",
            "--log.level=warn",
            *(f"--enable-feature={feature}" for feature in self._features),
        ]
        environment = {"PATH": os.environ["PATH"]}
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(command, env=environment, stdout=log, stderr=log)
        wait_for(self._answers, "Prometheus to be ready", timeout_seconds=60)

    def kill(self) -> None:
        """End it, whether it runs or not."""
        if self._process is not None and self._process.poll() is None:
            self._process.send_signal(signal.SIGKILL)
            self._process.wait(timeout=20)
        self._process = None

    def query(self, promql: str) -> list[Manifest]:
        """The result of an instant query."""
        answer = httpx.get(
            f"{self.url}/api/v1/query", params={"query": promql}, trust_env=False, timeout=10
        )
        return list(answer.json()["data"]["result"])

    def alertmanagers(self) -> list[Manifest]:
        """Those that it sends alerts to."""
        answer = httpx.get(f"{self.url}/api/v1/alertmanagers", trust_env=False, timeout=10)
        return list(answer.json()["data"]["activeAlertmanagers"])

    def exemplars(self, promql: str) -> list[Manifest]:
        """The exemplars of the last minute, of all series that a query reads."""
        now = time.time()
        answer = httpx.get(
            f"{self.url}/api/v1/query_exemplars",
            params={"query": promql, "start": now - 60, "end": now + 1},
            trust_env=False,
            timeout=10,
        )
        return [it for series in answer.json()["data"] for it in series["exemplars"]]

    def _answers(self) -> bool:
        assert self._process is not None
        assert self._process.poll() is None, self.log.read_text()[-3000:]
        try:
            answer = httpx.get(f"{self.url}/-/ready", trust_env=False, timeout=2)
        except httpx.TransportError:
            return False
        return answer.status_code == 200


def scrape_job(name: str, port: int, **labels: str) -> dict[str, Any]:
    """A job with one target."""
    return {
        "job_name": name,
        "honor_labels": True,
        "static_configs": [{"targets": [f"127.0.0.1:{port}"], "labels": labels}],
    }


class StubRuntime:
    """A model server's metrics page: ten good requests more each time, and some bad ones."""

    def __init__(self) -> None:
        self.bad_requests = 0
        self.live_hash = ""
        """Digest of the live settings that it follows; empty: it does not say."""
        self._good = itertools.count(10, 10)
        self._started = time.time()
        stub = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                text = stub.render().encode()
                self.send_response(200)
                self.send_header("Content-Type", "text/plain; version=0.0.4")
                self.send_header("Content-Length", str(len(text)))
                self.end_headers()
                self.wfile.write(text)

            def log_message(self, *_: object) -> None:
                """Say nothing."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    @property
    def port(self) -> int:
        """Where it answers."""
        return int(self._server.server_address[1])

    def render(self) -> str:
        """The page."""
        good, labels = next(self._good), 'method="POST",endpoint="/predict"'
        histogram = "http_request_duration_seconds"
        lines = [
            "# TYPE http_requests_total counter",
            f'http_requests_total{{{labels},status="2xx"}} {good}',
            f'http_requests_total{{{labels},status="5xx"}} {self.bad_requests}',
            f"# TYPE {histogram} histogram",
            f'{histogram}_bucket{{{labels},status="2xx",le="0.3"}} {good}',
            f'{histogram}_bucket{{{labels},status="2xx",le="+Inf"}} {good}',
            f'{histogram}_count{{{labels},status="2xx"}} {good}',
            f'{histogram}_sum{{{labels},status="2xx"}} {good * 0.1}',
        ]
        lines.append(f"process_start_time_seconds {self._started}")
        if self.live_hash:
            lines.append(f'igw_runtime_live_settings_info{{hash="{self.live_hash}"}} 1')
        return "\n".join(lines) + "\n"
