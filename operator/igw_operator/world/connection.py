"""How to reach the API server: address, trust and credentials, from a pod or from a desk.

In a pod it reads the mounted service account, and its token again whenever it is a minute
old (the kubelet rotates it). On a desk it leaves kubeconfig files, with their exec plugins
and identity providers, to ``kubernetes.aio``. `client` sends requests over it, and the
kopf login in ``handlers`` uses the same credentials.
"""

from __future__ import annotations

import ssl
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final, Protocol

from igw_operator.errors import IgwError

if TYPE_CHECKING:
    from kubernetes.aio.client import Configuration

_SERVICE_ACCOUNT: Final = Path("/var/run/secrets/kubernetes.io/serviceaccount")
_TOKEN_SECONDS: Final = 60.0


class ConnectionUnknownError(IgwError):
    """There is neither a service account nor a usable kubeconfig."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoint:
    """The API server's address and how both sides prove who they are."""

    server: str
    ca_file: str | None = None
    certificate_file: str | None = None
    key_file: str | None = None
    insecure: bool = False

    def ssl_context(self) -> ssl.SSLContext:
        """TLS as the endpoint asks for it."""
        context = ssl.create_default_context(cafile=self.ca_file)
        if self.certificate_file:
            context.load_cert_chain(self.certificate_file, keyfile=self.key_file)
        if self.insecure:
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
        return context


class Connection(Protocol):
    """An endpoint and the token of the moment."""

    endpoint: Endpoint

    async def token(self, *, fresh: bool = False) -> str | None:
        """Return the bearer token; ``fresh`` after the server refused the last one."""
        ...


class ServiceAccountConnection:
    """The connection of a pod."""

    def __init__(
        self,
        environment: Mapping[str, str],
        clock: Callable[[], float],
        folder: Path = _SERVICE_ACCOUNT,
    ) -> None:
        host = environment["KUBERNETES_SERVICE_HOST"]
        port = environment.get("KUBERNETES_SERVICE_PORT", "443")
        host = f"[{host}]" if ":" in host else host
        self.endpoint = Endpoint(server=f"https://{host}:{port}", ca_file=str(folder / "ca.crt"))
        self._file = folder / "token"
        self._clock = clock
        self._token = ""
        self._read_at = float("-inf")

    async def token(self, *, fresh: bool = False) -> str | None:
        """Return the mounted token, read again once a minute."""
        now = self._clock()
        if fresh or now - self._read_at > _TOKEN_SECONDS:
            self._token = self._file.read_text().strip()  # tmpfs, one kilobyte
            self._read_at = now
        return self._token


class KubeconfigConnection:
    """The connection of a desk, as kubectl would make it."""

    def __init__(self, configuration: Configuration, path: str | None) -> None:
        self._configuration = configuration
        self._path = path
        self.endpoint = Endpoint(
            server=configuration.host.rstrip("/"),
            ca_file=configuration.ssl_ca_cert,
            certificate_file=configuration.cert_file,
            key_file=configuration.key_file,
            insecure=not configuration.verify_ssl,
        )

    async def token(self, *, fresh: bool = False) -> str | None:
        """Return the token that the kubeconfig names, or that its plugin gives."""
        if fresh:
            self._configuration = await _read_kubeconfig(self._path)
        header: str | None = await self._configuration.get_api_key_with_prefix("BearerToken")
        return header.split(" ", 1)[-1].strip() if header else None


async def find_connection(
    kubeconfig: str | None, environment: Mapping[str, str], clock: Callable[[], float]
) -> Connection:
    """The kubeconfig that was named, else the pod's service account, else kubectl's default.

    Raises:
        ConnectionUnknownError: none of them is there, or it cannot be used.
    """
    if kubeconfig is None and "KUBERNETES_SERVICE_HOST" in environment:
        return ServiceAccountConnection(environment, clock)
    return KubeconfigConnection(await _read_kubeconfig(kubeconfig), kubeconfig)


async def _read_kubeconfig(path: str | None) -> Configuration:
    # Imported late: it costs a second and 40 MiB, which a pod never needs.
    from kubernetes.aio.client import Configuration  # noqa: PLC0415
    from kubernetes.aio.config import ConfigException, load_kube_config  # noqa: PLC0415

    configuration = Configuration()
    try:
        await load_kube_config(  # type: ignore[no-untyped-call]
            config_file=path, client_configuration=configuration, persist_config=False
        )
    except (ConfigException, OSError, TypeError) as error:
        where = path or "KUBECONFIG, ~/.kube/config"
        message = f"no cluster to connect to: {where}: {error}"
        raise ConnectionUnknownError(message) from error
    return configuration
