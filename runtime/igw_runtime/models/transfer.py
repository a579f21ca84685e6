"""One GET of an object, from an offset on: who answers what, and whether it can be believed.

Called by `models.fetch`, which keeps what arrives and decides what to do about a failure.
The body is taken as it is sent, never decoded: a `tar.gz` stays one.
"""

import re
import ssl
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from http import HTTPStatus
from typing import Final

import requests
import urllib3

from igw_runtime.errors import IgwRuntimeError
from igw_runtime.models.location import Location

CHUNK_BYTES: Final = 1 << 20
_TIMEOUT_SECONDS: Final = (10.0, 30.0)  # to connect; between two pieces of the body
_MAX_REDIRECTS: Final = 5
_CONTENT_RANGE: Final = re.compile(r"bytes (\d+)-\d+/(\d+)")
_DENIED: Final = {401, 403}
_TRY_AGAIN: Final = {408, 425, 429}


class TransientError(IgwRuntimeError):
    """It may go better the next time; the message says what happened."""

    def __init__(self, message: str, *, retry_after_seconds: float = 0.0) -> None:
        super().__init__(message)
        self.retry_after_seconds = retry_after_seconds


class RefusedError(IgwRuntimeError):
    """Asking again would not help; the message says what happened."""


class ChangedError(IgwRuntimeError):
    """The object is not the one that the bytes before the offset are of."""


class UnchangedError(IgwRuntimeError):
    """The object is still the one that the caller does not want again."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """Bytes of an object from `offset` on, and what tells it from a later one of its name."""

    offset: int
    total_bytes: int | None
    """Length of the whole object; None where the server does not say."""
    validator: str
    """A strong ETag, else the date of the last change, else empty: it cannot be resumed."""
    has_left_tls: bool
    """Whether a redirect led from TLS to plain HTTP."""
    chunks: Iterator[bytes]


@contextmanager
def open_object(
    location: Location, *, offset: int = 0, validator: str = "", unless: str = ""
) -> Iterator[Reply]:
    """Ask for the object from `offset` on, if it still is the one that `validator` names.

    A server that cannot, or that has another one, sends the whole: the reply's offset is 0 then.

    Raises:
        TransientError: cut, timed out, or a status that may pass.
        ChangedError: there is no such range, or it is of another object.
        UnchangedError: it is still the one that `unless` names.
        RefusedError: any other answer.
    """
    headers = {"Accept-Encoding": "identity", **location.headers}
    if offset:
        headers |= {"Range": f"bytes={offset}-", "If-Range": validator}
    if unless:
        headers["If-None-Match" if unless.startswith('"') else "If-Modified-Since"] = unless
    with requests.Session() as session:
        session.max_redirects = _MAX_REDIRECTS
        try:
            answer = session.get(
                location.url, headers=headers, stream=True, timeout=_TIMEOUT_SECONDS
            )
        except requests.TooManyRedirects as error:
            message = f"more than {_MAX_REDIRECTS} redirects"
            raise RefusedError(message) from error
        except (requests.ConnectionError, requests.Timeout) as error:
            raise TransientError(_explain(error)) from error
        except (requests.RequestException, ValueError) as error:
            message = f"not a URL that can be got ({type(error).__name__})"
            raise RefusedError(message) from error
        with answer:
            yield _read_reply(answer, offset=offset, validator=validator)


def _read_reply(answer: requests.Response, *, offset: int, validator: str) -> Reply:
    _check_status(answer)
    given = _read_validator(answer.headers)
    start, total = 0, _read_length(answer.headers)
    if answer.status_code == HTTPStatus.PARTIAL_CONTENT:
        found = _CONTENT_RANGE.fullmatch(answer.headers.get("Content-Range", ""))
        if found is None or int(found[1]) != offset or (given and given != validator):
            message = "the server sent a range of something else"
            raise ChangedError(message)
        start, total = offset, int(found[2])
    return Reply(
        offset=start,
        total_bytes=total,
        validator=given,
        has_left_tls=not answer.url.startswith("https:")
        and any(it.url.startswith("https:") for it in answer.history),
        chunks=_stream(answer),
    )


def _check_status(answer: requests.Response) -> None:
    status = answer.status_code
    if status in {HTTPStatus.OK, HTTPStatus.PARTIAL_CONTENT}:
        return
    if status == HTTPStatus.NOT_MODIFIED:
        raise UnchangedError
    if status == HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE:
        message = "the object is shorter than what is here of it"
        raise ChangedError(message)
    message = f"the server answers {status} {answer.reason or ''}".strip()
    if status in _TRY_AGAIN or status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        wait = answer.headers.get("Retry-After", "")
        raise TransientError(message, retry_after_seconds=float(wait) if wait.isdecimal() else 0.0)
    region = answer.headers.get("x-amz-bucket-region", "")
    if status in _DENIED:
        message += "; are the credentials right, and may they read it?"
    if region:
        message += f" (the bucket is in region {region}, as AWS_REGION has to say)"
    raise RefusedError(message)


def _read_validator(headers: Mapping[str, str]) -> str:
    etag = headers.get("ETag", "")
    # A weak one (W/"…") says nothing of single bytes, and RFC 9110 forbids it in If-Range.
    return etag if etag.startswith('"') else headers.get("Last-Modified", "")


def _read_length(headers: Mapping[str, str]) -> int | None:
    length = headers.get("Content-Length", "")
    return int(length) if length.isdecimal() else None


def _stream(answer: requests.Response) -> Iterator[bytes]:
    try:
        yield from answer.raw.stream(CHUNK_BYTES, decode_content=False)
    except (urllib3.exceptions.HTTPError, OSError) as error:
        message = f"the connection was cut ({type(error).__name__})"
        raise TransientError(message) from error


def _explain(error: Exception) -> str:
    """Say why nobody answered. Never in the library's own words: they hold the whole URL."""
    if isinstance(error, requests.Timeout):
        return "the server does not answer in time"
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, ssl.SSLError):
            return f"no trusted TLS connection: {cause.reason or type(cause).__name__}"
        if isinstance(cause, OSError) and cause.strerror and cause.errno:
            return f"no connection: {cause.strerror}"
        reason = getattr(cause, "reason", None) or (cause.args[0] if cause.args else None)
        inner = cause.__cause__ or cause.__context__
        cause = reason if isinstance(reason, BaseException) else inner
    return f"no connection ({type(error).__name__})"
