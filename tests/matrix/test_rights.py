"""Each verb of each rule of the shipped roles is taken away: a clear word, no crash, no storm.

And each is missed: a right whose loss nobody notices does not belong into the role. The tests
below divide the rights among them, and the last one counts.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import pytest
from _pytest.mark import ParameterSet

from igw_operator import conventions, kinds
from integration.cluster import LEASE, wait_for
from integration.conftest import Place
from matrix import oracles
from matrix.calls import watches
from matrix.process import Mark
from matrix.rig import WAIT_SECONDS, Rig
from matrix.rights import Right, shipped_rights, without

RIGHTS: Final = shipped_rights()
_CHILDREN: Final = {(it.group, it.plural) for it in kinds.CHILDREN}
_OWN: Final = {(it.group, it.plural) for it in kinds.OWN}
# One object of every kind goes with these.
LESS: Final[dict[str, Any]] = {
    "replicas": 1,
    "networkPolicy": {"enabled": False},
    "observability": {"metrics": {"enabled": False}, "collector": {"mode": "Disabled"}},
}
# Together they have a child of every kind.
MORE: Final[dict[str, dict[str, Any]]] = {
    "photos": {"scaling": {"engine": "HPA"}},
    "scans": {
        "scaling": {"engine": "KEDA"},
        "observability": {"collector": {"mode": "OpenTelemetryCollector"}},
        "service": {"route": {"parentRefs": [{"name": "public"}]}},
    },
}
# A right that is missing costs so many requests at most until somebody gives it back.
_MOST_REQUESTS: Final = 40
# For so long a runtime that was looked at need not be looked at again.
_MEMORY_SECONDS: Final = 1.2


def _params(rights: Sequence[Right]) -> list[ParameterSet]:
    """Network policies stand for all where the whole matrix is not asked for."""
    core = {"networkpolicies": [pytest.mark.core]}
    return [pytest.param(it, id=str(it), marks=core.get(it.resource, [])) for it in rights]


MAKING: Final = [
    it
    for it in RIGHTS
    if ((it.group, it.resource) in _CHILDREN and it.verb in {"get", "create", "patch"})
    or ((it.group, it.resource) in _OWN and it.verb == "get")
]
DELETING: Final = [
    it for it in RIGHTS if (it.group, it.resource) in _CHILDREN and it.verb == "delete"
]
LISTING: Final = [it for it in RIGHTS if it.verb == "list" and it.resource != "events"]
WATCHING: Final = [it for it in RIGHTS if it.verb == "watch"]
REPORTING: Final = [it for it in RIGHTS if it.resource.endswith("/status")]
TELLING: Final = [it for it in RIGHTS if it.resource == "events"]
LEASING: Final = [it for it in RIGHTS if it.resource == "leases"]
FINALIZING: Final = [it for it in RIGHTS if it.resource.endswith("/finalizers")]


@pytest.mark.core
def test_no_right_is_forgotten() -> None:
    """Every right of every rule is taken away by exactly one of the tests below."""
    groups = (MAKING, DELETING, LISTING, WATCHING, REPORTING, TELLING, LEASING, FINALIZING)
    assert sorted(right for group in groups for right in group) == RIGHTS


@pytest.mark.case(17, "O1 O4 O5 O6")
@pytest.mark.parametrize("right", _params(MAKING))
def test_without_a_right_to_make(equipped: Rig, right: Right) -> None:
    """A child that is gone cannot come back: the status says which right is missing.

    Nor can one that lost its label: what is not watched any more has to be read.
    """
    place, mark = _place(equipped), equipped.operator.mark()
    kind, name = _a_child(place, right)
    label = kinds.CHILD_BY_KIND[kind].selector.partition("=")[0]
    is_hidden = right.verb == "get" and (right.group, right.resource) in _CHILDREN
    with without(equipped, right):
        oracles.stay(_MEMORY_SECONDS)
        start = oracles.now()
        if is_hidden:
            patch = {"metadata": {"labels": {label: None}}}
            place.cluster.patch(kind, place.namespace, name, patch)
        else:
            place.cluster.delete(kind, place.namespace, name)
        _wait_forbidden(place, right)
        _check_requests(equipped, right, start)
    wait_for(
        lambda: label in ((place.get(kind, name) or {}).get("metadata") or {}).get("labels", {}),
        f"{kind} {name} to be as it was",
        WAIT_SECONDS,
    )
    _wait_allowed(place)
    oracles.check_process(equipped.operator, mark)


@pytest.mark.case(17, "O1 O4 O5 O6")
@pytest.mark.parametrize("right", _params(DELETING))
def test_without_a_right_to_delete(equipped: Rig, right: Right) -> None:
    """A child that nobody wants stays, the others go, and the status says why."""
    place, mark = _place(equipped), equipped.operator.mark()
    kind, name = _a_child(place, right)
    try:
        with without(equipped, right):
            start = oracles.now()
            for gateway in MORE:
                place.apply(gateway, **LESS)
            _wait_forbidden(place, right)
            _check_requests(equipped, right, start)
            for gateway in MORE:
                equipped.settled(place, gateway)
                oracles.check_truth(place, gateway)
            assert place.get(kind, name) is not None
        _wait_allowed(place)
        wait_for(lambda: place.get(kind, name) is None, f"{kind} {name} to go", WAIT_SECONDS)
    finally:
        _make_more(equipped, place)
    oracles.check_process(equipped.operator, mark)


@pytest.mark.case(17, "O1 O5 O6")
@pytest.mark.parametrize("right", LISTING, ids=str)
def test_without_a_right_to_list(equipped: Rig, right: Right) -> None:
    """The log says it at the start and with every resync; what can be done is done."""
    place, mark = _place(equipped), equipped.operator.mark()
    with without(equipped, right):
        start = oracles.now()
        equipped.operator.kill()
        equipped.operator.start()
        _wait_logged(equipped, mark, right)
        _check_requests(equipped, right, start)
    _check_works(equipped, place)
    oracles.check_process(equipped.operator, mark, may_exit=True)


@pytest.mark.case(17, "O1 O5 O6")
@pytest.mark.parametrize("right", WATCHING, ids=str)
def test_without_a_right_to_watch(equipped: Rig, right: Right) -> None:
    """The log says it; the LISTs go on telling what happens."""
    place, mark = _place(equipped), equipped.operator.mark()
    with without(equipped, right):
        start = oracles.now()
        equipped.proxy.break_streams(watches(right.resource))
        _wait_logged(equipped, mark, right)
        _check_works(equipped, place)
        _check_requests(equipped, right, start)
    _check_works(equipped, place)
    oracles.check_process(equipped.operator, mark, may_exit=True)


@pytest.mark.case(17, "O4 O5 O6")
@pytest.mark.parametrize("right", REPORTING, ids=str)
def test_without_a_right_to_report(equipped: Rig, right: Right) -> None:
    """The log says what the status cannot; given back, the status is true again."""
    place, mark = _place(equipped), equipped.operator.mark()
    spare: dict[str, Any] = {
        "apiVersion": kinds.RUNTIME.api_version,
        "kind": kinds.RUNTIME.kind,
        "metadata": {"name": "spare"},
        "spec": {"image": "igw.dev/spare:1"},
    }
    with without(equipped, right):
        start = oracles.now()
        place.apply("photos", **MORE["photos"], serving={"maxBatch": 2})
        equipped.cluster.apply(spare)
        _wait_logged(equipped, mark, right)
        _check_requests(equipped, right, start)
    equipped.settled(place)
    oracles.check_truth(place)
    wait_for(_is_reported(equipped, "spare"), "the runtime to have a status", WAIT_SECONDS)
    equipped.cluster.delete("InferenceRuntime", "", "spare")
    _make_more(equipped, place)
    oracles.check_process(equipped.operator, mark)


@pytest.mark.case(17, "O1 O5 O6")
@pytest.mark.parametrize("right", TELLING, ids=str)
def test_without_a_right_to_events(equipped: Rig, right: Right) -> None:
    """Events are a courtesy: without them all else goes on."""
    place, mark = _place(equipped), equipped.operator.mark()
    # An event that was told within the hour is counted up, so each verb drifts elsewhere.
    child = ("Service", "photos") if right.verb == "patch" else ("ConfigMap", "photos-config")
    foreign = {"metadata": {"labels": {conventions.LABEL_PART_OF: "something-else"}}}
    with without(equipped, right):
        start = oracles.now()
        # What happened here before may have used up the events that may be told in a while.
        deadline = oracles.now() + WAIT_SECONDS
        while not _is_logged(equipped, mark, right):
            assert oracles.now() < deadline, f"the log does not say {right.refusal}"
            place.cluster.patch(child[0], place.namespace, child[1], foreign)
            wait_for(lambda: _is_part(place, child), "the label to be put right", WAIT_SECONDS)
            oracles.stay(1)
        _check_requests(equipped, right, start)
        oracles.check_truth(place)
    equipped.settled(place)
    oracles.check_process(equipped.operator, mark)


@pytest.mark.case(17, "O1 O5 O6")
@pytest.mark.parametrize("right", LEASING, ids=str)
def test_without_a_right_to_the_lease(equipped: Rig, right: Right) -> None:
    """Nobody is active who may not say so; the log tells why, and the end is on purpose."""
    place, mark = _place(equipped), equipped.operator.mark()
    with without(equipped, right):
        start = oracles.now()
        if right.verb == "create":
            equipped.operator.kill()
            equipped.cluster.request("DELETE", LEASE.path("igw-system", "igw-operator"))
            equipped.operator.start(wait=False)
        _wait_logged(equipped, mark, right)
        oracles.stay(3)
        asked = [it for it in equipped.proxy.since(start) if it.is_lease]
        assert len(asked) <= _MOST_REQUESTS, "O6: hammers at its lease"
    wait_for(equipped.operator.is_healthy, "it to be at work again", WAIT_SECONDS)
    _check_works(equipped, place)
    oracles.check_process(equipped.operator, mark, may_exit=True)


@pytest.mark.case(17, "O1 O4 O5")
@pytest.mark.parametrize("right", FINALIZING, ids=str)
def test_without_the_right_to_block_deletions(equipped: Rig, right: Right) -> None:
    """Where owners are guarded (OpenShift) no child can be made, and the status says so."""
    place, mark = equipped.place(), equipped.operator.mark()
    with without(equipped, right):
        place.apply()
        wait_for(
            lambda: "blockOwnerDeletion" in place.condition("Stalled").get("message", ""),
            "Stalled to name blockOwnerDeletion",
            WAIT_SECONDS,
        )
        assert place.condition("Stalled")["reason"] == "ApplyForbidden"
        assert place.children() == {}
    _wait_allowed(place)
    equipped.settled(place)
    assert ("Deployment", "photos") in place.children()
    oracles.check_process(equipped.operator, mark)


def _place(rig: Rig) -> Place:
    """One for all these cases: a gateway is only hurt where the right is missing."""
    place = rig.kept_place("rights")
    if place.get("InferenceGateway") is None:
        _make_more(rig, place)
    return place


def _make_more(rig: Rig, place: Place) -> None:
    for gateway, spec in MORE.items():
        place.apply(gateway, **spec)
    for gateway in MORE:
        rig.settled(place, gateway)


def _a_child(place: Place, right: Right) -> tuple[str, str]:
    """A child of the right's kind that `LESS` does without; of our own kinds any will do."""
    wanted = {(kind, name) for kind, name in place.children() if _is_extra(kind, name)}
    plurals = {kinds.CHILD_BY_KIND[kind].plural: (kind, name) for kind, name in wanted}
    return plurals.get(right.resource, ("Service", "photos"))


def _is_extra(kind: str, name: str) -> bool:
    serving = {"Service", "Deployment", "ConfigMap", "ServiceAccount"}
    return kind not in serving or "collector" in name


def _wait_forbidden(place: Place, right: Right) -> None:
    """Until a condition names the right: Stalled, or that of monitoring or telemetry."""

    def says_so() -> bool:
        return any(right.refusal in message for message in _forbidden(place))

    try:
        wait_for(says_so, f"a condition to say {right.refusal}", WAIT_SECONDS)
    except AssertionError:
        assert says_so(), _forbidden(place)


def _wait_allowed(place: Place) -> None:
    wait_for(lambda: not _forbidden(place), "nothing to be forbidden any more", WAIT_SECONDS)


def _forbidden(place: Place) -> list[str]:
    gateways = place.cluster.list_all("InferenceGateway", place.namespace)
    conditions = [c for it in gateways for c in it.get("status", {}).get("conditions", [])]
    return [it["message"] for it in conditions if it["reason"] == "ApplyForbidden"]


def _wait_logged(rig: Rig, mark: Mark, right: Right) -> None:
    wait_for(lambda: _is_logged(rig, mark, right), f"the log to say {right.refusal}", WAIT_SECONDS)


def _is_logged(rig: Rig, mark: Mark, right: Right) -> bool:
    lines = [line.replace('\\"', '"') for line in rig.operator.log_since(mark)]
    return any(right.refusal in line for line in lines)


def _is_part(place: Place, child: tuple[str, str]) -> bool:
    labels = place.must_get(*child)["metadata"]["labels"]
    return bool(labels[conventions.LABEL_PART_OF] == conventions.PART_OF)


def _check_works(rig: Rig, place: Place) -> None:
    """What is deleted comes back."""
    place.cluster.delete("Service", place.namespace, "photos")
    wait_for(lambda: place.get("Service"), "the Service to be back", WAIT_SECONDS)
    rig.settled(place)


def _check_requests(rig: Rig, right: Right, start: float) -> None:
    plural = right.resource.partition("/")[0]
    asked = [it for it in rig.proxy.since(start) if it.plural == plural]
    assert len(asked) <= _MOST_REQUESTS, f"O6: {len(asked)} requests about {plural}"


def _is_reported(rig: Rig, runtime: str) -> Any:
    return lambda: rig.cluster.must_get("InferenceRuntime", "", runtime).get("status")
