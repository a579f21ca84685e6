"""The commands that need no cluster: ``render``, ``openslo``, ``validate`` and ``crds``.

Called by ``__main__``. They read files (or standard input, ``-``) and give text; what the
text says is ``plan``'s and ``api``'s.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import yaml

from igw_operator import conventions
from igw_operator.api.crd import crds
from igw_operator.api.objects import Gateway, Manifest, Runtime, parse_gateway, parse_runtime
from igw_operator.errors import FieldError, IgwError, SpecError
from igw_operator.plan.inputs import Capabilities, Defaults
from igw_operator.plan.render import render
from igw_operator.plan.slo.openslo import build_openslo
from igw_operator.world.gather import check_model, resolve_runtime

STDIN: Final = "-"
# What a well-equipped cluster has: a review wants to see everything.
_CAPABILITIES: Final = Capabilities(
    service_monitors=True,
    prometheus_rules=True,
    http_routes=True,
    scaled_objects=True,
    custom_metrics=True,
    pods_metrics=frozenset({conventions.METRIC_REQUESTS_PER_SECOND, conventions.METRIC_QUEUE_SIZE}),
    otel_collectors=True,
)
_KINDS: Final = (conventions.GATEWAY_KIND, conventions.RUNTIME_KIND)
_ANY_IMAGE: Final = "runtime.invalid/none:0"


class InputError(IgwError):
    """A file that cannot be read, is no YAML, or holds nothing of ours."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Document:
    """One of our objects in a file."""

    file: str
    manifest: Manifest

    @property
    def is_gateway(self) -> bool:
        """Whether it is an InferenceGateway (else an InferenceRuntime)."""
        return bool(self.manifest["kind"] == conventions.GATEWAY_KIND)

    def __str__(self) -> str:
        metadata = self.manifest.get("metadata")
        name = metadata.get("name") if isinstance(metadata, dict) else None
        return f"{self.file}: {self.manifest['kind']} {name or '(no name)'}"


def read_documents(files: Sequence[str]) -> list[Document]:
    """Our objects in some files; those of other kinds are passed over.

    Raises:
        InputError: a file cannot be used; the message names it.
    """
    return [document for file in files for document in _read_file(file)]


def build_rendering(
    files: Sequence[str], *, runtime_files: Sequence[str], runtime_image: str | None
) -> str:
    """Every child of every gateway in the files, as a YAML stream.

    Raises:
        InputError: a file cannot be used, or there is no gateway or no runtime.
        SpecError: a gateway or runtime is invalid.
    """
    documents = read_documents([*files, *runtime_files])
    gateways = _pick_gateways(documents, files)
    runtimes = [it.manifest for it in documents if not it.is_gateway]
    if runtime_image is not None:
        runtimes = [build_runtime(runtime_image)]
    if not runtimes:
        message = (
            "which image? give --runtime-image IMAGE, or --runtime FILE with an "
            f"{conventions.RUNTIME_KIND}"
        )
        raise InputError(message)
    children: list[Manifest] = []
    for manifest in gateways:
        gateway = parse_gateway(manifest)
        runtime = _choose_runtime(gateway, runtimes, forced=runtime_image is not None)
        children += render(gateway, runtime, _CAPABILITIES, Defaults())
    return dump(children)


def build_export(files: Sequence[str]) -> str:
    """The objectives of every gateway in the files, as OpenSLO documents.

    Raises:
        InputError: a file cannot be used, or there is no gateway.
        SpecError: a gateway is invalid.
    """
    gateways = _pick_gateways(read_documents(files), files)
    return dump([it for manifest in gateways for it in build_openslo(parse_gateway(manifest))])


def check_documents(documents: Sequence[Document]) -> list[tuple[Document, list[FieldError]]]:
    """Each document with everything that is wrong with it."""
    return [(document, check_document(document)) for document in documents]


def check_document(document: Document) -> list[FieldError]:
    """Everything wrong with one object, as far as it shows without a cluster."""
    if not document.is_gateway:
        return _errors_of(lambda: parse_runtime(document.manifest))
    # A bad name alone would hide what is wrong with the spec.
    errors = _check_name(document.manifest)
    manifest = _renamed(document.manifest) if errors else document.manifest
    return [*errors, *_errors_of(lambda: _try_out(manifest))]


def build_crds() -> str:
    """Both CustomResourceDefinitions as a YAML stream."""
    return dump(list(crds().values()))


def build_runtime(image: str) -> Manifest:
    """A default InferenceRuntime with nothing but an image."""
    return {
        "apiVersion": conventions.API_VERSION,
        "kind": conventions.RUNTIME_KIND,
        "metadata": {
            "name": "default",
            "annotations": {conventions.ANNOTATION_DEFAULT_RUNTIME: "true"},
        },
        "spec": {"image": image},
    }


def dump(manifests: Sequence[Manifest]) -> str:
    """A YAML stream."""
    return yaml.safe_dump_all(manifests, explicit_start=True, sort_keys=False, width=100)


def _pick_gateways(documents: Sequence[Document], files: Sequence[str]) -> list[Manifest]:
    gateways = [it.manifest for it in documents if it.is_gateway]
    if not gateways:
        message = f"{', '.join(files)}: no {conventions.GATEWAY_KIND} in there"
        raise InputError(message)
    return gateways


def _choose_runtime(gateway: Gateway, runtimes: list[Manifest], *, forced: bool) -> Runtime:
    if forced or len(runtimes) == 1:
        runtime = parse_runtime(runtimes[0])
    else:
        runtime = resolve_runtime(gateway, runtimes)
    check_model(gateway, runtime)
    return runtime


def _read_file(file: str) -> Iterator[Document]:
    try:
        text = sys.stdin.read() if file == STDIN else Path(file).read_text(encoding="utf-8")
        contents: list[Any] = list(yaml.safe_load_all(text))
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "is no text"
        message = f"{file}: {reason}"
        raise InputError(message) from error
    except yaml.YAMLError as error:
        where = getattr(error, "problem_mark", None)
        line = f", line {where.line + 1}" if where else ""
        message = f"{file}{line}: is no YAML: {getattr(error, 'problem', None) or error}"
        raise InputError(message) from error
    found = [it for it in contents if isinstance(it, dict) and it.get("kind") in _KINDS]
    if not found:
        message = f"{file}: holds no {' or '.join(_KINDS)}"
        raise InputError(message)
    for manifest in found:
        yield Document(file=STDIN if file == STDIN else file, manifest=manifest)


def _try_out(manifest: Manifest) -> None:
    """Parse and build: parts that the schema passes through, such as affinity, show in use."""
    runtime = parse_runtime(build_runtime(_ANY_IMAGE))
    render(parse_gateway(manifest), runtime, _CAPABILITIES, Defaults())


def _errors_of(check: Callable[[], object]) -> list[FieldError]:
    try:
        check()
    except SpecError as error:
        return list(error.errors)
    return []


def _renamed(manifest: Manifest) -> Manifest:
    return {**manifest, "metadata": {**manifest["metadata"], "name": "renamed"}}


def _check_name(manifest: Manifest) -> list[FieldError]:
    metadata = manifest.get("metadata")
    name = metadata.get("name") if isinstance(metadata, dict) else None
    if not isinstance(name, str) or re.fullmatch(conventions.NAME_PATTERN, name):
        return []
    return [FieldError("metadata.name", conventions.NAME_MESSAGE.removeprefix("metadata.name "))]
