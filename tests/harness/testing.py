"""Run the test tiers in an order that wastes no time: ``make test``.

Cheap tiers come first. While they run, the parts of the local node are built in the
background, so that a cold machine is never idle.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import time
from collections.abc import Callable
from functools import partial
from typing import Final

from harness import provider as providers
from harness.provider import LocalNode
from harness.shell import ROOT, CommandError, say, step, stream

_PYTEST: Final = (sys.executable, "-m", "pytest", "-q")
# Tests of an operator wait more than they compute: two cores take four at a time.
_WAITING: Final = ("-n", "4")


def main() -> None:
    """Run all tiers, or the one that is named."""
    parser = argparse.ArgumentParser(prog="make test", description=__doc__)
    parser.add_argument(
        "tier", nargs="?", choices=["all", "integration", "e2e", "follow"], default="all"
    )
    tier = parser.parse_args().tier
    provider = providers.choose()
    start = time.monotonic()
    try:
        _run(tier, provider)
    except CommandError as error:
        sys.exit(f"\n✗ {error}")
    say(f"\nAll tests passed in {(time.monotonic() - start) / 60:.1f} min.")


def _run(tier: str, provider: providers.Provider) -> None:
    tiers: dict[str, tuple[Callable[[providers.Provider], None], ...]] = {
        "all": (_check_and_unit, _integration, _scale, _end_to_end, _nothing_left),
        "integration": (_integration,),
        "e2e": (partial(_end_to_end, keep=True),),
        "follow": (_follow,),
    }
    for part in tiers[tier]:
        part(provider)


def _check_and_unit(provider: providers.Provider) -> None:
    builder = None
    if isinstance(provider, LocalNode):
        # Output goes nowhere: `prepare` below waits for the same lock and tells the progress.
        builder = subprocess.Popen(
            [provider.kind, "ensure"],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            cwd=ROOT,
        )
    try:
        with step("Lint, types, import contracts"):
            stream(["make", "--no-print-directory", "check"])
        with step("Unit tests"):
            stream([*_PYTEST, "-n", "2", "-m", "not integration and not e2e and not export"])
    except CommandError:
        if builder is not None:
            builder.terminate()
        raise


def _integration(provider: providers.Provider) -> None:
    with step("Parts of the node"):
        # This tier needs a kube-apiserver of its own, also where kind serves the rest.
        stream(
            [
                LocalNode().kind,
                "ensure",
                *(() if isinstance(provider, LocalNode) else ("--only", "integration")),
            ]
        )
    with step("Integration tests: real kube-apiserver, real model server"):
        stream([*_PYTEST, *_WAITING, "--dist", "loadgroup", "-m", "integration"])
    with step("The core of the fault matrix: crashes, stale views, refusals, odd specs"):
        stream([*_PYTEST, *_WAITING, "-m", "matrix and core", "tests/matrix"])


def _scale(_: providers.Provider) -> None:
    with step("A thousand gateways on one operator"):
        stream([*_PYTEST, "-m", "scale", "tests/matrix/test_scale.py"])


def _follow(provider: providers.Provider) -> None:
    # Nothing else needs Jaeger and Loki, which take ten minutes to build.
    provider.prepare("follow")
    _end_to_end(provider, which="follow", keep=True)


def _end_to_end(
    provider: providers.Provider, *, which: str = "e2e and not follow", keep: bool = False
) -> None:
    provider.prepare()
    with step("Images"):
        provider.build_images()
    options: list[str] = []
    if keep:
        provider.create()
        options = ["--keep-cluster", f"--kubeconfig={providers.KUBECONFIG}"]
    elif providers.is_up(provider.kind):
        provider.delete()  # what an earlier run left on it is nobody's expectation
    with step("End-to-end tests on a real node"):
        stream(
            [
                *_PYTEST,
                "-m",
                which,
                "tests/e2e",
                f"--cluster-name={providers.CLUSTER}",
                f"--kind-bin={provider.kind}",
                f"--kind-kubectl-bin={provider.kubectl}",
                *options,
            ]
        )


def _nothing_left(provider: providers.Provider) -> None:
    if isinstance(provider, LocalNode):
        with step("After a cluster, nothing is left"):
            stream([*_PYTEST, "-m", "e2e", "tests/igw_node"])
            stream([provider.kind, "purge"])
            stream([provider.kind, "verify-clean"])


if __name__ == "__main__":
    main()
