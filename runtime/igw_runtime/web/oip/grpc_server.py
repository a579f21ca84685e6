"""The gRPC listener: opened beside the HTTP one, in the same event loop, and stopped with it."""

from typing import TYPE_CHECKING, Final

import grpc
import grpc.aio

from igw_runtime.errors import InvalidSettingsError
from igw_runtime.settings import ServingSettings
from igw_runtime.web.oip.grpc_service import GrpcService

if TYPE_CHECKING:  # it imports cryptography, which only TLS needs
    from igw_runtime.serving.tls import KeyPair, ServedCertificate

# Names and shapes beside the tensors. Above this, gRPC itself refuses; below, we do and count it.
_ENVELOPE_BYTES: Final = 65_536
# Of drainSeconds; gRPC varies it by a tenth. All connections that were there when a pod began to
# drain are retired well before its listener closes.
_CONNECTION_AGE: Final = 0.5


class GrpcServer:
    """A server of the one service."""

    def __init__(self, service: GrpcService, settings: ServingSettings) -> None:
        options = [
            # Also the limit of what a compressed message unpacks to.
            ("grpc.max_receive_message_length", settings.max_body_bytes + _ENVELOPE_BYTES),
            ("grpc.so_reuseport", 0),  # a taken port is a mistake to tell, not to share
        ]
        age_ms = int(settings.drain_seconds * _CONNECTION_AGE * 1000)
        if age_ms:
            # A server that stops cancels what arrives before its GOAWAY is read, and there is no
            # other way to send one earlier. A connection of age gets its GOAWAY while everything
            # that is still sent on it is served, so a client loses nothing and goes elsewhere.
            options.append(("grpc.max_connection_age_ms", age_ms))
        self._server = grpc.aio.server(options=options)
        self._server.add_generic_rpc_handlers((service.build_handler(),))

    async def start(self, address: str, certificate: "ServedCertificate | None" = None) -> int:
        """Listen at `host:port`; return the port, which is another one only if 0 was given."""
        try:
            if certificate is None:
                bound = self._server.add_insecure_port(address)
            else:
                bound = self._server.add_secure_port(address, _build_credentials(certificate))
        except RuntimeError as error:
            message = f"server.grpcPort: cannot listen on {address}"
            raise InvalidSettingsError(message) from error
        await self._server.start()
        return bound

    async def stop(self, grace_seconds: float) -> None:
        """Close the listener, and wait for the calls that are in flight."""
        await self._server.stop(grace_seconds)


def _build_credentials(certificate: "ServedCertificate") -> grpc.ServerCredentials:
    """Return credentials that ask before each handshake whether the certificate is another one."""
    served = certificate.pair

    def fetch() -> grpc.ServerCertificateConfiguration | None:
        nonlocal served
        if certificate.pair is served:
            return None
        served = certificate.pair
        return _build_configuration(served)

    first = _build_configuration(served)
    # The published types do not know that None is "no other one".
    return grpc.dynamic_ssl_server_credentials(first, fetch)  # type: ignore[arg-type]


def _build_configuration(pair: "KeyPair") -> grpc.ServerCertificateConfiguration:
    return grpc.ssl_server_certificate_configuration([(pair.key, pair.certificate)])
