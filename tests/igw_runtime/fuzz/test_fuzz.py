"""Twenty-three thousand damaged inputs, through the whole server: none is a 500, none takes long.

Each target has a corpus of good inputs and a fixed number of damaged ones; a failure names the
target and the number, from which `an_input` makes the input again.
"""

import base64
import io
import json
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from random import Random
from typing import Any

import numpy as np
import pytest
from PIL import Image

from igw_runtime.errors import InvalidSettingsError
from igw_runtime.settings import parse_settings
from runtime_kit.bench import Bench, a_bench
from runtime_kit.colours import RED, SIDE, picture
from runtime_kit.mutations import damage, damage_tree

pytestmark = [
    pytest.mark.timeout(300),
    # As the server does: of metadata that is broken, in a picture that may still be good.
    pytest.mark.filterwarnings(r"ignore::UserWarning:PIL\."),
]
# Of CPU, so that a busy machine fails nothing; the slowest takes a fiftieth of it.
MAX_CPU_SECONDS = 2.0
TOO_LATE = 504
LIMITS: dict[str, Any] = {"max_body_bytes": 200_000, "max_pixels": 1_000_000}


@dataclass(frozen=True, slots=True)
class Input:
    """One request."""

    path: str
    body: bytes
    headers: dict[str, str] = field(default_factory=dict)


Make = Callable[[Random], Input]


def images() -> list[bytes]:
    """Return one small picture of each kind that decoders treat differently."""
    noise = Image.effect_noise((40, 30), 80)
    colour = Image.merge("RGB", (noise, noise.rotate(90), noise.rotate(180)))
    exif = Image.Exif()
    exif[0x0112] = 6
    wide = Image.fromarray(np.arange(1200, dtype=np.uint16).reshape(30, 40))
    frames = [colour, colour.rotate(180)]
    film: dict[str, Any] = {"save_all": True, "append_images": frames[1:]}
    kinds: list[tuple[Image.Image, str, dict[str, Any]]] = [
        (colour, "JPEG", {}),
        (colour, "JPEG", {"progressive": True, "exif": exif}),
        (colour.convert("CMYK"), "JPEG", {}),
        (noise, "JPEG", {"restart_marker_blocks": 1}),
        (frames[0], "MPO", film),
        (colour, "PNG", {"exif": exif}),
        (colour.convert("RGBA"), "PNG", {}),
        (colour.quantize(8), "PNG", {"transparency": 3}),
        (noise.convert("LA"), "PNG", {}),
        (noise.convert("1"), "PNG", {}),
        (wide, "PNG", {}),
        (colour, "PNG", film),
        (colour, "WEBP", {}),
        (colour.convert("RGBA"), "WEBP", {"lossless": True}),
        (colour, "WEBP", film),
        (colour.quantize(16), "GIF", {"transparency": 0}),
        (colour, "GIF", film),
    ]
    contents = []
    for image, kind, options in kinds:
        buffer = io.BytesIO()
        image.save(buffer, kind, **options)
        contents.append(buffer.getvalue())
    return contents


IMAGES = images()
PNG = picture(RED)
TEXT = base64.b64encode(PNG).decode()
PIXELS = np.zeros((3, SIDE, SIDE), dtype=np.float32)
INFER = "/v2/models/colours/infer"
V1 = "/v1/models/colours:predict"


def an_image(random: Random) -> Input:
    """A damaged picture, as a raw body."""
    body = damage(random.choice(IMAGES), IMAGES, random)
    return Input("/predict", body, {"content-type": "image/any"})


FORM_HEADERS = (
    'form-data; name="file"; filename="a.png"',
    'form-data; name="image"',
    'form-data; name="note"; name*=utf-8\'\'x; filename*0="a"; filename*1="b"',
)
FORM_TYPES = (
    "multipart/form-data; boundary=b",
    'multipart/form-data; boundary="b"; charset=utf-8',
    "multipart/form-data; boundary*=utf-8''b; boundary*0=b; boundary=b",
    "multipart/form-data",
)


def a_form(random: Random) -> Input:
    """A damaged form, its header, or both."""
    head = f"--b\r\nContent-Disposition: {random.choice(FORM_HEADERS)}\r\n\r\n"
    part = head.encode() + PNG + b"\r\n"
    body = part * random.choice((1, 1, 2, 40)) + b"--b--\r\n"
    content_type = random.choice(FORM_TYPES).encode()
    if random.random() < 0.8:
        body = damage(body, [body, PNG], random)
    if random.random() < 0.5:
        content_type = damage(content_type, [each.encode() for each in FORM_TYPES], random)
    return Input("/predict", body, {"content-type": content_type.decode("latin-1")})


def a_json_image(random: Random) -> Input:
    """The JSON of our own endpoint."""
    return Input("/predict", _json({"image": TEXT}, random), {"content-type": "application/json"})


OIP_DOCUMENTS: list[dict[str, Any]] = [
    {
        "id": "q",
        "inputs": [{"name": "image", "datatype": "BYTES", "shape": [2, 1], "data": [TEXT, TEXT]}],
        "outputs": [{"name": "labels", "parameters": {"binary_data": True}}],
        "parameters": {"binary_data_output": False, "timeout": 9_000_000},
    },
    {
        "inputs": [
            {
                "name": "input",
                "datatype": "FP32",
                "shape": [1, 3, SIDE, SIDE],
                "data": [[[[0.5] * SIDE] * SIDE] * 3],
                "parameters": {},
            }
        ],
        "outputs": [{"name": "probabilities", "parameters": {"classification": 0}}],
    },
]


def an_oip_document(random: Random) -> Input:
    """A JSON inference request."""
    return Input(INFER, _json(random.choice(OIP_DOCUMENTS), random))


def an_oip_binary(random: Random) -> Input:
    """A JSON object with raw tensors behind it, and a header that says where they begin."""
    image = len(PNG).to_bytes(4, "little") + PNG
    name, datatype, shape, raw = random.choice(
        [
            ("image", "BYTES", [1], image),
            ("image", "BYTES", [2], image * 2),
            ("input", "FP32", [1, 3, SIDE, SIDE], PIXELS.tobytes()),
        ]
    )
    document: dict[str, Any] = {
        "inputs": [
            {
                "name": name,
                "datatype": datatype,
                "shape": shape,
                "parameters": {"binary_data_size": len(raw)},
            }
        ],
        "parameters": {"binary_data_output": True},
    }
    if random.random() < 0.5:
        document = damage_tree(document, random)
    if random.random() < 0.5:
        raw = damage(raw, [raw, image], random)
    head = json.dumps(document).encode()
    length = str(random.choice((len(head), len(head), len(head), 0, len(head) + 1, "-1", "٣")))
    body = head + raw
    if random.random() < 0.2:
        body = damage(body, [body], random)
    return Input(INFER, body, {"inference-header-content-length": length})


V1_DOCUMENTS: list[dict[str, Any]] = [
    {"instances": [{"b64": TEXT}, {"image": {"b64": TEXT}}]},
    {"instances": [[[[0.5] * SIDE] * SIDE] * 3]},
]


def a_v1_document(random: Random) -> Input:
    """A KServe v1 request."""
    return Input(V1, _json(random.choice(V1_DOCUMENTS), random))


HEADERS = {
    "x-request-timeout-ms": "30000",
    "x-request-id": "abc",
    "traceparent": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
    "tracestate": "a=b,c=d",
    "baggage": "a=b;c",
    "content-encoding": "gzip",
    "content-length": "10",
    "transfer-encoding": "chunked",
    "accept-encoding": "gzip;q=0.5, br",
    "host": "[::1]:80",
    "user-agent": "x",
}


def a_header(random: Random) -> Input:
    """A good picture under damaged headers."""
    headers = {"content-type": "image/png"}
    for name in random.sample(sorted(HEADERS), 3):
        value = damage(HEADERS[name].encode(), [b"x, y"], random)
        headers[name] = value.decode("latin-1")
    return Input(random.choice(("/predict", INFER, V1)), PNG, headers)


TARGETS: dict[str, tuple[int, Make]] = {
    "image": (6000, an_image),
    "form": (3000, a_form),
    "own JSON": (1500, a_json_image),
    "OIP JSON": (2000, an_oip_document),
    "OIP binary": (3000, an_oip_binary),
    "v1": (2000, a_v1_document),
    "headers": (2500, a_header),
}
SETTINGS_COUNT = 3000


def a_lot(seed: str) -> Random:
    """Return randomness that is the same in every run."""
    return Random(seed)  # noqa: S311


def an_input(target: str, number: int) -> Input:
    """Make one input; the same in every run."""
    return TARGETS[target][1](a_lot(f"{target} {number}"))


@pytest.fixture(scope="module")
def bench() -> Iterator[Bench]:
    """Return one serving path for all: what an input leaves behind, the next ones meet."""
    with a_bench(**LIMITS) as built:
        yield built


@pytest.mark.parametrize("target", TARGETS)
async def test_damaged_requests_are_answered_or_refused(bench: Bench, target: str) -> None:
    """The client's fault is the client's error, at once, and nothing is left of it."""
    statuses: set[int] = set()
    for number in range(TARGETS[target][0]):
        given = an_input(target, number)
        started = time.process_time()
        headers = {"content-length": str(len(given.body))} | given.headers
        answer = await bench.client.call("POST", given.path, chunks=[given.body], headers=headers)
        seconds = time.process_time() - started
        shown = f"{target} {number}: {answer.status} {answer.body!r} {seconds:.2f} s"
        # Damage may also leave a deadline that is too short to keep.
        assert 200 <= answer.status < 500 or answer.status == TOO_LATE, shown
        assert seconds < MAX_CPU_SECONDS, shown
        statuses.add(answer.status)

    assert {200, 400} & statuses, "else the damage never got past the first check"
    assert bench.admission.in_system == 0
    assert len(bench.queue._jobs) == 0


SETTINGS: dict[str, Any] = {
    "schemaVersion": 2,
    "gateway": {"namespace": "demo", "name": "photos"},
    "model": {"name": "m", "uri": "file:///m", "sha256": "", "precision": "auto"},
    "additionalModels": [{"name": "m", "version": "2"}, {"name": "n", "uri": "file:///n"}],
    "server": {"port": 8080, "metricsPort": 9090, "grpcPort": 9000},
    "auth": {"jwt": {"issuer": "i", "audiences": ["a"], "jwksUri": "https://i/k"}},
    "tls": {"certificate": "/tls.crt", "key": "/tls.key"},
    "serving": {"timeoutSeconds": 30, "maxQueue": 64, "maxBatch": "auto", "exact": True},
    "telemetry": {"otlpEndpoint": "http://c:4318"},
    "live": {
        "logging": {"level": "info", "samplingPercent": {"info": 5.0}, "maxBytesPerSecond": 9},
        "tracing": {"enabled": True, "samplingPercent": 10.0, "slowThresholdSeconds": 0.3},
        "metrics": {"latencyBucketsSeconds": [0.3], "maxPredictionClasses": 1000},
    },
}


def test_damaged_settings_are_read_or_explained() -> None:
    """A file that cannot be used is one line about one key, never a traceback."""
    read = refused = 0
    for number in range(SETTINGS_COUNT):
        content = _json(SETTINGS, a_lot(f"settings {number}"))
        started = time.process_time()
        try:
            parse_settings(content)
            read += 1
        except InvalidSettingsError:
            refused += 1
        assert time.process_time() - started < MAX_CPU_SECONDS, number

    assert min(read, refused) > SETTINGS_COUNT / 20


def _json(document: Any, random: Random) -> bytes:
    if random.random() < 0.7:
        return json.dumps(damage_tree(document, random)).encode()
    text = json.dumps(document).encode()
    return damage(text, [text, b"[" * 5000, b'{"a":' * 2000], random)


async def test_undamaged_inputs_are_answered(bench: Bench) -> None:
    """The corpus itself is good: what is refused above is refused for its damage."""
    json_type = {"content-type": "application/json"}
    good = [
        *(Input("/predict", content, {"content-type": "image/any"}) for content in IMAGES),
        Input("/predict", json.dumps({"image": TEXT}).encode(), json_type),
        *(Input(INFER, json.dumps(document).encode()) for document in OIP_DOCUMENTS),
        *(Input(V1, json.dumps(document).encode()) for document in V1_DOCUMENTS),
    ]
    for number, given in enumerate(good):
        headers = {"content-length": str(len(given.body))} | given.headers
        answer = await bench.client.call("POST", given.path, chunks=[given.body], headers=headers)
        assert answer.status == 200, (number, answer.body)
