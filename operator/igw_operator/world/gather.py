"""Reads from the cache what one reconcile needs, and resolves which runtime serves.

Called by ``control.reconcile``: `observe` before anything is built, `gather` after
everything is written, so that the judgement sees the answers to our own writes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from igw_operator import conventions, kinds
from igw_operator.api.objects import (
    Gateway,
    Manifest,
    ObjectKey,
    Runtime,
    is_default_runtime,
    parse_gateway,
    parse_runtime,
)
from igw_operator.errors import AmbiguousDefaultError, FieldError, SpecError
from igw_operator.judge.snapshot import ApplyFailure, Reading, Snapshot
from igw_operator.plan.assignment import Assignment, Hold, assign
from igw_operator.plan.diff import is_foreign
from igw_operator.plan.inputs import Capabilities
from igw_operator.plan.places import place_models
from igw_operator.plan.revision import (
    Recorded,
    Revision,
    infer_revision,
    read_recorded,
    revision_of,
    with_revision,
)
from igw_operator.plan.rollout import parse_state
from igw_operator.world.cache import Cache, parents_of

_RUNTIME_FIELD = "spec.runtimeRef"
_RUNTIME_NAME_FIELD = "spec.runtimeRef.name"


@dataclass(frozen=True, slots=True, kw_only=True)
class Observation:
    """What is asked, as far as it can be understood."""

    manifest: Manifest
    gateway: Gateway | None = None
    runtime: Runtime | None = None
    """With the fields of the revision that the gateway is on."""
    spec_error: SpecError | None = None
    assignment: Assignment | None = None

    @property
    def is_edited(self) -> bool:
        """Whether the latest spec was never judged."""
        status = self.manifest.get("status") or {}
        return bool(status.get("observedGeneration") != self.manifest["metadata"].get("generation"))


@dataclass(frozen=True, slots=True, kw_only=True)
class Relatives:
    """What is there of one gateway."""

    children: Mapping[tuple[str, str], Manifest] = field(default_factory=dict)
    pods: Sequence[Manifest] = ()
    replica_sets: Sequence[Manifest] = ()

    def all(self) -> list[Manifest]:
        """Every one of them."""
        return [*self.children.values(), *self.pods, *self.replica_sets]

    def uids(self) -> set[str]:
        """Identities of all of them."""
        return {manifest["metadata"].get("uid", "") for manifest in self.all()}


def observe(cache: Cache, manifest: Manifest, template: str) -> Observation:
    """Parse a gateway and find its runtime; what is wrong with either is in the answer.

    ``template`` is the digest of the operator at work.
    """
    gateway: Gateway | None = None
    runtime: Runtime | None = None
    assignment: Assignment | None = None
    error: SpecError | None = None
    try:
        gateway = parse_gateway(manifest)
        runtime = resolve_runtime(gateway, cache.all(kinds.RUNTIME))
        state = parse_state(runtime.rollout)
        wanted = revision_of(runtime.spec, template)
        candidates = [wanted] if state is None else [state.target, state.proven or wanted]
        recorded = find_recorded(cache, gateway.key, candidates)
        assignment = assign(gateway, runtime, state, recorded, template)
        runtime = with_revision(runtime, assignment.revision)
        check_model(gateway, runtime)
    except SpecError as refusal:
        error = refusal
    return Observation(
        manifest=manifest,
        gateway=gateway,
        runtime=runtime,
        spec_error=error,
        assignment=assignment,
    )


def find_recorded(cache: Cache, key: ObjectKey, candidates: Sequence[Revision]) -> Recorded | None:
    """What a gateway's Deployment was built from; None: there is none, or it is not ours.

    One without a credible record was written by an operator before there were any, or lost
    it: then it is judged by its looks.
    """
    name = conventions.child_name(key.name)
    live = cache.get(kinds.DEPLOYMENT, ObjectKey(key.namespace, name))
    owner = cache.get(kinds.GATEWAY, key)
    if live is None or owner is None or is_foreign(live, owner["metadata"].get("uid", "")):
        return None
    recorded = read_recorded(live)
    annotations = live["metadata"].get("annotations") or {}
    if recorded is not None or conventions.ANNOTATION_APPLIED_HASH not in annotations:
        return recorded
    collector = conventions.child_name(key.name, "collector")
    revision = infer_revision(
        live, cache.get(kinds.DEPLOYMENT, ObjectKey(key.namespace, collector)), candidates
    )
    return Recorded(runtime="", revision=revision)


def find_relatives(cache: Cache, key: ObjectKey, known: Relatives | None = None) -> Relatives:
    """Children, pods and replica sets of a gateway.

    What has not changed since ``known`` was found is taken from there, not unpacked again.
    """
    by_kind: dict[str, list[Manifest]] = {}
    for manifest in cache.of_gateway(key, known.all() if known else ()):
        by_kind.setdefault(manifest["kind"], []).append(manifest)
    children = {
        (kind, manifest["metadata"]["name"]): manifest
        for kind, manifests in by_kind.items()
        if kind in kinds.CHILD_BY_KIND
        for manifest in manifests
    }
    return Relatives(
        children=children,
        pods=by_kind.get(kinds.POD.kind, ()),
        replica_sets=by_kind.get(kinds.REPLICA_SET.kind, ()),
    )


def find_parents(cache: Cache, manifest: Manifest) -> dict[ObjectKey, Manifest]:
    """The Gateways that a gateway's route names, as far as they exist."""
    found = {key: cache.get(kinds.PARENT_GATEWAY, key) for key in parents_of(manifest)}
    return {key: parent for key, parent in found.items() if parent is not None}


def gather(
    observation: Observation,
    relatives: Relatives,
    *,
    capabilities: Capabilities,
    desired: Sequence[Manifest],
    failures: Sequence[ApplyFailure],
    events: Sequence[Manifest],
    parents: Mapping[ObjectKey, Manifest],
    hold: Hold | None = None,
    reading: Reading | None = None,
) -> Snapshot:
    """Everything that the judgement may look at."""
    name = observation.manifest["metadata"]["name"]
    recorded = read_recorded(
        relatives.children.get((kinds.DEPLOYMENT.kind, conventions.child_name(name)))
    )
    return Snapshot(
        manifest=observation.manifest,
        gateway=observation.gateway,
        runtime=observation.runtime,
        spec_error=observation.spec_error,
        desired=desired,
        children=relatives.children,
        replica_sets=relatives.replica_sets,
        pods=relatives.pods,
        events=events,
        parents=parents,
        capabilities=capabilities,
        failures=failures,
        assignment=observation.assignment,
        revision=recorded.revision if recorded is not None else None,
        hold=hold,
        reading=reading,
    )


def resolve_runtime(gateway: Gateway, runtimes: Sequence[Mapping[str, Any]]) -> Runtime:
    """The runtime that a gateway names, or the one that is marked as default.

    Raises:
        SpecError: on ``spec.runtimeRef``: there is none, more than one, or it is invalid.
    """
    names = sorted(manifest["metadata"]["name"] for manifest in runtimes)
    known = f"there are: {', '.join(names)}" if names else "there is none at all"
    if gateway.spec.runtime_ref is not None:
        wanted = gateway.spec.runtime_ref.name
        found = [it for it in runtimes if it["metadata"]["name"] == wanted]
        if not found:
            raise _error(_RUNTIME_NAME_FIELD, f"no InferenceRuntime {wanted!r}; {known}")
        return _parse(found[0])
    defaults = [it for it in runtimes if is_default_runtime(it)]
    mark = f'annotated {conventions.ANNOTATION_DEFAULT_RUNTIME}: "true"'
    if not defaults:
        raise _error(_RUNTIME_FIELD, f"is required: no InferenceRuntime is {mark}; {known}")
    if len(defaults) > 1:
        several = ", ".join(sorted(it["metadata"]["name"] for it in defaults))
        message = f"is required: several InferenceRuntimes are {mark}: {several}"
        raise AmbiguousDefaultError([FieldError(_RUNTIME_FIELD, message)])
    return _parse(defaults[0])


def check_model(gateway: Gateway, runtime: Runtime) -> None:
    """Refuse a model that the runtime's image is known not to carry.

    Raises:
        SpecError: on the model's name, with the names that are known.
    """
    carried = runtime.spec.models
    for place in place_models(gateway.spec):
        model = place.model
        if model.uri is None and carried and model.name not in carried:
            field = f"{place.field}.name"
            raise _error(
                field,
                f"InferenceRuntime {runtime.name!r} has no model {model.name!r}; "
                f"it has: {', '.join(sorted(carried))}",
            )


def _parse(manifest: Mapping[str, Any]) -> Runtime:
    try:
        return parse_runtime(manifest)
    except SpecError as error:
        name = manifest["metadata"]["name"]
        message = f"InferenceRuntime {name!r} is invalid: {error}"
        raise _error(_RUNTIME_FIELD, message) from error


def _error(path: str, message: str) -> SpecError:
    return SpecError([FieldError(path, message)])
