"""The command line: ``python -m igw_operator run | render | openslo | validate | crds``.

Reads the environment, the clock and the arguments, and nothing else does. A bad command
line, a bad file and a bad setting each end in one line that says what to change.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import os
import random
import sys
import time
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import Final, NoReturn

from igw_operator import __version__
from igw_operator.errors import IgwError, SpecError
from igw_operator.offline import (
    InputError,
    build_crds,
    build_export,
    build_rendering,
    check_documents,
    read_documents,
)
from igw_operator.settings import SettingsError, read_settings

_PROGRAM: Final = "igw-operator"
_WRONG_INPUT: Final = 1
_FAILED: Final = 1
_WRONG_USE: Final = 2
# Each page of a LIST makes some 50,000 objects and drops them again. By Python's own thresholds
# that is seventy searches for cycles, and many walk the whole cache: half a second each at 5,000
# gateways, a quarter of all that a restart costs. What we make has next to no cycles.
_COLLECT_RARELY: Final = (50_000, 20, 100)


class _Parser(argparse.ArgumentParser):
    """Says what is wrong in one line; the usage is for those who ask for it."""

    def error(self, message: str) -> NoReturn:
        self.exit(_WRONG_USE, f"{self.prog}: {message} (see {self.prog} --help)\n")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command and return its exit code."""
    options = _build_parser().parse_args(arguments)
    try:
        return int(options.command(options))
    except SpecError as error:
        return _complain([str(it) for it in error.errors])
    except (InputError, SettingsError) as error:
        return _complain([str(error)], code=_WRONG_USE)
    except IgwError as error:
        return _complain([f"{_PROGRAM}: {error}"], code=_FAILED)
    except BrokenPipeError:
        sys.stderr.close()  # nobody reads on, such as `| head`
        return 0


def _build_parser() -> _Parser:
    parser = _Parser(prog=_PROGRAM, description=__doc__.partition("\n")[0])
    parser.add_argument("--version", action="version", version=__version__)
    commands = parser.add_subparsers(required=True, metavar="COMMAND", parser_class=_Parser)

    run = commands.add_parser("run", help="work until SIGTERM")
    run.add_argument("--kubeconfig", metavar="FILE", help="default: the pod's, else kubectl's")
    run.add_argument("--no-lease", action="store_true", help="do not wait to be the only one")
    run.add_argument("--metrics-port", type=_parse_port, metavar="PORT", help="0: no metrics")
    run.add_argument("--health-port", type=_parse_port, metavar="PORT", help="0: no probe")
    run.set_defaults(command=_run)

    render = commands.add_parser("render", help="print all children of gateways, as YAML")
    render.add_argument("-f", "--file", action="append", required=True, metavar="FILE")
    source = render.add_mutually_exclusive_group()
    source.add_argument("--runtime", action="append", default=[], metavar="FILE")
    source.add_argument("--runtime-image", metavar="IMAGE")
    render.set_defaults(command=_render)

    export = commands.add_parser("openslo", help="print the objectives of gateways, as OpenSLO")
    export.add_argument("-f", "--file", action="append", required=True, metavar="FILE")
    export.set_defaults(command=_export)

    validate = commands.add_parser("validate", help="say what is wrong with resources")
    validate.add_argument("-f", "--file", action="append", required=True, metavar="FILE")
    validate.add_argument("more", nargs="*", metavar="FILE")
    validate.set_defaults(command=_validate)

    show = commands.add_parser("crds", help="print the CustomResourceDefinitions")
    show.set_defaults(command=_print_crds)
    return parser


def _run(options: argparse.Namespace) -> int:
    gc.set_threshold(*_COLLECT_RARELY)
    # Imported late: the offline commands answer in a fraction of the time without it.
    from igw_operator.logs import configure_logs  # noqa: PLC0415
    from igw_operator.running import Surroundings, run_operator  # noqa: PLC0415

    settings = read_settings(os.environ)
    settings = replace(
        settings,
        lease=settings.lease and not options.no_lease,
        metrics_port=_choose(options.metrics_port, settings.metrics_port),
        health_port=_choose(options.health_port, settings.health_port),
    )
    configure_logs(settings.log_level)
    surroundings = Surroundings(
        environment=os.environ,
        now=lambda: datetime.now(UTC),
        clock=time.monotonic,
        random=random.random,
    )
    try:
        asyncio.run(run_operator(settings, options.kubeconfig, surroundings))
    except KeyboardInterrupt:
        return 0
    return 0


def _render(options: argparse.Namespace) -> int:
    text = build_rendering(
        options.file, runtime_files=options.runtime, runtime_image=options.runtime_image
    )
    print(text, end="", flush=True)
    return 0


def _export(options: argparse.Namespace) -> int:
    print(build_export(options.file), end="", flush=True)
    return 0


def _validate(options: argparse.Namespace) -> int:
    checked = check_documents(read_documents([*options.file, *options.more]))
    for document, errors in checked:
        if not errors:
            print(f"{document}: valid")
    return _complain(
        [f"{document}: {error}" for document, errors in checked for error in errors],
        code=_WRONG_INPUT,
    )


def _print_crds(_: argparse.Namespace) -> int:
    print(build_crds(), end="", flush=True)
    return 0


def _complain(lines: Sequence[str], *, code: int = _WRONG_INPUT) -> int:
    for line in lines:
        print(line, file=sys.stderr)
    return code if lines else 0


def _choose(option: int | None, setting: int) -> int:
    return setting if option is None else option


def _parse_port(text: str) -> int:
    if not text.isdecimal() or int(text) > 65535:  # noqa: PLR2004 - the last port there is
        message = f"{text!r} is no port"
        raise argparse.ArgumentTypeError(message)
    return int(text)


if __name__ == "__main__":
    sys.exit(main())
