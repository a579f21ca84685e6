"""An HTTP server that holds one object and misbehaves as it is told, answer by answer."""

from __future__ import annotations

import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

Answer = Callable[["Handler", "Store"], None]


@dataclass
class Store:
    """What is served, what was asked, and the answers that come before the honest ones."""

    content: bytes
    etag: str = '"one"'
    port: int = 0
    scheme: str = "http"
    script: list[Answer] = field(default_factory=list)
    asked: list[dict[str, str]] = field(default_factory=list)
    paths: list[str] = field(default_factory=list)

    @property
    def url(self) -> str:
        """Base URL."""
        return f"{self.scheme}://127.0.0.1:{self.port}"

    @property
    def ranges(self) -> list[str]:
        """The ranges that were asked for, in order; empty where the whole was."""
        return [headers.get("range", "") for headers in self.asked]


class Handler(BaseHTTPRequestHandler):
    """Answers with ranges and validators, as RFC 9110 has them."""

    protocol_version = "HTTP/1.1"
    store: Store

    def do_GET(self) -> None:
        """Answer from the script, then honestly."""
        store = self.store
        store.asked.append({name.lower(): value for name, value in self.headers.items()})
        store.paths.append(self.path)
        answer = store.script.pop(0) if store.script else honestly
        answer(self, store)

    def begin(self, status: int, **headers: str) -> None:
        """Send status and headers; `_` in a name is `-`."""
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Say nothing."""


def honestly(handler: Handler, store: Store) -> None:
    """Answer as a good server does."""
    if handler.headers.get("If-None-Match") == store.etag:
        handler.begin(304, ETag=store.etag)
        return
    asked = handler.headers.get("Range")
    total = len(store.content)
    if asked and handler.headers.get("If-Range") == store.etag:
        start = int(asked.removeprefix("bytes=").rstrip("-"))
        if start >= total:
            handler.begin(416, Content_Range=f"bytes */{total}", Content_Length="0")
            return
        rest = store.content[start:]
        where = f"bytes {start}-{total - 1}/{total}"
        handler.begin(206, Content_Range=where, Content_Length=str(len(rest)), ETag=store.etag)
        handler.wfile.write(rest)
        return
    handler.begin(200, Content_Length=str(total), ETag=store.etag)
    handler.wfile.write(store.content)


def cut_after(count: int) -> Answer:
    """Promise the whole (or the range), send that many bytes of it, and hang up."""

    def answer(handler: Handler, store: Store) -> None:
        start = 0
        if handler.headers.get("If-Range") == store.etag:
            start = int(handler.headers["Range"].removeprefix("bytes=").rstrip("-"))
        total = len(store.content)
        rest = store.content[start:]
        where = {"Content_Range": f"bytes {start}-{total - 1}/{total}"} if start else {}
        handler.begin(
            206 if start else 200, Content_Length=str(len(rest)), ETag=store.etag, **where
        )
        handler.wfile.write(rest[:count])
        handler.close_connection = True

    return answer


def status(code: int, **headers: str) -> Answer:
    """Answer with a status and no body."""
    return lambda handler, _: handler.begin(code, Content_Length="0", **headers)


@contextmanager
def serve(content: bytes, certificate: Path | None = None) -> Iterator[Store]:
    """Serve the content until the block ends; by TLS with a certificate (and its key)."""
    store = Store(content, scheme="https" if certificate else "http")
    handler = type("Bound", (Handler,), {"store": store})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    if certificate:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate)
        server.socket = context.wrap_socket(server.socket, server_side=True)
    store.port = server.server_address[1]
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield store
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
