"""Bad requests through the Service: a clear answer, and nobody else notices."""

from __future__ import annotations

import struct
import zlib

import pytest

from harness.client import Client
from harness.gateway import Gateway
from harness.shell import ROOT, wait_for

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(300)]
JPEG = (ROOT / "tests" / "pictures" / "coffee.jpg").read_bytes()


def png(width: int, height: int) -> bytes:
    """A greyscale PNG of that size; 100 megapixels are some 100 kB."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return (
            struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        )

    compressor = zlib.compressobj(9)
    row = bytes(width + 1)
    pixels = b"".join(compressor.compress(row) for _ in range(height)) + compressor.flush()
    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", pixels) + chunk(b"IEND", b"")
    )


@pytest.mark.parametrize(
    ("body", "content_type", "status"),
    [
        (b"", "image/jpeg", 400),
        (b"hello", "text/plain", 415),
        (b"this is no picture", "image/jpeg", 415),
        (JPEG[: len(JPEG) // 2], "image/jpeg", 422),
        (png(10_000, 10_000), "image/png", 413),
        (JPEG + bytes(50_000_000), "image/jpeg", 413),
    ],
    ids=[
        "no body",
        "text",
        "noise that claims to be a JPEG",
        "half a JPEG",
        "a PNG of 100 megapixels",
        "a body of 50 MB",
    ],
)
def test_a_bad_request_gets_a_clear_answer(
    ready_gateway: tuple[Gateway, Client], body: bytes, content_type: str, status: int
) -> None:
    """The status fits, the problem is named, the next request is served, nothing restarts."""
    gateway, client = ready_gateway

    answer = client.post(f"{gateway.url}/predict", body, content_type=content_type)
    after = client.post(f"{gateway.url}/predict", JPEG)

    assert answer.status == status, answer.body
    assert answer.json["status"] == status
    assert answer.json["detail"]
    assert after.status == 200
    assert gateway.restarts() == 0


def test_bad_requests_are_counted_as_the_clients(
    ready_gateway: tuple[Gateway, Client],
) -> None:
    """A 4xx spends no error budget."""
    gateway, client = ready_gateway
    client.post(f"{gateway.url}/predict", b"", content_type="image/jpeg")

    wait_for(
        "the 4xx in Prometheus",
        lambda: gateway.kubectl.prometheus(
            f'sum(http_requests_total{{namespace="{gateway.namespace}",endpoint="/predict",'
            'status="4xx"}) > 0'
        ),
        timeout_seconds=60,
        every_seconds=2,
    )
    assert not gateway.kubectl.prometheus(
        f'sum(http_requests_total{{namespace="{gateway.namespace}",endpoint="/predict",'
        'status="5xx"}) > 0'
    )
