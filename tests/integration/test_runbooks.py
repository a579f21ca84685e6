"""Every command of the runbooks and of the troubleshooting page, typed.

By a shell with kubectl, against a real API server with its controllers, on which the sample
gateway is applied and the operator runs; amtool's against a real Alertmanager that has the
gateway's alerts. A command has to succeed as it stands there. What needs a kubelet is typed in
`tests/e2e`.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest
import yaml

from harness.commands import ALERTMANAGER, NOT_RUN, Command, list_commands
from igw_operator import conventions
from igw_operator.plan.slo.alerts import ALERT_NAMES
from integration.cluster import Cluster, wait_for
from integration.conftest import Place
from integration.fake_pods import FakePods
from integration.operator_process import OperatorProcess, install, install_opentelemetry
from localnode.controlplane import ControlPlane
from localnode.toolchain import binary_path
from localnode.versions import load_versions
from node_parts import need_parts, shared_folder
from plan_kit.alertmanager import AlertmanagerProcess, find_amtool, shipped_config
from plan_kit.prometheus import build_drill_groups, build_groups

pytestmark = [pytest.mark.timeout(240), pytest.mark.xdist_group("runbooks")]

ROOT: Final = Path(__file__).parents[2]
COMMANDS: Final = [it for it in list_commands() if not it.needs_node and it.text not in NOT_RUN]
# What the pages leave to the reader. Longer words first.
WORDS: Final = {
    "igwr NAME": "igwr other",
    "gateway NAME": "gateway public",
    "igw NAME": "igw photos",
    "NAMESPACE": "demo",
    "MONITORING": "monitoring",
    "KEY=VALUE": "team=vision",
    "CLAIM": "models",
    "HOST": "prometheus.monitoring.svc",
    "IMAGE": "igw.dev/runtime:0.1.0",
    "-n NS describe igw GW": "-n demo describe igw photos",
    "gateway.yaml": "manifests/samples/photos.yaml",
}
# What has to be so for a command to make sense.
BEFORE: Final = {
    "rollout resume": "kubectl -n demo rollout pause deployment/photos",
    "alert-drill-": "kubectl -n demo annotate igw photos --overwrite "
    "inference.igw.dev/alert-drill=x",
    "is-default-runtime-": "kubectl annotate igwr other --overwrite "
    "inference.igw.dev/is-default-runtime=true",
}
# A gateway that scales by KEDA is in a namespace of its own.
IN_KEDA: Final = "scaledobject"
# The operator runs beside the cluster here, without a lease.
MAY_SAY_NOTHING: Final = {"kubectl -n igw-system get lease"}
TO_COME: Final = "2099-01-01T00:00:00Z"  # a drill
FURNITURE: Final = """
apiVersion: v1
kind: Namespace
metadata: {name: monitoring}
---
apiVersion: v1
kind: PersistentVolumeClaim
metadata: {name: models, namespace: demo}
spec:
  accessModes: [ReadOnlyMany]
  resources: {requests: {storage: 1Gi}}
---
apiVersion: v1
kind: ResourceQuota
metadata: {name: roomy, namespace: demo}
spec:
  hard: {pods: "100"}
---
apiVersion: v1
kind: Node
metadata: {name: node-1}
---
apiVersion: v1
kind: Secret
metadata: {name: reader, namespace: demo}
---
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: alertmanager, namespace: monitoring}
spec: {podSelector: {}}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: keda-operator, namespace: monitoring}
spec:
  selector: {matchLabels: {app.kubernetes.io/name: keda-operator}}
  template:
    metadata: {labels: {app.kubernetes.io/name: keda-operator}}
    spec:
      containers: [{name: keda, image: "example.com/keda:1"}]
---
apiVersion: inference.igw.dev/v1alpha1
kind: InferenceRuntime
metadata: {name: other}
spec: {image: "igw.dev/runtime:0.1.0"}
---
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: {name: public, namespace: demo}
spec:
  gatewayClassName: any
  listeners:
    - {name: http, protocol: HTTP, port: 80}
---
apiVersion: gateway.networking.k8s.io/v1
kind: GatewayClass
metadata: {name: any}
spec: {controllerName: example.com/any}
---
apiVersion: monitoring.coreos.com/v1
kind: Prometheus
metadata: {name: main, namespace: monitoring}
spec:
  serviceMonitorSelector: {}
  serviceMonitorNamespaceSelector: {}
  ruleSelector: {}
  ruleNamespaceSelector: {}
  alerting:
    alertmanagers:
      - {namespace: monitoring, name: alertmanager-operated, port: web}
"""


class Desk:
    """Where somebody sits with a terminal."""

    def __init__(
        self, place: Place, kubeconfig: Path, alertmanager: AlertmanagerProcess, folder: Path
    ) -> None:
        self.place = place
        self.alertmanager = alertmanager
        programs = folder / "bin"
        programs.mkdir()
        kubectl = binary_path(load_versions().tools["kubernetes"], "kubectl")
        for name, program in {
            "kubectl": str(kubectl),
            "amtool": find_amtool(),
            "python": sys.executable,
        }.items():
            (programs / name).symlink_to(program)
        self._environment = {
            "PATH": f"{programs}:{os.environ['PATH']}",
            "KUBECONFIG": str(kubeconfig),
            "PYTHONPATH": str(ROOT / "operator"),
            "HOME": str(folder),
            "NS": "demo",
            "GW": "photos",
        }

    def type(self, text: str, **environment: str) -> str:
        """Type a command; return what it prints, and fail where it fails."""
        text = text.replace(ALERTMANAGER, self.alertmanager.url)
        done = subprocess.run(
            ["/bin/bash", "-o", "pipefail", "-c", text],
            cwd=ROOT,
            env=self._environment | environment,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert done.returncode == 0, f"{text}\n{done.stdout}{done.stderr}"
        return done.stdout

    def fill(self, command: Command) -> str:
        """A command as it is typed here."""
        (pod, *_) = self.place.cluster.list_all("Pod", "demo")
        return command.fill(WORDS | {"POD": pod["metadata"]["name"]})


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Desk]:
    """The sample applied and Ready, with what the pages speak of around it."""
    need_parts("kubernetes")
    folder = tmp_path_factory.mktemp("runbooks")
    with (
        ControlPlane(folder / "plane") as plane,
        FakePods(plane),
        AlertmanagerProcess(folder, shipped_config()) as alertmanager,
    ):
        cluster = Cluster(plane)
        _install(cluster)
        operator = OperatorProcess(plane, folder, IGW_MONITORING_SECONDS="1")
        desk = Desk(
            Place(cluster, "demo"), plane.kubeconfig(folder / "kubeconfig"), alertmanager, folder
        )
        try:
            operator.start()
            _furnish(desk)
            yield desk
            assert operator.stop() == 0, operator.log.read_text()[-3000:]
            assert operator.errors() == []
        finally:
            operator.kill()
            cluster.close()


def _install(cluster: Cluster) -> None:
    crds = shared_folder("prometheus-operator", "prometheus-operator-crds")
    gateway_api = shared_folder("gateway-api", "gateway-api-crds")
    install(cluster, prometheus_crds=crds)
    install_opentelemetry(cluster, shared_folder("opentelemetry-operator", "opentelemetry-crds"))
    for kind in ("gateways", "gatewayclasses", "httproutes"):
        text = (gateway_api / f"gateway.networking.k8s.io_{kind}.yaml").read_text()
        cluster.apply(yaml.safe_load(text))
    keda = shared_folder("keda", "keda-crds") / "keda.sh_scaledobjects.yaml"
    cluster.apply(yaml.safe_load(keda.read_text()))


def _furnish(desk: Desk) -> None:
    """The sample, with an autoscaler and a route, and what else the pages speak of."""
    sample = yaml.safe_load((ROOT / "manifests/samples/photos.yaml").read_text())
    del sample["spec"]["replicas"]
    sample["spec"] |= {
        "scaling": {"minReplicas": 2},
        "service": {"route": {"parentRefs": [{"name": "public"}]}},
    }
    desk.type(f"kubectl apply -f - <<'EOF'\n{FURNITURE}EOF")
    desk.type("kubectl apply -f manifests/base/operator.yaml")
    desk.type("kubectl apply -k manifests/operator-monitoring")
    desk.type(f"kubectl -n demo apply -f - <<'EOF'\n{yaml.safe_dump(sample)}EOF")
    place, keda = desk.place, Place(desk.place.cluster, "keda")
    keda.apply(scaling={"minReplicas": 1, "engine": "KEDA"})
    wait_for(lambda: place.get("HorizontalPodAutoscaler"), "the HPA")
    wait_for(lambda: place.get("HTTPRoute"), "the route")
    wait_for(lambda: keda.get("ScaledObject"), "the ScaledObject")
    wait_for(lambda: place.cluster.list_all("Pod", "demo"), "the pods")
    desk.type(f"kubectl -n demo annotate igw photos {conventions.ANNOTATION_ALERT_DRILL}={TO_COME}")
    wait_for(lambda: "alertDrill" in place.gateway()["status"], "the drill to be known")
    wait_for(lambda: place.cluster.list_all("Pod", "monitoring"), "a pod that is called KEDA")
    place.settle()


@pytest.mark.parametrize(
    "command",
    [it for it in COMMANDS if not it.text.startswith("amtool")],
    ids=lambda it: it.name,
)
def test_a_command_works_as_it_stands(desk: Desk, command: Command) -> None:
    """And where it is asked for something, prints something."""
    for words, before in BEFORE.items():
        if words in command.text:
            desk.type(before)

    namespace = "keda" if IN_KEDA in command.text else "demo"
    printed = desk.type(desk.fill(command), NS=namespace)

    assert printed.strip() or command.text in MAY_SAY_NOTHING


@pytest.mark.parametrize("alert", ALERT_NAMES)
def test_a_silence_keeps_back_that_alert_of_that_gateway(desk: Desk, alert: str) -> None:
    """And no other: neither that of another gateway, nor another alert of this one."""
    alertmanager = desk.alertmanager
    every = list(_list_alerts())
    alertmanager.ask("/api/v2/alerts", [{"labels": labels} for labels in every])
    (command,) = (it for it in COMMANDS if it.page.stem == alert and it.text.startswith("amtool"))

    silence = desk.type(desk.fill(command)).strip()

    wanted = [labels for labels in every if _is_meant(alert, labels)]
    assert wanted

    def silenced() -> list[dict[str, str]]:
        return [it["labels"] for it in alertmanager.alerts() if it["status"]["silencedBy"]]

    wait_for(lambda: len(silenced()) == len(wanted), f"{alert} of demo/photos to be silenced")
    assert sorted(map(str, map(sorted, silenced()))) == sorted(map(str, map(sorted, wanted)))
    alertmanager.expire(silence)
    wait_for(lambda: not silenced(), "the silence to end")


def test_the_other_commands_of_amtool_work(desk: Desk) -> None:
    """Those that do not silence one alert."""
    pages = set(ALERT_NAMES)
    found = [it for it in COMMANDS if it.text.startswith("amtool") and it.page.stem not in pages]
    assert len(found) >= 3
    for command in found:
        printed = desk.type(desk.fill(command)).strip()
        if " silence add " in command.text:
            desk.alertmanager.expire(printed)


def _list_alerts() -> Iterator[dict[str, str]]:
    """Each alert that the rules of the sample and of another gateway can raise."""
    for gateway in ("photos", "cats"):
        for group in (*build_groups(), *build_drill_groups("2026-03-04T12:00:00Z")):
            for rule in group["rules"]:
                if "alert" in rule:
                    labels = {"alertname": rule["alert"], **rule["labels"]}
                    yield labels | {"gateway": gateway}


def _is_meant(alert: str, labels: dict[str, str]) -> bool:
    # One operator is the cause for all gateways.
    is_of_all = alert == "InferenceGatewayOperatorBlind"
    return labels["alertname"] == alert and (is_of_all or labels["gateway"] == "photos")
