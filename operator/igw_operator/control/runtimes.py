"""One InferenceRuntime, once: says whether it can be used, and by how many gateways it is.

The number is brought up to date a few seconds after gateways come and go, in one write. The
rollout of a changed runtime across its gateways is not here.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Any

from igw_operator import kinds
from igw_operator.act.status import StatusWriter
from igw_operator.api.objects import Manifest, ObjectKey, is_default_runtime, parse_runtime
from igw_operator.control.outcome import Outcome
from igw_operator.errors import SpecError
from igw_operator.judge.runtime import judge_runtime
from igw_operator.world.cache import Cache


class RuntimeReconciler:
    """Reconciles runtimes."""

    def __init__(
        self, *, cache: Cache, statuses: StatusWriter, now: Callable[[], datetime]
    ) -> None:
        self._cache = cache
        self._statuses = statuses
        self._now = now

    async def __call__(self, key: ObjectKey) -> Outcome:
        """Report on one runtime.

        Raises:
            ApiError: the status could not be written.
        """
        manifest = self._cache.get(kinds.RUNTIME, key)
        if manifest is None or "deletionTimestamp" in manifest["metadata"]:
            return Outcome()
        gateways = self._cache.gateways_on(key.name, is_default=is_default_runtime(manifest))
        status = judge_runtime(
            manifest,
            _check_spec(manifest),
            len(gateways),
            manifest.get("status"),
            self._now(),
            other_defaults=find_other_defaults(manifest, self._cache.all(kinds.RUNTIME)),
        )
        await self._statuses.write(kinds.RUNTIME, manifest, status)
        return Outcome()


def find_other_defaults(
    manifest: Manifest, runtimes: Sequence[Mapping[str, Any]]
) -> tuple[str, ...]:
    """The further runtimes that are marked as default, where this one is."""
    if not is_default_runtime(manifest):
        return ()
    names = {it["metadata"]["name"] for it in runtimes if is_default_runtime(it)}
    return tuple(sorted(names - {manifest["metadata"]["name"]}))


def _check_spec(manifest: Manifest) -> SpecError | None:
    """What keeps gateways from using a runtime, if anything does."""
    try:
        parse_runtime(manifest)
    except SpecError as error:
        return error
    return None
