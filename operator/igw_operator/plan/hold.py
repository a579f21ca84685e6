"""Keeps a new version of the operator from restarting pods.

Each Deployment carries the pod template that was applied last and a digest of what people had
decided about it. Where the digest is the same and the template is not, nobody but the operator
wants the change: the old template is applied on, and drift is repaired against it. A rollout
of the runtime brings another revision, and with it another digest, and the change goes along.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from igw_operator import conventions
from igw_operator.api.gateway import GatewaySpec
from igw_operator.api.objects import Gateway, Manifest
from igw_operator.plan.hashing import build_digest
from igw_operator.plan.prune import prune
from igw_operator.plan.revision import Revision, mark_revision
from igw_operator.plan.subset import find_misses

# What of a spec no pod template of the component is built from. A field that is missing here
# makes an edit of it release a change that waits; one too many would make the operator take an
# owner's edit for its own and swallow it. A test edits every field there is.
_NOT_IN_RUNTIME: Final[Mapping[str, Any]] = {
    "runtime_ref": True,
    "replicas": True,
    "scaling": True,
    "service": True,
    "slo": True,
    "observability": {"metrics": True, "logging": True, "tracing": True},
    "network_policy": True,
}
_IN_COLLECTOR: Final[Mapping[str, Any]] = {
    "serving": {"timeout"},
    "observability": {"tracing": {"enabled", "sampling_percent", "endpoint"}, "collector": True},
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Applied:
    """What was applied last."""

    inputs: str
    template: Manifest


@dataclass(frozen=True, slots=True, kw_only=True)
class Held:
    """Children as they are to be applied."""

    children: list[Manifest]
    names: tuple[str, ...] = ()
    """The Deployments whose template is kept against what the operator would build."""


def hold_templates(
    children: Sequence[Manifest],
    live: Mapping[tuple[str, str], Manifest],
    gateway: Gateway,
    runtime: str,
    revision: Revision,
    *,
    is_edited: bool,
) -> Held:
    """The children with templates that nobody else asked to change left as they are.

    ``is_edited``: the gateway's latest spec was never judged, so that a Deployment without a
    record may differ for its owner's sake.
    """
    held: list[str] = []
    kept: list[Manifest] = []
    for child in children:
        if child["kind"] != "Deployment":
            kept.append(child)
            continue
        name = child["metadata"]["name"]
        inputs = digest_inputs(gateway.spec, revision, is_collector=name != gateway.child_name())
        rendered = prune(child["spec"]["template"])
        template = _choose(rendered, live.get(("Deployment", name)), inputs, is_edited=is_edited)
        if template != rendered:
            held.append(name)
        marks = {conventions.ANNOTATION_APPLIED_TEMPLATE: _mark_applied(inputs, template)}
        if name == gateway.child_name():
            marks[conventions.ANNOTATION_REVISION] = mark_revision(runtime, revision)
        kept.append(_with_template(child, template, marks))
    return Held(children=kept, names=tuple(held))


def digest_inputs(spec: GatewaySpec, revision: Revision, *, is_collector: bool) -> str:
    """Digest of what people decided about a pod template.

    Fields at their defaults are left out: one that a later version adds is nobody's decision.
    """
    decided = spec.model_dump(
        mode="json",
        by_alias=True,
        exclude_defaults=True,
        include=_IN_COLLECTOR if is_collector else None,
        exclude=None if is_collector else _NOT_IN_RUNTIME,
    )
    return build_digest({"spec": prune(decided), "revision": revision.id})


def read_applied(live: Mapping[str, Any]) -> Applied | None:
    """What a Deployment says was applied last; None where it does not, or not credibly."""
    annotations = live["metadata"].get("annotations") or {}
    try:
        record = json.loads(annotations.get(conventions.ANNOTATION_APPLIED_TEMPLATE, "null"))
        inputs, template = record["inputs"], record["template"]
    except (ValueError, KeyError, TypeError):
        return None
    # Somebody may have edited it: then it would be enforced on the pods.
    if record.get("digest") != build_digest([inputs, template]):
        return None
    return Applied(inputs=inputs, template=template)


def _choose(
    rendered: Manifest, live: Mapping[str, Any] | None, inputs: str, *, is_edited: bool
) -> Manifest:
    """The template to apply."""
    if live is None:
        return rendered
    applied = read_applied(live)
    if applied is not None:
        return applied.template if applied.inputs == inputs else rendered
    return rendered if is_edited else _adopt(rendered, live)


def _adopt(rendered: Manifest, live: Mapping[str, Any]) -> Manifest:
    """The template for a Deployment that an operator before this record wrote.

    What it wrote is not known any more, so that all that is there counts as written by it.
    """
    annotations = live["metadata"].get("annotations") or {}
    if conventions.ANNOTATION_APPLIED_HASH not in annotations:
        return rendered
    current = live["spec"]["template"]
    if not any(find_misses(_as_object(rendered), _as_object(current))):
        return rendered
    metadata = {
        key: value for key, value in current["metadata"].items() if key != "creationTimestamp"
    }
    adopted: Manifest = prune({**current, "metadata": metadata})
    return adopted


def _as_object(template: Mapping[str, Any]) -> Manifest:
    return {"spec": {"template": template}}


def _mark_applied(inputs: str, template: Manifest) -> str:
    record = {"inputs": inputs, "digest": build_digest([inputs, template]), "template": template}
    return json.dumps(record, separators=(",", ":"))


def _with_template(child: Manifest, template: Manifest, marks: Mapping[str, str]) -> Manifest:
    metadata = child["metadata"]
    annotations = {**(metadata.get("annotations") or {}), **marks}
    return {
        **child,
        "metadata": {**metadata, "annotations": annotations},
        "spec": {**child["spec"], "template": template},
    }
