"""Drills in the rounds: who is asked, how often, and what of it stays."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from igw_operator.api.objects import ObjectKey
from igw_operator.errors import PrometheusError
from igw_operator.judge.snapshot import DrillReading
from igw_operator.plan.slo.drill import Drill
from igw_operator.world.alertmanager import ReceivedAlert
from igw_operator.world.drills import (
    DRILLS_QUERY,
    DrillAnswer,
    fetch_drills,
    is_better,
    read_drill,
)
from igw_operator.world.prometheus import Sample, Vector
from igw_operator.world.servers import Server

AT = datetime(2026, 3, 4, 12, tzinfo=UTC)
DRILL = Drill(AT)
PHOTOS, CATS = ObjectKey("demo", "photos"), ObjectKey("demo", "cats")
SERVER = Server(name="Prometheus a/b", url="http://a", manifest={})
ONE, TWO = "http://10.0.0.1:9093/api/v2/alerts", "http://10.0.0.2:9093/api/v2/alerts"


class FakeClient:
    """A Prometheus and its Alertmanagers."""

    def __init__(self, firing: dict[ObjectKey, float], *alertmanagers: str) -> None:
        self.firing = firing
        self.addresses: list[str] | PrometheusError = list(alertmanagers)
        self.alerts_at: dict[str, list[ReceivedAlert] | PrometheusError] = {}
        self.asked: list[str] = []

    async def query(self, server: str, promql: str) -> Vector:
        """Answer as Prometheus would."""
        assert (server, promql) == (SERVER.url, DRILLS_QUERY)
        return Vector([Sample(_label(key), since) for key, since in self.firing.items()], AT)

    async def alertmanagers(self, server: str) -> list[str]:
        """Whom it sends to."""
        assert server == SERVER.url
        if isinstance(self.addresses, PrometheusError):
            raise self.addresses
        return self.addresses

    async def alerts(self, alertmanager: str, name: str) -> list[ReceivedAlert]:
        """What one of them has."""
        self.asked.append(alertmanager)
        assert name == "InferenceGatewayAlertDrill"
        found = self.alerts_at.get(alertmanager, [])
        if isinstance(found, PrometheusError):
            raise found
        return found


def _label(key: ObjectKey) -> dict[str, str]:
    return {"namespace": key.namespace, "gateway": key.name, "drill": DRILL.name}


def received(key: ObjectKey, seconds: float = 5, kept_back: str = "") -> ReceivedAlert:
    """An alert of a gateway's drill."""
    return ReceivedAlert(
        labels=_label(key),
        updated_at=AT + timedelta(seconds=seconds),
        receivers=("pager",),
        kept_back=kept_back,
    )


async def ask(client: FakeClient, key: ObjectKey = PHOTOS) -> DrillReading:
    """What is read of a gateway's drill."""
    any_client: Any = client
    answer = await fetch_drills(any_client, SERVER)
    return read_drill(key, DRILL, {SERVER.name: answer})


async def test_nobody_is_asked_before_it_fires() -> None:
    """An Alertmanager cannot have what was never sent."""
    client = FakeClient({}, ONE)

    assert await ask(client) == DrillReading()
    assert client.asked == []


async def test_one_question_for_all_gateways() -> None:
    """Each finds its own."""
    client = FakeClient({PHOTOS: AT.timestamp(), CATS: AT.timestamp() + 1}, ONE)
    client.alerts_at[ONE] = [received(CATS)]

    photos, cats = await ask(client), await ask(client, CATS)

    assert client.asked == [ONE, ONE]
    assert (photos.firing_at, photos.delivered_at, photos.alertmanagers) == (AT, None, 1)
    assert (cats.receiver, cats.routed_to) == ("http://10.0.0.1:9093", ("pager",))
    assert cats.server == "Prometheus a/b"


async def test_one_of_several_is_enough() -> None:
    """Another one does not answer; what passes it on counts more than what keeps it back."""
    client = FakeClient({PHOTOS: AT.timestamp()}, ONE, TWO)
    client.alerts_at = {ONE: PrometheusError("401"), TWO: [received(PHOTOS)]}
    reading = await ask(client)
    assert (reading.receiver, reading.problem) == ("http://10.0.0.2:9093", "")

    client.alerts_at[ONE] = [received(PHOTOS, kept_back="silenced by 1")]
    assert (await ask(client)).kept_back == ""
    client.alerts_at[TWO] = []
    assert (await ask(client)).kept_back == "silenced by 1"


async def test_who_cannot_be_asked_may_have_it() -> None:
    """It is told which one, and why."""
    client = FakeClient({PHOTOS: AT.timestamp()}, ONE, TWO)
    client.alerts_at[ONE] = PrometheusError("it answers 401")
    reading = await ask(client)
    assert reading.problem == "Alertmanager http://10.0.0.1:9093 cannot be asked: it answers 401"
    assert reading.alertmanagers == 2

    client.addresses = PrometheusError("it answers 404")
    assert (await ask(client)).problem == "Prometheus a/b does not name any: it answers 404"


async def test_an_address_that_is_none_is_not_asked() -> None:
    """A server that somebody calls a Prometheus may say anything."""
    client = FakeClient({PHOTOS: AT.timestamp()}, "http://169.254.169.254/api/v2/alerts")

    reading = await ask(client)

    assert client.asked == []
    assert "the operator's own node" in reading.problem


async def test_a_crowd_of_alertmanagers_is_not_asked() -> None:
    """A round has an end."""
    many = [f"http://10.0.0.{number}:9093/api/v2/alerts" for number in range(100)]
    client = FakeClient({PHOTOS: AT.timestamp()}, *many)

    assert (await ask(client)).alertmanagers == 100
    assert len(client.asked) == 8


async def test_who_does_not_answer_is_not_waited_for_again_and_again() -> None:
    """Each silence costs seconds, in which no gateway hears anything."""
    many = [f"http://10.0.0.{number}:9093/api/v2/alerts" for number in range(5)]
    client = FakeClient({PHOTOS: AT.timestamp()}, *many)
    client.alerts_at = dict.fromkeys(many, PrometheusError("no answer within 10 s"))

    assert (await ask(client)).problem.startswith("Alertmanager http://10.0.0.0:9093 cannot")
    assert client.asked == many[:2]


@pytest.mark.parametrize("since", [float("nan"), float("inf"), 1e300])
async def test_a_time_that_is_none_is_an_error(since: float) -> None:
    """As any other answer that is none."""
    with pytest.raises(PrometheusError, match="active since"):
        await ask(FakeClient({PHOTOS: since}))


async def test_another_drill_of_the_same_gateway_is_another_thing() -> None:
    """The one of yesterday does not answer for that of today."""
    client = FakeClient({PHOTOS: AT.timestamp()}, ONE)
    client.alerts_at[ONE] = [received(PHOTOS)]
    any_client: Any = client
    answers = {SERVER.name: await fetch_drills(any_client, SERVER)}

    assert read_drill(PHOTOS, Drill(AT + timedelta(days=1)), answers) == DrillReading()


def test_of_several_servers_the_best_counts() -> None:
    """A pair of Prometheus servers fires it twice, and one of them is cut off."""
    name = (PHOTOS, DRILL.name)
    cut_off = DrillAnswer(firing={name: AT}, alertmanagers=1)
    arrived = DrillReading(receiver="http://x", delivered_at=AT)
    well = DrillAnswer(firing={name: AT}, received={name: arrived}, alertmanagers=1)
    deaf = DrillAnswer(firing={name: AT}, problem="no answer", alertmanagers=1)

    assert read_drill(PHOTOS, DRILL, {"a": cut_off, "b": well, "c": deaf}).server == "b"
    assert read_drill(PHOTOS, DRILL, {"a": cut_off, "c": deaf}).server == "c"


def test_what_was_seen_stays() -> None:
    """An Alertmanager forgets what is over, and receives again and again what is not."""
    nothing, fires = DrillReading(), DrillReading(firing_at=AT)
    kept = DrillReading(firing_at=AT, delivered_at=AT, kept_back="silenced by 1")
    arrived = DrillReading(firing_at=AT, delivered_at=AT)
    later = DrillReading(firing_at=AT, delivered_at=AT + timedelta(minutes=1))

    assert is_better(fires, nothing)
    assert is_better(DrillReading(firing_at=AT, problem="x"), fires)
    assert is_better(arrived, kept)
    assert not is_better(nothing, fires)
    assert not is_better(fires, kept)
    assert not is_better(kept, arrived)
    assert not is_better(later, arrived)
