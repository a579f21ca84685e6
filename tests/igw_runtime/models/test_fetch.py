"""Against a real HTTP server that cuts, lies, changes its mind and comes back."""

from __future__ import annotations

import hashlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from igw_runtime.errors import (
    InvalidSettingsError,
    ModelDigestMismatchError,
    ModelLoadFailedError,
    ModelNotFoundError,
)
from igw_runtime.models.fetch import FetchOrder, fetch_package
from runtime_kit.certificates import make_pair
from runtime_kit.store import Answer, Handler, Store, cut_after, honestly, serve, status

CONTENT = bytes(range(256)) * 4096
SHA256 = hashlib.sha256(CONTENT).hexdigest()
OTHER = b"another" * 1000


@pytest.fixture
def store() -> Iterator[Store]:
    """A server of the content."""
    with serve(CONTENT) as running:
        yield running


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A certificate for this machine that nobody else trusts, with its key."""
    path = tmp_path_factory.mktemp("tls") / "both.pem"
    path.write_bytes(b"".join(make_pair()))
    return path


class Clock:
    """Waits at once, and remembers for how long it should have."""

    def __init__(self) -> None:
        self.waits: list[float] = []

    def __call__(self, seconds: float) -> None:
        self.waits.append(seconds)


def fetch(store: Store, folder: Path, *, sha256: str = SHA256, **order: Any) -> Path:
    """Fetch the object into the folder without waiting."""
    wait = order.pop("wait", None) or Clock()
    fields: dict[str, Any] = {"uri": f"{store.url}/m.tar", "sha256": sha256, "folder": folder}
    return fetch_package(FetchOrder(**fields | order), wait=wait)


def names(folder: Path) -> list[str]:
    """What lies in the folder."""
    return sorted(path.name for path in folder.iterdir())


def test_the_package_is_all_that_is_left(store: Store, tmp_path: Path) -> None:
    """The bytes as they were sent, and neither part nor note."""
    path = fetch(store, tmp_path / "new")
    assert path.read_bytes() == CONTENT
    assert names(tmp_path / "new") == ["package"]


def test_what_is_there_is_not_fetched_again(store: Store, tmp_path: Path) -> None:
    """An init container that runs a second time asks nobody."""
    fetch(store, tmp_path)
    fetch(store, tmp_path)
    assert len(store.asked) == 1


def test_a_damaged_package_is_fetched_again(store: Store, tmp_path: Path) -> None:
    """What is there has to be of the pinned digest too."""
    (tmp_path / "package").write_bytes(b"damaged")
    assert fetch(store, tmp_path).read_bytes() == CONTENT


def test_a_cut_connection_goes_on_from_the_last_byte(store: Store, tmp_path: Path) -> None:
    """Each piece is asked for once, under the validator of the first."""
    store.script = [cut_after(1000), cut_after(500)]
    assert fetch(store, tmp_path).read_bytes() == CONTENT
    assert store.ranges == ["", "bytes=1000-", "bytes=1500-"]
    assert store.asked[1]["if-range"] == '"one"'


def test_a_changed_object_is_fetched_from_its_first_byte(store: Store, tmp_path: Path) -> None:
    """No package is ever made of two objects."""
    store.content = b"first" * 1000

    def change(handler: Handler, store: Store) -> None:
        store.content, store.etag = CONTENT, '"two"'
        honestly(handler, store)

    store.script = [cut_after(1000), change]
    assert fetch(store, tmp_path).read_bytes() == CONTENT


def _ignore_range(handler: Handler, store: Store) -> None:
    handler.begin(200, Content_Length=str(len(store.content)), ETag=store.etag)
    handler.wfile.write(store.content)


def _send_another_range(handler: Handler, store: Store) -> None:
    rest = store.content[7:]
    where = f"bytes 7-{len(store.content) - 1}/{len(store.content)}"
    handler.begin(206, Content_Length=str(len(rest)), Content_Range=where, ETag=store.etag)
    handler.wfile.write(rest)


def _send_range_of_another_length(handler: Handler, _: Store) -> None:
    handler.begin(206, Content_Length="3", Content_Range="bytes 1000-1002/1003", ETag='"one"')
    handler.wfile.write(b"abc")


def _send_range_of_another_object(handler: Handler, store: Store) -> None:
    rest = bytes(len(store.content) - 1000)
    where = f"bytes 1000-{len(store.content) - 1}/{len(store.content)}"
    handler.begin(206, Content_Length=str(len(rest)), Content_Range=where, ETag='"two"')
    handler.wfile.write(rest)


def _lie_about_the_object(handler: Handler, store: Store) -> None:
    rest = bytes(len(store.content) - 1000)
    where = f"bytes 1000-{len(store.content) - 1}/{len(store.content)}"
    handler.begin(206, Content_Length=str(len(rest)), Content_Range=where, ETag=store.etag)
    handler.wfile.write(rest)


@pytest.mark.parametrize(
    "answer",
    [
        _ignore_range,
        _send_another_range,
        _send_range_of_another_length,
        _send_range_of_another_object,
        _lie_about_the_object,
        status(416, Content_Range="bytes */10"),
    ],
    ids=[
        "the whole instead of a range",
        "a range that nobody asked for",
        "a range of an object of another length",
        "a range of an object with another ETag",
        "other bytes under the same ETag",
        "no such range",
    ],
)
def test_a_wrong_continuation_is_never_taken(answer: Answer, store: Store, tmp_path: Path) -> None:
    """Whatever comes instead of the rest, it is seen at once; a perfect lie, by the digest."""
    store.script = [cut_after(1000), answer]
    with capture_logs() as logs:
        assert fetch(store, tmp_path).read_bytes() == CONTENT
    is_seen = "package_fetched_anew" not in {entry["event"] for entry in logs}
    assert is_seen == (answer is not _lie_about_the_object)
    assert len(store.asked) <= 3


@pytest.mark.parametrize("etag", ["", 'W/"weak"'], ids=["no ETag", "a weak ETag"])
def test_without_a_validator_it_begins_anew(etag: str, store: Store, tmp_path: Path) -> None:
    """Nothing tells the rest of this object from the rest of another."""
    store.etag = etag
    store.script = [cut_after(1000)]
    assert fetch(store, tmp_path).read_bytes() == CONTENT
    assert store.ranges == ["", ""]


@pytest.mark.parametrize("code", [408, 429, 500, 502, 503, 504])
def test_a_passing_failure_is_waited_out(code: int, store: Store, tmp_path: Path) -> None:
    """Longer each time."""
    store.script = [status(code)] * 3
    clock = Clock()
    assert fetch(store, tmp_path, wait=clock).read_bytes() == CONTENT
    first, _, third = clock.waits
    assert 0.5 <= first <= 1
    assert 2 <= third <= 4


def test_the_server_may_say_how_long_to_wait(store: Store, tmp_path: Path) -> None:
    """Within reason."""
    store.script = [status(503, Retry_After="7"), status(503, Retry_After="86400")]
    clock = Clock()
    fetch(store, tmp_path, wait=clock)
    assert clock.waits == [7, 30]


def test_it_gives_up_without_progress(store: Store, tmp_path: Path) -> None:
    """Always cut at the same byte is no progress, even if bytes come; the kubelet tries later."""
    store.etag = ""
    store.script = [cut_after(1000)] * 20
    with pytest.raises(
        ModelLoadFailedError, match=r"m\.tar: .*cut.* \(6 times, without progress\)"
    ):
        fetch(store, tmp_path)
    assert len(store.asked) == 6


def test_it_does_not_give_up_while_there_is_progress(store: Store, tmp_path: Path) -> None:
    """A bad line is slow, not broken."""
    store.script = [cut_after(1000)] * 20
    assert fetch(store, tmp_path).read_bytes() == CONTENT


@pytest.mark.parametrize(
    ("code", "words"),
    [(404, "404 Not Found"), (410, "410"), (403, "403 Forbidden; are the cred"), (401, "401")],
)
def test_a_refusal_is_final(code: int, words: str, store: Store, tmp_path: Path) -> None:
    """Asked once; the message names the object and the answer."""
    store.script = [status(code)] * 9
    with pytest.raises(ModelNotFoundError, match=rf"http://127.0.0.1:\d+/m.tar: .*{words}"):
        fetch(store, tmp_path)
    assert len(store.asked) == 1


def test_a_redirect_is_followed(store: Store, tmp_path: Path) -> None:
    """Stores hand out short-lived addresses; each attempt asks for its own."""
    store.script = [status(302, Location="/elsewhere"), cut_after(1000)]
    store.script += [status(302, Location="/there")]
    assert fetch(store, tmp_path).read_bytes() == CONTENT
    assert store.paths == ["/m.tar", "/elsewhere", "/m.tar", "/there"]
    assert store.ranges[-1] == "bytes=1000-"


def test_redirects_in_a_circle_end(store: Store, tmp_path: Path) -> None:
    """Five are enough."""
    store.script = [status(302, Location="/m.tar")] * 20
    with pytest.raises(ModelNotFoundError, match="more than 5 redirects"):
        fetch(store, tmp_path)


def test_nobody_there_is_said_without_the_query(tmp_path: Path) -> None:
    """A query may be a signature."""
    order = FetchOrder(uri="http://127.0.0.1:9/m?sig=SECRET", sha256=SHA256, folder=tmp_path)
    with capture_logs() as logs, pytest.raises(ModelLoadFailedError) as caught:
        fetch_package(order, wait=Clock())
    assert "http://127.0.0.1:9/m: no connection: Connection refused" in str(caught.value)
    assert "SECRET" not in f"{caught.value}{logs}"
    assert [entry["event"] for entry in logs] == ["fetch_interrupted"] * 5


def test_another_digest_is_refused_and_not_fetched_again(store: Store, tmp_path: Path) -> None:
    """A container that restarts for ever must not pay for the object each time."""
    store.content = OTHER
    actual = hashlib.sha256(OTHER).hexdigest()
    words = f"m.tar has sha256 {actual}, the settings pin {SHA256}"
    for _ in range(2):
        with pytest.raises(ModelDigestMismatchError, match=words):
            fetch(store, tmp_path)
    assert "package" not in names(tmp_path)
    assert store.asked[1]["if-none-match"] == '"one"'
    store.content, store.etag = CONTENT, '"two"'
    assert fetch(store, tmp_path).read_bytes() == CONTENT
    assert len(store.asked) == 3


def test_a_whole_part_that_nobody_judged_is_no_proof(store: Store, tmp_path: Path) -> None:
    """A power cut leaves a file of the right length and of zeros; it is not the object's fault."""
    store.script = [cut_after(1000)] * 6
    store.etag = '"one"'
    note = {"uri": f"{store.url}/m.tar", "validator": '"one"', "total_bytes": len(CONTENT)}
    (tmp_path / "package.part.json").write_text(json.dumps(note))
    (tmp_path / "package.part").write_bytes(bytes(len(CONTENT)))
    assert fetch(store, tmp_path).read_bytes() == CONTENT


def test_a_note_that_cannot_be_read_is_worth_nothing(store: Store, tmp_path: Path) -> None:
    """Bytes of which nobody knows what they are."""
    (tmp_path / "package.part.json").write_text("{")
    (tmp_path / "package.part").write_bytes(CONTENT[:1000])
    assert fetch(store, tmp_path).read_bytes() == CONTENT
    assert store.ranges == [""]


def test_a_part_of_another_uri_is_worth_nothing(store: Store, tmp_path: Path) -> None:
    """Even under the same ETag."""
    store.script = [cut_after(1000), status(404)]
    with pytest.raises(ModelNotFoundError):
        fetch(store, tmp_path, uri=f"{store.url}/other.tar")
    assert fetch(store, tmp_path).read_bytes() == CONTENT
    assert store.ranges == ["", "bytes=1000-", ""]


def test_a_length_that_is_too_short_is_found_out(store: Store, tmp_path: Path) -> None:
    """What a liar cuts off, the digest misses."""

    def lie(handler: Handler, store: Store) -> None:
        handler.begin(200, Content_Length="1000", ETag=store.etag)
        handler.wfile.write(store.content)
        handler.close_connection = True

    store.script = [lie]
    with pytest.raises(ModelDigestMismatchError):
        fetch(store, tmp_path)


def test_an_object_without_a_length_is_taken_by_its_digest(store: Store, tmp_path: Path) -> None:
    """Chunked, as a proxy may send it."""

    def chunked(handler: Handler, store: Store) -> None:
        handler.begin(200, Transfer_Encoding="chunked")
        handler.wfile.write(b"%x\r\n%s\r\n0\r\n\r\n" % (len(store.content), store.content))

    store.script = [chunked]
    assert fetch(store, tmp_path).read_bytes() == CONTENT


def test_too_large_an_object_is_not_begun(store: Store, tmp_path: Path) -> None:
    """Where the server tells its length."""

    def promise(handler: Handler, _: Store) -> None:
        handler.begin(200, Content_Length=str(1 << 40))
        handler.close_connection = True

    store.script = [promise] * 9
    with pytest.raises(ModelLoadFailedError, match=f"larger than {8 << 30} bytes"):
        fetch(store, tmp_path)
    assert names(tmp_path) == []


def test_too_large_an_object_is_not_finished(store: Store, tmp_path: Path) -> None:
    """Where it does not, as soon as it is too much."""

    def chunked(handler: Handler, store: Store) -> None:
        handler.begin(200, Transfer_Encoding="chunked")
        handler.wfile.write(b"%x\r\n%s\r\n0\r\n\r\n" % (len(store.content), store.content))

    store.script = [chunked]
    with pytest.raises(ModelLoadFailedError, match="larger than 1000 bytes"):
        fetch(store, tmp_path, max_bytes=1000)
    assert names(tmp_path) == []


def test_plain_http_needs_a_digest(store: Store, tmp_path: Path) -> None:
    """Anybody on the way could send another model."""
    with pytest.raises(InvalidSettingsError, match="sha256 has to say"):
        fetch(store, tmp_path, sha256="")
    assert store.asked == []


def test_tls_is_proof_enough(
    certificate: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who has the certificate may say what the object is."""
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(certificate))
    with serve(CONTENT, certificate) as store:
        assert fetch(store, tmp_path, sha256="").read_bytes() == CONTENT
        assert fetch(store, tmp_path, sha256="").read_bytes() == CONTENT
        assert len(store.asked) == 1


def test_an_unknown_authority_is_no_proof(certificate: Path, tmp_path: Path) -> None:
    """Said as what it is, and nothing is sent there."""
    with serve(CONTENT, certificate) as store:
        with pytest.raises(
            ModelLoadFailedError, match="no trusted TLS connection: CERTIFICATE_VER"
        ):
            fetch(store, tmp_path)
        assert store.asked == []


def test_a_way_out_of_tls_needs_a_digest(
    store: Store, certificate: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A redirect to plain HTTP is as good as plain HTTP."""
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(certificate))
    with serve(CONTENT, certificate) as secure:
        secure.script = [status(302, Location=f"{store.url}/m.tar")] * 2
        with pytest.raises(ModelNotFoundError, match="leads away from TLS; pin"):
            fetch(secure, tmp_path, sha256="")
        assert fetch(secure, tmp_path).read_bytes() == CONTENT


def test_an_object_without_a_length_needs_a_digest(
    certificate: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing else would tell that it was cut."""
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(certificate))

    def chunked(handler: Handler, store: Store) -> None:
        handler.begin(200, Transfer_Encoding="chunked")
        handler.wfile.write(b"%x\r\n%s\r\n0\r\n\r\n" % (len(store.content), store.content))

    with serve(CONTENT, certificate) as store:
        store.script = [chunked]
        with pytest.raises(ModelNotFoundError, match="does not say how long the object is; pin"):
            fetch(store, tmp_path, sha256="")


def test_a_folder_that_cannot_be_written_is_named(store: Store, tmp_path: Path) -> None:
    """A volume that is read-only, or full."""
    (tmp_path / "file").touch()
    with pytest.raises(ModelLoadFailedError, match=r"cannot write to .*/file: "):
        fetch(store, tmp_path / "file")


def test_a_token_is_sent_and_does_not_follow_elsewhere(store: Store, tmp_path: Path) -> None:
    """The host that it is meant for gets it, one that a redirect leads to does not."""
    with serve(CONTENT) as other:
        store.script = [status(302, Location=f"http://localhost:{other.port}/m.tar")]
        fetch(store, tmp_path, environment={"IGW_BEARER_TOKEN": "SECRET"})
        assert store.asked[0]["authorization"] == "Bearer SECRET"
        assert "authorization" not in other.asked[0]


def test_a_killed_process_is_resumed_by_the_next(store: Store, tmp_path: Path) -> None:
    """SIGKILL in the middle; what had arrived is not asked for again, and the exit codes fit."""
    content = CONTENT * 4
    store.content = content

    def stall(handler: Handler, store: Store) -> None:
        handler.begin(200, Content_Length=str(len(content)), ETag=store.etag)
        handler.wfile.write(content[: 3 << 20])
        handler.wfile.flush()
        handler.rfile.read(1)  # until the client is gone

    store.script = [stall]
    sha256 = hashlib.sha256(content).hexdigest()
    command = [sys.executable, "-m", "igw_runtime", "fetch", "--uri", f"{store.url}/m.tar"]
    command += ["--sha256", sha256, "--output", str(tmp_path)]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    process = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL)
    part = tmp_path / "package.part"
    deadline = time.monotonic() + 30
    while not (part.exists() and part.stat().st_size >= 2 << 20):
        assert time.monotonic() < deadline
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert names(tmp_path) == ["package.part", "package.part.json"]
    there = part.stat().st_size

    done = subprocess.run(command, env=environment, check=True, capture_output=True, text=True)

    assert store.ranges == ["", f"bytes={there}-"]
    assert (tmp_path / "package").read_bytes() == content
    assert done.stdout.splitlines()[-1] == str(tmp_path / "package")


def test_a_stopped_fetch_has_not_succeeded(store: Store, tmp_path: Path) -> None:
    """Exit 0 of an init container would start the server without a model."""
    started = tmp_path / "started"

    def stall(handler: Handler, _: Store) -> None:
        handler.begin(200, Content_Length="1000", ETag='"one"')
        started.touch()
        handler.rfile.read(1)

    store.script = [stall]
    command = [sys.executable, "-m", "igw_runtime", "fetch", "--uri", f"{store.url}/m.tar"]
    command += ["--sha256", SHA256, "--output", str(tmp_path / "out")]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    process = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL)
    deadline = time.monotonic() + 30
    while not started.exists():
        assert time.monotonic() < deadline
        time.sleep(0.02)
    process.terminate()
    assert process.wait() == 143


def test_a_failure_is_the_containers_last_word(store: Store, tmp_path: Path) -> None:
    """The operator reads reason and exit code where the kubelet keeps them."""
    store.script = [status(404)]
    log = tmp_path / "termination-log"
    log.touch()
    command = [sys.executable, "-m", "igw_runtime", "fetch", "--uri", f"{store.url}/m?sig=SECRET"]
    command += ["--sha256", SHA256, "--output", str(tmp_path)]
    environment = {"PYTHONPATH": os.pathsep.join(sys.path), "IGW_TERMINATION_LOG": str(log)}
    done = subprocess.run(
        command, env=os.environ | environment, check=False, capture_output=True, text=True
    )
    assert done.returncode == 66
    assert log.read_text() == f"ModelNotFound: {store.url}/m: the server answers 404 Not Found\n"
    assert "SECRET" not in done.stdout + done.stderr
