"""The load of a pod in the cluster, as far as that goes without one: all but kubectl."""

import os
import signal
import subprocess
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import bench.load as generator
from bench.load import Load, Report
from harness.client import LOAD
from harness.shell import wait_for


class _Counting(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    seen = 0

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        type(self).seen += 1
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_: Any) -> None:
        pass


def test_generator_comes_by_its_own_input_and_ends_when_told() -> None:
    """First its number as a process, then that it began; all that it sent is in its report."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Counting)
    Thread(target=server.serve_forever, daemon=True).start()
    url = f"http://127.0.0.1:{server.server_port}/"
    source = Path(generator.__file__).read_text()
    plan = Load(url=url, bodies=[b"x"], rate=100, seconds=60).to_json()
    process = subprocess.Popen(
        [sys.executable, "-c", LOAD], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdin
    assert process.stdout
    process.stdin.write(f"{len(source)}\n{source}{plan}\n")
    process.stdin.flush()
    number = int(process.stdout.readline())
    assert process.stdout.readline()
    wait_for("ten requests", lambda: _Counting.seen >= 10, timeout_seconds=20, every_seconds=0.05)
    os.kill(number, signal.SIGTERM)
    *_, last = process.stdout.read().splitlines()
    process.wait(10)
    process.stdin.close()
    process.stdout.close()
    server.shutdown()
    server.server_close()
    report = Report.from_json(last)

    assert number == process.pid
    assert len(report.samples) == _Counting.seen >= 10
    assert report.faults == {}
