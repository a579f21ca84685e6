"""The command line: serve, fetch, export, validate, digest; and how the process says why it ends.

Heavy libraries are imported inside the commands, after SIGTERM is handled: as process 1 of a
container an unhandled SIGTERM is ignored, and a pod that dies during start-up would linger.
"""

import argparse
import os
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from igw_runtime.errors import InvalidSettingsError, StartupError
from igw_runtime.settings import Environment, load_settings, read_environment

if TYPE_CHECKING:
    from collections.abc import Sequence

    from igw_runtime.models.manifest import Format


def main(arguments: "Sequence[str] | None" = None) -> None:
    """Run one command and end the process with its exit code."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    environment = read_environment(os.environ)
    options = parse_arguments(arguments, environment)
    try:
        code = int(options.run(options, environment))
    except StartupError as error:
        report_failure(error, environment.termination_log)
        code = error.exit_code
    sys.stdout.flush()
    sys.stderr.flush()
    # Worker and loader threads may be inside C++ code; interpreter shutdown under them can crash,
    # and everything that had to be finished or flushed has been.
    os._exit(code)


def report_failure(error: StartupError, termination_log: Path) -> None:
    """Say why the process ends: to the log, and to Kubernetes for the operator to show."""
    import structlog  # noqa: PLC0415

    from igw_runtime.telemetry.logs import configure_logs  # noqa: PLC0415

    message = " ".join(str(error).split())
    configure_logs("info", sys.stderr)
    structlog.get_logger().critical("startup_failed", reason=error.reason, error=message)
    try:
        # "r+" does not create: the kubelet made the file, and elsewhere there should be none.
        with termination_log.open("r+") as stream:
            stream.truncate()
            stream.write(f"{error.reason}: {message}\n")
    except OSError:
        # Outside Kubernetes; the log line has said it.
        return


def _serve(options: argparse.Namespace, environment: Environment) -> int:
    import asyncio  # noqa: PLC0415
    from dataclasses import replace  # noqa: PLC0415

    from igw_runtime.serving.server import ModelServer  # noqa: PLC0415
    from igw_runtime.telemetry.live import warn_of_unknown  # noqa: PLC0415
    from igw_runtime.telemetry.logs import configure_server_logs  # noqa: PLC0415

    loaded = load_settings(options.config)
    log = configure_server_logs(loaded.settings.live.logging, sys.stdout)
    warn_of_unknown(loaded)
    environment = replace(environment, config_path=options.config)

    async def live() -> StartupError | None:
        return await ModelServer(loaded, environment, log).run()

    try:
        failure = asyncio.run(live())
    finally:
        log.close()
    if failure is not None:
        raise failure
    return 0


def _validate(options: argparse.Namespace, _environment: Environment) -> int:
    loaded = load_settings(options.config)
    for explanation in loaded.unknown:
        print(f"{options.config}: warning: {explanation}", file=sys.stderr)
    print(f"{options.config}: valid; live settings hash {loaded.live_hash}")
    return 0


def _digest(options: argparse.Namespace, _environment: Environment) -> int:
    from igw_runtime.models.artifact import build_digest, read_package  # noqa: PLC0415

    print(build_digest(read_package(options.package)))
    return 0


def _fetch(options: argparse.Namespace, _environment: Environment) -> int:
    from igw_runtime.models.fetch import FetchOrder, fetch_package  # noqa: PLC0415
    from igw_runtime.telemetry.logs import configure_logs  # noqa: PLC0415

    # Not 0: an init container that was told to stop has not succeeded.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    configure_logs("info", sys.stdout)
    order = FetchOrder(
        uri=options.uri,
        sha256=options.sha256,
        folder=options.output,
        max_bytes=options.max_bytes,
        environment=os.environ,
    )
    print(fetch_package(order))
    return 0


def _export(options: argparse.Namespace, _environment: Environment) -> int:
    from igw_runtime.models.export import ExportOrder, export_model  # noqa: PLC0415
    from igw_runtime.models.gate import GateLimits  # noqa: PLC0415
    from igw_runtime.models.quantisation import QuantisationOrder  # noqa: PLC0415
    from igw_runtime.telemetry.logs import configure_logs  # noqa: PLC0415

    configure_logs("info", sys.stderr)
    quantisation = None
    if options.calibration or options.evaluation:
        if not (options.calibration and options.evaluation):
            message = "--calibration and --evaluation are needed together, with different pictures"
            raise InvalidSettingsError(message)
        quantisation = QuantisationOrder(
            calibration=options.calibration,
            evaluation=options.evaluation,
            calibration_images=options.calibration_images,
            limits=GateLimits(
                min_agreement=options.min_agreement,
                max_accuracy_drop=options.max_accuracy_drop,
                min_pictures=options.min_evaluation_images,
            ),
        )
    order = ExportOrder(
        name=options.model,
        architecture=options.architecture or options.model,
        version=options.version,
        precision=options.precision,
        output=options.output,
        formats=options.formats,
        allow_random_weights=options.allow_random_weights,
        seed=options.seed,
        quantisation=quantisation,
    )
    manifest = export_model(order)
    print(f"{options.output / manifest.name}: {manifest.precision}, weights {manifest.weights}")
    return 0


def parse_arguments(
    arguments: "Sequence[str] | None", environment: Environment
) -> argparse.Namespace:
    """Parse the command line; the operator writes it for `serve` and `fetch`."""
    parser = argparse.ArgumentParser(prog="igw_runtime", description="Image-classification server.")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    serve = commands.add_parser("serve", help="serve the model that the settings name")
    serve.set_defaults(run=_serve)
    validate = commands.add_parser("validate", help="check a settings file")
    validate.set_defaults(run=_validate)
    for command in (serve, validate):
        command.add_argument("--config", type=Path, default=environment.config_path)
    digest = commands.add_parser("digest", help="print the sha256 that settings may pin")
    digest.set_defaults(run=_digest)
    digest.add_argument("package", type=Path, help="folder or archive of a model package")
    _add_fetch(commands.add_parser("fetch", help="fetch a model package by its uri"))
    _add_export(commands.add_parser("export", help="make a model package (needs torch)"))
    return parser.parse_args(arguments)


def _add_fetch(fetch: argparse.ArgumentParser) -> None:
    fetch.set_defaults(run=_fetch)
    fetch.add_argument("--uri", required=True, help="http, https, s3 or gs: one tar or zip")
    fetch.add_argument("--sha256", default="", help="digest that the archive must have")
    fetch.add_argument("--output", type=Path, required=True, help="folder; its file is `package`")
    fetch.add_argument("--max-bytes", type=int, default=8 << 30, help="largest archive")


def _add_export(export: argparse.ArgumentParser) -> None:
    export.set_defaults(run=_export)
    export.add_argument("--model", required=True, help="name of the package, and by default of")
    export.add_argument("--architecture", default="", help="the architecture in the registry")
    export.add_argument("--version", default="1", help="version that the package states")
    export.add_argument("--precision", choices=("fp32", "bf16", "int8"), default="fp32")
    export.add_argument(
        "--formats",
        type=_parse_formats,
        default="openvino",
        help="of openvino, torch, torchscript, exported: a,b",
    )
    export.add_argument("--output", type=Path, required=True, help="folder to put the package in")
    export.add_argument("--seed", type=int, default=0, help="seed of random weights")
    export.add_argument(
        "--allow-random-weights",
        action="store_true",
        help="export an untrained network if trained weights cannot be had",
    )
    _add_quantisation(export.add_argument_group("int8"))


def _add_quantisation(group: "argparse._ArgumentGroup") -> None:
    add = group.add_argument
    add("--calibration", type=Path, help="folder of pictures to measure ranges with")
    add("--evaluation", type=Path, help="folder of other pictures, to judge int8 by")
    add("--calibration-images", type=_parse_count, default=300, help="at most so many are used")
    add("--min-evaluation-images", type=_parse_count, default=100, help="fewer prove too little")
    add(
        "--min-agreement",
        type=_parse_ratio,
        default=0.95,
        help="least share of pictures with the same best class as in fp32",
    )
    add(
        "--max-accuracy-drop",
        type=_parse_ratio,
        default=0.006,
        help="of labelled pictures, how much smaller the share of right answers may be",
    )


def _parse_formats(text: str) -> "list[Format]":
    from igw_runtime.models.artifact import WEIGHTS_FILES  # noqa: PLC0415

    found = [known for known in WEIGHTS_FILES if known in text.split(",")]
    if len(found) < len(text.split(",")):
        message = f"should be some of {','.join(WEIGHTS_FILES)}, each once; got {text!r}"
        raise argparse.ArgumentTypeError(message)
    return found


def _parse_count(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        message = f"should be a whole number from 1 on, got {text!r}"
        raise argparse.ArgumentTypeError(message)
    return int(text)


def _parse_ratio(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 <= value <= 1:
        message = f"should be a number from 0 to 1, got {text!r}"
        raise argparse.ArgumentTypeError(message)
    return value


if __name__ == "__main__":
    main()
