"""gRPC through its real stack on loopback, around the whole serving path."""

import asyncio
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from typing import Any

import grpc
import grpc.aio
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from opentelemetry.trace import SpanKind, StatusCode

from igw_runtime.errors import InvalidSettingsError, MalformedRequestError
from igw_runtime.serving.lifecycle import State
from igw_runtime.web.app import build_open_inference
from igw_runtime.web.oip import messages
from igw_runtime.web.oip import open_inference_pb2 as pb
from igw_runtime.web.oip.grpc_server import GrpcServer
from igw_runtime.web.oip.grpc_service import GrpcService
from igw_runtime.web.oip.inference import DATATYPES, join_elements, split_elements
from runtime_kit.bench import Bench, GatedSession, a_bench
from runtime_kit.colours import BLUE, RED, SERVED, SIDE, picture
from runtime_kit.several import the_others

pytestmark = [pytest.mark.integration, pytest.mark.timeout(120)]
SERVICE = "/inference.GRPCInferenceService"
PIXELS = np.zeros((1, 3, SIDE, SIDE), dtype="<f4")
PIXELS[0, 2] = 1
SHAPE = list(PIXELS.shape)
TRACE, PARENT = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"


@dataclass(slots=True, kw_only=True)
class Reply:
    """What a call came to."""

    code: grpc.StatusCode
    details: str
    metadata: dict[str, Any]
    body: bytes

    def infer(self) -> pb.ModelInferResponse:
        """Return the answer of an inference."""
        assert self.code is grpc.StatusCode.OK, self.details
        return pb.ModelInferResponse.FromString(self.body)


@dataclass(slots=True, kw_only=True)
class Door:
    """A bench behind a gRPC listener."""

    bench: Bench
    server: GrpcServer
    channel: grpc.aio.Channel

    async def ask(self, method: str, message: Any, **options: Any) -> Reply:
        """Make one call; `message` is a message or bytes."""
        body = message if isinstance(message, bytes) else message.SerializeToString()
        call = self.call(method, body, **options)
        answer = b""
        with suppress(grpc.aio.AioRpcError):  # its code is read below
            answer = bytes(await call)
        metadata = dict(await call.trailing_metadata() or ())
        return Reply(
            code=await call.code(),
            details=await call.details() or "",
            metadata=metadata,
            body=answer,
        )

    def call(self, method: str, body: bytes, **options: Any) -> Any:
        """Begin a call with one message."""
        stub: grpc.aio.UnaryUnaryMultiCallable[bytes, bytes]
        stub = self.channel.unary_unary(f"{SERVICE}/{method}")
        return stub(body, **options)

    def stream(self) -> Any:
        """Begin an inference whose message is not sent yet."""
        stub: grpc.aio.StreamUnaryMultiCallable[bytes, bytes]
        stub = self.channel.stream_unary(f"{SERVICE}/ModelInfer")
        return stub()

    async def infer(self, message: Any, **options: Any) -> Reply:
        return await self.ask("ModelInfer", message, **options)

    def requests(self, status: str, method: str = "ModelInfer") -> float:
        """Return how many requests ended in this class."""
        labels = {"method": "POST", "endpoint": f"{SERVICE}/{method}", "status": status}
        return max(0.0, self.bench.sample("http_requests_total", **labels))


@asynccontextmanager
async def a_door(**options: Any) -> AsyncIterator[Door]:
    """Serve a bench over gRPC."""
    with a_bench(**options) as bench:
        service = GrpcService(bench.services, build_open_inference(bench.services))
        server = GrpcServer(service, bench.services.desk.settings)
        port = await server.start("127.0.0.1:0")
        unbounded = [("grpc.max_send_message_length", -1)]
        async with grpc.aio.insecure_channel(f"127.0.0.1:{port}", options=unbounded) as channel:
            yield Door(bench=bench, server=server, channel=channel)
        await server.stop(5)


@pytest.fixture
async def door() -> AsyncIterator[Door]:
    """Return a served bench."""
    async with a_door() as opened:
        yield opened


def request(*inputs: Any, raw: list[bytes] | None = None, **fields: Any) -> pb.ModelInferRequest:
    """Return an inference request."""
    names = {"model_name": "colours"} | fields
    return pb.ModelInferRequest(inputs=inputs, raw_input_contents=raw or [], **names)


def tensor(name: str, datatype: str, shape: list[int], **fields: Any) -> Any:
    """Return one input."""
    return pb.ModelInferRequest.InferInputTensor(
        name=name, datatype=datatype, shape=shape, **fields
    )


def pictures(*colours: tuple[int, int, int], **fields: Any) -> pb.ModelInferRequest:
    """Return a request with raw pictures."""
    raw = join_elements([picture(colour) for colour in colours])
    return request(tensor("image", "BYTES", [len(colours)]), raw=[raw], **fields)


def pixels(**fields: Any) -> pb.ModelInferRequest:
    """Return a request with a raw tensor."""
    return request(tensor("input", "FP32", SHAPE), raw=[PIXELS.tobytes()], **fields)


async def test_raw_pictures_and_tensors_are_classified(door: Door) -> None:
    """Raw in, raw out, in order, id echoed."""
    answer = (await door.infer(pictures(RED, BLUE, id="q1", model_version="1"))).infer()
    probabilities, labels = answer.raw_output_contents

    assert (answer.model_name, answer.model_version, answer.id) == ("colours", "1", "q1")
    assert [list(output.shape) for output in answer.outputs] == [[2, 4], [2, 4]]
    assert [output.datatype for output in answer.outputs] == ["FP32", "BYTES"]
    assert np.frombuffer(probabilities, "<f4").reshape(2, 4).argmax(axis=1).tolist() == [0, 2]
    assert split_elements(memoryview(labels), 8)[0::4] == [b"red", b"blue"]

    labels = (await door.infer(pixels())).infer().raw_output_contents[1]
    assert split_elements(memoryview(labels), 4)[0] == b"blue"
    assert door.bench.admission.in_system == 0


async def test_typed_contents_are_answered_in_kind(door: Door) -> None:
    """Who does not speak raw bytes need not read them."""
    contents = pb.InferTensorContents(bytes_contents=[picture(RED), picture(BLUE)])
    answer = (await door.infer(request(tensor("image", "BYTES", [2], contents=contents)))).infer()
    assert list(answer.outputs[1].contents.bytes_contents[0::4]) == [b"red", b"blue"]
    assert len(answer.outputs[0].contents.fp32_contents) == 8
    assert not answer.raw_output_contents

    contents = pb.InferTensorContents(fp32_contents=PIXELS.ravel().tolist())
    answer = (await door.infer(request(tensor("input", "FP32", SHAPE, contents=contents)))).infer()
    assert answer.outputs[1].contents.bytes_contents[0] == b"blue"


async def test_outputs_come_as_asked(door: Door) -> None:
    """Only those that are named, in that order."""
    wanted = [pb.ModelInferRequest.InferRequestedOutputTensor(name="labels")]
    answer = (await door.infer(pictures(RED, outputs=wanted))).infer()

    assert [output.name for output in answer.outputs] == ["labels"]
    assert len(answer.raw_output_contents) == 1


def output_with(parameter: str) -> Any:
    """Return a wanted output that asks for what is not served."""
    value = pb.InferParameter(int64_param=2)
    return pb.ModelInferRequest.InferRequestedOutputTensor(
        name="labels", parameters={parameter: value}
    )


INVALID = grpc.StatusCode.INVALID_ARGUMENT
CONTENTS = pb.InferTensorContents(fp32_contents=[1.0])


@pytest.mark.parametrize(
    ("message", "code"),
    [
        pytest.param(request(), INVALID, id="no inputs"),
        pytest.param(b"\xff\xff", INVALID, id="no message"),
        pytest.param(b"", INVALID, id="empty message"),
        pytest.param(pictures(RED, model_name="x"), grpc.StatusCode.NOT_FOUND, id="model"),
        pytest.param(pictures(RED, model_version="9"), grpc.StatusCode.NOT_FOUND, id="version"),
        pytest.param(request(tensor("x", "FP32", [1]), raw=[b""]), INVALID, id="input"),
        pytest.param(request(tensor("input", "FP8", SHAPE), raw=[b""]), INVALID, id="type"),
        pytest.param(request(tensor("input", "FP32", SHAPE), raw=[b"abc"]), INVALID, id="size"),
        pytest.param(request(tensor("input", "FP32", SHAPE)), INVALID, id="no data"),
        pytest.param(request(tensor("input", "FP32", SHAPE, contents=CONTENTS)), INVALID, id="few"),
        pytest.param(request(tensor("input", "FP16", SHAPE, contents=CONTENTS)), INVALID, id="f16"),
        pytest.param(
            request(tensor("input", "FP32", [2**62, 3, SIDE, SIDE]), raw=[b""]), INVALID, id="huge"
        ),
        pytest.param(
            request(tensor("input", "FP32", [-1, 3, SIDE, SIDE]), raw=[b""]), INVALID, id="negative"
        ),
        pytest.param(
            request(tensor("input", "FP32", SHAPE), raw=[np.full(SHAPE, np.inf, "<f4").tobytes()]),
            INVALID,
            id="infinite",
        ),
        pytest.param(
            request(tensor("input", "FP32", SHAPE, contents=CONTENTS), raw=[PIXELS.tobytes()]),
            INVALID,
            id="raw and typed",
        ),
        pytest.param(
            request(tensor("input", "FP32", SHAPE), raw=[PIXELS.tobytes()] * 2), INVALID, id="raws"
        ),
        pytest.param(
            request(*[tensor("input", "FP32", SHAPE)] * 2, raw=[PIXELS.tobytes()] * 2),
            INVALID,
            id="twice",
        ),
        pytest.param(
            request(tensor("image", "BYTES", [2]), raw=[join_elements([b"x"])]), INVALID, id="count"
        ),
        pytest.param(
            request(tensor("image", "BYTES", [1]), raw=[join_elements([b"x"])]), INVALID, id="junk"
        ),
        pytest.param(
            pictures(RED, outputs=[output_with("classification")]), INVALID, id="classification"
        ),
        pytest.param(
            pictures(RED, parameters={"timeout": pb.InferParameter(string_param="1")}),
            INVALID,
            id="timeout",
        ),
    ],
)
async def test_bad_requests_have_a_code_and_a_message(
    door: Door, message: Any, code: grpc.StatusCode
) -> None:
    """The client's mistake, told and counted as one."""
    reply = await door.infer(message)

    assert reply.code is code
    assert reply.details
    assert reply.metadata["x-request-id"]
    assert (door.requests("4xx"), door.requests("5xx")) == (1, 0)
    assert door.bench.admission.in_system == 0


async def test_every_datatype_is_known(door: Door) -> None:
    """A type that the model does not take is told from a mistyped one."""
    for datatype in DATATYPES - {"FP32"}:
        reply = await door.infer(request(tensor("input", datatype, SHAPE), raw=[PIXELS.tobytes()]))
        assert reply.code is INVALID
        assert "unknown" not in reply.details
        assert datatype in reply.details


async def test_questions_are_answered(door: Door) -> None:
    """Health, metadata, repository and statistics, as over HTTP."""
    live = await door.ask("ServerLive", pb.ServerLiveRequest())
    ready = await door.ask("ServerReady", pb.ServerReadyRequest())
    model = await door.ask("ModelReady", pb.ModelReadyRequest(name="colours", version="1"))
    server = await door.ask("ServerMetadata", pb.ServerMetadataRequest())
    metadata = await door.ask("ModelMetadata", pb.ModelMetadataRequest(name="colours"))
    index = await door.ask("RepositoryIndex", pb.RepositoryIndexRequest())
    await door.infer(pictures(RED, BLUE))
    stats = await door.ask("ModelStatistics", pb.ModelStatisticsRequest())

    assert pb.ServerLiveResponse.FromString(live.body).live
    assert pb.ServerReadyResponse.FromString(ready.body).ready
    assert pb.ModelReadyResponse.FromString(model.body).ready
    extensions = pb.ServerMetadataResponse.FromString(server.body).extensions
    assert list(extensions) == ["binary_tensor_data", "statistics"]
    described = pb.ModelMetadataResponse.FromString(metadata.body)
    assert [list(each.shape) for each in described.inputs] == [[-1], [-1, 3, SIDE, SIDE]]
    assert pb.RepositoryIndexResponse.FromString(index.body).models[0].state == "READY"
    [entry] = pb.ModelStatisticsResponse.FromString(stats.body).model_stats
    assert (entry.name, entry.inference_count) == ("colours", 2)
    assert entry.inference_stats.success.count == 1
    assert entry.inference_stats.compute_infer.ns > 0
    assert [batch.batch_size for batch in entry.batch_stats] == [1]


async def test_every_model_and_version_answers_for_itself() -> None:
    """Inference, metadata, repository and statistics, as over HTTP."""
    async with a_door(others=the_others()) as door:
        told = []
        for name, version in (("colours", ""), ("colours", "2"), ("shades", ""), ("shades", "7")):
            reply = await door.infer(pictures(RED, model_name=name, model_version=version))
            answer = reply.infer()
            labels = memoryview(answer.raw_output_contents[1])
            best = split_elements(labels, answer.outputs[1].shape[1])[0]
            told.append((answer.model_name, answer.model_version, best))
        await door.infer(request(model_name="shades"))
        metadata = await door.ask("ModelMetadata", pb.ModelMetadataRequest(name="colours"))
        index = await door.ask("RepositoryIndex", pb.RepositoryIndexRequest())
        stats = await door.ask("ModelStatistics", pb.ModelStatisticsRequest())

    assert told == [
        ("colours", "1", b"red"),
        ("colours", "2", b"dark"),
        ("shades", "7", b"heavy"),
        ("shades", "7", b"heavy"),
    ]
    assert pb.ModelMetadataResponse.FromString(metadata.body).versions == ["1", "2"]
    listed = pb.RepositoryIndexResponse.FromString(index.body).models
    assert [(it.name, it.version) for it in listed] == [
        ("colours", "1"),
        ("colours", "2"),
        ("shades", "7"),
    ]
    counted = pb.ModelStatisticsResponse.FromString(stats.body).model_stats
    assert [it.inference_stats.success.count for it in counted] == [1, 1, 2]
    assert [it.inference_stats.fail.count for it in counted] == [0, 0, 1]


@pytest.mark.parametrize("method", ["ModelReady", "ModelMetadata", "ModelStatistics"])
async def test_questions_about_another_model_are_not_found(door: Door, method: str) -> None:
    """By name and by version."""
    for name, version in (("other", ""), ("colours", "9")):
        question = pb.ModelReadyRequest(name=name, version=version)
        assert (await door.ask(method, question)).code is grpc.StatusCode.NOT_FOUND


async def test_unknown_methods_are_unimplemented(door: Door) -> None:
    """Such as the loading of models."""
    assert (await door.ask("RepositoryModelLoad", b"")).code is grpc.StatusCode.UNIMPLEMENTED


async def test_nothing_is_inferred_before_ready_or_when_stopping() -> None:
    """Questions about health are answered, work is refused as temporary."""
    for state in (State.STARTING, State.STOPPING):
        async with a_door(state=state) as door:
            ready = await door.ask("ServerReady", pb.ServerReadyRequest())
            assert not pb.ServerReadyResponse.FromString(ready.body).ready
            reply = await door.infer(pictures(RED))
            assert reply.code is grpc.StatusCode.UNAVAILABLE
            assert reply.metadata["grpc-retry-pushback-ms"] == "1000"
            assert door.requests("5xx") == 1


async def test_too_large_messages_are_refused() -> None:
    """By us just above the limit, by gRPC itself far above it."""
    async with a_door(max_body_bytes=4000) as door:
        for extra in (10, 200_000):
            reply = await door.infer(
                request(tensor("image", "BYTES", [1]), raw=[b"x" * (4000 + extra)])
            )
            assert reply.code is grpc.StatusCode.RESOURCE_EXHAUSTED
        assert door.requests("4xx") == 2
        assert door.bench.admission.in_system == 0
        assert (await door.infer(pictures(RED))).code is grpc.StatusCode.OK


async def test_compressed_messages_are_bounded_by_what_they_become() -> None:
    """A small message that unpacks to a large one is not unpacked."""
    async with a_door(max_body_bytes=100_000) as door:
        gzip = grpc.Compression.Gzip
        assert (await door.infer(pictures(RED), compression=gzip)).code is grpc.StatusCode.OK
        bomb = request(tensor("image", "BYTES", [1]), raw=[bytes(2_000_000)])
        reply = await door.infer(bomb, compression=gzip)
        assert reply.code is grpc.StatusCode.RESOURCE_EXHAUSTED


async def test_calls_deadline_is_kept() -> None:
    """Late work is dropped, and counted as late."""
    session = GatedSession()
    async with a_door(session=session, objective_seconds=None) as door:
        reply = await door.infer(pictures(RED), timeout=0.2)
        assert reply.code is grpc.StatusCode.DEADLINE_EXCEEDED
        await until(lambda: door.requests("5xx") == 1)
        session.gate.set()

        assert door.bench.admission.in_system == 0


async def test_timeout_parameter_is_a_deadline() -> None:
    """Microseconds, as over HTTP; answered by us with the ids of the request."""
    session = GatedSession()
    async with a_door(session=session, objective_seconds=None) as door:
        timeout = {"timeout": pb.InferParameter(int64_param=20_000)}
        reply = await door.infer(
            pictures(RED, parameters=timeout), metadata=[("x-request-id", "r-1")]
        )
        session.gate.set()

        assert reply.code is grpc.StatusCode.DEADLINE_EXCEEDED
        assert reply.metadata["x-request-id"] == "r-1"
        assert door.requests("5xx") == 1


@pytest.mark.parametrize(("promised", "counted"), [(30.0, "4xx"), (0.01, "5xx")])
async def test_short_deadline_is_the_clients_own(promised: float, counted: str) -> None:
    """Of the call as of the parameter: less time than is promised is not ours to answer for."""
    session = GatedSession()
    async with a_door(session=session, objective_seconds=promised) as door:
        timeout = {"timeout": pb.InferParameter(int64_param=20_000)}
        late = [
            await door.infer(pictures(RED), timeout=0.2),
            await door.infer(pictures(RED, parameters=timeout)),
        ]
        await until(lambda: door.requests(counted) == 2)
        session.gate.set()

    assert [reply.code for reply in late] == [grpc.StatusCode.DEADLINE_EXCEEDED] * 2


async def until(condition: Callable[[], bool]) -> None:
    """Wait for what the server does in its own time."""
    async with asyncio.timeout(10):
        while not condition():  # noqa: ASYNC110  nobody tells when
            await asyncio.sleep(0.01)


async def test_cancelled_work_is_abandoned() -> None:
    """Nothing is computed for a client that left; it counts as its own error."""
    session = GatedSession()
    async with a_door(session=session) as door:
        first = asyncio.create_task(door.infer(pictures(RED)))
        assert await asyncio.to_thread(session.entered.wait, 5)
        second = door.call("ModelInfer", pictures(RED).SerializeToString())
        await until(lambda: door.bench.admission.in_system == 2)
        second.cancel()
        await until(lambda: door.bench.admission.in_system == 1)
        session.gate.set()

        assert (await first).code is grpc.StatusCode.OK
        assert (door.requests("4xx"), door.requests("5xx")) == (1, 0)
        assert session.batches == [1]
    assert door.bench.sample("igw_runtime_abandoned_requests_total") == 1


async def test_full_queue_refuses_before_reading() -> None:
    """A stream whose message never comes shows that none was waited for."""
    session = GatedSession()
    async with a_door(session=session, max_queue=1) as door:
        waiting = [asyncio.create_task(door.infer(pictures(RED))) for _ in range(2)]
        await until(lambda: door.bench.admission.in_system == 2)

        call = door.stream()
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await call
        session.gate.set()

        assert caught.value.code() is grpc.StatusCode.UNAVAILABLE
        assert int(dict(caught.value.trailing_metadata())["grpc-retry-pushback-ms"]) >= 1000
        assert {(await each).code for each in waiting} == {grpc.StatusCode.OK}


async def test_stopping_waits_for_calls_in_flight() -> None:
    """Also if one of them ends in an error meanwhile, which must not end the others."""
    session = GatedSession()
    async with a_door(session=session) as door:
        good = asyncio.create_task(door.infer(pictures(RED)))
        assert await asyncio.to_thread(session.entered.wait, 5)
        bad = door.stream()
        await until(lambda: door.bench.admission.in_system == 2)
        stopping = asyncio.create_task(door.server.stop(30))
        await bad.write(b"\xff")
        await bad.done_writing()
        assert await bad.code() is INVALID
        assert not stopping.done()
        session.gate.set()

        assert (await good).code is grpc.StatusCode.OK
        await stopping


async def test_messages_on_their_way_do_not_take_each_others_room(door: Door) -> None:
    """Their sizes are not known yet; as many as there are places may be under way."""
    calls = [door.stream() for _ in range(60)]
    await until(lambda: door.bench.admission.in_system == 60)
    for call in calls:
        await call.write(pictures(RED).SerializeToString())
        await call.done_writing()

    assert {await call.code() for call in calls} == {grpc.StatusCode.OK}


async def test_slow_message_times_out() -> None:
    """A client that stalls gives its place back."""
    async with a_door(body_timeout_seconds=0.05) as door:
        call = door.stream()
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await call

        assert caught.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED
        assert (door.requests("4xx"), door.bench.admission.in_system) == (1, 0)


async def test_stream_without_a_message_is_the_clients_mistake(door: Door) -> None:
    """It ends where one message was promised."""
    call = door.stream()
    await call.done_writing()
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await call

    assert caught.value.code() is INVALID


async def test_batch_counts_as_its_images() -> None:
    """A batch cannot smuggle more work past the queue's limit."""
    async with a_door(max_queue=2) as door:
        assert (await door.infer(pictures(*[RED] * 4))).code is INVALID
        door.bench.admission.reserve(1, 0)
        assert (await door.infer(pictures(*[RED] * 3))).code is grpc.StatusCode.UNAVAILABLE
        assert door.bench.admission.in_system == 1


async def test_one_request_is_one_trace(door: Door) -> None:
    """The caller's trace goes on, through the same stages as over HTTP."""
    metadata = [("traceparent", f"00-{TRACE}-{PARENT}-01"), ("x-request-id", "r-1")]
    reply = await door.infer(pictures(RED), metadata=metadata)

    assert reply.metadata["x-request-id"] == "r-1"
    assert door.bench.span_tree() == [
        (
            "inference.GRPCInferenceService/ModelInfer",
            [
                ("validate_input", []),
                ("preprocess_image", []),
                ("model_inference", [("load_model", []), ("forward_pass", [])]),
                ("format_response", []),
            ],
        )
    ]
    [root] = [s for s in door.bench.spans.get_finished_spans() if s.kind is SpanKind.SERVER]
    assert root.context is not None
    assert f"{root.context.trace_id:032x}" == TRACE
    assert root.status.status_code is StatusCode.UNSET
    assert {
        "rpc.system": "grpc",
        "rpc.service": "inference.GRPCInferenceService",
        "rpc.method": "ModelInfer",
        "rpc.grpc.status_code": 0,
        "inference.request_id": "r-1",
        "inference.prediction": "red",
    }.items() <= dict(root.attributes or {}).items()


async def test_probes_are_counted_but_not_traced(door: Door) -> None:
    """As over HTTP."""
    await door.ask("ServerReady", pb.ServerReadyRequest())

    assert door.requests("2xx", "ServerReady") == 1
    assert door.bench.spans.get_finished_spans() == ()


async def test_bugs_say_nothing_to_the_client(door: Door, monkeypatch: pytest.MonkeyPatch) -> None:
    """INTERNAL, and the log has it."""
    monkeypatch.setattr(messages, "parse_infer", lambda *_: 1 // 0)
    reply = await door.infer(pictures(RED))

    assert (reply.code, reply.details) == (grpc.StatusCode.INTERNAL, "see the log")
    assert door.requests("5xx") == 1
    assert door.bench.admission.in_system == 0


async def test_taken_port_is_explained(door: Door) -> None:
    """A clash names the setting to change."""
    services = door.bench.services
    with socket.create_server(("127.0.0.1", 0)) as taken:
        server = GrpcServer(
            GrpcService(services, build_open_inference(services)), services.desk.settings
        )
        with pytest.raises(InvalidSettingsError, match=r"server\.grpcPort"):
            await server.start(f"127.0.0.1:{taken.getsockname()[1]}")


def parse(body: bytes) -> None:
    """Parse, or refuse as the client's mistake; anything else is a bug."""
    try:
        message = messages.parse_message(pb.ModelInferRequest, body)
        parsed = messages.parse_infer(message, SERVED, most=8)
    except MalformedRequestError:
        return
    assert 1 <= len(parsed.payloads) <= 8


SHAPES = st.lists(st.sampled_from([0, 1, 2, 3, SIDE, -1, 2**62]), max_size=5)
INPUTS = st.builds(
    tensor,
    st.sampled_from(["input", "image", "x"]),
    st.sampled_from(["FP32", "BYTES", "FP16", "INT8", ""]),
    SHAPES | st.just(SHAPE),
)
RAWS = st.lists(st.binary(max_size=40) | st.just(PIXELS.tobytes()), max_size=3)
FUZZ = settings(max_examples=800, suppress_health_check=list(HealthCheck))


@FUZZ
@given(inputs=st.lists(INPUTS, max_size=3), raw=RAWS)
def test_any_message_is_parsed_or_refused(inputs: list[Any], raw: list[bytes]) -> None:
    """Shapes, types and sizes in every combination."""
    parse(request(*inputs, raw=raw).SerializeToString())


@FUZZ
@given(
    valid=st.sampled_from([pictures(RED).SerializeToString(), pixels().SerializeToString()[:600]]),
    cuts=st.lists(st.tuples(st.integers(0, 600), st.integers(0, 255)), max_size=8),
)
def test_damaged_messages_are_parsed_or_refused(valid: bytes, cuts: list[tuple[int, int]]) -> None:
    """Single bytes changed in what was right."""
    damaged = bytearray(valid)
    for at, value in cuts:
        damaged[at % len(damaged)] = value
    parse(bytes(damaged))
