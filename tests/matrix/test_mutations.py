"""Whatever is written into a gateway's spec, and taken back: it ends as if it had never been."""

from __future__ import annotations

import threading
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any, Final

import pytest

from factories import gateway_manifest
from igw_operator import conventions, kinds
from integration.cluster import Manifest, RefusedError, wait_for
from integration.conftest import Place
from matrix import oracles
from matrix.deployments import deployments_that_run
from matrix.mutations import Mutation, all_mutations
from matrix.rig import WAIT_SECONDS, Rig

MUTATIONS: Final = all_mutations()
# So many gateways at a time; and of the many, so few where the whole matrix is not asked for.
_BATCH: Final = 24
_SHARE: Final = 12
_BATCHES: Final = [MUTATIONS[first::_SHARE] for first in range(_SHARE)]
_PLAIN: Final[dict[str, Any]] = {"model": {"name": "resnet50"}}
_MANY: Final = {f"example.org/a{number:03}": "v" * 200 for number in range(500)}


@pytest.mark.case(27, "O1 O2 O4 O5")
@pytest.mark.parametrize(
    "mutations",
    [
        pytest.param(share, id=f"share {number}", marks=[pytest.mark.core] if number == 1 else [])
        for number, share in enumerate(_BATCHES, 1)
    ],
)
def test_mutated_and_reverted(still: Rig, mutations: list[Mutation]) -> None:
    """Refused: nothing is written. Taken: the status is true. Reverted: nothing tells of it."""
    place, mark = still.place(), still.operator.mark()
    names = [f"m{number:02}" for number in range(_BATCH)]
    with deployments_that_run(place) as lock, _watching_for_lies(place, lock) as lies:
        for name in names:
            _replace(place, name, _PLAIN)
        wait_for(lambda: all(_serves(place, it) for it in names), "all to serve", WAIT_SECONDS)
        _settle(place, names)
        fresh = _states(place)
        for first in range(0, len(mutations), _BATCH):
            batch = dict(zip(names, mutations[first:], strict=False))
            _mutate_and_revert(place, batch, fresh)
    assert lies == [], "O4: Ready, and the Deployment was not"
    oracles.check_quiet(place)
    oracles.check_process(still.operator, mark)


@pytest.mark.case(27, "O1 O2 O4 O5")
@pytest.mark.core
def test_odd_metadata(still: Rig) -> None:
    """Labels and annotations in unicode, empty, and as many as fit: no child is written."""
    reference = still.reference
    place, mark = still.place(), still.operator.mark()
    still.make(place)
    with place.recording() as written:
        for metadata in (
            {"annotations": {"example.org/note": "Ünï ✓ 日本 🙂\n\t\u0001"}},
            {"annotations": {"example.org/empty": ""}, "labels": {"example.org/empty": ""}},
            {"annotations": _MANY},
            {"labels": {f"l{number}": "x" * 63 for number in range(200)}},
            {"labels": {conventions.LABEL_GATEWAY: "another"}},
            {"labels": {conventions.LABEL_MANAGED_BY: "Helm"}},
        ):
            place.cluster.patch(
                "InferenceGateway", place.namespace, "photos", {"metadata": metadata}
            )
        still.settled(place)
    children = [it for it in written if it.resource not in {"events", "inferencegateways"}]
    assert children == []
    oracles.check_end_state(place, reference.state)
    oracles.check_truth(place)
    oracles.check_process(still.operator, mark)


@pytest.mark.case(27, "O1 O4 O5")
@pytest.mark.core
def test_any_letter_reaches_the_children(still: Rig) -> None:
    """Also those beyond 16 bits, which JSON would escape and YAML could not read."""
    place, mark = still.place(), still.operator.mark()
    still.make(place, service={"annotations": {"example.org/note": "Ünï ✓ 日本 🙂"}})
    annotations = place.must_get("Service")["metadata"]["annotations"]
    assert annotations["example.org/note"] == "Ünï ✓ 日本 🙂"
    assert not place.condition("Stalled")
    oracles.check_quiet(place)
    oracles.check_process(still.operator, mark)


@pytest.mark.case(27, "O1 O4 O5 O7")
@pytest.mark.core
def test_names_that_are_equal_when_they_are_cut(still: Rig) -> None:
    """Two gateways of 63 letters, alike in the first 62, have no child in common."""
    place, mark = still.place(), still.operator.mark()
    names = ["g" * 62 + last for last in "ab"]
    for name in names:
        place.apply(name)
    for name in names:
        still.settled(place, name)
    owners = Counter(oracles.owner_uid(child) for child in place.children().values())
    uids = {place.gateway(name)["metadata"]["uid"] for name in names}
    assert owners.keys() == uids
    assert set(owners.values()) == {len(still.reference.state["children"])}
    for name in names:
        oracles.check_truth(place, name)
        assert not place.condition("Stalled", name)
    oracles.check_process(still.operator, mark)


@pytest.mark.case(27, "O1 O2 O4 O5")
def test_a_hundred_edits_in_a_second(still: Rig) -> None:
    """Only the last one counts, and soon nothing is written any more."""
    reference = still.reference
    place, mark = still.place(), still.operator.mark()
    still.make(place)
    with place.recording() as written:
        for number in range(100):
            place.apply(serving={"maxBatch": 2 + number % 8})
        place.apply()
        still.settled(place)
    oracles.check_end_state(place, reference.state)
    oracles.check_truth(place)
    assert len(written) < 250, "O2: more than one write for each edit and its report"
    oracles.check_process(still.operator, mark)


def _mutate_and_revert(place: Place, mutations: dict[str, Mutation], fresh: dict[str, Any]) -> None:
    taken = {name: it for name, it in mutations.items() if _replace(place, name, it.spec, str(it))}
    _settle(place, taken)
    for name in taken:
        oracles.check_truth(place, name)
    during = _deployments(place)
    for name in taken:
        _replace(place, name, _PLAIN)
    _settle(place, taken)
    states = _states(place)  # once: it lists every child of all gateways
    if any(states[name] != fresh[name] for name in mutations):
        _wait_reverted(place, mutations, fresh)
    after = _deployments(place)
    for name, mutation in taken.items():
        if during[name]["spec"] == after[name]["spec"]:
            before, now = during[name]["metadata"], after[name]["metadata"]
            # A changed annotation of a Deployment counts as well, and restarts nothing.
            most = 0 if before["annotations"] == now["annotations"] else 1
            steps = now["generation"] - before["generation"]
            assert steps <= most, f"there and back when this was taken back: {mutation}"


def _wait_reverted(place: Place, mutations: dict[str, Mutation], fresh: dict[str, Any]) -> None:
    def changed() -> list[str]:
        states = _states(place)
        return [
            f"{mutation}: {difference}"
            for name, mutation in mutations.items()
            for difference in oracles.differences(fresh[name], states[name])
        ]

    try:
        wait_for(lambda: not changed(), "all to be as before", WAIT_SECONDS, 0.5)
    except AssertionError:
        assert changed() == [], "O1: something tells of what was taken back"


def _replace(place: Place, name: str, spec: dict[str, Any], what: str = "") -> bool:
    """Replace the spec, as `kubectl replace` does; False: the API server refused."""
    manifest = gateway_manifest(name, place.namespace)
    manifest["spec"] = spec
    refused = _put(place, manifest)
    if refused is None:
        return True
    field = what.partition(" ")[0].partition(".")[0]
    assert refused.status in {400, 422}, f"{what}: {refused}"
    assert field, f"not the fault of any field: {refused}"
    assert field in refused.message, f"{what}: the refusal names no field: {refused}"
    return False


def _put(place: Place, manifest: Manifest) -> RefusedError | None:
    name = manifest["metadata"]["name"]
    path = kinds.GATEWAY.path(place.namespace, name)
    while (live := place.get("InferenceGateway", name)) is not None:
        manifest["metadata"]["resourceVersion"] = live["metadata"]["resourceVersion"]
        try:
            place.cluster.request("PUT", path, manifest, fieldValidation="Strict")
        except RefusedError as error:
            if error.status != 409:  # the operator reports just now
                return error
        else:
            return None
    place.cluster.create(manifest)
    return None


def _settle(place: Place, names: Iterable[str]) -> None:
    def waiting() -> list[str]:
        gateways = place.cluster.list_all("InferenceGateway", place.namespace)
        return [it["metadata"]["name"] for it in gateways if not _is_judged(it)]

    wait_for(lambda: not set(waiting()) & set(names), "all to be judged", WAIT_SECONDS, 0.3)
    place.cluster.wait_settled(place.namespace, 1.5, WAIT_SECONDS)


def _serves(place: Place, name: str) -> bool:
    return bool(place.condition("Available", name).get("status") == "True")


def _is_judged(gateway: Manifest) -> bool:
    observed = gateway.get("status", {}).get("observedGeneration")
    return bool(observed == gateway["metadata"]["generation"])


def _states(place: Place) -> dict[str, Any]:
    """Children and conditions of each gateway, masked."""
    children: dict[str, list[Manifest]] = defaultdict(list)
    for child in place.children().values():
        children[child["metadata"]["ownerReferences"][0]["name"]].append(child)
    gateways = place.cluster.list_all("InferenceGateway", place.namespace)
    return {
        it["metadata"]["name"]: oracles.mask(it, children[it["metadata"]["name"]])
        for it in gateways
    }


def _deployments(place: Place) -> dict[str, Manifest]:
    found = place.cluster.list_all("Deployment", place.namespace)
    return {it["metadata"]["name"]: it for it in found}


@contextmanager
def _watching_for_lies(place: Place, lock: threading.Lock) -> Iterator[list[str]]:
    """Looks all the time whether a gateway is Ready for a spec that is not in place."""
    lies: list[str] = []
    done = threading.Event()

    def look() -> None:
        while not done.wait(0.2):
            with lock:
                before, deployments = _ready(place), _deployments(place)
                after = _ready(place)
            lies.extend(
                f"{name} at version {before[name]}"
                for name in before.keys() & after.keys()
                if before[name] == after[name] and not _is_complete(deployments[name])
            )

    thread = threading.Thread(target=look, name="lies", daemon=True)
    thread.start()
    try:
        yield lies
    finally:
        done.set()
        thread.join()


def _ready(place: Place) -> dict[str, str]:
    """Versions of the gateways that say to be Ready with their latest spec."""
    ready: dict[str, str] = {}
    for gateway in place.cluster.list_all("InferenceGateway", place.namespace):
        conditions = gateway.get("status", {}).get("conditions", [])
        generation = gateway["metadata"]["generation"]
        for it in conditions:
            latest = it["observedGeneration"] == generation
            if it["type"] == "Ready" and it["status"] == "True" and latest:
                ready[gateway["metadata"]["name"]] = gateway["metadata"]["resourceVersion"]
    return ready


def _is_complete(deployment: Manifest) -> bool:
    status = deployment.get("status", {})
    return bool(
        status.get("observedGeneration") == deployment["metadata"]["generation"]
        and status.get("availableReplicas", 0) == deployment["spec"]["replicas"]
    )
