"""Every way this package fails, as a type.

`StartupError`s end the process: each has the reason that the operator shows and an exit code.
`RequestError`s end one request: each has its status and the slug of its problem type.
Mapping to HTTP is in `web.problems`; mapping to an exit is in `__main__`.
"""

from collections.abc import Mapping
from typing import ClassVar


class IgwRuntimeError(Exception):
    """Base of all expected failures of the runtime."""


class StartupError(IgwRuntimeError):
    """The process cannot serve; the message is one line for a person."""

    reason: ClassVar[str]
    exit_code: ClassVar[int]


class InvalidSettingsError(StartupError):
    """The settings file is missing, malformed, or says something impossible (EX_CONFIG)."""

    reason = "InvalidSettings"
    exit_code = 78


class ModelNotFoundError(StartupError):
    """No model package is where the settings point (EX_NOINPUT)."""

    reason = "ModelNotFound"
    exit_code = 66


class ModelDigestMismatchError(StartupError):
    """The artifact is not the one whose digest the settings pin (EX_DATAERR)."""

    reason = "ModelDigestMismatch"
    exit_code = 65


class ModelLoadFailedError(StartupError):
    """The package cannot be had just now, or the engine cannot run it (EX_SOFTWARE)."""

    reason = "ModelLoadFailed"
    exit_code = 70


class GoldenCheckFailedError(StartupError):
    """The loaded model does not answer its golden image as its package says (EX_SOFTWARE)."""

    reason = "GoldenCheckFailed"
    exit_code = 70


class InvalidPicturesError(StartupError):
    """The pictures for quantising are missing, broken, or cannot show anything (EX_NOINPUT)."""

    reason = "InvalidPictures"
    exit_code = 66


class AccuracyGateError(StartupError):
    """The quantised network is worse than its limits allow; it was not written (EX_SOFTWARE)."""

    reason = "AccuracyGateFailed"
    exit_code = 70


class EngineAnswerError(IgwRuntimeError):
    """An engine returned something else than one row of scores for each image."""


class RequestError(IgwRuntimeError):
    """One request cannot be answered; the message is the problem's detail."""

    status: ClassVar[int] = 500
    slug: ClassVar[str] = "internal-error"
    title: ClassVar[str] = "Internal error"
    headers: Mapping[str, str]

    def __init__(self, detail: str, *, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(detail)
        self.headers = headers or {}


class InternalError(RequestError):
    """Something of ours broke; the detail never says what, the log does."""


class NoBodyError(RequestError):
    """The request has no body."""

    status = 400
    slug = "no-body"
    title = "The request has no body"


class MalformedRequestError(RequestError):
    """The envelope around the image (JSON, form, header) does not parse."""

    status = 400
    slug = "malformed-request"
    title = "The request is malformed"


class MissingTokenError(RequestError):
    """The request carries no bearer token where one is demanded."""

    status = 401
    slug = "missing-token"
    title = "The request has no bearer token"


class InvalidTokenError(RequestError):
    """The token is not one that the issuer made for this service and this time."""

    status = 401
    slug = "invalid-token"
    title = "The bearer token is not valid"


class NotFoundError(RequestError):
    """There is nothing at this path."""

    status = 404
    slug = "not-found"
    title = "Not found"


class MethodNotAllowedError(RequestError):
    """The path exists, the method on it does not."""

    status = 405
    slug = "method-not-allowed"
    title = "Method not allowed"


class BodyTimeoutError(RequestError):
    """The body did not arrive within the body deadline."""

    status = 408
    slug = "body-timeout"
    title = "The request body was too slow"


class BodyTooLargeError(RequestError):
    """The body, or what it decompresses to, is over the byte limit."""

    status = 413
    slug = "body-too-large"
    title = "The request body is too large"


class TooManyPixelsError(RequestError):
    """The image header declares more pixels than the limit; nothing was decoded."""

    status = 413
    slug = "too-many-pixels"
    title = "The image has too many pixels"


class UnsupportedFormatError(RequestError):
    """The content type, content encoding or image format is not served."""

    status = 415
    slug = "unsupported-format"
    title = "Unsupported format"


class UndecodableImageError(RequestError):
    """The image is of a served format, but broken or cut short."""

    status = 422
    slug = "undecodable-image"
    title = "The image cannot be decoded"


class ClientGoneError(RequestError):
    """The client hung up; nobody reads the answer (nginx's 499)."""

    status = 499
    slug = "client-closed-request"
    title = "The client closed the request"


class NotReadyError(RequestError):
    """The model is not ready yet."""

    status = 503
    slug = "not-ready"
    title = "The model is not ready"


class StoppingError(RequestError):
    """The server has stopped taking work and is about to exit."""

    status = 503
    slug = "stopping"
    title = "The server is stopping"


class KeysUnavailableError(RequestError):
    """No token can be judged: the issuer's keys were never had, or not for too long."""

    status = 503
    slug = "keys-unavailable"
    title = "The token issuer's keys are not available"


class QueueFullError(RequestError):
    """As much work as the settings allow is already waiting."""

    status = 503
    slug = "queue-full"
    title = "The queue is full"


class DeadlineUnreachableError(RequestError):
    """The queue is longer than this request's deadline; refused before it waits in vain."""

    status = 503
    slug = "deadline-unreachable"
    title = "The deadline cannot be met"


class DeadlineExceededError(RequestError):
    """The deadline passed before the answer was there."""

    status = 504
    slug = "deadline-exceeded"
    title = "The deadline was exceeded"


REJECTION_SLUGS = tuple(
    kind.slug
    for kind in (
        NoBodyError,
        MalformedRequestError,
        MissingTokenError,
        InvalidTokenError,
        BodyTimeoutError,
        BodyTooLargeError,
        TooManyPixelsError,
        UnsupportedFormatError,
        UndecodableImageError,
        NotReadyError,
        StoppingError,
        KeysUnavailableError,
        QueueFullError,
        DeadlineUnreachableError,
        DeadlineExceededError,
    )
)
"""The refusals that the rejection counter knows from the first scrape on."""
