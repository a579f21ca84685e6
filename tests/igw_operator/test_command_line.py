from pathlib import Path

import pytest
import yaml

from factories import RUNTIME_IMAGE, gateway_manifest
from igw_operator import conventions
from igw_operator.__main__ import main
from igw_operator.offline import build_runtime

Capture = pytest.CaptureFixture[str]


@pytest.fixture
def write(tmp_path: Path) -> "Write":
    """A writer of files in a folder of their own."""
    return Write(tmp_path)


class Write:
    """Writes manifests to files."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def __call__(self, *manifests: object, name: str = "gateway.yaml") -> str:
        path = self._folder / name
        path.write_text(yaml.safe_dump_all(manifests))
        return str(path)


def test_render_prints_every_child(write: Write, capsys: Capture) -> None:
    """As a YAML stream, with the image that was given and no ownerReference."""
    file = write(gateway_manifest())
    assert main(["render", "-f", file, "--runtime-image", RUNTIME_IMAGE]) == 0
    children = list(yaml.safe_load_all(capsys.readouterr().out))
    by_kind = {child["kind"]: child for child in children}
    assert {"Deployment", "Service", "PrometheusRule", "ServiceMonitor"} <= by_kind.keys()
    assert all("ownerReferences" not in child["metadata"] for child in children)


def test_render_takes_the_runtime_from_a_file(write: Write, capsys: Capture) -> None:
    """The same file or another one."""
    both = write(gateway_manifest(), build_runtime("example.org/x:1.0.0"))
    assert main(["render", "-f", both]) == 0
    runtime = write(build_runtime("example.org/x:1.0.0"), name="runtime.yaml")
    assert main(["render", "-f", write(gateway_manifest()), "--runtime", runtime]) == 0
    assert capsys.readouterr().out.count("image: example.org/x:1.0.0") == 2


def test_openslo_prints_the_objectives(write: Write, capsys: Capture) -> None:
    """Of every gateway in the files; other objects are passed over."""
    file = write(gateway_manifest("photos"), gateway_manifest("cats"), build_runtime("x:1"))
    assert main(["openslo", "-f", file]) == 0
    documents = list(yaml.safe_load_all(capsys.readouterr().out))
    assert {it["apiVersion"] for it in documents} == {"openslo/v1"}
    assert [it["metadata"]["name"] for it in documents if it["kind"] == "SLO"] == [
        "demo-photos-availability",
        "demo-photos-latency",
        "demo-cats-availability",
        "demo-cats-latency",
    ]


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        pytest.param(["render", "-f", "{gateway}"], "--runtime-image", id="no image"),
        pytest.param(["render", "-f", "nowhere.yaml"], "nowhere.yaml: No such file", id="no file"),
        pytest.param(["render", "-f", "{text}"], "line 2: is no YAML", id="no YAML"),
        pytest.param(["openslo", "-f", "{runtime}"], "no InferenceGateway", id="no gateway"),
        pytest.param(["validate", "-f", "{other}"], "holds no InferenceGateway", id="nothing ours"),
    ],
)
def test_bad_input_is_told_in_one_line(
    arguments: list[str], says: str, write: Write, tmp_path: Path, capsys: Capture
) -> None:
    """The line names the file or the option."""
    (tmp_path / "text.yaml").write_text("a: [\n}")
    places = {
        "gateway": write(gateway_manifest()),
        "text": str(tmp_path / "text.yaml"),
        "other": write({"kind": "Pod"}, name="other.yaml"),
        "runtime": write(build_runtime("x:1"), name="runtime.yaml"),
    }
    assert main([argument.format(**places) for argument in arguments]) == 2
    error = capsys.readouterr().err
    assert says in error
    assert len(error.splitlines()) == 1


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        pytest.param([], "COMMAND", id="no command"),
        pytest.param(["dance"], "dance", id="an unknown command"),
        pytest.param(["run", "--metrics-port", "http"], "'http' is no port", id="no port"),
        pytest.param(["render"], "-f/--file", id="no file"),
    ],
)
def test_a_bad_command_line_is_told_in_one_line(
    arguments: list[str], says: str, capsys: Capture
) -> None:
    """No page of usage."""
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    assert ended.value.code == 2
    error = capsys.readouterr().err
    assert says in error
    assert len(error.splitlines()) == 1


def test_validate_is_content_with_a_good_file(write: Write, capsys: Capture) -> None:
    """It says so for each resource."""
    file = write(gateway_manifest(), build_runtime(RUNTIME_IMAGE))
    assert main(["validate", "-f", file]) == 0
    assert capsys.readouterr().out.splitlines() == [
        f"{file}: InferenceGateway photos: valid",
        f"{file}: InferenceRuntime default: valid",
    ]


def test_validate_tells_everything_that_is_wrong(write: Write, capsys: Capture) -> None:
    """Each error in a line with its file and field, of every file, and exit code 1."""
    bad = write(
        gateway_manifest("9lives", replicas=-1, slo={"latency": {"threshold": "300"}}),
        gateway_manifest(scaling={"minReplicas": 5, "maxReplicas": 2}),
    )
    good = write(gateway_manifest(), name="good.yaml")
    assert main(["validate", "-f", bad, good]) == 1
    captured = capsys.readouterr()
    lines = captured.err.splitlines()
    assert all(line.startswith(bad) for line in lines)
    for path in ("metadata.name", "spec.replicas", "spec.slo.latency.threshold", "spec.scaling"):
        assert any(path in line for line in lines), path
    assert captured.out == f"{good}: InferenceGateway photos: valid\n"


def test_validate_reads_standard_input(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: Capture
) -> None:
    """As kubectl does, for ``-``."""
    file = tmp_path / "in.yaml"
    file.write_text(yaml.safe_dump(gateway_manifest()))
    with file.open() as stream:
        monkeypatch.setattr("sys.stdin", stream)
        assert main(["validate", "-f", "-"]) == 0
    assert "valid" in capsys.readouterr().out


def test_crds_prints_both(capsys: Capture) -> None:
    """For `kubectl apply -f -`."""
    assert main(["crds"]) == 0
    printed = list(yaml.safe_load_all(capsys.readouterr().out))
    assert [it["spec"]["names"]["kind"] for it in printed] == [
        conventions.GATEWAY_KIND,
        conventions.RUNTIME_KIND,
    ]


def test_run_without_a_cluster_says_where_it_looked(capsys: Capture) -> None:
    """One line, no traceback."""
    assert main(["run", "--kubeconfig", "/nonexistent", "--no-lease"]) == 1
    assert "/nonexistent" in capsys.readouterr().err.splitlines()[-1]
