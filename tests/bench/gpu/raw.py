"""The torch engine with nothing around it, in one precision and one mode. Prints JSON.

The same class, sessions and batches as in the server: images lie in the CPU's memory, scores come
back to it. First every size of batch in one thread, then the best size in several threads, as the
server has several workers. Beside it: the network on images that lie on the device already, the
copy to the device alone, and what a picture costs the CPU before it is an image.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from queue import SimpleQueue
from statistics import median
from typing import Any, Final

import numpy as np

from bench.runtime.peers.preparation import Preparation
from bench.runtime.pictures import draw_pictures
from bench.runtime.timing import count_per_second, time_each
from igw_runtime.engines.protocol import Batch, EngineOptions, Session
from igw_runtime.engines.torch_engine import TorchEngine
from igw_runtime.models.artifact import read_package
from igw_runtime.serving.sweep import Sweep
from igw_runtime.settings import MAX_BATCH

THREADS: Final = (1, 2, 4)
_REPEATS: Final = 20
_PASSES: Final = 8


class Bench:
    """An open engine, and as many sessions as there are threads."""

    def __init__(self, package: Path, options: EngineOptions) -> None:
        began = time.monotonic()
        self.engine = TorchEngine(read_package(package), options)
        self.open_seconds = time.monotonic() - began
        self._side = options.side
        self._sessions: SimpleQueue[Session] = SimpleQueue()
        for _ in range(max(THREADS)):
            self._sessions.put(self.engine.open_session())

    def draw(self, size: int, seed: int = 0) -> Batch:
        """Return images of noise: zeros would be computed faster than real ones on some devices."""
        random = np.random.default_rng(seed)
        return random.standard_normal((size, 3, self._side, self._side), dtype=np.float32)

    def measure(self, size: int, threads: int, seconds: float) -> float:
        """Return images a second, in batches of one size."""
        batches = [self.draw(size, seed) for seed in range(2)]

        def work(number: int) -> None:
            with self._session() as session:
                session.infer(batches[number % len(batches)])

        count_per_second(work, threads, seconds / 4)
        return size * count_per_second(work, threads, seconds)

    def measure_resident(self, size: int, seconds: float) -> float:
        """Return images a second of the network alone, on a batch that lies on the device."""
        import torch  # noqa: PLC0415

        with torch.inference_mode():
            batch = torch.from_numpy(self.draw(size)).to(**self.engine._placement)
        wait = torch.cuda.synchronize if self.engine.device == "cuda" else lambda: None

        def work(_number: int) -> None:
            with torch.inference_mode():
                for _ in range(_PASSES):
                    self.engine._module(batch)
                wait()

        count_per_second(work, 1, seconds / 4)
        return _PASSES * size * count_per_second(work, 1, seconds)

    def measure_copies(self, size: int) -> dict[str, float]:
        """Return the seconds that one batch takes to the device, by the memory it lies in."""
        if self.engine.device != "cuda":
            return {}
        import torch  # noqa: PLC0415

        images = torch.from_numpy(self.draw(size))
        pinned = images.pin_memory()
        ways: dict[str, Callable[[], object]] = {
            "pageable": lambda: images.to("cuda"),
            "pinned": lambda: pinned.to("cuda", non_blocking=True),
            "pinned first, then copied": lambda: images.pin_memory().to("cuda", non_blocking=True),
            "converted by the CPU": lambda: images.to(**self.engine._placement),
        }

        def take(way: Callable[[], object]) -> float:
            began = time.monotonic()
            way()
            torch.cuda.synchronize()
            return time.monotonic() - began

        for way in ways.values():
            take(way)
        return {name: median(take(way) for _ in range(_REPEATS)) for name, way in ways.items()}

    def compare_threads(self, size: int) -> float:
        """Return by how much scores differ when other threads compute, too: of the largest."""
        batches = [self.draw(size, seed) for seed in range(max(THREADS))]
        session = self.engine.open_session()
        alone = [session.infer(batch) for batch in batches]

        def work(number: int) -> float:
            mine = self.engine.open_session()
            expected = alone[number]
            errors = [np.abs(mine.infer(batches[number]) - expected).max() for _ in range(5)]
            return float(max(errors) / max(np.abs(expected).max(), 1e-6))

        with ThreadPoolExecutor(len(batches)) as pool:
            return max(pool.map(work, range(len(batches))))

    @contextmanager
    def _session(self) -> Iterator[Session]:
        session = self._sessions.get()
        try:
            yield session
        finally:
            self._sessions.put(session)


def choose_batch(rates: dict[int, float]) -> int:
    """Return the smallest size that is as good as the best one, of those that may be served."""
    return Sweep(costs={size: 1 / it for size, it in rates.items() if size <= MAX_BATCH}).chosen


def measure(bench: Bench, sizes: Sequence[int], seconds: float) -> dict[str, Any]:
    """Measure all that does not depend on pictures."""
    rates = {size: bench.measure(size, 1, seconds) for size in sizes}
    batch = choose_batch(rates)
    return {
        "engine": bench.engine.name,
        "precision": bench.engine.precision,
        "device": bench.engine.device,
        "open_seconds": bench.open_seconds,
        "rates": rates,
        "batch": batch,
        "threads": {threads: bench.measure(batch, threads, 2 * seconds) for threads in THREADS},
        "resident": bench.measure_resident(batch, seconds),
        "copies": bench.measure_copies(batch),
        "difference": bench.compare_threads(batch),
        "memory_mib": _read_memory_mib(bench.engine.device),
    }


def _read_memory_mib(device: str) -> float:
    """Return the most that was taken of the device's memory."""
    if device != "cuda":
        return 0.0
    import torch  # noqa: PLC0415

    return float(torch.cuda.max_memory_reserved()) / (1 << 20)


def main() -> None:
    """Open the engine and measure."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--package", type=Path, required=True)
    parser.add_argument("--precision", required=True)
    parser.add_argument("--compile", action="store_true")
    parser.add_argument("--sizes", required=True, help="of batches: 1,2,4")
    parser.add_argument(
        "--threads", type=int, required=True, help="that the CPU is to be used with"
    )
    parser.add_argument("--seconds", type=float, required=True)
    options = parser.parse_args()
    preset = read_package(options.package).manifest.preprocessing
    sizes = [int(size) for size in options.sizes.split(",")]
    engine_options = EngineOptions(
        precision=options.precision,
        # As in the server, which has a worker for each processor.
        threads=options.threads,
        streams=options.threads,
        pin_threads=False,
        max_batch=max(sizes),
        side=preset.crop,
        torch_compile=options.compile,
    )
    found = measure(Bench(options.package, engine_options), sizes, options.seconds)
    preparation, pictures = Preparation(preset), draw_pictures()
    images = [preparation.decode(it) for it in pictures]
    found["decode_seconds"] = time_each(preparation.decode, pictures)
    found["preprocess_seconds"] = time_each(preparation.preprocess, images)
    print(json.dumps(found))  # noqa: T201


if __name__ == "__main__":
    main()
