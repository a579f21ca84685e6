"""What only a new version of the operator wants restarts no pod; what people want does."""

from __future__ import annotations

import json
from collections.abc import Iterator
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest
import yaml

from factories import a_gateway, a_runtime
from igw_operator import conventions
from igw_operator.act.prune import find_unwanted
from igw_operator.api.objects import Gateway, Manifest, parse_gateway
from igw_operator.errors import SpecError
from igw_operator.plan.children import build_children
from igw_operator.plan.diff import diff, stamp
from igw_operator.plan.hashing import build_digest
from igw_operator.plan.hold import (
    Held,
    digest_inputs,
    hold_templates,
    list_configs,
    read_applied,
)
from igw_operator.plan.inputs import PlanInput
from igw_operator.plan.revision import Revision, read_recorded, revision_of

FULL = Path(__file__).parents[3] / "manifests" / "samples" / "full.yaml"
SERVER = ("Deployment", "photos")
COLLECTOR = ("Deployment", "photos-collector")
REVISION = revision_of(a_runtime().spec, "t1")
_GONE = object()


def held(
    gateway: Gateway,
    live: dict[tuple[str, str], Manifest] | None = None,
    *,
    revision: Revision = REVISION,
    version: str = "",
    is_edited: bool = False,
) -> Held:
    """What is applied by an operator whose pods have a variable named after its version."""
    children = build_children(PlanInput(gateway=gateway, runtime=a_runtime()))
    for child in children if version else ():
        if child["kind"] == "Deployment":
            container = child["spec"]["template"]["spec"]["containers"][0]
            container["env"] = [*container["env"], {"name": "VERSION", "value": version}]
    return hold_templates(children, live or {}, gateway, "default", revision, is_edited=is_edited)


def applied(result: Held, gateway: Gateway) -> dict[tuple[str, str], Manifest]:
    """The children as they are live afterwards."""
    stamped = (stamp(child, gateway) for child in result.children)
    return {(it["kind"], it["metadata"]["name"]): json.loads(json.dumps(it)) for it in stamped}


def has_variable(manifest: Manifest, version: str) -> bool:
    """Whether that version's variable is in a Deployment's container."""
    env = manifest["spec"]["template"]["spec"]["containers"][0]["env"]
    return {"name": "VERSION", "value": version} in env


@pytest.mark.pain(7)
def test_a_new_operator_leaves_pods_alone() -> None:
    """Both templates stay as they were; the objects do not change by a byte."""
    gateway = a_gateway()
    live = applied(held(gateway), gateway)
    result = held(gateway, live, version="2")
    assert set(result.names) == {"photos", "photos-collector"}
    for key, child in applied(result, gateway).items():
        assert child == live[key]
        assert not diff(child, live[key], gateway.uid)


def test_without_a_new_operator_nothing_is_held() -> None:
    """A second pass finds what the first one has left."""
    gateway = a_gateway()
    live = applied(held(gateway), gateway)
    result = held(gateway, live)
    assert result.names == ()
    assert applied(result, gateway) == live


def test_drift_is_repaired_against_the_template_that_is_kept() -> None:
    """Not with the new one's, and not left either."""
    gateway = a_gateway()
    live = applied(held(gateway), gateway)
    drifted = deepcopy(live)
    drifted[SERVER]["spec"]["template"]["spec"]["containers"][0]["image"] = "evil"
    assert applied(held(gateway, drifted, version="2"), gateway) == live


def test_a_rollout_takes_the_operators_change_along() -> None:
    """Another revision is a decision."""
    gateway = a_gateway()
    live = applied(held(gateway), gateway)
    later = revision_of(a_runtime().spec, "t2")
    result = held(gateway, live, revision=later, version="2")
    assert result.names == ()
    assert has_variable(applied(result, gateway)[SERVER], "2")


def test_an_owners_edit_of_the_pods_takes_it_along() -> None:
    """They restart anyway; the collector's do not."""
    gateway = a_gateway()
    live = applied(held(gateway), gateway)
    edited = a_gateway(serving={"maxBatch": 8})
    result = held(edited, live, version="2")
    assert result.names == ("photos-collector",)
    assert has_variable(applied(result, edited)[SERVER], "2")


@pytest.mark.parametrize(
    "spec",
    [
        {"slo": {"latency": {"threshold": "250ms"}}},
        {"slo": {"availability": {"objective": 99.9}}},
        {"cost": {"perReplicaHour": 0.38, "currency": "EUR"}},
        {"observability": {"logging": {"level": "debug"}}},
        {"observability": {"metrics": {"enabled": False}}},
        {"observability": {"tracing": {"slowThreshold": "1s"}}},
        {"replicas": 2},
        {"scaling": {"maxReplicas": 7}},
        {"service": {"type": "NodePort"}},
        {"networkPolicy": {"enabled": False}},
        {"runtimeRef": {"name": "default"}},
    ],
    ids=json.dumps,
)
def test_an_edit_that_restarts_nothing_releases_nothing(spec: dict[str, Any]) -> None:
    """An SLO edit above all."""
    gateway = a_gateway()
    live = applied(held(gateway), gateway)
    assert set(held(a_gateway(**spec), live, version="2").names) == {"photos", "photos-collector"}


def test_sampling_concerns_the_collector_alone() -> None:
    """The runtime follows it live, or not at all."""
    gateway = a_gateway()
    live = applied(held(gateway), gateway)
    edited = a_gateway(observability={"tracing": {"samplingPercent": 50}})
    assert held(edited, live, version="2").names == ("photos",)


def with_other_config(live: dict[tuple[str, str], Manifest]) -> str:
    """Have the collector's configuration be one of another operator; return its name."""
    template = live[COLLECTOR]["spec"]["template"]
    record = json.loads(
        live[COLLECTOR]["metadata"]["annotations"][conventions.ANNOTATION_APPLIED_TEMPLATE]
    )
    (volume,) = template["spec"]["volumes"]
    (config,) = (it for it in live if it == ("ConfigMap", volume["configMap"]["name"]))
    volume["configMap"] = {"name": "photos-collector-of-before"}
    manifest = live.pop(config)
    manifest["metadata"]["name"] = "photos-collector-of-before"
    live["ConfigMap", "photos-collector-of-before"] = manifest
    record = {"inputs": record["inputs"], "template": template}
    record["digest"] = build_digest([record["inputs"], template])
    live[COLLECTOR]["metadata"]["annotations"][conventions.ANNOTATION_APPLIED_TEMPLATE] = (
        json.dumps(record)
    )
    return config[1]


def test_a_collector_that_is_left_alone_keeps_its_configuration() -> None:
    """Its pod may start again at any time: with what it was made for, not with what waits."""
    gateway = a_gateway()
    live = applied(held(gateway), gateway)
    name = with_other_config(live)
    result = held(gateway, live)
    assert result.names == ("photos-collector",)
    after = applied(result, gateway)
    assert list_configs(after[COLLECTOR]["spec"]["template"]) == {"photos-collector-of-before"}
    assert ("ConfigMap", name) not in after
    assert find_unwanted(live.values(), after.values(), gateway.uid) == []


def test_a_collector_whose_configuration_is_gone_gets_a_new_one() -> None:
    """Its pod could never start again."""
    gateway = a_gateway()
    live = applied(held(gateway), gateway)
    name = with_other_config(live)
    del live["ConfigMap", "photos-collector-of-before"]
    result = held(gateway, live)
    assert result.names == ()
    after = applied(result, gateway)
    assert list_configs(after[COLLECTOR]["spec"]["template"]) == {name}
    assert ("ConfigMap", name) in after


def test_a_volume_that_somebody_added_releases_nothing() -> None:
    """A ConfigMap of others is theirs to keep."""
    gateway = a_gateway()
    children = build_children(PlanInput(gateway=gateway, runtime=a_runtime()))
    live = applied(Held(children=children), gateway)
    volumes = live[SERVER]["spec"]["template"]["spec"]["volumes"]
    volumes.append({"name": "ca", "configMap": {"name": "company-ca"}})
    assert "photos" in held(gateway, live, version="2").names


def test_what_an_operator_without_records_wrote_is_adopted() -> None:
    """No restart, though the templates differ; from then on it is on record."""
    gateway = a_gateway()
    children = build_children(PlanInput(gateway=gateway, runtime=a_runtime()))
    live = applied(Held(children=children), gateway)
    template = live[SERVER]["spec"]["template"]
    template["metadata"]["creationTimestamp"] = None
    template["spec"]["containers"][0]["terminationMessagePath"] = "/dev/termination-log"
    result = held(gateway, live, version="2")
    assert "photos" in result.names
    adopted = applied(result, gateway)
    assert not has_variable(adopted[SERVER], "2")
    container = adopted[SERVER]["spec"]["template"]["spec"]["containers"][0]
    assert container["terminationMessagePath"] == "/dev/termination-log"
    assert "creationTimestamp" not in adopted[SERVER]["spec"]["template"]["metadata"]
    again = held(gateway, adopted, version="3")
    assert applied(again, gateway) == adopted


def test_what_is_adopted_unchanged_is_not_held() -> None:
    """The API server's defaults are no difference."""
    gateway = a_gateway()
    children = build_children(PlanInput(gateway=gateway, runtime=a_runtime()))
    live = applied(Held(children=children), gateway)
    live[SERVER]["spec"]["template"]["spec"]["dnsPolicy"] = "ClusterFirst"
    result = held(gateway, live)
    assert result.names == ()
    assert "dnsPolicy" not in applied(result, gateway)[SERVER]["spec"]["template"]["spec"]


def test_an_edit_while_no_operator_was_there_is_not_adopted_away() -> None:
    """The owner's wish must not be taken for the former operator's."""
    gateway = a_gateway()
    children = build_children(PlanInput(gateway=gateway, runtime=a_runtime()))
    live = applied(Held(children=children), gateway)
    edited = a_gateway(serving={"maxBatch": 8})
    assert held(edited, live, is_edited=True).names == ()


def test_a_record_that_was_tampered_with_is_not_believed() -> None:
    """Or whoever may annotate a Deployment would choose its pods for good."""
    gateway = a_gateway()
    live = applied(held(gateway), gateway)
    clean = deepcopy(live)
    annotations = live[SERVER]["metadata"]["annotations"]
    for text in (
        annotations[conventions.ANNOTATION_APPLIED_TEMPLATE].replace("0.1.0", "6.6.6"),
        "no JSON",
        "[]",
        "{}",
    ):
        annotations[conventions.ANNOTATION_APPLIED_TEMPLATE] = text
        assert read_applied(live[SERVER]) is None
        assert applied(held(gateway, live), gateway) == clean


def test_without_any_mark_of_ours_drift_is_not_adopted() -> None:
    """Somebody who replaces the object by one of their own gets ours back."""
    gateway = a_gateway()
    live = applied(held(gateway), gateway)
    replaced = deepcopy(live)
    del replaced[SERVER]["metadata"]["annotations"]
    replaced[SERVER]["spec"]["template"]["spec"]["containers"][0]["image"] = "evil"
    assert applied(held(gateway, replaced), gateway) == live


def test_the_revision_is_on_the_deployment_that_serves() -> None:
    """On the object, not on its pods: a new name alone restarts nobody."""
    gateway = a_gateway()
    live = applied(held(gateway), gateway)
    recorded = read_recorded(live[SERVER])
    assert recorded is not None
    assert (recorded.runtime, recorded.revision) == ("default", REVISION)
    assert read_recorded(live[COLLECTOR]) is None
    for name in (conventions.ANNOTATION_REVISION, conventions.ANNOTATION_APPLIED_TEMPLATE):
        assert name not in json.dumps(live[SERVER]["spec"])


def test_the_digests_of_today_are_those_of_tomorrow() -> None:
    """A change of either number restarts every pod at the next upgrade: think twice."""
    gateway = a_gateway(serving={"maxBatch": 8}, slo={"latency": {"threshold": "250ms"}})
    assert REVISION.id == "9720357b5f"
    assert digest_inputs(gateway.spec, REVISION, is_collector=False) == "063994531f4fd52c"
    assert digest_inputs(gateway.spec, REVISION, is_collector=True) == "be1dbd4c09428844"


def mutants(spec: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Paths of all leaves."""
    items = spec.items() if isinstance(spec, dict) else enumerate(spec)
    for key, value in items:
        if isinstance(value, dict | list) and value:
            yield from mutants(value, (*path, key))
        else:
            yield (*path, key)


def changed(spec: Any, path: tuple[Any, ...], value: Any) -> Any:
    """The spec with another value, or none, at a path."""
    result = deepcopy(spec)
    parent = result
    for key in path[:-1]:
        parent = parent[key]
    if value is _GONE:
        del parent[path[-1]]
    else:
        parent[path[-1]] = value
    return result


def others(value: Any) -> list[Any]:
    """Values that might be valid instead."""
    if isinstance(value, bool):
        return [not value, _GONE]
    if isinstance(value, int | float):
        return [value + 1, value - 1, _GONE]
    words = ["7s", "9Gi", "x", "other", "Prefer", "Never", "warning", "fp32", "7d", "ClusterIP"]
    urls = ["http://elsewhere:4318", "elsewhere:4317", "pvc://other/path", "f" * 64]
    return [*words, *urls, "Exists", "NoExecute", "Disabled", f"{value}x", _GONE]


def attempts() -> Iterator[tuple[str, Gateway]]:
    """The full sample with each of its fields changed, in turn, wherever that is valid."""
    manifest = yaml.safe_load(FULL.read_text())
    for path in mutants(manifest["spec"]):
        here = manifest["spec"]
        for key in path:
            here = here[key]
        for value in others(here):
            spec = changed(manifest["spec"], path, value)
            try:
                gateway = parse_gateway({**manifest, "spec": spec})
                build_children(PlanInput(gateway=gateway, runtime=a_runtime()))
            except SpecError:
                continue
            yield ".".join(str(key) for key in path), gateway


def templates(gateway: Gateway) -> dict[str, str]:
    """The pod templates of a gateway."""
    return {
        child["metadata"]["name"]: json.dumps(child["spec"]["template"], sort_keys=True)
        for child in build_children(PlanInput(gateway=gateway, runtime=a_runtime()))
        if child["kind"] == "Deployment"
    }


def test_the_digest_changes_exactly_with_what_people_change_about_the_pods() -> None:
    """Each field of the API, one after the other.

    Were one missing, the operator would take an owner's edit for its own and swallow it; were
    there one too many, an edit that restarts nothing would release what waits.
    """
    gateway = parse_gateway(yaml.safe_load(FULL.read_text()))
    before, tried = templates(gateway), set()
    for path, edited in attempts():
        for name, template in templates(edited).items():
            is_collector = name != gateway.child_name()
            old = digest_inputs(gateway.spec, REVISION, is_collector=is_collector)
            new = digest_inputs(edited.spec, REVISION, is_collector=is_collector)
            assert (old != new) == (template != before[name]), f"{path}: {name}"
            if old != new:
                tried.add((path.split(".")[0], is_collector))
    assert {path for path, is_collector in tried if not is_collector} == {
        "additionalModels", "model", "observability", "resources", "scheduling", "serving",
    }  # fmt: skip
    assert {path for path, is_collector in tried if is_collector} == {"observability", "serving"}


def test_no_default_of_a_field_is_a_decision() -> None:
    """A field written out at its default, as the API server does, is the same digest."""
    bare = parse_gateway({**yaml.safe_load(FULL.read_text()), "spec": {"model": {"name": "m"}}})
    written = bare.spec.model_dump(mode="json", by_alias=True, exclude_none=True)
    full = parse_gateway({**yaml.safe_load(FULL.read_text()), "spec": written})
    for is_collector in (False, True):
        assert digest_inputs(bare.spec, REVISION, is_collector=is_collector) == digest_inputs(
            full.spec, REVISION, is_collector=is_collector
        )
