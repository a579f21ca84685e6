"""One canonical form and one digest for everything whose change must be seen.

Used for the applied-hash of a child, the config-hash of a pod template and the hash of the
live settings; the runtime computes the last one too (``igw_runtime.settings.hash_live``),
so the form may not change without it.
"""

from __future__ import annotations

import hashlib
import json
from typing import Any, Final

DIGEST_LENGTH: Final = 16
_CANONICAL: Final = json.JSONEncoder(sort_keys=True, separators=(",", ":"))


def build_digest(value: Any) -> str:
    """The first 16 hexadecimal digits of the SHA-256 of the value's canonical JSON."""
    return hashlib.sha256(_CANONICAL.encode(value).encode()).hexdigest()[:DIGEST_LENGTH]
