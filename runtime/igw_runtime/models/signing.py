"""A presigned URL for one object of an S3 store (Signature Version 4, by query).

Pure; called by `models.location`. A query, rather than a header: it names one object for some
minutes, and no redirect can carry it elsewhere.
Source: docs.aws.amazon.com/AmazonS3/latest/API/sigv4-query-string-auth.html
"""

import hashlib
import hmac
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final
from urllib.parse import quote, urlsplit

EXPIRES_SECONDS: Final = 3600
_ALGORITHM: Final = "AWS4-HMAC-SHA256"
_DEFAULT_PORTS: Final = {"http": ":80", "https": ":443"}


@dataclass(frozen=True, slots=True, kw_only=True)
class AccessKey:
    """An access key, and the token of one that is borrowed."""

    identity: str
    secret: str = field(repr=False)
    session_token: str = field(default="", repr=False)


def presign(
    url: str, key: AccessKey, *, region: str, now: datetime, expires_seconds: int = EXPIRES_SECONDS
) -> str:
    """Return the URL with a signature that lets anybody GET it until it expires.

    The path of the url is quoted already, it has no query, and `now` is in UTC.
    """
    parts = urlsplit(url)
    moment = now.strftime("%Y%m%dT%H%M%SZ")
    scope = f"{moment[:8]}/{region}/s3/aws4_request"
    parameters = {
        "X-Amz-Algorithm": _ALGORITHM,
        "X-Amz-Credential": f"{key.identity}/{scope}",
        "X-Amz-Date": moment,
        "X-Amz-Expires": str(expires_seconds),
        "X-Amz-SignedHeaders": "host",
    }
    if key.session_token:
        parameters["X-Amz-Security-Token"] = key.session_token
    query = "&".join(
        f"{quote(name, safe='')}={quote(value, safe='')}"
        for name, value in sorted(parameters.items())
    )
    # As it is sent: in lower case, and without the port that goes without saying.
    host = parts.netloc.lower().removesuffix(_DEFAULT_PORTS[parts.scheme])
    request = "\n".join(("GET", parts.path, query, f"host:{host}", "", "host", "UNSIGNED-PAYLOAD"))
    digest = hashlib.sha256(request.encode()).hexdigest()
    secret = f"AWS4{key.secret}".encode()
    for part in scope.split("/"):
        secret = _sign(secret, part)
    signature = _sign(secret, f"{_ALGORITHM}\n{moment}\n{scope}\n{digest}").hex()
    return f"{url}?{query}&X-Amz-Signature={signature}"


def _sign(secret: bytes, text: str) -> bytes:
    return hmac.new(secret, text.encode(), hashlib.sha256).digest()
