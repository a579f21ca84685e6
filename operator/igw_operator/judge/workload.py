"""One Deployment and all that hangs on it, typed: counts, revision, the revision's pods.

Two of a gateway's children are workloads: the server, and the managed collector. The pods
are those of the *current* revision only: a crash of the old one is no reason why the new
one is not ready.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from igw_operator.api.objects import Manifest
from igw_operator.judge.pods import ObservedCondition, Pod, parse_conditions, parse_pod
from igw_operator.judge.snapshot import Snapshot

POD_TEMPLATE_HASH: Final = "pod-template-hash"


@dataclass(frozen=True, slots=True, kw_only=True)
class Workload:
    """A live Deployment, as its controller last reported it."""

    namespace: str
    name: str
    is_observed: bool
    """The Deployment's controller has seen the live object."""
    is_paused: bool
    wanted: int
    replicas: int
    updated: int
    ready: int
    available: int
    conditions: Mapping[str, ObservedCondition]
    creation_failures: Sequence[tuple[str, str]]
    """Command to look closer, and message, for each owner that could not create a pod."""
    pods: Sequence[Pod]
    """Pods of the current revision that are not on their way out, oldest first."""
    events: Sequence[Manifest]

    @property
    def is_complete(self) -> bool:
        """Exactly the wanted replicas exist, all of the current revision, all available."""
        counts = {self.wanted, self.replicas, self.updated, self.ready, self.available}
        return self.is_observed and not self.is_paused and len(counts) == 1 and self.is_approved

    @property
    def is_approved(self) -> bool:
        """The Deployment's controller does not say that it is incomplete.

        The numbers may be right a moment before the controller says so; kstatus waits for its
        word, and whoever waits with both must hear the same.
        """
        progressing, available = (
            self.conditions.get("Progressing"),
            self.conditions.get("Available"),
        )
        is_rolling = progressing is not None and progressing.reason != "NewReplicaSetAvailable"
        return not is_rolling and (available is None or available.status == "True")

    @property
    def is_rolled_out(self) -> bool:
        """The current revision was complete once; only the number of replicas may be wrong.

        The Deployment's controller keeps this reason until the template changes.
        """
        progressing = self.conditions.get("Progressing")
        return (
            self.is_observed
            and self.updated == self.replicas
            and progressing is not None
            and progressing.reason == "NewReplicaSetAvailable"
        )

    @property
    def has_exceeded_its_deadline(self) -> bool:
        """The Deployment's controller gave up waiting for progress."""
        progressing = self.conditions.get("Progressing")
        return (
            self.is_observed
            and progressing is not None
            and progressing.reason == "ProgressDeadlineExceeded"
        )


def parse_workload(snapshot: Snapshot, name: str) -> Workload | None:
    """The Deployment of that name with its pods, or None where it does not exist."""
    live = snapshot.children.get(("Deployment", name))
    if live is None:
        return None
    spec, status = live["spec"], live.get("status") or {}
    current = [
        replica_set
        for replica_set in snapshot.replica_sets
        if _is_owned_by(replica_set, live) and _is_of_template(replica_set, spec["template"])
    ]
    generation = live["metadata"].get("generation", 0)
    return Workload(
        namespace=live["metadata"]["namespace"],
        name=name,
        is_observed=status.get("observedGeneration", 0) == generation,
        is_paused=spec.get("paused", False),
        wanted=spec.get("replicas", 1),
        replicas=status.get("replicas", 0),
        updated=status.get("updatedReplicas", 0),
        ready=status.get("readyReplicas", 0),
        available=status.get("availableReplicas", 0),
        conditions=parse_conditions(live),
        creation_failures=tuple(_creation_failures(live, current)),
        pods=_pods_of(current, snapshot.pods),
        events=snapshot.events,
    )


def _is_owned_by(child: Manifest, owner: Manifest) -> bool:
    references = child["metadata"].get("ownerReferences") or ()
    return any(reference["uid"] == owner["metadata"]["uid"] for reference in references)


def _is_of_template(replica_set: Manifest, template: Manifest) -> bool:
    """Whether both templates are equal but for the hash label, as kubectl's rollout compares.

    https://github.com/kubernetes/kubernetes/blob/master/pkg/controller/deployment/util/deployment_util.go
    (EqualIgnoreHash). More than one ReplicaSet can match; the controller then uses the oldest.
    """
    return _without_hash(replica_set["spec"]["template"]) == _without_hash(template)


def _without_hash(template: Mapping[str, Any]) -> dict[str, Any]:
    metadata = {
        key: value
        for key, value in (template.get("metadata") or {}).items()
        # Serialisers differ in whether they print a template's null creationTimestamp.
        if key != "creationTimestamp"
    }
    labels = metadata.get("labels") or {}
    metadata["labels"] = {key: labels[key] for key in labels if key != POD_TEMPLATE_HASH}
    return {**template, "metadata": metadata}


def _creation_failures(live: Manifest, current: Sequence[Manifest]) -> Iterable[tuple[str, str]]:
    """What the current ReplicaSets complain about; the Deployment repeats it, or an old one's."""
    for owner in current or [live]:
        failure = parse_conditions(owner).get("ReplicaFailure")
        if failure is not None and failure.status == "True":
            metadata = owner["metadata"]
            kind = "replicaset" if current else "deployment"
            yield (
                f"kubectl describe {kind} {metadata['name']} -n {metadata['namespace']}",
                failure.message,
            )


def _pods_of(current: Sequence[Manifest], pods: Sequence[Manifest]) -> tuple[Pod, ...]:
    hashes = {item["metadata"].get("labels", {}).get(POD_TEMPLATE_HASH) for item in current}
    found = (
        parse_pod(pod)
        for pod in pods
        if pod["metadata"].get("labels", {}).get(POD_TEMPLATE_HASH) in hashes
        and not pod["metadata"].get("deletionTimestamp")
    )
    return tuple(sorted(found, key=lambda pod: (pod.created, pod.name)))
