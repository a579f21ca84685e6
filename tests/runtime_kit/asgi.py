"""An ASGI client that can misbehave: stall, send chunks, hang up, and see what was left unread."""

import asyncio
import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from starlette.types import ASGIApp, Message, Scope


@dataclass(slots=True)
class Answer:
    """What came back; status 0 if nothing did."""

    status: int = 0
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""
    chunks_read: int = 0

    def json(self) -> Any:
        """Return the parsed body."""
        return json.loads(self.body)


@dataclass(slots=True)
class Client:
    """Calls the application directly."""

    app: ASGIApp

    async def get(self, path: str, **headers: str) -> Answer:
        return await self.call("GET", path, headers=headers)

    async def post(
        self, path: str, body: bytes, content_type: str = "image/png", **headers: str
    ) -> Answer:
        length = {"content-length": str(len(body)), "content-type": content_type}
        return await self.call("POST", path, chunks=[body], headers=length | headers)

    async def call(
        self,
        method: str,
        path: str,
        *,
        chunks: Sequence[bytes] = (),
        headers: dict[str, str] | None = None,
        hang_up: bool = False,
        stall: bool = False,
    ) -> Answer:
        """Send the chunks, then wait; with `hang_up` disconnect, with `stall` never finish."""
        answer = Answer()
        messages = _messages(chunks, hang_up=hang_up, stall=stall)

        async def receive() -> Message:
            if messages:
                answer.chunks_read += 1
                return messages.pop(0)
            await asyncio.Event().wait()
            raise AssertionError

        async def send(message: Message) -> None:
            if message["type"] == "http.response.start":
                answer.status = message["status"]
                answer.headers = {k.decode(): v.decode() for k, v in message["headers"]}
            else:
                answer.body += message.get("body", b"")

        await self.app(_scope(method, path, headers or {}), receive, send)
        return answer


def _messages(chunks: Sequence[bytes], *, hang_up: bool, stall: bool) -> list[Message]:
    messages: list[Message] = [
        {"type": "http.request", "body": chunk, "more_body": stall or index + 1 < len(chunks)}
        for index, chunk in enumerate(chunks)
    ]
    if not chunks and not stall:
        messages.append({"type": "http.request", "body": b"", "more_body": False})
    if hang_up:
        messages.append({"type": "http.disconnect"})
    return messages


def _scope(method: str, path: str, headers: dict[str, str]) -> Scope:
    pairs = {k.lower().replace("_", "-"): v for k, v in headers.items()}
    return {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": method,
        "scheme": "http",
        "path": path,
        "raw_path": path.encode(),
        "query_string": b"",
        "root_path": "",
        "headers": [(k.encode(), v.encode()) for k, v in pairs.items()],
        "client": ("10.0.0.9", 4711),
        "server": ("10.0.0.1", 8080),
    }
