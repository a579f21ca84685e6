"""Tokens and TLS over gRPC, through its real stack on loopback."""

from pathlib import Path
from typing import Any

import grpc
import grpc.aio
import pytest

from igw_runtime.errors import InvalidTokenError
from igw_runtime.serving.tls import ServedCertificate
from igw_runtime.settings import TlsSettings
from igw_runtime.web.app import build_open_inference
from igw_runtime.web.oip import open_inference_pb2 as pb
from igw_runtime.web.oip.grpc_server import GrpcServer
from igw_runtime.web.oip.grpc_service import GrpcService
from runtime_kit.bench import Bench, a_bench
from runtime_kit.certificates import Certificates

pytestmark = [pytest.mark.integration, pytest.mark.timeout(60)]
SERVICE = "/inference.GRPCInferenceService"
METHODS = [
    name.removesuffix("Request")
    for name in pb.DESCRIPTOR.message_types_by_name
    if name.endswith("Request")
]


def check(authorization: str | None) -> None:
    """Know one token."""
    if authorization != "Bearer good":
        message = "no good"
        raise InvalidTokenError(message)


def build_server(bench: Bench) -> GrpcServer:
    """Return a server that is not started."""
    service = GrpcService(bench.services, build_open_inference(bench.services))
    return GrpcServer(service, bench.services.desk.settings)


async def ask(channel: grpc.aio.Channel, method: str, **options: Any) -> grpc.StatusCode:
    """Return how a call without a message ends."""
    stub: grpc.aio.UnaryUnaryMultiCallable[bytes, bytes]
    stub = channel.unary_unary(f"{SERVICE}/{method}")
    code: grpc.StatusCode = await stub(b"", **options).code()
    return code


async def test_all_but_probes_demand_a_token() -> None:
    """UNAUTHENTICATED without one; with it, the call is looked at."""
    good = [("authorization", "Bearer good")]
    with a_bench(check_token=check) as bench:
        server = build_server(bench)
        port = await server.start("127.0.0.1:0")
        async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
            codes = {name: await ask(channel, name) for name in METHODS}
            with_token = await ask(channel, "ServerMetadata", metadata=good)
        await server.stop(1)
        counted = bench.sample("igw_runtime_rejected_requests_total", reason="invalid-token")

    opened = {name for name, code in codes.items() if code is not grpc.StatusCode.UNAUTHENTICATED}
    assert opened == {"ServerLive", "ServerReady", "ModelReady"}
    assert with_token is grpc.StatusCode.OK
    assert counted == len(codes) - len(opened)


async def test_new_connection_sees_the_renewed_certificate(tmp_path: Path) -> None:
    """An open connection goes on; a new one is shown the new certificate."""
    files = Certificates(tmp_path)
    old = files.renew()
    settings = TlsSettings(certificate=files.certificate, key=files.key)
    certificate = ServedCertificate(settings, lambda _: None)
    with a_bench() as bench:
        server = build_server(bench)
        port = await server.start("127.0.0.1:0", certificate)
        target = f"localhost:{port}"
        async with grpc.aio.secure_channel(target, grpc.ssl_channel_credentials(old)) as before:
            assert await ask(before, "ServerLive") is grpc.StatusCode.OK
            new = files.renew()
            certificate.check()
            # A pool of its own: channels to one address share their connection.
            options = [("grpc.use_local_subchannel_pool", 1)]
            trusted = grpc.ssl_channel_credentials(new)
            async with grpc.aio.secure_channel(target, trusted, options=options) as after:
                assert await ask(after, "ServerLive") is grpc.StatusCode.OK
            assert await ask(before, "ServerLive") is grpc.StatusCode.OK
        await server.stop(1)
