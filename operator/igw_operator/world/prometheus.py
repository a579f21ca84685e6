"""Prometheus' HTTP API: questions with an end, and answers that may be anything.

Every request has its own short timeout and every answer its largest size; a redirect is not
followed, so that an object in the cluster cannot lead the operator anywhere else. Whatever goes
wrong is a `PrometheusError`, which proves nothing. Nothing is retried: ``world.monitoring``
asks again with its next round.
https://prometheus.io/docs/prometheus/latest/querying/api/
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from types import TracebackType
from typing import Any, Final, Self

import aiohttp
import orjson

from igw_operator.errors import PrometheusError
from igw_operator.world.alertmanager import ReceivedAlert, parse_alerts

_CONNECT_SECONDS: Final = 3.0
_MOST_BYTES: Final = 64 * 1024 * 1024
_CHUNK_BYTES: Final = 64 * 1024
_OK: Final = 200
_REDIRECTS: Final = range(300, 400)
_WORDS: Final = 300
# What reading JSON of any shape can end in.
_SHAPE_ERRORS: Final = (AttributeError, LookupError, TypeError, ValueError, OverflowError)


@dataclass(frozen=True, slots=True)
class Sample:
    """One series of an instant query."""

    labels: Mapping[str, str]
    value: float


@dataclass(frozen=True, slots=True)
class Vector:
    """The answer to an instant query."""

    samples: Sequence[Sample]
    at: datetime | None
    """The time of evaluation, by Prometheus' own clock; None of an empty answer."""


class PrometheusClient:
    """Asks any number of servers; an asynchronous context manager."""

    def __init__(
        self, *, user_agent: str, timeout_seconds: float = 10.0, most_bytes: int = _MOST_BYTES
    ) -> None:
        self._user_agent = user_agent
        self._timeout_seconds = timeout_seconds
        self._most_bytes = most_bytes
        self._session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Self:
        self._session = aiohttp.ClientSession(headers={"User-Agent": self._user_agent})
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._session is not None:
            await self._session.close()

    async def query(self, server: str, promql: str) -> Vector:
        """The series of an instant query at this moment.

        Raises:
            PrometheusError: there was no such answer.
        """
        # Thanos would answer with what it can reach; Prometheus ignores the parameter.
        parameters = [("query", promql), ("partial_response", "false")]
        data = await self._get(server, "/api/v1/query", parameters)
        with _blaming(f"{server} answered a query with something else than a vector"):
            return _parse_vector(data)

    async def rule_errors(self, server: str, groups: Sequence[str]) -> dict[str, str]:
        """Prometheus' words about the first failing rule of each of these groups, by group.

        Raises:
            PrometheusError: there was no such answer.
        """
        parameters = [("rule_group[]", name) for name in groups]
        data = await self._get(server, "/api/v1/rules", parameters)
        with _blaming(f"{server} answered with something else than rule groups"):
            return _parse_rule_errors(data, groups)

    async def target_errors(self, server: str, scrape_pool: str) -> dict[str, str]:
        """Prometheus' words about each target of a scrape pool that is not up, by pod.

        Raises:
            PrometheusError: there was no such answer.
        """
        parameters = [("state", "active"), ("scrapePool", scrape_pool)]
        data = await self._get(server, "/api/v1/targets", parameters)
        with _blaming(f"{server} answered with something else than targets"):
            return _parse_target_errors(data)

    async def alertmanagers(self, server: str) -> list[str]:
        """The addresses that a Prometheus sends its alerts to at present.

        Raises:
            PrometheusError: there was no such answer.
        """
        data = await self._get(server, "/api/v1/alertmanagers", [])
        with _blaming(f"{server} answered with something else than Alertmanagers"):
            return [str(it["url"]) for it in data["activeAlertmanagers"]]

    async def alerts(self, alertmanager: str, name: str) -> list[ReceivedAlert]:
        """The alerts of a name that an Alertmanager has, at the address that they are sent to.

        Raises:
            PrometheusError: there was no such answer.
        """
        parameters = [("filter", f'alertname="{name}"')]
        response, text = await self._exchange(alertmanager, parameters)
        if response.status != _OK:
            # Its words are left out: the address is a Prometheus', and may lead to anybody.
            message = f"it answers {response.status}"
            raise PrometheusError(message)
        with _blaming("it answers with something else than alerts"):
            return parse_alerts(_parse_json(text))

    async def _get(self, server: str, path: str, parameters: list[tuple[str, str]]) -> Any:
        response, text = await self._exchange(server + path, parameters)
        return _parse_answer(response, text)

    async def _exchange(
        self, url: str, parameters: list[tuple[str, str]]
    ) -> tuple[aiohttp.ClientResponse, bytes]:
        if self._session is None:
            message = "the client is used before it was entered"
            raise RuntimeError(message)
        timeout = aiohttp.ClientTimeout(total=self._timeout_seconds, sock_connect=_CONNECT_SECONDS)
        try:
            async with self._session.get(
                url, params=parameters, timeout=timeout, allow_redirects=False
            ) as response:
                text = await self._read(response)
        except TimeoutError as error:
            message = f"no answer within {self._timeout_seconds:g} s"
            raise PrometheusError(message) from error
        except (aiohttp.ClientError, OSError, ValueError) as error:
            message = f"{type(error).__name__}: {error}"
            raise PrometheusError(message) from error
        return response, text

    async def _read(self, response: aiohttp.ClientResponse) -> bytes:
        parts, size = [], 0
        async for part in response.content.iter_chunked(_CHUNK_BYTES):
            parts.append(part)
            size += len(part)
            if size > self._most_bytes:
                message = f"its answer is longer than {self._most_bytes} bytes"
                raise PrometheusError(message)
        return b"".join(parts)


@contextmanager
def _blaming(message: str) -> Iterator[None]:
    """Within the block JSON of another shape than was asked for is the server's fault."""
    try:
        yield
    except _SHAPE_ERRORS as error:
        raise PrometheusError(message) from error


def _parse_answer(response: aiohttp.ClientResponse, text: bytes) -> Any:
    if response.status in _REDIRECTS:
        where = response.headers.get("Location", "nowhere")[:_WORDS]
        message = f"it answers with a redirect to {where}, which is not followed"
        raise PrometheusError(message)
    answer = _parse_json(text)
    if isinstance(answer, dict) and answer.get("status") == "success" and response.status == _OK:
        return answer.get("data")
    words = answer.get("error") if isinstance(answer, dict) else None
    if not isinstance(words, str):
        words = "with what is no answer of a Prometheus"
    message = f"it answers {response.status} {words[:_WORDS]}"
    raise PrometheusError(message)


def _parse_json(text: bytes) -> Any:
    try:
        return orjson.loads(text)
    except (ValueError, RecursionError):
        return None


def _parse_vector(data: Any) -> Vector:
    if data["resultType"] != "vector":
        message = "no vector"
        raise ValueError(message)
    samples, at = [], None
    for item in data["result"]:
        time, value = item["value"]
        labels = {str(name): str(text) for name, text in item["metric"].items()}
        samples.append(Sample(labels=labels, value=float(value)))
        at = float(time)
    return Vector(samples=samples, at=None if at is None else datetime.fromtimestamp(at, UTC))


def _parse_rule_errors(data: Any, groups: Sequence[str]) -> dict[str, str]:
    errors: dict[str, str] = {}
    for group in data["groups"]:
        name = group["name"]
        if name not in groups or name in errors:
            continue  # a server that is too old for the filter answers with all groups
        for rule in group["rules"]:
            if rule["health"] == "err":
                errors[name] = f"{rule['name']} of group {name}: {rule.get('lastError', '')}"
                break
    return errors


def _parse_target_errors(data: Any) -> dict[str, str]:
    return {
        str(target["labels"].get("pod", "")): str(target.get("lastError", ""))
        for target in data["activeTargets"]
        if target["health"] != "up"
    }
