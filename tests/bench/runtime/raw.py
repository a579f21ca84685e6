"""What the engine can do with nothing around it: one thread a core, in a loop. Prints JSON.

Once with tensors that lie ready, once with the pictures, decoded and preprocessed each time: no
server can answer more than the second, and only the first is the engine's alone.
"""

from __future__ import annotations

import argparse
import json
import os
from pathlib import Path

from bench.runtime.peers.bounds import CORES
from bench.runtime.peers.engine import Classifier
from bench.runtime.pictures import draw_pictures
from bench.runtime.timing import count_per_second, time_each


def main() -> None:
    """Measure both, the tensors first."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--package", type=Path, required=True)
    parser.add_argument("--precision", required=True)
    parser.add_argument("--seconds", type=float, default=3)
    options = parser.parse_args()
    os.environ |= {"BENCH_PACKAGE": str(options.package), "BENCH_PRECISION": options.precision}
    classifier, pictures = Classifier(streams=CORES), draw_pictures()
    tensors = [classifier.preparation.prepare(it)[None] for it in pictures]

    def infer(number: int) -> object:
        return classifier.infer(tensors[number % len(tensors)])

    def classify(number: int) -> object:
        return classifier.classify(pictures[number % len(pictures)])

    count_per_second(infer, CORES, 0.5)
    images = [classifier.preparation.decode(it) for it in pictures]
    found = {
        "decode_seconds": time_each(classifier.preparation.decode, pictures),
        "preprocess_seconds": time_each(classifier.preparation.preprocess, images),
        "infer": count_per_second(infer, CORES, options.seconds),
        "whole": count_per_second(classify, CORES, options.seconds),
    }
    print(json.dumps(found))  # noqa: T201


if __name__ == "__main__":
    main()
