"""What there is to measure on: `python -m bench.gpu.device cuda` prints it as JSON, or what lacks.

A process of its own asks torch, as a process that has done so holds memory of the GPU until it
ends.
"""

from __future__ import annotations

import json
import shutil
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final

_DRIVER: Final = Path("/dev/nvidiactl")
_VERSION: Final = Path("/proc/driver/nvidia/version")
_GIB: Final = 1024**3


def find_lack_of_driver() -> str:
    """Return what a machine lacks before any Python is asked; "" if it may have a GPU."""
    if _DRIVER.exists() or shutil.which("nvidia-smi"):
        return ""
    return f"no NVIDIA driver: there is neither {_DRIVER} nor nvidia-smi on the PATH"


def describe_device(device: str) -> dict[str, Any]:
    """Return the device and its software, or one entry: what is `missing`."""
    if find_spec("torch") is None or find_spec("torchvision") is None:
        return {"missing": f"torch and torchvision, which {sys.executable} does not have"}
    import torch  # noqa: PLC0415

    found: dict[str, Any] = {"torch": torch.__version__, "name": "", "device": device}
    if device == "cpu":
        return found
    if torch.version.cuda is None:
        return {"missing": f"a torch that was built for CUDA; {torch.__version__} was not"}
    if not torch.cuda.is_available():
        return {
            "missing": f"a GPU that torch {torch.__version__} (CUDA {torch.version.cuda}) finds"
        }
    properties = torch.cuda.get_device_properties(0)
    return found | {
        "name": properties.name,
        "memory_gib": round(properties.total_memory / _GIB),
        "multiprocessors": properties.multi_processor_count,
        "cuda": torch.version.cuda,
        "cudnn": str(torch.backends.cudnn.version()),
        "driver": read_driver_version(),
    }


def read_driver_version() -> str:
    """Return the version of the kernel's driver."""
    try:
        first, *_ = _VERSION.read_text().splitlines()
    except (OSError, ValueError):
        return "unknown"
    # NVRM version: NVIDIA UNIX x86_64 Kernel Module  580.126.09  Tue Nov 18 12:00:00 UTC 2025
    numbers = [it for it in first.split() if it[:1].isdigit() and "." in it]
    return numbers[0] if numbers else "unknown"


if __name__ == "__main__":
    print(json.dumps(describe_device(sys.argv[1])))  # noqa: T201
