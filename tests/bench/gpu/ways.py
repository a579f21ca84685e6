"""The ways in which images are sent: encoded or as tensors, one a request or several."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from bench.runtime.peers.preparation import Preparation
from bench.runtime.pictures import Packed, pack_raw, pack_v2_pictures, pack_v2_tensor

SEVERAL: Final = 16
"""Images in the larger requests: as tensors of 224 pixels, just what a body may have by default."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Way:
    """One way; `images` are in each request."""

    name: str
    title: str
    images: int
    decoded: bool
    """By the client: the server gets tensors."""


PICTURE: Final = "picture"
TENSORS: Final = "tensors"
WAYS: Final = (
    Way(name=PICTURE, title="a JPEG", images=1, decoded=False),
    Way(name="pictures", title=f"{SEVERAL} JPEGs", images=SEVERAL, decoded=False),
    Way(name="tensor", title="a tensor", images=1, decoded=True),
    Way(name=TENSORS, title=f"{SEVERAL} tensors", images=SEVERAL, decoded=True),
)


def pack(way: Way, pictures: Sequence[bytes], preparation: Preparation) -> list[Packed]:
    """Return the requests of a way, which all have the same headers; each begins elsewhere."""
    starts = range(len(pictures) if way.images == 1 else 2)
    chosen = [
        [pictures[(start + step) % len(pictures)] for step in range(way.images)] for start in starts
    ]
    if way.decoded:
        batches = [np.stack([preparation.prepare(it) for it in each]) for each in chosen]
        return [pack_v2_tensor(it) for it in batches]
    return [pack_raw(*it) if way.images == 1 else pack_v2_pictures(it) for it in chosen]


def find_path(way: Way, model: str) -> str:
    """Return where requests of a way are posted to."""
    return "/predict" if way.name == PICTURE else f"/v2/models/{model}/infer"


def choose_clients(way: Way, batch: int) -> int:
    """Return how many clients keep eight batches on their way, whatever a request holds."""
    return max(1, 8 * batch // way.images)
