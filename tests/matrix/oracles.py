"""The oracles O1 to O7: what must hold after, and during, any fault.

What legitimately differs between two gateways of the same spec is masked: identities,
versions, times, addresses, the namespace and hashes of all these.
"""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from typing import Any, Final

from igw_operator import conventions
from integration.cluster import Manifest, Write, wait_for
from integration.conftest import Place
from matrix.calls import Call
from matrix.process import Mark, SupervisedOperator

_MASKED: Final = frozenset(
    {
        "uid",
        "resourceVersion",
        "managedFields",
        "creationTimestamp",
        "generation",
        "observedGeneration",
        "lastTransitionTime",
        "clusterIP",
        "clusterIPs",
        "nodePort",
        conventions.ANNOTATION_APPLIED_HASH,
        conventions.ANNOTATION_CONFIG_HASH,
        conventions.ANNOTATION_APPLIED_TEMPLATE,  # a text with the config hash in it
    }
)
# Controllers say these in their own time; the operator is not asked.
_NOT_OURS: Final = frozenset({"status"})
_DEPLOYMENT_REVISION: Final = "deployment.kubernetes.io/revision"

State = dict[str, Any]
Ledger = Counter[tuple[str, str, str]]


def end_state(place: Place, name: str = "photos") -> State:
    """All children in a gateway's namespace and all its conditions, masked."""
    return mask(place.gateway(name), place.children().values())


def mask(gateway: Manifest, children: Iterable[Manifest]) -> State:
    """What counts of a gateway and its children."""
    kept = {
        f"{child['kind']} {child['metadata']['name']}": {
            name: value for name, value in child.items() if name not in _NOT_OURS
        }
        for child in children
    }
    conditions = {
        it["type"]: (it["status"], it["reason"])
        for it in gateway.get("status", {}).get("conditions", [])
    }
    text = json.dumps({"children": _mask(kept), "conditions": conditions}, sort_keys=True)
    return dict(json.loads(text.replace(gateway["metadata"]["namespace"], "NAMESPACE")))


def content(manifest: Manifest) -> Manifest:
    """An object without what every write changes, and without its status."""
    changing = {"resourceVersion", "generation", "managedFields"}
    metadata = {k: v for k, v in manifest["metadata"].items() if k not in changing}
    rest = {k: v for k, v in manifest.items() if k not in _NOT_OURS}
    return rest | {"metadata": metadata}


def check_end_state(place: Place, reference: State, timeout_seconds: float = 60) -> None:
    """O1: the cluster gets to the reference's end state (and `check_quiet`: stays there)."""

    def found() -> list[str]:
        return list(differences(reference, end_state(place)))

    try:
        wait_for(lambda: not found(), "end state", timeout_seconds, pause_seconds=0.3)
    except AssertionError:
        assert found() == [], "O1: the end state is not the reference's"


def check_quiet(place: Place, seconds: float = 3.0, timeout_seconds: float = 60) -> None:
    """O2: the operator stops writing, and does not start again."""
    place.cluster.wait_settled(
        place.namespace, quiet_seconds=seconds, timeout_seconds=timeout_seconds
    )


def ledger(writes: Iterable[Write]) -> Ledger:
    """How often each key was written with success; events count by kind, their names differ."""
    return Counter(
        (it.verb, "/".join(filter(None, (it.resource, it.subresource))), _key(it))
        for it in writes
        if it.code < 300
    )


def check_writes(
    writes: Iterable[Write],
    reference: Ledger,
    *,
    reports: int = 0,
    repeats: Collection[str] = (),
) -> None:
    """O3: no key is written more often than in the reference run.

    ``reports`` more writes of a status are fine: a fault is told, and taken back. Resources in
    ``repeats`` may be written once more: a request whose answer was lost was repeated.
    """
    excess: dict[str, int] = {}
    for key, count in ledger(writes).items():
        verb, resource, name = key
        if resource == "events":
            continue
        allowed = reference[key] + (reports if resource.endswith("/status") else 0)
        allowed += resource in repeats
        if count > allowed:
            excess[f"{verb} {resource} {name}"] = count - allowed
    assert excess == {}, f"O3: written more often than in the reference run: {excess}"


def check_truth(place: Place, name: str = "photos") -> None:
    """O4: the status speaks of this generation, and Ready of what the children are."""
    gateway = place.gateway(name)
    generation = gateway["metadata"]["generation"]
    status = gateway.get("status", {})
    assert status.get("observedGeneration") == generation, "O4: an old generation is reported"
    conditions = {it["type"]: it for it in status["conditions"]}
    stale = [it["type"] for it in conditions.values() if it["observedGeneration"] != generation]
    assert stale == [], "O4: conditions of an old generation"
    if conditions["Ready"]["status"] == "True":
        deployment = place.must_get("Deployment", conventions.child_name(name))
        available = deployment.get("status", {}).get("availableReplicas", 0)
        assert available >= deployment["spec"]["replicas"], "O4: Ready without replicas"
        assert conditions.get("Stalled", {}).get("status") != "True", "O4: Ready and Stalled"


def check_process(operator: SupervisedOperator, since: Mark, *, may_exit: bool = False) -> None:
    """O5: no traceback; the process lives, or ended on purpose and was started again."""
    lines = operator.log_since(since)
    # kopf's word about an API that was removed while it was watched; `running` goes on.
    wrong = [line for line in lines if "Traceback" in line or '"exception"' in line]
    wrong = [line[:1500] for line in wrong if '"exc_type": "APINotFoundError"' not in line]
    if may_exit:
        # kopf tells at length why it ended; what counts is that our own code did not break.
        wrong = [line for line in wrong if '"logger": "igw_operator' in line]
    assert wrong == [], f"O5: a traceback in the log: {wrong}"
    # A machine that stalls for ten seconds loses the lease, and the process ends on purpose.
    leases_lost = sum(1 for line in lines if line.startswith("igw-operator: the lease"))
    ended = operator.exits[since.exits :][leases_lost:]
    assert may_exit or ended == [], f"O5: the operator ended: {ended}"
    operator.start()


def check_rate(calls: Iterable[Call], seconds: float, per_second: float) -> None:
    """O6: a fault that lasts is not hammered at."""
    counted = [it for it in calls if not it.is_lease]
    top = Counter(f"{it.method} {it.path}" for it in counted).most_common(5)
    assert len(counted) / seconds <= per_second, f"O6: {len(counted)} in {seconds:.0f} s: {top}"


def check_safety(
    writes: Iterable[Write], *, foreign: Mapping[str, str] | None = None, now: Place | None = None
) -> None:
    """O7: the operator deleted nothing, and nobody's object is another than it was.

    ``foreign`` holds the resource versions of objects of others, by `Kind name`.
    """
    deleted = [f"{it.resource} {it.name}" for it in writes if it.verb.startswith("delete")]
    assert deleted == [], "O7: deleted what is desired"
    if now is not None:
        versions = {key: version(now, *key.split(" ")) for key in foreign or {}}
        assert versions == dict(foreign or {}), "O7: a foreign object was touched"


def version(place: Place, kind: str, name: str) -> str:
    """The resource version of an object now."""
    return str(place.must_get(kind, name)["metadata"]["resourceVersion"])


def stay(seconds: float) -> None:
    """Let time pass; what must not happen has no event to wait for."""
    time.sleep(seconds)


def _key(write: Write) -> str:
    return "" if write.resource == "events" else write.name


def _mask(value: Any) -> Any:
    if isinstance(value, dict):
        return {
            key: _mask(it)
            for key, it in value.items()
            if key not in _MASKED and key != _DEPLOYMENT_REVISION
        }
    return [_mask(it) for it in value] if isinstance(value, list) else value


def differences(wanted: Any, found: Any, path: str = "") -> Iterable[str]:
    """Where two states differ, in words."""
    if isinstance(wanted, dict) and isinstance(found, dict):
        for key in sorted(wanted.keys() | found.keys()):
            yield from differences(wanted.get(key), found.get(key), f"{path}/{key}")
    elif wanted != found:
        yield f"{path}: {str(found)[:200]}, not {str(wanted)[:200]}"


def owner_uid(child: Manifest) -> str:
    """The uid of the gateway that a child says to belong to."""
    return str(child["metadata"]["ownerReferences"][0]["uid"])


def now() -> float:
    """The clock of `FaultProxy.seen`."""
    return time.monotonic()
