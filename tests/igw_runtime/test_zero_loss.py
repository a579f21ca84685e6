"""Replicas come and go under a load that does not wait for them: every request gets its answer.

Real processes behind a Service on loopback, whose list of endpoints follows a second late, as it
does in a cluster. `tests/e2e/test_zero_loss.py` is the same on a node.
"""

import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Final

import pytest

from bench.load import Load, Report
from bench.sending import Running, running
from runtime_kit.colours import RED, picture, write_package
from runtime_kit.process import ServerProcess, a_server, wait_until
from runtime_kit.service import LocalService, a_service

pytestmark = [pytest.mark.integration, pytest.mark.timeout(120)]
SETTINGS: Final = {"model": {"name": "colours"}, "serving": {"drainSeconds": 2}}
# From the deletion of a pod until the last node sends it no new connection.
LATE_SECONDS: Final = 1.0
ROUNDS: Final = 3
# Until those who send rarely have used a connection more than once.
WARM_UP_SECONDS: Final = 5.0
# The last has connections that are unused for half a second at a time.
SENDERS: Final = {"new": (30, 1.0), "kept": (30, 0.0), "rarely used": (2, 0.0)}


class Replicas:
    """Server processes of one gateway, behind its Service."""

    def __init__(self, folder: Path, models: Path, service: LocalService) -> None:
        self._folder = folder
        self._models = models
        self._service = service
        self._stack = ExitStack()
        self._made = 0
        self.listed: list[ServerProcess] = []

    def start(self, *, ready: bool = True) -> ServerProcess:
        """Start one; once it is ready the Service knows of it."""
        self._made += 1
        folder = self._folder / str(self._made)
        folder.mkdir()
        server = self._stack.enter_context(a_server(folder, self._models, SETTINGS, ready=ready))
        if ready:
            self._list([*self.listed, server])
        return server

    def end(self, server: ServerProcess) -> None:
        """Tell one to go, as a kubelet does; the Service hears of it later."""
        server.process.terminate()
        time.sleep(LATE_SECONDS)
        self._list([it for it in self.listed if it is not server])
        assert server.process.wait(20) == 0

    def kill_all(self) -> None:
        """End whatever is left."""
        self._stack.close()

    def _list(self, servers: list[ServerProcess]) -> None:
        self.listed = servers
        self._service.set_endpoints(*(it.port for it in servers))


@pytest.fixture
def replicas(tmp_path: Path) -> Iterator[Replicas]:
    """Two replicas that serve."""
    write_package(tmp_path / "models" / "colours")
    with a_service() as service:
        replicas = Replicas(tmp_path, tmp_path / "models", service)
        replicas.start()
        replicas.start()
        yield replicas
        replicas.kill_all()


@contextmanager
def sending(replicas: Replicas) -> Iterator[dict[str, Running]]:
    """Send within the block, on new connections, on kept ones, and on rarely used ones."""
    with ExitStack() as stack:
        yield {
            name: stack.enter_context(
                running(
                    Load(
                        url=replicas._service.url,
                        bodies=[picture(RED)],
                        headers={"Content-Type": "image/png"},
                        rate=rate,
                        seconds=100,
                        seed=number,
                        fresh_ratio=fresh,
                    )
                )
            )
            for number, (name, (rate, fresh)) in enumerate(SENDERS.items())
        }


def check_all_answered(reports: dict[str, Report]) -> None:
    """Nothing failed, and what was to be shown was shown."""
    assert {name: it.faults for name, it in reports.items()} == {name: {} for name in SENDERS}
    assert not any(it.reused for it in reports["new"].samples)
    reused = {name: sum(it.reused for it in report.samples) for name, report in reports.items()}
    assert reused["kept"] > len(reports["kept"].samples) / 2
    assert reused["rarely used"], "of the few that it sends, each replica's end costs one"


def test_rolling_restart_loses_nothing(replicas: Replicas) -> None:
    """One after the other is replaced, each while the Service still sends it new clients."""
    with sending(replicas) as senders:
        for _ in range(ROUNDS):
            replicas.start()
            replicas.end(replicas.listed[0])
        reports = {name: it.stop() for name, it in senders.items()}

    check_all_answered(reports)
    assert sum(len(it.samples) for it in reports.values()) > 500


def test_scaling_down_to_one_loses_nothing(replicas: Replicas) -> None:
    """The one that stays takes over; one that was never ready goes without a word."""
    with sending(replicas) as senders:
        unborn = replicas.start(ready=False)
        wait_until(lambda: unborn.get("/health")[0] == 200)
        time.sleep(WARM_UP_SECONDS)
        unborn.process.terminate()
        replicas.end(replicas.listed[0])
        assert unborn.process.wait(10) == 0
        reports = {name: it.stop() for name, it in senders.items()}

    check_all_answered(reports)
