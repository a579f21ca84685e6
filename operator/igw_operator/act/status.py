"""Writes the status of our own kinds, when it says something else than before.

A merge patch of the status subresource: nobody else writes there. It carries the uid, so
that a resource deleted and made again under the same name is not told another one's story,
and the version that was judged: what is said of an old spec never replaces what is said of a
newer one.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from igw_operator import conventions
from igw_operator.act.api import MERGE_PATCH, Api, Remember
from igw_operator.api.objects import Manifest
from igw_operator.errors import ApiError
from igw_operator.kinds import Resource
from igw_operator.metrics import Metrics, Written

_NOT_FOUND: Final = 404


def build_merge_patch(old: Mapping[str, Any], new: Mapping[str, Any]) -> dict[str, Any]:
    """What turns ``old`` into ``new``: changed fields, and null for those that go."""
    patch: dict[str, Any] = dict.fromkeys(key for key in old if key not in new)
    for key, value in new.items():
        before = old.get(key)
        if isinstance(value, Mapping) and isinstance(before, Mapping):
            if nested := build_merge_patch(before, value):
                patch[key] = nested
        elif value != before:
            patch[key] = value
    return patch


class StatusWriter:
    """Writes status subresources."""

    def __init__(self, *, api: Api, remember: Remember, metrics: Metrics) -> None:
        self._api = api
        self._remember = remember
        self._metrics = metrics

    async def write(
        self, resource: Resource, manifest: Manifest, status: Mapping[str, Any]
    ) -> bool:
        """Report; say whether there was anything new to report.

        Raises:
            ApiError: it changed meanwhile (409), or the server refused or did not answer.
        """
        patch = build_merge_patch(manifest.get("status") or {}, status)
        if not patch:
            return False
        metadata = manifest["metadata"]
        judged = {name: metadata[name] for name in ("uid", "resourceVersion")}
        try:
            answer = await self._api.request(
                "PATCH",
                resource.path(metadata.get("namespace") or "", metadata["name"], "status"),
                query={"fieldManager": conventions.STATUS_MANAGER},
                body={"metadata": judged, "status": patch},
                content_type=MERGE_PATCH,
            )
        except ApiError as error:
            if error.status == _NOT_FOUND:
                return False
            raise
        self._metrics.counted_write("patch", resource.kind, Written.STATUS)
        self._remember(resource, answer)
        return True
