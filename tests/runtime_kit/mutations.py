"""Damage, made by lot from a seed: the same inputs in every run, and each can be made again alone.

Bytes are damaged without knowing what they are; JSON also as the tree that it is, because most
damaged text is no JSON at all and would only ever test the parser.
"""

import copy
import json
from collections.abc import Sequence
from random import Random
from typing import Any, Final

_NUMBERS: Final = (0, 1, 2, 0x7F, 0x80, 0xFF, 0x7FFF, 0xFFFF, 0x7FFFFFFF, 0xFFFFFFFF)
_TEXTS: Final = (b"-1", b"1e999", b"99999999999999999999", b"NaN", b"null", b"\\u0000", b"\r\n\r\n")
VALUES: Final[tuple[Any, ...]] = (
    *(None, True, False, 0, -1, 1, 3, 2**31, 2**63, -(2**63), 10**400, 0.5, 1e308, -0.0),
    *(float("nan"), float("inf"), "", "x", "é\ud800", "=" * 100, "data:,", "A" * 3000),
    *([], {}, [[]], [None], {"b64": None}, {"": {}}, [[[[[[[[]]]]]]]], list(range(50))),
)


def damage(content: bytes, others: Sequence[bytes], random: Random) -> bytes:
    """Return the bytes after one to four accidents."""
    data = bytearray(content)
    for _ in range(random.randint(1, 4)):
        _damage_once(data, others, random)
    return bytes(data)


def _damage_once(data: bytearray, others: Sequence[bytes], random: Random) -> None:
    at = random.randrange(len(data) + 1)
    length = min(random.choice((1, 2, 4, 16, 300)), len(data) - at)
    kind = random.randrange(9)
    if kind == 0:
        data[at : at + length] = random.randbytes(length)
    elif kind == 1:
        del data[at:]
    elif kind == 2:
        del data[at : at + length]
    elif kind == 3:
        data[at:at] = data[at : at + length] * random.choice((1, 2, 50))
    elif kind == 4:
        data[at : at + 4] = random.choice(_NUMBERS).to_bytes(4, random.choice(("big", "little")))
    elif kind == 5:
        data[at : at + length] = random.choice(_TEXTS)
    elif kind == 6:
        other = random.choice(others)
        data[at:] = other[random.randrange(len(other) + 1) :]
    elif at < len(data):
        data[at] ^= 1 << random.randrange(8)


def damage_tree(content: Any, random: Random) -> Any:
    """Return a copy of a JSON document after one to three changes of its nodes."""
    document = json.loads(json.dumps(content))
    for _ in range(random.randint(1, 3)):
        parents = [node for node in _walk(document) if isinstance(node, dict | list) and node]
        if not parents:
            return _pick(random)
        _change(random.choice(parents), random)
    return document


def _change(parent: Any, random: Random) -> None:
    keys = list(parent) if isinstance(parent, dict) else range(len(parent))
    key = random.choice(keys)
    kind = random.randrange(5)
    if kind == 0:
        del parent[key]
    elif kind == 1 and isinstance(parent, dict):
        parent[random.choice(("", "extra", "b64", "id", "image", "timeout"))] = parent.pop(key)
    elif kind == 1:
        parent.extend([parent[key]] * random.choice((1, 70)))
    elif kind == 2:
        parent[key] = [parent[key]]
    else:
        parent[key] = _pick(random)


def _pick(random: Random) -> Any:
    return copy.deepcopy(random.choice(VALUES))  # later changes may go into it


def _walk(node: Any) -> list[Any]:
    children = node.values() if isinstance(node, dict) else node if isinstance(node, list) else ()
    return [node, *(each for child in children for each in _walk(child))]
