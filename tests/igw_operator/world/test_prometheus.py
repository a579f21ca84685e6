"""The client against a server that may answer anything."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import pytest
from aiohttp import web

from igw_operator.errors import PrometheusError
from igw_operator.world.prometheus import PrometheusClient

Answer = Callable[[web.Request], Awaitable[web.StreamResponse]]
SAMPLE = {"metric": {"__name__": "up", "pod": "a"}, "value": [1772625600.5, "0.25"]}


def a_vector(*samples: object) -> dict[str, object]:
    """What Prometheus answers to an instant query."""
    return {"status": "success", "data": {"resultType": "vector", "result": list(samples)}}


@asynccontextmanager
async def serving(answer: Answer) -> AsyncIterator[tuple[PrometheusClient, str]]:
    """A client, and the address of a server that answers so."""
    app = web.Application()
    app.router.add_get("/{path:.*}", answer)
    runner = web.AppRunner(app, shutdown_timeout=0.01)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    host, port = runner.addresses[0][:2]
    client = PrometheusClient(user_agent="test", timeout_seconds=0.5, most_bytes=100_000)
    try:
        async with client:
            yield client, f"http://{host}:{port}/prefix"
    finally:
        await runner.cleanup()


def saying(body: object, status: int = 200) -> Answer:
    """A server with one answer."""

    async def answer(_: web.Request) -> web.StreamResponse:
        text = body if isinstance(body, str) else json.dumps(body)
        return web.Response(text=text, status=status)

    return answer


async def test_an_instant_query() -> None:
    """Series, values, and the time of the server's clock; below a route prefix."""
    asked = []

    async def answer(request: web.Request) -> web.StreamResponse:
        asked.append((request.path, request.query["query"]))
        return web.json_response(a_vector(SAMPLE))

    async with serving(answer) as (client, server):
        vector = await client.query(server, 'up{pod="a"}')

    assert asked == [("/prefix/api/v1/query", 'up{pod="a"}')]
    (sample,) = vector.samples
    assert (sample.labels, sample.value) == ({"__name__": "up", "pod": "a"}, 0.25)
    assert vector.at is not None
    assert vector.at.isoformat() == "2026-03-04T12:00:00.500000+00:00"


async def test_nothing_is_an_answer_too() -> None:
    """No series is no failure."""
    async with serving(saying(a_vector())) as (client, server):
        vector = await client.query(server, "up")

    assert (vector.samples, vector.at) == ([], None)


async def test_rules_and_targets_are_asked_for_by_name() -> None:
    """Never all of them; and what somebody else's say is left out."""
    asked = []
    bad = {"name": "igw:x", "health": "err", "lastError": "many-to-many"}
    groups = [
        {"name": "other", "rules": [bad]},
        {"name": "a", "rules": [{"name": "y", "health": "ok"}, bad, bad]},
        {"name": "b", "rules": [{"name": "y", "health": "unknown"}]},
    ]
    targets = [
        {"labels": {"pod": "photos-1"}, "health": "down", "lastError": "refused"},
        {"labels": {"pod": "photos-2"}, "health": "up", "lastError": ""},
    ]

    async def answer(request: web.Request) -> web.StreamResponse:
        asked.append((request.path, sorted(request.query.items())))
        return web.json_response(
            {"status": "success", "data": {"groups": groups, "activeTargets": targets}}
        )

    async with serving(answer) as (client, server):
        rules = await client.rule_errors(server, ["a", "b"])
        down = await client.target_errors(server, "serviceMonitor/demo/photos/0")

    assert rules == {"a": "igw:x of group a: many-to-many"}
    assert down == {"photos-1": "refused"}
    pool = [("scrapePool", "serviceMonitor/demo/photos/0"), ("state", "active")]
    assert asked == [
        ("/prefix/api/v1/rules", [("rule_group[]", "a"), ("rule_group[]", "b")]),
        ("/prefix/api/v1/targets", pool),
    ]


NO_ANSWERS: dict[str, tuple[object, int, str]] = {
    "an error of its own": (
        {"status": "error", "error": "query timed out"},
        503,
        "it answers 503 query timed out",
    ),
    "a proxy's page": ("<html>Bad gateway</html>", 502, "502 with what is no answer of a Prom"),
    "a login page": ("<html>Welcome</html>", 200, "200 with what is no answer of a Prometheus"),
    "nothing": ("", 200, "no answer of a Prometheus"),
    "a list": ([1, 2], 200, "no answer of a Prometheus"),
    "a deep hole": ("[" * 50_000, 200, "no answer of a Prometheus"),
    "a matrix": (
        {"status": "success", "data": {"resultType": "matrix", "result": []}},
        200,
        "something else than a vector",
    ),
    "no data": ({"status": "success"}, 200, "something else than a vector"),
    "a sample without a value": (a_vector({"metric": {}}), 200, "something else than a vector"),
    "a sample that is a word": (a_vector("up"), 200, "something else than a vector"),
    "labels that are a list": (
        a_vector({"metric": [], "value": [1, "1"]}),
        200,
        "something else than a vector",
    ),
    "a value that is a word": (
        a_vector({"metric": {}, "value": [1, "much"]}),
        200,
        "something else than a vector",
    ),
    "a time beyond all": (
        a_vector({"metric": {}, "value": [1e300, "1"]}),
        200,
        "something else than a vector",
    ),
    "too much": ("x" * 200_000, 200, "its answer is longer than 100000 bytes"),
}


@pytest.mark.parametrize(("body", "status", "says"), NO_ANSWERS.values(), ids=NO_ANSWERS)
async def test_what_is_no_answer_is_a_clear_error(body: object, status: int, says: str) -> None:
    """Never anything but a `PrometheusError`."""
    async with serving(saying(body, status)) as (client, server):
        with pytest.raises(PrometheusError) as error:
            await client.query(server, "up")

    assert says in str(error.value)


@pytest.mark.parametrize(
    "data",
    [
        None,
        [],
        {"groups": 3, "activeTargets": 3},
        {"groups": ["a"], "activeTargets": ["a"]},
        {"groups": [{"name": "a"}], "activeTargets": [{"labels": {}}]},
        {"groups": [{"name": "a", "rules": [[]]}], "activeTargets": [{"labels": 1}]},
    ],
    ids=str,
)
async def test_groups_and_targets_of_another_shape_are_an_error(data: object) -> None:
    """They are read as warily."""
    async with serving(saying({"status": "success", "data": data})) as (client, server):
        with pytest.raises(PrometheusError, match="something else than rule groups"):
            await client.rule_errors(server, ["a"])
        with pytest.raises(PrometheusError, match="something else than targets"):
            await client.target_errors(server, "pool")


async def test_a_redirect_is_not_followed() -> None:
    """It is told where it would have led: usually a route prefix, or a login."""
    asked = []

    async def answer(request: web.Request) -> web.StreamResponse:
        asked.append(request.path)
        return web.Response(status=302, headers={"Location": "http://metadata.internal/token"})

    async with serving(answer) as (client, server):
        with pytest.raises(PrometheusError, match=r"redirect to http://metadata.internal/token"):
            await client.query(server, "up")

    assert len(asked) == 1


@pytest.mark.parametrize("begins", [True, False], ids=["stops half-way", "says nothing"])
async def test_a_server_that_hangs_is_left(begins: bool) -> None:
    """After the timeout, whatever it had said by then."""

    async def answer(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        if begins:
            await response.prepare(request)
            await response.write(b'{"status"')
        await asyncio.sleep(60)
        return response

    async with serving(answer) as (client, server):
        with pytest.raises(PrometheusError, match=r"no answer within 0.5 s"):
            await client.query(server, "up")


async def test_a_connection_that_breaks_is_an_error() -> None:
    """Half an answer is none."""

    async def answer(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Length": "1000"})
        await response.prepare(request)
        await response.write(b'{"status"')
        assert request.transport is not None
        request.transport.close()
        return response

    async with serving(answer) as (client, server):
        with pytest.raises(PrometheusError, match=r"Payload|Disconnected|Connection"):
            await client.query(server, "up")


@pytest.mark.parametrize(
    "server", ["http://127.0.0.1:1", "http://nobody.invalid:9090", "http://[::"], ids=str
)
async def test_where_nobody_is_there_is_an_error(server: str) -> None:
    """A closed port, a name that does not resolve, an address that is none."""
    async with PrometheusClient(user_agent="test", timeout_seconds=5) as client:
        with pytest.raises(PrometheusError):
            await client.query(server, "up")


ALERT = {
    "labels": {"alertname": "A", "gateway": "photos"},
    "receivers": [{"name": "pager"}],
    "status": {"state": "active"},
    "updatedAt": "2026-03-04T12:00:00.000Z",
}


async def test_alertmanagers_are_asked_by_name_of_the_alert() -> None:
    """A Prometheus says where it sends alerts to, and there they can be read."""
    asked = []

    async def answer(request: web.Request) -> web.StreamResponse:
        asked.append((request.path, sorted(request.query.items())))
        if request.path == "/prefix/api/v1/alertmanagers":
            address = f"http://{request.host}/am/api/v2/alerts"
            found = {"activeAlertmanagers": [{"url": address}], "droppedAlertmanagers": []}
            return web.json_response({"status": "success", "data": found})
        return web.json_response([ALERT])

    async with serving(answer) as (client, server):
        (address,) = await client.alertmanagers(server)
        (alert,) = await client.alerts(address, "A")

    assert (alert.labels["gateway"], alert.receivers) == ("photos", ("pager",))
    assert asked[1] == ("/am/api/v2/alerts", [("filter", 'alertname="A"')])


@pytest.mark.parametrize(
    ("body", "status", "says"),
    [
        ({"message": "who are you, token abc?"}, 401, r"^it answers 401$"),
        ("<html>", 200, "something else than alerts"),
        ({}, 200, "something else than alerts"),
        ([{}], 200, "something else than alerts"),
        (["x"], 200, "something else than alerts"),
        ([ALERT | {"updatedAt": "2026-03-04T12:00:00"}], 200, "something else than alerts"),
        ([ALERT | {"labels": []}], 200, "something else than alerts"),
    ],
)
async def test_what_is_no_answer_of_an_alertmanager_is_an_error(
    body: object, status: int, says: str
) -> None:
    """Its words are not repeated: it may be anybody."""
    async with serving(saying(body, status)) as (client, server):
        with pytest.raises(PrometheusError, match=says):
            await client.alerts(server, "A")


@pytest.mark.parametrize(
    "data", [None, [], {"activeAlertmanagers": [1]}, {"activeAlertmanagers": [{}]}], ids=str
)
async def test_a_list_of_alertmanagers_of_another_shape_is_an_error(data: object) -> None:
    """Read as warily as the rest."""
    async with serving(saying({"status": "success", "data": data})) as (client, server):
        with pytest.raises(PrometheusError, match="something else than Alertmanagers"):
            await client.alertmanagers(server)
