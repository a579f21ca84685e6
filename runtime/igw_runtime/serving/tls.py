"""The certificate that is served, followed while the process runs: a renewal restarts nothing.

Kubernetes replaces the files of a Secret by swapping a symlink two levels up, which no watch on
the files reports: content is compared once a second. A pair that cannot be served changes
nothing, and says so once.
"""

import ssl
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Final

import structlog
from cryptography import x509

from igw_runtime.errors import InvalidSettingsError
from igw_runtime.settings import TlsSettings
from igw_runtime.telemetry import names

POLL_SECONDS: Final = 1.0
_log = structlog.get_logger()


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyPair:
    """The content of both files, PEM: the certificate with its chain, and its private key."""

    certificate: bytes
    key: bytes = field(repr=False)

    @property
    def expiry(self) -> float:
        """Return when the certificate ends, in seconds since the epoch."""
        return x509.load_pem_x509_certificate(self.certificate).not_valid_after_utc.timestamp()


class ServedCertificate:
    """The pair in force; connections that are open keep the one that they began with."""

    def __init__(self, settings: TlsSettings, show_expiry: Callable[[float], None]) -> None:
        self._settings = settings
        self._show_expiry = show_expiry
        try:
            self.pair = self._read()
            self._current, self.context = self._load(), self._load()
            show_expiry(self.pair.expiry)
        except (OSError, ValueError) as error:
            message = f"tls: {settings.certificate} and {settings.key}: {_explain(error)}"
            raise InvalidSettingsError(message) from error
        self._seen = self.pair
        # What is loaded into a context that is in use can meet a handshake half-way, and a key
        # that does not match leaves it without one. A context of its own for each pair cannot.
        self.context.sni_callback = self._choose
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, name="tls", daemon=True)

    def start(self) -> None:
        """Follow the files in a thread of its own: a slow disk must not hold up a request."""
        self._thread.start()

    def stop(self) -> None:
        """End the thread soon."""
        self._stopped.set()

    def check(self) -> None:
        """Look at the files once, and serve them if they are new and a pair."""
        try:
            pair = self._read()
        except OSError:
            # Between the two steps of a symlink swap there may be no file; look again next time.
            return
        if pair == self._seen:
            return
        try:
            context, expiry = self._load(), pair.expiry
            if self._read() != pair:
                return  # changed meanwhile; look again next time
        except (OSError, ValueError) as error:
            self._seen = pair
            _log.error(names.EVENT_CERTIFICATE_REJECTED, error=_explain(error))
            return
        self._seen = self.pair = pair
        self._current = context
        self._show_expiry(expiry)
        _log.info(names.EVENT_CERTIFICATE_APPLIED, expires_at=int(expiry))

    def _read(self) -> KeyPair:
        return KeyPair(
            certificate=self._settings.certificate.read_bytes(),
            key=self._settings.key.read_bytes(),
        )

    def _load(self) -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        context.set_alpn_protocols(["http/1.1"])
        # A password would be asked for on the terminal.
        context.load_cert_chain(self._settings.certificate, self._settings.key, password=_no_word)
        return context

    def _choose(self, connection: Any, _name: str | None, _context: ssl.SSLContext) -> None:
        """Answer a handshake with the pair in force; called for those without a name, too."""
        connection.context = self._current

    def _run(self) -> None:
        while not self._stopped.wait(POLL_SECONDS):
            self.check()


def _no_word() -> str:
    message = "the key is encrypted; give one that is not"
    raise ValueError(message)


def _explain(error: Exception) -> str:
    """Say what is wrong with the files; OpenSSL's words do not quote their content."""
    if isinstance(error, ssl.SSLError):
        return f"not a certificate and its key ({error.reason or 'no PEM'})"
    if isinstance(error, OSError):
        return error.strerror or type(error).__name__
    return str(error)
