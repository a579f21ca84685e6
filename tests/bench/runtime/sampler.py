"""A profile by sampling: who is at work when a thread looks. It costs the server little.

A sample belongs to the function of our own that is deepest in the stack, whatever library it has
called. Threads that wait, and the engine's forward pass, are left out: what remains is overhead.
"""

from __future__ import annotations

import json
import os
import sys
import threading
import time
from collections import Counter
from pathlib import Path
from types import FrameType
from typing import Final

_SECONDS: Final = 0.002
WRITE_SECONDS: Final = 0.5
# The interpreter lets another thread run this soon, so that samples do not only fall where
# somebody waits anyway.
_SWITCH_SECONDS: Final = 0.0005
_OURS: Final = f"{os.sep}igw_runtime{os.sep}"
_IDLE: Final = frozenset({"wait", "select", "poll", "accept", "_wait_for_tstate_lock", "join"})
_ENGINE: Final = frozenset({"infer"})


def sample_into(path: str) -> None:
    """Start the thread; the file has the counts so far, twice a second."""
    sys.setswitchinterval(_SWITCH_SECONDS)
    threading.Thread(target=_sample, args=(Path(path),), name="sampler", daemon=True).start()


def _sample(path: Path) -> None:
    me, counts, written = threading.get_ident(), Counter[str](), time.monotonic()
    while True:
        time.sleep(_SECONDS)
        for thread, frame in sys._current_frames().items():
            place = find_place(frame) if thread != me else ""
            if place:
                counts[place] += 1
        if time.monotonic() - written > WRITE_SECONDS:
            written = time.monotonic()
            fresh = path.with_suffix(".new")
            fresh.write_text(json.dumps(counts))
            fresh.replace(path)


def find_place(frame: FrameType) -> str:
    """Return `module.function` of ours, "" for who waits or computes."""
    if frame.f_code.co_name in _IDLE | _ENGINE:
        return ""
    current: FrameType | None = frame
    while current is not None:
        file = current.f_code.co_filename
        if _OURS in file:
            module = file.partition(_OURS)[2].removesuffix(".py").replace(os.sep, ".")
            return f"{module}.{current.f_code.co_qualname}"
        current = current.f_back
    return "(asyncio, uvicorn, h11)"
