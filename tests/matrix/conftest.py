"""The stages of the fault matrix, and its table, which the run itself writes.

The matrix takes many minutes, so it runs where it is asked for: by `-m matrix` or by path.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import pytest

from matrix.rig import Rig, a_rig
from matrix.table import Table
from node_parts import need_parts

_TABLE: Final = pytest.StashKey[Table]()
_HERE: Final = Path(__file__).parent
_TOOLS: Final = (
    "etcd",
    "kubernetes",
    "prometheus-operator",
    "gateway-api",
    "keda",
    "opentelemetry-operator",
    "kwok",
)
# The longest single case: start, a fault of some dozens of seconds, recovery, a shared machine.
_TIMEOUT_SECONDS: Final = 420


def pytest_configure(config: pytest.Config) -> None:
    """Know the mark that says which row of the matrix a test belongs to."""
    config.addinivalue_line(
        "markers", "case(number, oracles): the row of the fault matrix, and what it is judged by"
    )
    config.stash[_TABLE] = Table()


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Leave the matrix out of runs that did not ask for it."""
    asked = "matrix" in str(config.getoption("markexpr")) or any(
        "matrix" in it for it in config.args
    )
    return None if asked or collection_path == _HERE / "conftest.py" else True


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Every case needs time, and a row in the table."""
    if "long" not in str(config.getoption("markexpr")):
        # What takes a quarter of an hour is no part of any row that shorter runs write.
        items[:] = [item for item in items if item.get_closest_marker("long") is None]
    for item in items:
        if _HERE not in item.path.parents:
            continue
        item.add_marker(pytest.mark.matrix)
        is_long = item.get_closest_marker("long") is not None
        if item.get_closest_marker("timeout") is None:
            item.add_marker(pytest.mark.timeout(_TIMEOUT_SECONDS * (4 if is_long else 1)))
        case = item.get_closest_marker("case")
        if case is not None:
            config.stash[_TABLE].expect(case.args[0], item.nodeid)
            item.user_properties.append(("case", case.args[0]))
            item.user_properties.append(("oracles", case.args[1]))


@pytest.fixture(scope="session", autouse=True)
def _parts() -> None:
    need_parts(*_TOOLS)


def pytest_deselected(items: list[pytest.Item]) -> None:
    """Say nothing about a case of which a part was left out."""
    for item in items:
        for case in item.iter_markers("case"):
            Table.current().forget(case.args[0])


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    """Remember how a case ended."""
    Table.current().take(report)


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Write the table, or hand it in; part of the matrix is no reason to change a file."""
    table = session.config.stash[_TABLE]
    if hasattr(session.config, "workeroutput"):
        session.config.workeroutput["matrix"] = table.pack()
    else:
        table.write()


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any) -> None:
    """A worker of xdist is done: know what it had collected."""
    Table.current().unpack(getattr(node, "workeroutput", {}).get("matrix"))


@pytest.fixture(scope="session")
def still(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rig]:
    """A stage without controllers: only the operator and the test write."""
    with a_rig(tmp_path_factory.mktemp("still"), controllers=False) as rig:
        yield rig


@pytest.fixture(scope="session")
def lively(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rig]:
    """A stage with all controllers: garbage collection, autoscalers, namespaces that end."""
    with a_rig(tmp_path_factory.mktemp("lively"), controllers=True) as rig:
        yield rig


@pytest.fixture(scope="session")
def equipped(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rig]:
    """A stage with every optional API, and as strict about owners as OpenShift."""
    folder = tmp_path_factory.mktemp("equipped")
    flag = "--enable-admission-plugins=NodeRestriction,OwnerReferencesPermissionEnforcement"
    with a_rig(folder, controllers=False, everything=True, flags=[flag]) as rig:
        yield rig


@pytest.fixture(autouse=True)
def _fit_operator(request: pytest.FixtureRequest) -> None:
    """A case begins with an operator that watches, whatever became of it in the last one."""
    for stage in {"still", "lively", "equipped"} & set(request.fixturenames):
        rig: Rig = request.getfixturevalue(stage)
        if not rig.operator.is_healthy():
            rig.operator.kill()
            rig.operator.start()
