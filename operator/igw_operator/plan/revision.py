"""What of an InferenceRuntime gets into pod templates, as one value with a short name.

A gateway runs one revision at a time and keeps it until a rollout admits it to another
(`plan.rollout`). Which one it has is written on its Deployment, so that nobody else has to
remember it.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import Any, Final

from igw_operator import conventions
from igw_operator.api.objects import Manifest, Runtime
from igw_operator.api.runtime import RuntimeSpec
from igw_operator.plan.hashing import build_digest

_ID_LENGTH: Final = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class Revision:
    """The fields of a runtime that a pod template is built from, and who built it."""

    image: str
    image_pull_policy: str
    image_pull_secrets: tuple[str, ...] = ()
    collector_image: str = ""
    template: str = ""
    """Digest of the operator's own part (`plan.reference`); empty: not known."""
    models: tuple[str, ...] = field(default=(), compare=False)
    """What the image is said to carry. No pod sees it, so it makes no other revision."""

    @property
    def id(self) -> str:
        """Short digest.

        What is empty is left out, so that a field which a later version adds changes no id of
        today: a changed id would move every gateway.
        """
        return _identify(self)

    def as_record(self) -> Manifest:
        """All but models, as it is written down."""
        return {
            "image": self.image,
            "imagePullPolicy": self.image_pull_policy,
            "imagePullSecrets": list(self.image_pull_secrets),
            "collectorImage": self.collector_image,
            "template": self.template,
        }

    def has_fields_of(self, other: Revision) -> bool:
        """Whether only the operator's part may differ."""
        return replace(self, template=other.template) == other


# A rollout compares it with every gateway of the fleet, and a cluster has a handful of them.
@lru_cache(maxsize=64)
def _identify(revision: Revision) -> str:
    known = {key: value for key, value in revision.as_record().items() if value}
    return build_digest(known)[:_ID_LENGTH]


def revision_of(spec: RuntimeSpec, template: str) -> Revision:
    """The revision that a runtime's spec asks for, built by an operator with that digest."""
    return Revision(
        image=spec.image,
        image_pull_policy=spec.image_pull_policy,
        image_pull_secrets=spec.image_pull_secrets,
        collector_image=spec.collector_image,
        template=template,
        models=spec.models,
    )


def with_revision(runtime: Runtime, revision: Revision) -> Runtime:
    """The runtime as a gateway on that revision sees it."""
    fields = {
        "image": revision.image,
        "image_pull_policy": revision.image_pull_policy,
        "image_pull_secrets": revision.image_pull_secrets,
        "collector_image": revision.collector_image,
        "models": revision.models,
    }
    return replace(runtime, spec=runtime.spec.model_copy(update=fields))


def parse_revision(record: Any) -> Revision | None:
    """A revision that was written down; None where it is not what its own id says.

    People edit annotations, and backups lose parts of a status: what cannot be trusted counts
    as absent.
    """
    if not isinstance(record, Mapping):
        return None
    secrets, models = record.get("imagePullSecrets") or [], record.get("models") or []
    if not isinstance(secrets, list) or not isinstance(models, list):
        return None
    texts = [
        record.get(key) or "" for key in ("image", "imagePullPolicy", "collectorImage", "template")
    ]
    if not all(isinstance(text, str) for text in (*texts, *secrets, *models)):
        return None
    image, policy, collector_image, template = texts
    revision = Revision(
        image=image,
        image_pull_policy=policy,
        image_pull_secrets=tuple(secrets),
        collector_image=collector_image,
        template=template,
        models=tuple(models),
    )
    return revision if revision.id == record.get("id") else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Recorded:
    """What a gateway's Deployment was built from."""

    runtime: str
    """Name of the InferenceRuntime; empty: not known."""
    revision: Revision


def mark_revision(runtime: str, revision: Revision) -> str:
    """The annotation's value."""
    record = {"runtime": runtime, "id": revision.id, **revision.as_record()}
    return json.dumps(record, separators=(",", ":"))


def read_recorded(deployment: Mapping[str, Any] | None) -> Recorded | None:
    """What a Deployment says it was built from; None where it does not, or not credibly."""
    if deployment is None:
        return None
    annotations = deployment["metadata"].get("annotations") or {}
    try:
        record = json.loads(annotations.get(conventions.ANNOTATION_REVISION, "null"))
    except ValueError:
        return None
    revision = parse_revision(record)
    if revision is None:
        return None
    return Recorded(runtime=str(record.get("runtime") or ""), revision=revision)


def infer_revision(
    deployment: Mapping[str, Any],
    collector: Mapping[str, Any] | None,
    candidates: Iterable[Revision],
) -> Revision:
    """What a Deployment without a credible record was built from, by its own looks.

    The candidate that looks the same; otherwise a revision of unknown origin.
    """
    pod = deployment["spec"]["template"]["spec"]
    container = _find_container(pod, conventions.CONTAINER_RUNTIME)
    seen = Revision(
        image=container.get("image") or "",
        image_pull_policy=container.get("imagePullPolicy") or "",
        image_pull_secrets=tuple(it["name"] for it in pod.get("imagePullSecrets") or ()),
    )
    image = ""
    if collector is not None:
        pod = collector["spec"]["template"]["spec"]
        image = _find_container(pod, conventions.CONTAINER_COLLECTOR).get("image") or ""
    for candidate in candidates:
        like = replace(seen, collector_image=image or candidate.collector_image)
        if like.has_fields_of(candidate):
            return candidate
    return replace(seen, collector_image=image)


def _find_container(pod: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    return next((it for it in pod["containers"] if it["name"] == name), {})
