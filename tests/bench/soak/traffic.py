"""The polite part of the traffic: requests that are sent whole, good and bad, open loop."""

from __future__ import annotations

import base64
import io
import json
from collections.abc import Mapping
from random import Random
from typing import Any, Final

from PIL import Image

from bench.load import Load
from runtime_kit.mutations import damage, damage_tree

SETTINGS: Final[dict[str, Any]] = {
    "model": {"name": "colours"},
    "serving": {"drainSeconds": 0, "maxBodyBytes": 400_000, "bodyTimeoutSeconds": 3},
}
LIMIT_BYTES: Final = 400_000
KINDS: Final = ("JPEG", "PNG", "WEBP", "GIF")
_DAMAGED: Final = 500


def build_loads(port: int, seconds: int) -> Mapping[str, Load]:
    """Return all loads; those whose name begins with `good` may not fail."""
    predict = f"http://127.0.0.1:{port}/predict"
    infer = f"http://127.0.0.1:{port}/v2/models/colours/infer"
    lot = Random(1)  # noqa: S311  the same in every run
    images = [encode(kind) for kind in KINDS]
    document = build_document(images[0])
    picture = {"Content-Type": "image/any"}
    rates: dict[str, tuple[float, Load]] = {}

    def add(name: str, url: str, rate: float, bodies: list[bytes], **rest: Any) -> None:
        rates[name] = (
            rate,
            Load(
                url=url,
                bodies=bodies,
                rate=rate,
                seconds=seconds,
                seed=len(rates),
                timeout_seconds=30,
                **rest,
            ),
        )

    add("good pictures, kept", predict, 25, images, headers=picture)
    add("good pictures, new", predict, 15, images, headers=picture, fresh_ratio=1)
    add("good tensors", infer, 10, [json.dumps(document).encode()])
    damaged = [damage(lot.choice(images), images, lot) for _ in range(_DAMAGED)]
    add("damaged pictures", predict, 25, damaged, headers=picture, fresh_ratio=0.2)
    trees = [json.dumps(damage_tree(document, lot)).encode() for _ in range(_DAMAGED)]
    add("damaged tensors", infer, 10, trees, fresh_ratio=0.2)
    too_large = [bytes(LIMIT_BYTES + 1), bytes(4 * LIMIT_BYTES)]
    add("oversized", predict, 3, too_large, headers=picture, fresh_ratio=0.5)
    return {name: load for name, (_, load) in rates.items()}


def encode(kind: str) -> bytes:
    """Return a noisy picture: it has as many bytes as a small photograph."""
    noise = Image.effect_noise((160, 120), 60)
    image = Image.merge("RGB", (noise, noise.rotate(90), noise.rotate(180)))
    buffer = io.BytesIO()
    image.save(buffer, kind)
    return buffer.getvalue()


def build_document(picture: bytes) -> dict[str, Any]:
    """Return an inference request with one picture."""
    text = base64.b64encode(picture).decode()
    return {"inputs": [{"name": "image", "datatype": "BYTES", "shape": [1], "data": [text]}]}
