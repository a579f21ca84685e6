"""Everything under manifests/ builds, and what it builds keeps the house's rules."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
import yaml

from factories import RUNTIME_IMAGE
from igw_operator import conventions
from igw_operator.api.objects import Manifest, parse_runtime
from igw_operator.api.runtime import DEFAULT_COLLECTOR_IMAGE

# kustomize comes with the parts of the local node.
pytestmark = pytest.mark.integration

Build = Callable[[str], Sequence[Manifest]]

ROOT = Path(__file__).parents[2]
OPERATOR_IMAGE = "igw.dev/operator:0.1.0"
BUILDS = (
    "crds",
    "manifests/base",
    "manifests/dashboards",
    "manifests/monitoring",
    "manifests/operator-monitoring",
    "manifests/overlays/demo",
    "manifests/overlays/production",
    "manifests/prometheus-adapter",
)
# Roles that every cluster has.
BUILT_IN = {
    ("ClusterRole", "system:auth-delegator"),
    ("Role", "extension-apiserver-authentication-reader"),
}
every_build = pytest.mark.parametrize("folder", BUILDS)


def test_each_kustomization_is_named_in_this_file() -> None:
    """A folder that is added cannot escape the rules below."""
    found = (path for top in ("crds", "manifests") for path in (ROOT / top).rglob("*ustomization*"))
    assert sorted(str(path.parent.relative_to(ROOT)) for path in found) == sorted(BUILDS)


@every_build
def test_it_builds_and_names_each_object_once(build: Build, folder: str) -> None:
    """Two objects of one kind and name would overwrite each other."""
    names = [
        (it["kind"], it["metadata"].get("namespace"), it["metadata"]["name"])
        for it in build(folder)
    ]
    assert names
    assert len(names) == len(set(names))


@every_build
def test_every_file_of_a_folder_is_used(build: Build, folder: str) -> None:
    """A manifest that its kustomization forgot would never reach a cluster."""
    build(folder)
    (entry,) = (ROOT / folder).glob("*ustomization*")
    kustomization = yaml.safe_load(entry.read_text())
    patches = [patch["path"] for patch in kustomization.get("patches", [])]
    held = [name for it in kustomization.get("configMapGenerator", []) for name in it["files"]]
    named = [*kustomization.get("resources", []), *patches, *held]
    used = {Path(name).name for name in named}
    files = {path.name for path in (ROOT / folder).iterdir() if path.is_file()} - {entry.name}
    assert files <= used


def test_install_yaml_is_the_build_of_the_base(build: Build) -> None:
    """The generated file is in step; otherwise run `make generate`."""
    text = (ROOT / "manifests" / "install.yaml").read_text()
    assert tuple(yaml.safe_load_all(text)) == tuple(build("manifests/base"))


def test_the_base_holds_both_crds_the_operator_and_a_default_runtime(build: Build) -> None:
    """One file installs all that a gateway needs."""
    by_kind: dict[str, list[Manifest]] = {}
    for manifest in build("manifests/base"):
        by_kind.setdefault(manifest["kind"], []).append(manifest)
    assert len(by_kind["CustomResourceDefinition"]) == 2
    (operator,) = by_kind["Deployment"]
    (container,) = operator["spec"]["template"]["spec"]["containers"]
    assert container["image"] == OPERATOR_IMAGE
    (runtime,) = (parse_runtime(it) for it in by_kind[conventions.RUNTIME_KIND])
    assert runtime.is_default
    assert runtime.spec.image == RUNTIME_IMAGE
    assert runtime.spec.collector_image == DEFAULT_COLLECTOR_IMAGE


def test_the_folder_of_crds_can_be_applied_as_it_is() -> None:
    """`kubectl apply -f crds` reads every YAML file in it: nothing but CRDs may be there."""
    for path in (ROOT / "crds").glob("*.y*ml"):
        assert yaml.safe_load(path.read_text())["kind"] == "CustomResourceDefinition"


@every_build
def test_every_image_is_pinned_by_a_tag(build: Build, folder: str) -> None:
    """No image without a tag, none with `latest`: what was tested is what runs."""
    for image in _values(list(build(folder)), "image", "collectorImage"):
        if isinstance(image, str):  # a schema's property of that name is an object
            assert re.search(r":v?\d+\.\d+\.\d+$", image), image


@every_build
def test_images_already_on_the_node_are_not_pulled(build: Build, folder: str) -> None:
    """A node without a way to the registry can still start what it has."""
    for name, spec in _pod_specs(build(folder)):
        for holder in _holders(spec):
            assert holder.get("imagePullPolicy") == "IfNotPresent", name


@every_build
def test_every_pod_meets_the_restricted_pod_security_standard(build: Build, folder: str) -> None:
    """As a namespace with `enforce: restricted` would judge it."""
    for name, spec in _pod_specs(build(folder)):
        assert list(_violations(spec)) == [], name


@every_build
def test_every_pod_has_requests_and_a_memory_limit(build: Build, folder: str) -> None:
    """A pod without them is the first to go, or takes its neighbours with it."""
    for name, spec in _pod_specs(build(folder)):
        for holder in _holders(spec):
            assert {"cpu", "memory"} <= holder["resources"]["requests"].keys(), name
            assert "memory" in holder["resources"]["limits"], name


@every_build
def test_namespaces_with_pods_enforce_restricted(build: Build, folder: str) -> None:
    """What we ask of ourselves the API server holds us to."""
    for manifest in build(folder):
        if manifest["kind"] == "Namespace":
            labels = manifest["metadata"]["labels"]
            assert labels["pod-security.kubernetes.io/enforce"] == "restricted"


@every_build
def test_roles_have_no_wildcard_and_no_way_to_more_rights(build: Build, folder: str) -> None:
    """Each verb, resource and group is written out."""
    for role in build(folder):
        if role["kind"] not in {"Role", "ClusterRole"}:
            continue
        for rule in role["rules"]:
            words = [word for values in rule.values() for word in values]
            assert not any("*" in word for word in words), role["metadata"]["name"]
            assert not {"escalate", "bind", "impersonate"} & set(words), role["metadata"]["name"]


def test_a_service_beside_the_operator_does_not_change_its_settings(build: Build) -> None:
    """Kubernetes would add variables such as IGW_X_SERVICE_HOST, and unknown ones are errors."""
    (operator,) = (it for it in build("manifests/base") if it["kind"] == "Deployment")
    assert operator["spec"]["template"]["spec"]["enableServiceLinks"] is False


def test_the_operator_may_not_read_secrets_or_enter_pods(build: Build) -> None:
    """What it never needs it must not have."""
    rules = [
        rule
        for role in build("manifests/base")
        if role["kind"] in {"Role", "ClusterRole"}
        for rule in role["rules"]
    ]
    resources = {resource for rule in rules for resource in rule.get("resources", [])}
    assert (
        not {"secrets", "pods/exec", "pods/attach", "pods/portforward", "nodes/proxy"} & resources
    )


@every_build
def test_bindings_name_what_the_build_holds(build: Build, folder: str) -> None:
    """A renamed role or account would otherwise be found out by a 403."""
    manifests = build(folder)
    held = {(it["kind"], it["metadata"]["name"]) for it in manifests} | BUILT_IN
    for binding in manifests:
        if binding["kind"] in {"RoleBinding", "ClusterRoleBinding"}:
            assert (binding["roleRef"]["kind"], binding["roleRef"]["name"]) in held
            assert all(
                (subject["kind"], subject["name"]) in held for subject in binding["subjects"]
            )


@pytest.mark.parametrize("folder", ["manifests/base", "manifests/overlays/production"])
def test_one_that_stands_by_is_not_restarted(build: Build, folder: str) -> None:
    """Waiting for the lease may take for ever, and both endpoints answer meanwhile."""
    (operator,) = (it for it in build(folder) if it["kind"] == "Deployment")
    (container,) = operator["spec"]["template"]["spec"]["containers"]
    assert "startupProbe" not in container
    assert container["livenessProbe"]["httpGet"] == {"path": "/healthz", "port": "health"}
    assert container["readinessProbe"]["httpGet"] == {"path": "/readyz", "port": "health"}


def test_in_production_a_second_operator_stands_by_on_another_node(build: Build) -> None:
    """A drain, an update or the loss of a node leaves one of them."""
    manifests = build("manifests/overlays/production")
    (operator,) = (it for it in manifests if it["kind"] == "Deployment")
    assert operator["spec"]["replicas"] == 2
    assert operator["spec"]["strategy"]["rollingUpdate"]["maxUnavailable"] == 0
    pod = operator["spec"]["template"]
    spread = {it["topologyKey"]: it for it in pod["spec"]["topologySpreadConstraints"]}
    assert "kubernetes.io/hostname" in spread
    (budget,) = (it for it in manifests if it["kind"] == "PodDisruptionBudget")
    assert budget["spec"]["maxUnavailable"] < operator["spec"]["replicas"]
    selector = budget["spec"]["selector"]["matchLabels"]
    assert selector.items() <= pod["metadata"]["labels"].items()
    for constraint in spread.values():
        assert constraint["labelSelector"]["matchLabels"] == selector


@pytest.mark.parametrize("folder", ["manifests/overlays/demo", "manifests/overlays/production"])
def test_prometheus_reaches_the_operator(build: Build, folder: str) -> None:
    """ServiceMonitor, Service and Deployment agree on labels and the name of the port."""
    manifests = build(folder)
    (monitor,) = (it for it in manifests if it["kind"] == "ServiceMonitor")
    (endpoint,) = monitor["spec"]["endpoints"]
    assert endpoint["honorLabels"] is True, "its gauges carry the gateway's own namespace"
    (service,) = (
        it
        for it in manifests
        if it["kind"] == "Service"
        and monitor["spec"]["selector"]["matchLabels"].items() <= it["metadata"]["labels"].items()
    )
    (port,) = (it for it in service["spec"]["ports"] if it["name"] == endpoint["port"])
    (deployment,) = (it for it in manifests if it["kind"] == "Deployment")
    template = deployment["spec"]["template"]
    assert service["spec"]["selector"].items() <= template["metadata"]["labels"].items()
    (container,) = template["spec"]["containers"]
    assert port["targetPort"] in {it["name"] for it in container["ports"]}


def test_prometheus_keeps_a_whole_slo_window_and_selects_every_namespace(build: Build) -> None:
    """The demo's Prometheus can answer what the rules ask."""
    (prometheus,) = (it for it in build("manifests/monitoring") if it["kind"] == "Prometheus")
    spec = prometheus["spec"]
    assert spec["retention"] == "30d"
    assert spec["scrapeInterval"] == f"{conventions.SCRAPE_INTERVAL_SECONDS}s"
    assert "exemplar-storage" in spec["enableFeatures"]
    for selector in ("serviceMonitorSelector", "ruleSelector"):
        assert spec[selector] == {}
        assert spec[selector.replace("Selector", "NamespaceSelector")] == {}


def test_the_adapter_serves_what_autoscalers_ask_for(build: Build) -> None:
    """Both Pods metrics, predictions only, from the Prometheus of manifests/monitoring."""
    manifests = build("manifests/prometheus-adapter")
    (config,) = (
        it
        for it in manifests
        if (it["kind"], it["metadata"]["name"]) == ("ConfigMap", "prometheus-adapter")
    )
    rules = yaml.safe_load(config["data"]["config.yaml"])["rules"]
    queries = {rule["name"]["as"]: rule["metricsQuery"] for rule in rules}
    assert queries.keys() == {
        conventions.METRIC_REQUESTS_PER_SECOND,
        conventions.METRIC_QUEUE_SIZE,
    }
    requests = queries[conventions.METRIC_REQUESTS_PER_SECOND]
    assert f'endpoint=~"{conventions.ENDPOINT_PATTERN}"' in requests
    for rule in rules:
        assert rule["seriesQuery"].startswith(f"{conventions.METRIC_QUEUE}{{")
    (adapter,) = (
        it for it in manifests if it["kind"] == "Deployment" and "adapter" in it["metadata"]["name"]
    )
    (container,) = adapter["spec"]["template"]["spec"]["containers"]
    (service,) = (
        it
        for it in build("manifests/monitoring")
        if (it["kind"], it["metadata"]["name"]) == ("Service", "prometheus")
    )
    port = service["spec"]["ports"][0]["port"]
    # docs/install.md replaces this argument by its place.
    assert container["args"][1] == f"--prometheus-url=http://prometheus.monitoring.svc:{port}/"


def test_a_fast_burn_silences_its_slow_twin(build: Build) -> None:
    """One incident is one notification, for each gateway and objective."""
    (secret,) = (it for it in build("manifests/monitoring") if it["kind"] == "Secret")
    config = yaml.safe_load(secret["stringData"]["alertmanager.yaml"])
    (rule,) = (it for it in config["inhibit_rules"] if it["target_matchers"] == ['burn="slow"'])
    assert rule["source_matchers"] == ['burn="fast"']
    assert rule["equal"] == ["namespace", "gateway", "slo"]


def _pod_specs(manifests: Sequence[Manifest]) -> Iterator[tuple[str, Manifest]]:
    """Name and pod spec of everything that makes pods.

    A Prometheus or Alertmanager has its pod's fields on its own spec; its containers are the
    Prometheus Operator's, which sets their security context.
    """
    for manifest in manifests:
        name = f"{manifest['kind']}/{manifest['metadata']['name']}"
        if manifest["kind"] in {"Deployment", "StatefulSet", "DaemonSet", "Job"}:
            yield name, manifest["spec"]["template"]["spec"]
        elif manifest["kind"] in {"Prometheus", "Alertmanager"}:
            yield name, manifest["spec"]


def _holders(spec: Manifest) -> list[Manifest]:
    """What says how containers run: they themselves, and a Prometheus of its own pod."""
    return [*_containers(spec), *([spec] if "image" in spec else [])]


def _containers(pod_spec: Manifest) -> list[Manifest]:
    return [*pod_spec.get("containers", []), *pod_spec.get("initContainers", [])]


def _values(node: Any, *keys: str) -> Iterator[Any]:
    if isinstance(node, dict):
        for key, value in node.items():
            if key in keys:
                yield value
            yield from _values(value, *keys)
    elif isinstance(node, list):
        for item in node:
            yield from _values(item, *keys)


def _violations(pod_spec: Manifest) -> Iterator[str]:
    """https://kubernetes.io/docs/concepts/security/pod-security-standards/#restricted."""
    yield from (field for field in ("hostNetwork", "hostPID", "hostIPC") if pod_spec.get(field))
    yield from (volume["name"] for volume in pod_spec.get("volumes", []) if "hostPath" in volume)
    pod = pod_spec.get("securityContext", {})
    if not (pod.get("runAsNonRoot") and pod.get("runAsUser")):
        yield "runs as root, or as nobody knows whom"
    if pod.get("seccompProfile") != {"type": "RuntimeDefault"}:
        yield "seccompProfile"
    wanted = {
        "allowPrivilegeEscalation": False,
        "capabilities": {"drop": ["ALL"]},
        "readOnlyRootFilesystem": True,  # our own rule
    }
    for container in _containers(pod_spec):
        context = container.get("securityContext", {})
        yield from (
            f"{container['name']}: {field}"
            for field, value in wanted.items()
            if context.get(field) != value
        )
