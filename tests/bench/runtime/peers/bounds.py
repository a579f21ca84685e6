"""What every server is told: where to listen, how many cores, how long clients wait.

Needs nothing but Python.
"""

from __future__ import annotations

import os
from typing import Final

PORT: Final = int(os.environ.get("BENCH_PORT", "0"))
CORES: Final = len(os.sched_getaffinity(0))
DEADLINE_SECONDS: Final = 1
"""A server that can be told of it, is."""
