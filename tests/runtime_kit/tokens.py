"""A token issuer: its keys, the tokens that it signs, and the server that publishes the keys."""

import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import jwt
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from jwt.algorithms import get_default_algorithms

ISSUER, AUDIENCE = "https://issuer.example", "classifier"


@dataclass(slots=True)
class SigningKey:
    """A private key of the issuer."""

    kid: str | None
    algorithm: str = "ES256"
    private: Any = None
    extra: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.private = self.private or make_private_key(self.algorithm)

    def publish(self) -> dict[str, Any]:
        """Return the JWK."""
        algorithm: Any = get_default_algorithms()[self.algorithm]
        jwk = dict(algorithm.to_jwk(self.private.public_key(), as_dict=True))
        return jwk | ({"kid": self.kid} if self.kid is not None else {}) | self.extra

    def sign(self, headers: dict[str, Any] | None = None, **claims: Any) -> str:
        """Return a good token; a claim of None is left out, one of a timedelta counts from now."""
        now = time.time()
        content = {"iss": ISSUER, "aud": AUDIENCE, "iat": now, "exp": now + 600, "sub": "me"}
        content = {
            name: now + value.total_seconds() if isinstance(value, timedelta) else value
            for name, value in (content | claims).items()
            if value is not None
        }
        named = {} if self.kid is None else {"kid": self.kid}
        return jwt.encode(content, self.private, self.algorithm, headers=named | (headers or {}))

    def bearer(self, **claims: Any) -> str:
        """Return the header of a good token."""
        return f"Bearer {self.sign(**claims)}"


def make_private_key(algorithm: str, bits: int = 2048) -> Any:
    """Return a new private key that the algorithm takes."""
    if algorithm == "EdDSA":
        return ed25519.Ed25519PrivateKey.generate()
    if algorithm.startswith("ES"):
        curves: dict[str, type[Any]] = {
            "ES256": ec.SECP256R1,
            "ES384": ec.SECP384R1,
            "ES512": ec.SECP521R1,
        }
        return ec.generate_private_key(curves[algorithm]())
    return rsa.generate_private_key(public_exponent=65537, key_size=bits)


def key_set(*keys: SigningKey) -> bytes:
    """Return the document that an issuer publishes."""
    return json.dumps({"keys": [key.publish() for key in keys]}).encode()


@dataclass(slots=True)
class KeyServer:
    """What is published where, and how often somebody asked."""

    uri: str = ""
    document: bytes = b""
    status: int = 200
    asked: int = 0


@contextmanager
def a_key_server(*keys: SigningKey) -> Iterator[KeyServer]:
    """Publish keys on loopback; the document and the status may be changed at any time."""
    state = KeyServer(document=key_set(*keys))

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            state.asked += 1
            self.send_response(state.status)
            if state.status // 100 == 3:
                self.send_header("Location", "/elsewhere")
            self.send_header("Content-Length", str(len(state.document)))
            self.end_headers()
            self.wfile.write(state.document)

        def log_message(self, *_: Any) -> None:
            """Stay quiet."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    state.uri = f"http://127.0.0.1:{server.server_port}/keys"
    yield state
    server.shutdown()
    server.server_close()
    thread.join()
