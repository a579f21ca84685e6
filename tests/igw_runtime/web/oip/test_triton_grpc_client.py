"""Triton's own gRPC client, unmodified, against real server processes."""

import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tritonclient.grpc as triton
import tritonclient.grpc.aio as triton_aio
from tritonclient.utils import InferenceServerException

from runtime_kit.colours import BLUE, GREEN, NAMES, RED, SIDE, picture, write_package
from runtime_kit.process import ServerProcess, a_server, fetch, wait_until

pytestmark = [pytest.mark.integration, pytest.mark.timeout(60)]
MODEL = "colours"


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Write the models folder once."""
    root = tmp_path_factory.mktemp("models")
    write_package(root / MODEL)
    return root


@pytest.fixture(scope="module")
def server(models: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    """A server that all tests share."""
    settings = {"model": {"name": MODEL}, "serving": {"drainSeconds": 0, "maxBodyBytes": 1_000_000}}
    with a_server(tmp_path_factory.mktemp("server"), models, settings, grpc=True) as running:
        yield running


@pytest.fixture
def client(server: ServerProcess) -> Iterator[Any]:
    """Triton's gRPC client."""
    with triton.InferenceServerClient(f"127.0.0.1:{server.grpc_port}") as made:
        yield made


def pictures(*colours: tuple[int, int, int]) -> Any:
    """Return pictures as Triton's client wants them."""
    tensor = triton.InferInput("image", [len(colours)], "BYTES")
    contents = [picture(colour) for colour in colours]
    return tensor.set_data_from_numpy(np.array(contents, dtype=object))


def pixels(channel: int) -> Any:
    """Return a tensor of one colour."""
    values = np.zeros((1, 3, SIDE, SIDE), dtype=np.float32)
    values[0, channel] = 1
    return triton.InferInput("input", values.shape, "FP32").set_data_from_numpy(values)


def best(result: Any) -> list[str]:
    """Return each image's best class, from both outputs, which must agree."""
    labels = [label.decode() for label in result.as_numpy("labels")[:, 0]]
    by_score = [NAMES[index] for index in result.as_numpy("probabilities").argmax(axis=1)]
    assert labels == by_score
    return labels


def test_health_metadata_and_statistics(client: Any) -> None:
    """Everything that the client may ask."""
    assert client.is_server_live()
    assert client.is_server_ready()
    assert client.is_model_ready(MODEL)
    assert client.is_model_ready(MODEL, "1")
    assert list(client.get_server_metadata().extensions) == ["binary_tensor_data", "statistics"]
    metadata = client.get_model_metadata(MODEL, as_json=True)
    assert [tensor["name"] for tensor in metadata["inputs"]] == ["image", "input"]
    assert client.get_model_repository_index().models[0].name == MODEL
    client.infer(MODEL, [pictures(RED)])
    [stats] = client.get_inference_statistics(MODEL).model_stats
    assert stats.inference_stats.success.count >= 1


@pytest.mark.parametrize("compression", [None, "gzip", "deflate"])
def test_pictures_and_tensors(client: Any, compression: str | None) -> None:
    """Both inputs, compressed or not: the same answers."""
    for tensor, expected in (
        (pictures(RED, GREEN, BLUE), ["red", "green", "blue"]),
        (pixels(2), ["blue"]),
    ):
        result = client.infer(MODEL, [tensor], request_id="q-1", compression_algorithm=compression)
        assert best(result) == expected
        assert (result.get_response().id, result.get_response().model_version) == ("q-1", "1")


def test_only_the_outputs_that_are_asked_for(client: Any) -> None:
    """One output, found by its name."""
    result = client.infer(MODEL, [pictures(RED)], outputs=[triton.InferRequestedOutput("labels")])

    assert result.as_numpy("labels")[0][0] == b"red"
    assert result.as_numpy("probabilities") is None


async def test_asyncio_client(server: ServerProcess) -> None:
    """The same over grpc.aio."""
    async with triton_aio.InferenceServerClient(f"127.0.0.1:{server.grpc_port}") as client:
        assert await client.is_model_ready(MODEL)
        result = await client.infer(MODEL, [pictures(BLUE)])

    assert best(result) == ["blue"]


@pytest.mark.parametrize(
    ("ask", "status", "says"),
    [
        pytest.param(
            lambda c: c.infer("other", [pictures(RED)]), "NOT_FOUND", "unknown model", id="model"
        ),
        pytest.param(
            lambda c: c.infer(MODEL, [pictures(RED), pixels(0)]),
            "INVALID_ARGUMENT",
            "exactly one",
            id="both",
        ),
        pytest.param(
            lambda c: c.infer(MODEL, [pictures(*[RED] * 3000)]),
            "INVALID_ARGUMENT",
            "at most",
            id="too many",
        ),
        pytest.param(
            lambda c: c.infer(
                MODEL,
                [pictures(RED)],
                outputs=[triton.InferRequestedOutput("probabilities", class_count=2)],
            ),
            "INVALID_ARGUMENT",
            "classification",
            id="classification",
        ),
        pytest.param(
            lambda c: c.infer(MODEL, [pictures(RED)], timeout=1),
            "DEADLINE_EXCEEDED",
            "deadline",
            id="timeout",
        ),
        pytest.param(lambda c: c.get_model_config(MODEL), "UNIMPLEMENTED", "", id="not served"),
    ],
)
def test_errors_reach_the_client_as_its_own(
    client: Any, ask: Callable[[Any], object], status: str, says: str
) -> None:
    """The client turns each refusal into its exception: status and message."""
    with pytest.raises(InferenceServerException) as caught:
        ask(client)

    assert caught.value.status() == f"StatusCode.{status}"
    assert says in caught.value.message()


def test_log_and_metrics_know_the_calls(client: Any, server: ServerProcess) -> None:
    """Every line is JSON, and the seed's metrics have the method as their endpoint."""
    client.infer(MODEL, [pictures(RED)], headers={"x-request-id": "r-9"})
    endpoint = "/inference.GRPCInferenceService/ModelInfer"

    def completed() -> list[dict[str, Any]]:
        return [e for e in server.events("request_completed") if e["request_id"] == "r-9"]

    wait_until(completed)
    [done] = completed()
    assert (done["endpoint"], done["method"], done["status"]) == (endpoint, "POST", 200)
    assert f'http_requests_total{{endpoint="{endpoint}",method="POST",status="2xx"}}' in (
        server.metrics()
    )


class Service:
    """What a cluster's Service does: new connections go to who is ready, old ones stay."""

    def __init__(self, port: int) -> None:
        self.target = port
        self.routed: list[int] = []
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._listener.getsockname()[1])
        self._threads: list[threading.Thread] = []
        self._start(self._accept)

    def close(self) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)  # `close` alone does not wake who accepts
        for thread in self._threads:
            thread.join()

    def _accept(self) -> None:
        with self._listener:
            while True:
                try:
                    client, _ = self._listener.accept()
                except OSError:
                    return
                self.routed.append(self.target)
                server = socket.create_connection(("127.0.0.1", self.target))
                self._start(_forward, client, server)

    def _start(self, work: Callable[..., None], *arguments: socket.socket) -> None:
        thread = threading.Thread(target=work, args=arguments, daemon=True)
        self._threads.append(thread)
        thread.start()


def _forward(client: socket.socket, server: socket.socket) -> None:
    with client, server:
        back = threading.Thread(target=_pump, args=(server, client), daemon=True)
        back.start()
        _pump(client, server)
        back.join()


def _pump(source: socket.socket, sink: socket.socket) -> None:
    try:
        while data := source.recv(65_536):
            sink.sendall(data)
        sink.shutdown(socket.SHUT_WR)
    except OSError:
        return  # the other side has gone


class Traffic(threading.Thread):
    """A client that sends one request after the other on a connection that it keeps."""

    def __init__(self, port: int) -> None:
        super().__init__(daemon=True)
        self.done = threading.Event()
        self.answers = 0
        self.failures: list[str] = []
        self._client = triton.InferenceServerClient(
            f"127.0.0.1:{port}",
            channel_args=[("grpc.use_local_subchannel_pool", 1)],  # a connection of its own
        )

    def run(self) -> None:
        tensor = pictures(RED)
        while not self.done.is_set():
            try:
                self._client.infer(MODEL, [tensor])
                self.answers += 1
            except InferenceServerException as error:
                self.failures.append(str(error))
        self._client.close()


def test_server_that_stops_loses_no_call(models: Path, tmp_path: Path) -> None:
    """After SIGTERM kept connections are served, and retired before the listener closes."""
    settings = {"model": {"name": MODEL}, "serving": {"drainSeconds": 2.0}}
    folders = [tmp_path / "old", tmp_path / "new"]
    for folder in folders:
        folder.mkdir()
    with (
        a_server(folders[0], models, settings, grpc=True) as old,
        a_server(folders[1], models, settings, grpc=True) as new,
    ):
        service = Service(old.grpc_port)
        clients = [Traffic(service.port) for _ in range(6)]
        for client in clients:
            client.start()
        wait_until(lambda: all(client.answers > 10 for client in clients))

        service.target = new.grpc_port
        assert old.stop() == 0
        before = [client.answers for client in clients]
        wait_until(lambda: all(c.answers > b for c, b in zip(clients, before, strict=True)))
        for client in clients:
            client.done.set()
            client.join()
        service.close()

        assert [failure for client in clients for failure in client.failures] == []
        assert service.routed.count(new.grpc_port) >= len(clients)


def test_no_grpc_unless_asked_for(models: Path, tmp_path: Path) -> None:
    """Without a port there is neither a listener nor the memory that gRPC takes."""
    settings = {"model": {"name": MODEL}, "serving": {"drainSeconds": 0}}
    with a_server(tmp_path, models, settings) as server:
        mapped = Path(f"/proc/{server.process.pid}/maps").read_text()

        assert "cygrpc" not in mapped
        assert fetch(server.url("/ready"))[0] == 200
        assert "GRPCInferenceService" not in server.metrics()
