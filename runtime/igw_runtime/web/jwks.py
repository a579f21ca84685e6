"""The issuer's public keys: fetched in the background, kept through outages, never waited for.

`KeyStore` is asked on the event loop and answers from memory; its thread does all the fetching.
A key that is not known asks for another fetch, of which there is at most one in
`minRefetchSeconds`: neither a flood of invented key ids nor an issuer that is down costs more.
"""

import json
import threading
import urllib.request
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

import structlog
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from jwt import PyJWK
from jwt.exceptions import PyJWTError

from igw_runtime.errors import IgwRuntimeError
from igw_runtime.settings import JwtSettings
from igw_runtime.telemetry import names
from igw_runtime.telemetry.metrics import Metrics

MAX_BYTES: Final = 1 << 20
MAX_KEYS: Final = 64
FETCH_SECONDS: Final = 5.0
_MIN_RSA_BITS: Final = 2048  # RFC 7518, 3.3
# Asymmetric ones only: with HS256 the published key itself would sign.
_RSA: Final = frozenset({"RS256", "RS384", "RS512", "PS256", "PS384", "PS512"})
ALGORITHMS: Final[Mapping[tuple[str, str], frozenset[str]]] = {
    ("RSA", ""): _RSA,
    ("EC", "P-256"): frozenset({"ES256"}),
    ("EC", "P-384"): frozenset({"ES384"}),
    ("EC", "P-521"): frozenset({"ES512"}),
    ("OKP", "Ed25519"): frozenset({"EdDSA"}),
    ("OKP", "Ed448"): frozenset({"EdDSA"}),
}
"""By a key's type and curve: what it may verify, whatever a token's header says."""

_log = structlog.get_logger()


class KeySetError(IgwRuntimeError):
    """What the issuer sent is no key set that could be used."""


@dataclass(frozen=True, slots=True, kw_only=True)
class VerificationKey:
    """One public key, and the algorithms that it may be used with."""

    kid: str | None
    algorithms: frozenset[str]
    public_key: Any
    thumbprint: str
    """The JWK as it was published: two sets with the same ones are the same."""


KeySet = tuple[VerificationKey, ...]


def parse_key_set(content: bytes) -> KeySet:
    """Return the keys that can verify a signature; others of the set are left out."""
    try:
        document = json.loads(content)
    except (ValueError, RecursionError) as error:
        message = "the answer is not JSON"
        raise KeySetError(message) from error
    entries = document.get("keys") if isinstance(document, dict) else None
    if not isinstance(entries, list):
        message = 'the answer is no key set: it has no list "keys"'
        raise KeySetError(message)
    keys = [_parse_key(entry) for entry in entries[:MAX_KEYS] if isinstance(entry, dict)]
    usable = tuple(key for key in keys if key is not None)
    if not usable:
        message = f"none of the {len(entries)} keys can verify a signature"
        raise KeySetError(message)
    return usable


def _parse_key(entry: Mapping[str, Any]) -> VerificationKey | None:
    """Return a key, or None for one that is secret, weak, for encryption, or of no known kind."""
    kind, curve, wanted = entry.get("kty"), entry.get("crv", ""), entry.get("alg")
    kid = entry.get("kid")
    if not (isinstance(kind, str) and isinstance(curve, str)) or "d" in entry:
        return None
    algorithms = ALGORITHMS.get((kind, curve), frozenset())
    if wanted is not None:
        algorithms = algorithms & {wanted} if isinstance(wanted, str) else frozenset()
    if not algorithms or entry.get("use", "sig") != "sig" or not isinstance(kid, str | None):
        return None
    try:
        # The algorithm only tells PyJWT what to read; what may be verified is decided here.
        public_key = PyJWK(dict(entry), algorithm=min(algorithms)).key
    except (PyJWTError, UnsupportedAlgorithm, ArithmeticError, ValueError, TypeError, LookupError):
        return None
    if isinstance(public_key, RSAPublicKey) and public_key.key_size < _MIN_RSA_BITS:
        return None
    return VerificationKey(
        kid=kid,
        algorithms=algorithms,
        public_key=public_key,
        thumbprint=json.dumps(entry, sort_keys=True),
    )


class KeyStore:
    """The last good key set."""

    def __init__(
        self,
        settings: JwtSettings,
        fetch: Callable[[], bytes],
        metrics: Metrics,
        clock: Callable[[], float],
    ) -> None:
        self._settings = settings
        self._fetch = fetch
        self._metrics = metrics
        self._clock = clock
        metrics.watch_keys()
        self._keys: KeySet = ()
        self._fetched_at = clock()
        self._failing = False
        self._wanted = threading.Event()
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, name="jwks", daemon=True)
        self._on_first: Callable[[], object] = lambda: None

    def start(self, on_first: Callable[[], object]) -> None:
        """Fetch in a thread of its own; `on_first` is called there once there are keys."""
        self._on_first = on_first
        self._thread.start()

    def stop(self) -> None:
        """End the thread soon."""
        self._stopped.set()
        self._wanted.set()

    def read(self) -> KeySet:
        """Return the keys; none if there were never any, or not for `maxKeyAgeSeconds`."""
        if self._clock() - self._fetched_at > self._settings.max_key_age_seconds:
            return ()
        return self._keys

    def want(self) -> None:
        """Ask for a fetch, as soon as the next one is allowed."""
        self._wanted.set()

    def refresh(self) -> None:
        """Fetch once; on failure the old keys stay."""
        try:
            keys = parse_key_set(self._fetch())
        except Exception as error:  # noqa: BLE001  a thread that ends would end all trust in a day
            self._metrics.count_key_fetch(ok=False)
            if not self._failing:  # once for each outage
                explanation = f"{type(error).__name__}: {error}"[:200]
                _log.error(names.EVENT_KEYS_FETCH_FAILED, error=explanation)
            self._failing = True
            return
        self._failing = False
        self._metrics.count_key_fetch(ok=True)
        self._take(keys)

    def _take(self, keys: KeySet) -> None:
        is_first = not self._keys
        if {key.thumbprint for key in keys} != {key.thumbprint for key in self._keys}:
            # Another tuple is how the verifier notices; an unchanged set stays the same object.
            self._keys = keys
            _log.info(names.EVENT_KEYS_APPLIED, key_ids=[key.kid for key in keys])
        self._fetched_at = self._clock()
        if is_first:
            self._on_first()

    def _run(self) -> None:
        while not self._stopped.is_set():
            self._wanted.clear()
            self.refresh()
            self._stopped.wait(self._settings.min_refetch_seconds)
            if not self._failing:
                rest = self._settings.refresh_seconds - self._settings.min_refetch_seconds
                self._wanted.wait(max(0.0, rest))


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *_: Any, **__: Any) -> None:
        """Follow none: whoever is sent elsewhere trusts the keys of elsewhere."""


def build_fetch(uri: str) -> Callable[[], bytes]:
    """Return what gets the key set's document, bounded in time and size."""
    opener = urllib.request.build_opener(_NoRedirect)
    request = urllib.request.Request(uri, headers={"Accept": "application/json"})  # noqa: S310

    def fetch() -> bytes:
        with opener.open(request, timeout=FETCH_SECONDS) as response:
            content = bytes(response.read(MAX_BYTES + 1))
        if len(content) > MAX_BYTES:
            message = f"the answer has more than {MAX_BYTES} bytes"
            raise KeySetError(message)
        return content

    return fetch
