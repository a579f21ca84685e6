"""Writes one child: server-side apply under one field manager, by force, on a difference only.

Called by ``control.reconcile`` for each desired object. An object of somebody else is never
touched: what the cache does not know is created only if there is no object of its name, and an
update carries the uid that was judged. What to write is ``plan``'s decision.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import structlog

from igw_operator import conventions
from igw_operator.act.api import APPLY_PATCH, MERGE_PATCH, Api, Remember
from igw_operator.act.attempts import Attempts, key_of_child
from igw_operator.act.handover import (
    REPLICAS_PATH,
    find_rival,
    first_replicas,
    is_left_to_autoscaler,
    kept_replicas,
    with_replicas,
    without_replicas,
)
from igw_operator.act.ownership import find_owners, take_over
from igw_operator.api.objects import Gateway, Manifest
from igw_operator.errors import (
    ApiError,
    ContestedError,
    OwnedByOtherError,
    PredecessorError,
    RivalAutoscalerError,
)
from igw_operator.kinds import AUTOSCALER, OTEL_COLLECTOR, Resource, child_resource
from igw_operator.metrics import Metrics, Written
from igw_operator.plan.diff import (
    Diff,
    Reason,
    diff,
    find_controller,
    is_foreign,
    is_left_behind,
    read_hash,
    stamp,
)

_NOT_FOUND: Final = 404
_CONFLICT: Final = 409
_INVALID: Final = 422
_ATTEMPTS: Final = 4
_NO_VERSION: Final = "1"  # etcd's first write makes it 2

Confirm = Callable[[], Awaitable[None]]

_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Applied:
    """One write that was needed."""

    kind: str
    name: str
    diff: Diff


class Applier:
    """Applies children of gateways."""

    def __init__(
        self, *, api: Api, remember: Remember, attempts: Attempts, metrics: Metrics
    ) -> None:
        self._api = api
        self._remember = remember
        self._attempts = attempts
        self._metrics = metrics

    async def apply(
        self,
        manifest: Manifest,
        live: Manifest | None,
        *,
        owner: Gateway,
        siblings: Sequence[Manifest] = (),
        confirm: Confirm,
    ) -> Applied | None:
        """Make one child what it should be; None: it was already.

        ``confirm`` is awaited before anything is written, and may raise to forbid it.
        What was refused just now is not sent again before its time: the same error is raised.

        Raises:
            OwnedByOtherError: an object of that name belongs to somebody else.
            PredecessorError: it belongs to a deleted gateway of this name, or to a collector
                that is no longer wanted, and goes soon.
            RivalAutoscalerError: all but the replicas was applied.
            ContestedError: somebody sets it back again and again; it waits to be put right.
            ApiError: the API server refused, or did not answer.
        """
        desired = stamp(manifest, owner)
        child = key_of_child(desired)
        what = (read_hash(desired), None if live is None else live["metadata"].get("uid"))
        refusal = self._attempts.find_refusal(child, what)
        if refusal is not None and (live is None or diff(desired, live, owner.uid)):
            raise refusal
        try:
            applied = await self._apply(desired, live, owner, siblings, confirm)
        except ApiError as error:
            held = self._attempts.refuse(child, what, error)
            _log.warning(
                f"Could not apply {child.kind}",
                namespace=child.namespace,
                name=child.name,
                error=str(error),
                again_seconds=held.retry_after_seconds,
            )
            raise held from error
        self._attempts.succeed(child)
        return applied

    async def _apply(
        self,
        desired: Manifest,
        live: Manifest | None,
        owner: Gateway,
        siblings: Sequence[Manifest],
        confirm: Confirm,
    ) -> Applied | None:
        resource = child_resource(desired)
        if live is None:
            await confirm()
            live = await self._create(resource, desired, siblings)
            if live is None:
                return Applied(
                    kind=resource.kind,
                    name=desired["metadata"]["name"],
                    diff=Diff(reason=Reason.CREATE),
                )
            if not is_foreign(live, owner.uid):
                # Or a kind that may not be listed would look absent to the judgement.
                self._remember(resource, live)
        if is_left_behind(live, owner):
            raise _left_behind(resource, live)
        if is_foreign(live, owner.uid):
            if await self._is_of_former_collector(live, owner):
                raise _handed_back(resource, live)
            raise _foreign(resource, live)
        difference = diff(desired, live, owner.uid)
        if not difference:
            return None
        await confirm()
        await self._write(resource, desired, live, difference, siblings)
        return Applied(kind=resource.kind, name=desired["metadata"]["name"], diff=difference)

    async def _create(
        self, resource: Resource, desired: Manifest, siblings: Sequence[Manifest]
    ) -> Manifest | None:
        """Create an object unless there is one of that name, and return that one.

        The watch sees labelled objects only, and may be behind. The version that the apply is
        pinned to is no object's: it is a conflict with whatever is there, and else ignored.
        """
        body = with_replicas(desired, first_replicas(desired, siblings))
        pinned = {**body, "metadata": {**body["metadata"], "resourceVersion": _NO_VERSION}}
        try:
            await self._patch(resource, pinned, Diff(reason=Reason.CREATE), force=False)
        except ApiError as error:
            if error.status != _CONFLICT:
                raise
            if (live := await self._fetch(resource, desired)) is not None:
                return live
            # It has just gone, or this API server pins nothing that is not there.
            await self._patch(resource, body, Diff(reason=Reason.CREATE), force=False)
        return None

    async def _write(
        self,
        resource: Resource,
        desired: Manifest,
        live: Manifest,
        difference: Diff,
        siblings: Sequence[Manifest],
    ) -> None:
        least = first_replicas(desired, siblings)
        if REPLICAS_PATH in difference.paths and (rival := await self._find_rival(desired)):
            # Each would undo the other, and pods would start and stop for ever.
            if set(difference.paths) != {REPLICAS_PATH} or difference.reason is Reason.SPEC:
                await self._update(resource, without_replicas(desired), live, difference, None)
            raise _rivalry(desired, rival)
        if difference.reason is Reason.DRIFT:
            await self._repair(resource, desired, live, difference, least)
        else:
            await self._update(resource, desired, live, difference, least)

    async def _repair(
        self,
        resource: Resource,
        desired: Manifest,
        live: Manifest,
        difference: Diff,
        least: int | None,
    ) -> None:
        """Put drift right, unless it is one of many times."""
        child = key_of_child(desired)
        truce = self._attempts.find_truce(child, difference.paths)
        if truce:
            fresh = await self._fetch(resource, desired)
            raise _contest(resource, fresh or live, difference, truce)
        await self._update(resource, desired, live, difference, least)
        self._attempts.repair(child, difference.paths)

    async def _update(
        self,
        resource: Resource,
        desired: Manifest,
        live: Manifest,
        difference: Diff,
        least: int | None,
    ) -> None:
        for attempt in range(_ATTEMPTS):
            body = _pinned(desired, live)
            if is_left_to_autoscaler(desired):
                body = await self._keep_replicas(resource, body, least)
            try:
                await self._patch(resource, body, difference, force=True)
            except ApiError as error:
                is_last = attempt == _ATTEMPTS - 1
                if is_last or not await self._clear_way(resource, desired, difference, error):
                    raise
            else:
                return

    async def _is_of_former_collector(self, live: Manifest, owner: Gateway) -> bool:
        """Whether an object is of an OpenTelemetryCollector of ours that is no longer wanted."""
        reference = find_controller(live) or {}
        if reference.get("kind") != OTEL_COLLECTOR.kind:
            return False
        name = {"name": reference["name"], "namespace": live["metadata"]["namespace"]}
        collector = await self._fetch(OTEL_COLLECTOR, {"metadata": name})
        if collector is None or collector["metadata"]["uid"] != reference.get("uid"):
            return True  # it is gone, and the garbage collector follows
        return not is_foreign(collector, owner.uid)

    async def _find_rival(self, desired: Mapping[str, Any]) -> Manifest | None:
        """Ask for every autoscaler of the namespace: those of others are not watched."""
        answer = await self._api.request("GET", AUTOSCALER.path(desired["metadata"]["namespace"]))
        return find_rival(desired, answer.get("items") or ())

    async def _keep_replicas(
        self, resource: Resource, body: Manifest, least: int | None
    ) -> Manifest:
        """Go on applying the live number while nobody else owns it; see `handover`."""
        fresh = await self._fetch(resource, body)
        replicas = None if fresh is None else kept_replicas(fresh, least)
        if fresh is None or replicas is None:
            return body
        # Pinned to the version: the autoscaler may choose another number right now.
        version = fresh["metadata"]["resourceVersion"]
        metadata = {**body["metadata"], "resourceVersion": version}
        return with_replicas({**body, "metadata": metadata}, replicas)

    async def _clear_way(
        self, resource: Resource, desired: Manifest, difference: Diff, error: ApiError
    ) -> bool:
        """Whether another attempt makes sense, after doing what it takes."""
        if error.status == _CONFLICT and is_left_to_autoscaler(desired):
            return True  # read the number again
        if error.status != _INVALID:
            return False
        fresh = await self._fetch(resource, desired)
        managed_fields = None if fresh is None else take_over(fresh, difference.paths)
        if fresh is None or managed_fields is None:
            return False
        metadata = fresh["metadata"]
        pin = {"uid": metadata["uid"], "resourceVersion": metadata["resourceVersion"]}
        answer = await self._api.request(
            "PATCH",
            resource.path(metadata["namespace"], metadata["name"]),
            query={"fieldManager": conventions.FIELD_MANAGER},
            body={"metadata": {**pin, "managedFields": managed_fields}},
            content_type=MERGE_PATCH,
        )
        self._metrics.counted_write("patch", resource.kind, Written.OWNERSHIP)
        self._remember(resource, answer)
        return True

    async def _patch(
        self, resource: Resource, body: Manifest, difference: Diff, *, force: bool
    ) -> None:
        metadata, reason = body["metadata"], Written(str(difference.reason))
        query = {"fieldManager": conventions.FIELD_MANAGER, "fieldValidation": "Strict"}
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
        _log.info(
            f"Applied {resource.kind}",
            namespace=metadata["namespace"],
            name=metadata["name"],
            reason=reason.value,
            paths=list(difference.paths)[:5],
        )

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


def _contest(
    resource: Resource, live: Mapping[str, Any], difference: Diff, seconds: float
) -> ContestedError:
    owners = " and ".join(find_owners(live, difference.paths)) or "somebody"
    message = (
        f"{resource.kind} {live['metadata']['name']}: {', '.join(difference.paths[:3])} is set by "
        f"{owners} again and again, however often it is put right; it is put right more and more "
        "seldom"
    )
    return ContestedError(
        message, status=_CONFLICT, reason="Contested", retry_after_seconds=seconds
    )


def _rivalry(desired: Mapping[str, Any], rival: Mapping[str, Any]) -> RivalAutoscalerError:
    name = desired["metadata"]["name"]
    message = (
        f"HorizontalPodAutoscaler {rival['metadata']['name']} sets the replicas of Deployment "
        f"{name}, which spec.replicas fixes; delete it, or say spec.scaling instead"
    )
    return RivalAutoscalerError(message, status=_CONFLICT, reason="Conflict")


def _left_behind(resource: Resource, live: Mapping[str, Any]) -> PredecessorError:
    name = live["metadata"]["name"]
    message = (
        f"{resource.kind} {name} is of a deleted gateway of the same name, and waits for the "
        "garbage collector; a new one follows"
    )
    return PredecessorError(message, status=_CONFLICT, reason="Conflict")


def _handed_back(resource: Resource, live: Mapping[str, Any]) -> PredecessorError:
    name = live["metadata"]["name"]
    message = (
        f"{resource.kind} {name} is of an {OTEL_COLLECTOR.kind} that is no longer wanted, and "
        "waits for the garbage collector; a new one follows"
    )
    return PredecessorError(message, status=_CONFLICT, reason="Conflict")


def _foreign(resource: Resource, live: Mapping[str, Any]) -> OwnedByOtherError:
    name = live["metadata"]["name"]
    owners = live["metadata"].get("ownerReferences") or ()
    whose = ", ".join(f"{owner['kind']} {owner['name']}" for owner in owners) or "no owner"
    message = f"{resource.kind} {name} exists and is not ours ({whose}); it was left alone"
    return OwnedByOtherError(message, status=_CONFLICT, reason="OwnedByOther")
