"""What writers need of the API server's client, and no more.

``world.client.ApiClient`` fits it; so does a fake in a test. Rooms stay apart: ``act``
never imports ``world``.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, Protocol

from igw_operator.api.objects import Manifest
from igw_operator.kinds import Resource

JSON: Final = "application/json"
APPLY_PATCH: Final = "application/apply-patch+yaml"  # JSON is YAML
MERGE_PATCH: Final = "application/merge-patch+json"


class Api(Protocol):
    """One request to the API server; failures are `ApiError`."""

    async def request(
        self,
        method: str,
        path: str,
        *,
        query: Mapping[str, str] | None = None,
        body: Manifest | None = None,
        content_type: str = JSON,
    ) -> Manifest:
        """Send it and return the decoded answer."""
        ...


class Remember(Protocol):
    """Takes what the API server answered to a write, so that the next reconcile sees it."""

    def __call__(self, resource: Resource, manifest: Manifest, /) -> object:
        """Keep it, unless something newer is known."""
        ...
