"""Keeps a new version of the operator from restarting pods.

Each Deployment carries the pod template that was applied last and a digest of what people had
decided about it. Where the digest is the same and the template is not, nobody but the operator
wants the change: the old template is applied on, and drift is repaired against it. A rollout
of the runtime brings another revision, and with it another digest, and the change goes along.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from igw_operator import conventions
from igw_operator.api.gateway import GatewaySpec
from igw_operator.api.objects import Gateway, Manifest
from igw_operator.plan.diff import read_hash, stamp
from igw_operator.plan.hashing import build_digest
from igw_operator.plan.prune import prune
from igw_operator.plan.revision import Revision, mark_revision

# What of a spec no pod template of the component is built from. A field that is missing here
# makes an edit of it release a change that waits; one too many would make the operator take an
# owner's edit for its own and swallow it. A test edits every field there is.
_NOT_IN_RUNTIME: Final[Mapping[str, Any]] = {
    "runtime_ref": True,
    "replicas": True,
    "scaling": True,
    "service": True,
    "slo": True,
    "cost": True,
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
    configs = {name for kind, name in live if kind == "ConfigMap"} | _names_of_configs(children)
    held: list[str] = []
    kept: list[Manifest] = []

    def is_mountable(template: Manifest) -> bool:
        # A pod of a template whose ConfigMap of ours is gone could never start again.
        ours = {it for it in list_configs(template) if it.startswith(f"{gateway.child_name()}-")}
        return ours <= configs

    for child in children:
        if child["kind"] != "Deployment":
            kept.append(child)
            continue
        name = child["metadata"]["name"]
        inputs = digest_inputs(gateway.spec, revision, is_collector=name != gateway.child_name())
        rendered = prune(child["spec"]["template"])
        marks = {}
        if name == gateway.child_name():
            marks[conventions.ANNOTATION_REVISION] = mark_revision(runtime, revision)
        wanted = _with_template(child, rendered, inputs, marks)
        template = _find_kept(wanted, live.get(("Deployment", name)), inputs)
        if template is None and not is_edited:
            template = _adopt([child, wanted], live.get(("Deployment", name)), gateway)
        if template is None or template == rendered or not is_mountable(template):
            kept.append(wanted)
        else:
            held.append(name)
            kept.append(_with_template(child, template, inputs, marks))
    return Held(children=_without_unused(kept), names=tuple(held))


def _without_unused(children: Sequence[Manifest]) -> list[Manifest]:
    """Without ConfigMaps that no pod mounts: the configuration of a template that waits."""
    templates = (it["spec"]["template"] for it in children if it["kind"] == "Deployment")
    used = {name for template in templates for name in list_configs(template)}
    unused = _names_of_configs(children) - used
    return [
        it for it in children if it["kind"] != "ConfigMap" or it["metadata"]["name"] not in unused
    ]


def _names_of_configs(children: Iterable[Manifest]) -> set[str]:
    return {it["metadata"]["name"] for it in children if it["kind"] == "ConfigMap"}


def list_configs(template: Mapping[str, Any]) -> set[str]:
    """Names of the ConfigMaps that pods of a template mount."""
    volumes = (template.get("spec") or {}).get("volumes") or ()
    return {it["configMap"]["name"] for it in volumes if "configMap" in it}


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


def _find_kept(wanted: Manifest, live: Mapping[str, Any] | None, inputs: str) -> Manifest | None:
    """The template on record, where people decided nothing since; the wanted one if they did.

    None: there is no record.
    """
    applied = read_applied(live) if live is not None else None
    if applied is None:
        return None
    template: Manifest = wanted["spec"]["template"]
    return applied.template if applied.inputs == inputs else template


def _adopt(
    wanted: Sequence[Manifest], live: Mapping[str, Any] | None, gateway: Gateway
) -> Manifest | None:
    """The template of a Deployment that an operator before these records wrote.

    ``wanted`` is what this one would write, without a record and with it. Where the stamp says
    that it is the same there is nothing to adopt. Otherwise what the former operator wrote
    is not known any more, so that all that is there counts as written by it.
    """
    stamped = read_hash(live) if live is not None else None
    if live is None or stamped is None:
        return None
    if stamped in {read_hash(stamp(it, gateway)) for it in wanted}:
        return None
    current = live["spec"]["template"]
    metadata = {
        key: value for key, value in current["metadata"].items() if key != "creationTimestamp"
    }
    adopted: Manifest = prune({**current, "metadata": metadata})
    return adopted


def _with_template(
    child: Manifest, template: Manifest, inputs: str, marks: Mapping[str, str]
) -> Manifest:
    """The child with this template, and what has to be remembered about it."""
    record = {"inputs": inputs, "digest": build_digest([inputs, template]), "template": template}
    text = json.dumps(record, separators=(",", ":"))
    metadata = child["metadata"]
    annotations = {
        **(metadata.get("annotations") or {}),
        **marks,
        conventions.ANNOTATION_APPLIED_TEMPLATE: text,
    }
    return {
        **child,
        "metadata": {**metadata, "annotations": annotations},
        "spec": {**child["spec"], "template": template},
    }
