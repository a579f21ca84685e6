"""What can go wrong, as types. Waiting is no error: it is a return value."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self


class IgwError(Exception):
    """Anything this operator raises on purpose."""


@dataclass(frozen=True, slots=True)
class FieldError:
    """One thing wrong with one field: ``spec.slo.latency.threshold: needs a unit``."""

    path: str
    message: str

    def __str__(self) -> str:
        return f"{self.path}: {self.message}"


class SpecError(IgwError):
    """The resource says something that cannot be done. Never retried: an edit ends it."""

    def __init__(self, errors: Sequence[FieldError]) -> None:
        super().__init__("; ".join(str(error) for error in errors))
        self.errors = tuple(errors)


class AmbiguousDefaultError(SpecError):
    """Several runtimes are marked as default, and the resource names none."""


class StaleViewError(IgwError):
    """What a pass began with is not the latest; it begins anew, and nothing was wrong."""


class ApiError(IgwError):
    """The API server answered with a failure.

    ``status`` is the HTTP code (0: no answer at all), ``reason`` the machine word of the
    Status object, ``retry_after_seconds`` what the server asked for, if it asked; of a child
    that was refused, when it is tried again.
    """

    def __init__(
        self,
        message: str,
        *,
        status: int,
        reason: str = "",
        retry_after_seconds: float | None = None,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.reason = reason
        self.retry_after_seconds = retry_after_seconds

    @property
    def is_final(self) -> bool:
        """True where the same request can only fail again until somebody changes something."""
        return self.status in {400, 403, 405, 413, 415, 422}

    @property
    def is_somebodys(self) -> bool:
        """True where an object of somebody else stands in the way of ours."""
        return False

    def held_for(self, seconds: float) -> Self:
        """The same error, to be tried again in so many seconds."""
        return type(self)(
            str(self), status=self.status, reason=self.reason, retry_after_seconds=seconds
        )

    @property
    def is_namespace_going(self) -> bool:
        """True where the namespace is being deleted, or is gone: nothing can be made there."""
        if self.status == 403:  # noqa: PLR2004
            return "being terminated" in str(self)
        return self.status == 404 and str(self).startswith("namespaces ")  # noqa: PLR2004


class PredecessorError(ApiError):
    """A child still belongs to a predecessor that is gone; it is about to be collected."""

    @property
    def is_somebodys(self) -> bool:
        """True: the garbage collector takes it."""
        return True


class LeavingAutoscalerError(ApiError):
    """An autoscaler that is no longer wanted has not gone yet; what takes its place waits."""


class RivalAutoscalerError(ApiError):
    """Somebody's autoscaler sets the replicas that the spec fixes; the number was left to it."""

    @property
    def is_final(self) -> bool:
        """True: one of the two has to go, and people decide which."""
        return True

    @property
    def is_somebodys(self) -> bool:
        """True: we see the autoscaler only when we look for it."""
        return True


class OwnedByOtherError(ApiError):
    """An object with a child's name exists and belongs to somebody else; it is not touched."""

    @property
    def is_final(self) -> bool:
        """True: it has to go, and people decide."""
        return True

    @property
    def is_somebodys(self) -> bool:
        """True: an object without our label is seen only when we look for it."""
        return True


class ContestedError(ApiError):
    """Somebody sets fields of a child back again and again; the next repair waits."""

    @property
    def is_final(self) -> bool:
        """True: one of the two has to stop, and people decide which."""
        return True


class PrometheusError(IgwError):
    """A Prometheus did not answer, or not as one does; it proves nothing, and is asked again."""
