"""Bearer tokens: who may infer, decided before anything of a request is admitted or read.

`Guard.check` gets an Authorization header and raises, or does not. It runs on the event loop and
waits for nobody: keys come from `web.jwks`, and a token that was verified is remembered until it
expires or the keys change. No token is ever logged, nor anything that a token says.
"""

import hashlib
import re
from collections import OrderedDict
from collections.abc import Callable, Mapping
from typing import Any, Final

import jwt
from jwt.exceptions import (
    ExpiredSignatureError,
    ImmatureSignatureError,
    InvalidAudienceError,
    InvalidIssuerError,
    InvalidSignatureError,
    MissingRequiredClaimError,
    PyJWTError,
)

from igw_runtime.errors import InvalidTokenError, KeysUnavailableError, MissingTokenError
from igw_runtime.settings import JwtSettings
from igw_runtime.web.jwks import KeySet, KeyStore, VerificationKey

MAX_TOKEN_CHARACTERS: Final = 16_384
MAX_REMEMBERED: Final = 10_000
_BEARER: Final = re.compile(r"bearer +([A-Za-z0-9._~+/-]+=*) *", re.IGNORECASE)
# First the kinds that are subclasses of others. The words are ours: PyJWT's may quote the token.
_REASONS: Final[Mapping[type[PyJWTError], str]] = {
    ExpiredSignatureError: "the token has expired",
    ImmatureSignatureError: "the token is not valid yet",
    InvalidAudienceError: "the token is meant for another audience",
    InvalidIssuerError: "the token is from another issuer",
    InvalidSignatureError: "the token's signature does not match",
    MissingRequiredClaimError: "the token lacks one of exp, iss and aud",
}
_UNREADABLE: Final = "the token is not a signed JWT"
_NO_SUCH_KEY: Final = "the token is signed with a key that the issuer does not publish"
_WRONG_ALGORITHM: Final = "the token's algorithm is not one of its key"
_WHICH_KEY: Final = "the token does not say which key it is signed with (kid)"
_NO_BEARER: Final = "the Authorization header is not Bearer and one token"


class Guard:
    """Checks tokens; one for the process, used on the event loop only."""

    def __init__(self, settings: JwtSettings, store: KeyStore, clock: Callable[[], float]) -> None:
        self._settings = settings
        self._store = store
        self._clock = clock  # seconds since the epoch, as `exp` counts
        self._remembered: OrderedDict[bytes, float] = OrderedDict()
        self._judged_by: KeySet = ()

    def check(self, authorization: str | None) -> None:
        """Raise unless the header holds a token that is valid now."""
        token = _find_token(authorization)
        keys = self._store.read()
        if not keys:
            self._store.want()
            message = "the issuer's keys are not available; no token can be checked"
            raise KeysUnavailableError(message, headers={"Retry-After": "5"})
        if keys is not self._judged_by:
            # A key that was withdrawn no longer vouches for the tokens it had signed.
            self._remembered.clear()
            self._judged_by = keys
        digest = hashlib.sha256(token.encode("ascii")).digest()
        until = self._remembered.get(digest)
        if until is not None and self._clock() < until:
            self._remembered.move_to_end(digest)
            return
        expiry = self._verify(token, keys)
        self._remembered[digest] = expiry + self._settings.leeway_seconds
        while len(self._remembered) > MAX_REMEMBERED:
            self._remembered.popitem(last=False)

    def _verify(self, token: str, keys: KeySet) -> float:
        """Return when the token expires."""
        header = _read_header(token)
        algorithm = str(header.get("alg"))
        key = self._find_key(header.get("kid"), algorithm, keys)
        try:
            claims: dict[str, Any] = jwt.decode(
                token,
                key.public_key,
                algorithms=[algorithm],
                audience=self._settings.audiences,
                issuer=self._settings.issuer,
                leeway=self._settings.leeway_seconds,
                options={"require": ["exp", "iss", "aud"]},
            )
            return float(claims["exp"])
        except PyJWTError as error:
            known = (why for kind, why in _REASONS.items() if isinstance(error, kind))
            raise _refuse(next(known, _UNREADABLE)) from None
        except (ValueError, TypeError, OverflowError, RecursionError):
            raise _refuse(_UNREADABLE) from None

    def _find_key(self, kid: object, algorithm: str, keys: KeySet) -> VerificationKey:
        """Return the key that the token names, if it may be used as the token says."""
        named = [key for key in keys if kid is None or key.kid == kid]
        if not named:
            self._store.want()
            raise _refuse(_NO_SUCH_KEY)
        fitting = [key for key in named if algorithm in key.algorithms]
        if not fitting:
            raise _refuse(_WRONG_ALGORITHM)
        if kid is None and len(fitting) > 1:
            raise _refuse(_WHICH_KEY)
        return fitting[0]


def _find_token(authorization: str | None) -> str:
    if authorization is None:
        message = "send a token: Authorization: Bearer …"
        # Without an error code: nothing was wrong with what was not there (RFC 6750, 3.1).
        raise MissingTokenError(message, headers={"WWW-Authenticate": "Bearer"})
    short = len(authorization) <= MAX_TOKEN_CHARACTERS
    match = _BEARER.fullmatch(authorization) if short else None
    if match is None:
        raise _refuse(_NO_BEARER)
    return match[1]


def _read_header(token: str) -> Mapping[str, Any]:
    try:
        return jwt.get_unverified_header(token)
    except (PyJWTError, ValueError, TypeError, RecursionError):
        raise _refuse(_UNREADABLE) from None


def _refuse(why: str) -> InvalidTokenError:
    challenge = f'Bearer error="invalid_token", error_description="{why}"'
    return InvalidTokenError(why, headers={"WWW-Authenticate": challenge})
