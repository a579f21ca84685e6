"""Deletes children that are ours and no longer wanted.

Ours means: our label *and* an ownerReference with the gateway's uid. The delete carries the
uid and the version that were judged, so it never hits an object that has changed since.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final

import structlog

from igw_operator import conventions
from igw_operator.act.api import Api, Remember
from igw_operator.api.objects import Manifest
from igw_operator.errors import ApiError
from igw_operator.kinds import child_resource
from igw_operator.metrics import Metrics

_NOT_FOUND: Final = 404

_log = structlog.get_logger(__name__)


def find_unwanted(
    children: Iterable[Manifest], desired: Iterable[Mapping[str, Any]], owner_uid: str
) -> list[Manifest]:
    """The live children that nothing desires any more, and that are not on their way out."""
    wanted = {(manifest["kind"], manifest["metadata"]["name"]) for manifest in desired}
    return [
        child
        for child in children
        if (child["kind"], child["metadata"]["name"]) not in wanted
        and _is_ours(child, owner_uid)
        and "deletionTimestamp" not in child["metadata"]
    ]


class Pruner:
    """Deletes children of gateways."""

    def __init__(self, *, api: Api, remember: Remember, forget: Remember, metrics: Metrics) -> None:
        self._api = api
        self._remember = remember
        self._forget = forget
        self._metrics = metrics

    async def delete(self, child: Manifest) -> None:
        """Delete one child as it was judged; already gone is fine.

        Raises:
            ApiError: it changed meanwhile (409), or the server refused or did not answer.
        """
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
        self._metrics.counted_write("delete", resource.kind, "prune")
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
