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
from igw_operator.errors import FieldError, SpecError
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
        error = check_runtime(manifest, self._cache.all(kinds.RUNTIME))
        status = judge_runtime(manifest, error, len(gateways), manifest.get("status"), self._now())
        await self._statuses.write(kinds.RUNTIME, manifest, status)
        return Outcome()


def check_runtime(manifest: Manifest, runtimes: Sequence[Mapping[str, Any]]) -> SpecError | None:
    """What keeps gateways from using a runtime, if anything does."""
    try:
        parse_runtime(manifest)
    except SpecError as error:
        return error
    defaults = sorted(it["metadata"]["name"] for it in runtimes if is_default_runtime(it))
    if not is_default_runtime(manifest) or len(defaults) == 1:
        return None
    message = (
        f"{', '.join(defaults)} are all marked as default: gateways without runtimeRef "
        "are refused until only one is"
    )
    return SpecError([FieldError("metadata.annotations", message)])
