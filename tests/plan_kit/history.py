"""A Prometheus server with months behind it, for queries that promtool's tests cannot hold.

``promtool test rules`` stops at 10,000 samples a query and begins in 1970; here the samples are
written into blocks first, and each query names its time.
"""

from __future__ import annotations

import json
import socket
import subprocess
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

DEADLINE_SECONDS = 30


@dataclass(frozen=True)
class Sample:
    """One sample of a series, the series in PromQL's own notation."""

    series: str
    at: float
    value: float


class History:
    """What the server answers."""

    def __init__(self, address: str) -> None:
        self._address = address

    def ask(self, query: str, at: datetime) -> list[float]:
        """The values that a query has at a time, of all its series."""
        parameters = urllib.parse.urlencode({"query": query, "time": at.timestamp()})
        url = f"http://{self._address}/api/v1/query?{parameters}"
        with urllib.request.urlopen(url, timeout=30) as answer:
            found: Any = json.load(answer)["data"]["result"]
        return [float(each["value"][1]) for each in found]


@contextmanager
def serve_history(
    prometheus: str, promtool: str, folder: Path, samples: Iterable[Sample]
) -> Iterator[History]:
    """A server of its own that has these samples and no others."""
    _write_blocks(promtool, folder, samples)
    (folder / "prometheus.yaml").write_text("global: {}")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{free.getsockname()[1]}"
    command = [
        prometheus,
        f"--config.file={folder / 'prometheus.yaml'}",
        f"--storage.tsdb.path={folder / 'data'}",
        "--storage.tsdb.retention.time=100y",
        f"--web.listen-address={address}",
    ]
    with (folder / "log").open("w") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log)
    try:
        _wait_for(f"http://{address}/-/ready", folder / "log")
        yield History(address)
    finally:
        process.terminate()
        process.wait(timeout=DEADLINE_SECONDS)


def _write_blocks(promtool: str, folder: Path, samples: Iterable[Sample]) -> None:
    by_series: dict[str, list[str]] = {}
    for each in samples:
        line = f"{each.series} {each.value!r} {each.at!r}"
        by_series.setdefault(each.series, []).append(line)
    lines = [line for series in sorted(by_series) for line in by_series[series]]
    (folder / "samples.txt").write_text("\n".join([*lines, "# EOF", ""]))
    subprocess.run(
        # Of one file it makes a block of two hours in each pass, unless it may make longer ones.
        [promtool, "tsdb", "create-blocks-from", "--max-block-duration=768h", "openmetrics",
         folder / "samples.txt", folder / "data"],
        check=True,
        capture_output=True,
    )  # fmt: skip


def _wait_for(url: str, log: Path) -> None:
    deadline = time.monotonic() + DEADLINE_SECONDS
    while True:
        try:
            with urllib.request.urlopen(url, timeout=5):  # noqa: S310 - always http
                return
        except (urllib.error.URLError, OSError):
            assert time.monotonic() < deadline, log.read_text()
            time.sleep(0.1)
