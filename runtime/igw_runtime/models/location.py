"""Where a package can be had: a `uri` turned into a URL and the headers that open it.

All stores end as one GET over HTTP, made by `models.transfer`, so that ranges, validators and
lengths are checked in one place and in one way. Credentials come from the environment; without
any, an object is asked for as everybody may. Pure. What is returned is never logged: a presigned
URL is a credential.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final
from urllib.parse import quote, unquote, urlsplit, urlunsplit

from igw_runtime.errors import InvalidSettingsError
from igw_runtime.models.signing import AccessKey, presign

_GOOGLE_STORAGE: Final = "https://storage.googleapis.com"
# No region to sign for: https://cloud.google.com/storage/docs/authentication/signatures
_GOOGLE_REGION: Final = "auto"
_DEFAULT_REGION: Final = "us-east-1"
# A bucket with a dot in its name does not fit the wildcard of S3's certificate.
_HOST_LABEL: Final = re.compile("[a-z0-9][-a-z0-9]*")


@dataclass(frozen=True, slots=True, kw_only=True)
class Location:
    """A URL to get, and the headers to get it with; either may hold a credential."""

    url: str = field(repr=False)
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)


def describe_uri(uri: str) -> str:
    """Return the uri without what may be secret in it: its user and its query."""
    try:
        parts = urlsplit(uri)
    except ValueError:
        return "what is no URL"
    return urlunsplit((parts.scheme, parts.netloc.rpartition("@")[2], parts.path, "", ""))


def find_location(uri: str, environment: Mapping[str, str], now: datetime) -> Location:
    """Return where to get the object now (in UTC); asked for each attempt, as signatures expire.

    Variables: `AWS_ACCESS_KEY_ID`, `AWS_SECRET_ACCESS_KEY`, `AWS_SESSION_TOKEN`, `AWS_REGION`,
    `AWS_ENDPOINT_URL` (and `AWS_ENDPOINT_URL_S3`) as every S3 client reads them; for `gs` the
    same two keys are an HMAC key of Google's; `IGW_BEARER_TOKEN` for `http` and `https`.
    """
    scheme = uri.partition("://")[0]
    if scheme in {"http", "https"}:
        token = environment.get("IGW_BEARER_TOKEN", "").strip()
        return Location(url=uri, headers={"Authorization": f"Bearer {token}"} if token else {})
    if scheme == "s3":
        url, region = _address_s3(uri, environment)
    elif scheme == "gs":
        base = environment.get("STORAGE_EMULATOR_HOST", _GOOGLE_STORAGE).rstrip("/")
        bucket, key = _split(uri)
        url, region = f"{base}/{bucket}/{key}", _GOOGLE_REGION
    else:
        message = f"cannot fetch {describe_uri(uri)}: uri begins with http, https, s3 or gs"
        raise InvalidSettingsError(message)
    access_key = _read_access_key(environment)
    if access_key is None:
        return Location(url=url)
    return Location(url=presign(url, access_key, region=region, now=now))


def _address_s3(uri: str, environment: Mapping[str, str]) -> tuple[str, str]:
    bucket, key = _split(uri)
    region = (
        environment.get("AWS_REGION") or environment.get("AWS_DEFAULT_REGION") or _DEFAULT_REGION
    )
    endpoint = environment.get("AWS_ENDPOINT_URL_S3") or environment.get("AWS_ENDPOINT_URL")
    if endpoint:
        # A store of one's own rarely has a DNS name for each bucket.
        return f"{endpoint.rstrip('/')}/{bucket}/{key}", region
    host = f"s3.{region}.amazonaws.com"
    if _HOST_LABEL.fullmatch(bucket):
        return f"https://{bucket}.{host}/{key}", region
    return f"https://{host}/{bucket}/{key}", region


def _read_access_key(environment: Mapping[str, str]) -> AccessKey | None:
    identity = environment.get("AWS_ACCESS_KEY_ID", "").strip()
    secret = environment.get("AWS_SECRET_ACCESS_KEY", "").strip()
    if bool(identity) != bool(secret):
        message = "set both AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or neither"
        raise InvalidSettingsError(message)
    if not identity:
        return None
    token = environment.get("AWS_SESSION_TOKEN", "").strip()
    return AccessKey(identity=identity, secret=secret, session_token=token)


def _split(uri: str) -> tuple[str, str]:
    """Bucket and key, the key quoted as S3 wants it."""
    # By hand: in an object's name, `?` and `#` are letters like others.
    bucket, _, key = uri.partition("://")[2].partition("/")
    if not bucket or not key or key.endswith("/"):
        message = f"{uri} names no object; write SCHEME://BUCKET/PATH of one archive"
        raise InvalidSettingsError(message)
    return bucket, quote(unquote(key), safe="/-._~")
