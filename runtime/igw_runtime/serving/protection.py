"""Tokens and TLS, where the settings ask for them: one object for the server to start and stop.

What neither is asked for is not even imported: cryptography takes 10 MB.
"""

import asyncio
import time
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING

from igw_runtime.settings import JwtSettings, Settings, TlsSettings
from igw_runtime.telemetry.metrics import Metrics

if TYPE_CHECKING:
    from igw_runtime.serving.tls import ServedCertificate
    from igw_runtime.web.jwks import KeyStore

TokenCheck = Callable[[str | None], None]


class Protection:
    """What stands between a client and the model."""

    def __init__(self, settings: Settings, metrics: Metrics) -> None:
        self._metrics = metrics
        self._store: KeyStore | None = None
        self.check_token: TokenCheck | None = None
        self.certificate: ServedCertificate | None = None
        self.ready = asyncio.Event()
        """Set once tokens can be judged: a pod without keys would refuse everybody."""
        if settings.auth.jwt is not None:
            self._guard(settings.auth.jwt)
        if settings.tls is not None:
            self._serve_certificate(settings.tls)

    def start(self, loop: asyncio.AbstractEventLoop) -> None:
        """Follow keys and certificate."""
        if self.certificate is not None:
            self.certificate.start()
        if self._store is None:
            self.ready.set()
        else:
            self._store.start(partial(loop.call_soon_threadsafe, self.ready.set))

    def stop(self) -> None:
        """Stop following them."""
        if self.certificate is not None:
            self.certificate.stop()
        if self._store is not None:
            self._store.stop()

    def _guard(self, settings: JwtSettings) -> None:
        from igw_runtime.web.auth import Guard  # noqa: PLC0415
        from igw_runtime.web.jwks import KeyStore, build_fetch  # noqa: PLC0415

        fetch = build_fetch(settings.jwks_uri)
        self._store = KeyStore(settings, fetch, self._metrics, time.monotonic)
        self.check_token = Guard(settings, self._store, time.time).check

    def _serve_certificate(self, settings: TlsSettings) -> None:
        from igw_runtime.serving import tls  # noqa: PLC0415

        self.certificate = tls.ServedCertificate(settings, self._metrics.watch_certificate())
