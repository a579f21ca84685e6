"""Deletes children that are ours and no longer wanted.

Ours means: our label *and* an ownerReference with the gateway's uid. (One kind of grandchild is
deleted too, see `find_orphaned`.) The delete carries the uid and the version that were judged, so
it never hits an object that has changed since.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

import structlog

from igw_operator import conventions
from igw_operator.act.api import Api, Remember
from igw_operator.act.attempts import Attempts, key_of_child
from igw_operator.act.handover import is_autoscaler
from igw_operator.api.objects import Manifest
from igw_operator.errors import ApiError
from igw_operator.kinds import SCALED_OBJECT, child_resource
from igw_operator.metrics import Metrics, Written
from igw_operator.plan.hold import list_configs
from igw_operator.plan.otel_collector import list_claims

_NOT_FOUND: Final = 404

_log = structlog.get_logger(__name__)


def find_unwanted(
    children: Iterable[Manifest],
    desired: Iterable[Mapping[str, Any]],
    owner_uid: str,
    replica_sets: Iterable[Mapping[str, Any]] = (),
) -> list[Manifest]:
    """The live children that nothing desires any more, and that are not on their way out.

    A ConfigMap stays for as long as a pod of a desired Deployment may have to be started with
    it: by a template that is kept or was live a moment ago, or by a ReplicaSet that has pods.
    """
    children, desired = list(children), list(desired)
    wanted = {_key(manifest) for manifest in desired}
    workloads = [it for it in (*desired, *children) if it["kind"] == "Deployment"]
    users = [
        *(it for it in workloads if _key(it) in wanted),
        *(it for it in replica_sets if _may_have_pods(it) and not _owners(it).isdisjoint(wanted)),
    ]
    wanted |= {("ConfigMap", name) for it in users for name in list_configs(it["spec"]["template"])}
    return [
        child
        for child in children
        if _key(child) not in wanted
        and _is_ours(child, owner_uid)
        and "deletionTimestamp" not in child["metadata"]
    ]


def find_orphaned(children: Iterable[Manifest]) -> list[Manifest]:
    """The HPAs that KEDA made for the gateway, for where the cluster serves no ScaledObjects.

    The garbage collector deletes them only if it sees their owner go before it learns that the
    kind has gone. After that it cannot look the owner up, and tries again for ever
    (``restMappingError`` in kubernetes/pkg/controller/garbagecollector/garbagecollector.go).
    """
    return [
        child
        for child in children
        if is_autoscaler(child)
        and child["metadata"].get("deletionTimestamp") is None
        and any(
            owner["kind"] == SCALED_OBJECT.kind
            and owner["apiVersion"].startswith(f"{SCALED_OBJECT.group}/")
            for owner in child["metadata"].get("ownerReferences") or ()
        )
    ]


def find_in_the_way(
    unwanted: Sequence[Manifest], desired: Iterable[Mapping[str, Any]]
) -> list[Manifest]:
    """Those of the unwanted that go before anything is applied, because two would fight.

    An autoscaler with another one, or with a fixed number of replicas; our collector with the
    one that the OpenTelemetry operator makes, which has the same name.
    """
    wanted = list(desired)
    keys = {_key(manifest) for manifest in wanted}
    claims = {claim for manifest in wanted for claim in list_claims(manifest)}
    return [
        child
        for child in unwanted
        if is_autoscaler(child) or _key(child) in claims or not keys.isdisjoint(list_claims(child))
    ]


def _key(manifest: Mapping[str, Any]) -> tuple[str, str]:
    return manifest["kind"], manifest["metadata"]["name"]


def _may_have_pods(replica_set: Mapping[str, Any]) -> bool:
    status = replica_set.get("status") or {}
    return bool(replica_set["spec"].get("replicas", 1) or status.get("replicas"))


def _owners(manifest: Mapping[str, Any]) -> set[tuple[str, str]]:
    owners = manifest["metadata"].get("ownerReferences") or ()
    return {(owner["kind"], owner["name"]) for owner in owners}


class Pruner:
    """Deletes children of gateways."""

    def __init__(
        self,
        *,
        api: Api,
        remember: Remember,
        forget: Remember,
        attempts: Attempts,
        metrics: Metrics,
    ) -> None:
        self._api = api
        self._remember = remember
        self._attempts = attempts
        self._forget = forget
        self._metrics = metrics

    async def delete(self, child: Manifest) -> None:
        """Delete one child as it was judged; already gone is fine.

        Raises:
            ApiError: it changed meanwhile (409), or the server refused or did not answer, now or
                just before.
        """
        key, what = key_of_child(child), ("delete", child["metadata"]["uid"])
        if refusal := self._attempts.find_refusal(key, what):
            raise refusal
        try:
            await self._delete(child)
        except ApiError as error:
            _log.warning(
                f"Could not delete {key.kind}",
                namespace=key.namespace,
                name=key.name,
                error=str(error),
            )
            raise self._attempts.refuse(key, what, error) from error
        self._attempts.succeed(key)

    async def _delete(self, child: Manifest) -> None:
        resource, metadata = child_resource(child), child["metadata"]
        preconditions = {"uid": metadata["uid"], "resourceVersion": metadata["resourceVersion"]}
        answer: Manifest = {}
        try:
            answer = await self._api.request(
                "DELETE",
                resource.path(metadata["namespace"], metadata["name"]),
                body={
                    "apiVersion": "v1",
                    "kind": "DeleteOptions",
                    "preconditions": preconditions,
                    "propagationPolicy": "Background",
                },
            )
        except ApiError as error:
            if error.status != _NOT_FOUND:
                raise
        if "deletionTimestamp" in (answer.get("metadata") or {}):
            self._remember(resource, answer)  # a finalizer keeps it for now
        else:
            self._forget(resource, child)
        self._metrics.counted_write("delete", resource.kind, Written.PRUNE)
        _log.info(
            f"Deleted {resource.kind}", namespace=metadata["namespace"], name=metadata["name"]
        )


def _is_ours(child: Mapping[str, Any], owner_uid: str) -> bool:
    metadata = child["metadata"]
    labels = metadata.get("labels") or {}
    owners = metadata.get("ownerReferences") or ()
    return labels.get(conventions.LABEL_MANAGED_BY) == conventions.MANAGED_BY and any(
        owner.get("uid") == owner_uid for owner in owners
    )
