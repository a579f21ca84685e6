"""Writes one child: server-side apply under one field manager, by force, on a difference only.

Called by ``control.reconcile`` for each desired object. An object of somebody else is never
touched: what the cache does not know is looked up by name before it is created, and an
update carries the uid that was judged. What to write is ``plan``'s decision.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import structlog

from igw_operator import conventions
from igw_operator.act.api import APPLY_PATCH, Api, Remember
from igw_operator.act.handover import (
    build_handover,
    first_replicas,
    is_left_to_autoscaler,
    with_replicas,
)
from igw_operator.api.objects import Gateway, Manifest
from igw_operator.errors import ApiError, OwnedByOtherError
from igw_operator.kinds import Resource, child_resource
from igw_operator.metrics import Metrics
from igw_operator.plan.diff import Diff, diff, is_foreign, stamp

_NOT_FOUND: Final = 404

_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Applied:
    """One write that was needed."""

    kind: str
    name: str
    diff: Diff


class Applier:
    """Applies children of gateways."""

    def __init__(self, *, api: Api, remember: Remember, metrics: Metrics) -> None:
        self._api = api
        self._remember = remember
        self._metrics = metrics

    async def apply(
        self,
        manifest: Manifest,
        live: Manifest | None,
        *,
        owner: Gateway,
        siblings: Sequence[Manifest] = (),
    ) -> Applied | None:
        """Make one child what it should be; None: it was already.

        Raises:
            OwnedByOtherError: an object of that name belongs to somebody else.
            ApiError: the API server refused, or did not answer.
        """
        resource = child_resource(manifest)
        desired = stamp(manifest, owner)
        if live is None:
            # The watch sees labelled objects only, and may be behind.
            live = await self._fetch(resource, desired)
        if live is not None and is_foreign(live, owner.uid):
            raise _foreign(resource, live)
        difference = diff(desired, live, owner.uid)
        if not difference:
            return None
        least = first_replicas(desired, siblings)
        if live is None:
            # Without force: should somebody's object of that name appear right now, we lose.
            await self._patch(resource, with_replicas(desired, least), difference, force=False)
        else:
            if is_left_to_autoscaler(desired):
                live = await self._hand_over(resource, desired, live, least)
            await self._patch(resource, _pinned(desired, live), difference, force=True)
        return Applied(kind=resource.kind, name=desired["metadata"]["name"], diff=difference)

    async def _hand_over(
        self, resource: Resource, desired: Manifest, live: Manifest, least: int | None
    ) -> Manifest:
        fresh = await self._fetch(resource, desired)
        if fresh is None:
            return live
        handover = build_handover(desired, fresh, least)
        if handover is not None:
            await self._write(
                resource, handover, manager=conventions.HANDOVER_MANAGER, reason="handover"
            )
            _log.info(
                "Handed replicas over to the autoscaler",
                namespace=fresh["metadata"]["namespace"],
                name=fresh["metadata"]["name"],
                replicas=handover["spec"]["replicas"],
            )
        return fresh

    async def _patch(
        self, resource: Resource, desired: Manifest, difference: Diff, *, force: bool
    ) -> None:
        await self._write(resource, desired, reason=str(difference.reason), force=force)
        _log.info(
            f"Applied {resource.kind}",
            namespace=desired["metadata"]["namespace"],
            name=desired["metadata"]["name"],
            reason=difference.reason,
            paths=list(difference.paths)[:5],
        )

    async def _write(
        self,
        resource: Resource,
        body: Manifest,
        *,
        reason: str,
        manager: str = conventions.FIELD_MANAGER,
        force: bool = True,
    ) -> None:
        metadata = body["metadata"]
        query = {"fieldManager": manager, "fieldValidation": "Strict"}
        if force:
            query["force"] = "true"
        answer = await self._api.request(
            "PATCH",
            resource.path(metadata["namespace"], metadata["name"]),
            query=query,
            body=body,
            content_type=APPLY_PATCH,
        )
        self._metrics.counted_write("apply", resource.kind, reason)
        self._remember(resource, answer)

    async def _fetch(self, resource: Resource, desired: Mapping[str, Any]) -> Manifest | None:
        metadata = desired["metadata"]
        try:
            return await self._api.request(
                "GET", resource.path(metadata["namespace"], metadata["name"])
            )
        except ApiError as error:
            if error.status == _NOT_FOUND:
                return None
            raise


def _pinned(desired: Manifest, live: Mapping[str, Any]) -> Manifest:
    """A copy that only fits the object that was judged: another uid is a conflict."""
    uid = live["metadata"]["uid"]
    return {**desired, "metadata": {**desired["metadata"], "uid": uid}}


def _foreign(resource: Resource, live: Mapping[str, Any]) -> OwnedByOtherError:
    name = live["metadata"]["name"]
    owners = live["metadata"].get("ownerReferences") or ()
    whose = ", ".join(f"{owner['kind']} {owner['name']}" for owner in owners) or "no owner"
    message = f"{resource.kind} {name} exists and is not ours ({whose}); it was left alone"
    return OwnedByOtherError(message)
