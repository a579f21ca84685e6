"""The demo: from nothing to a classified photograph, and what the operator makes of it.

``make demo`` runs it. Every line it prints is read from the cluster; every step fails the
demo if the cluster does not do what the line says.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from pathlib import Path
from typing import Final

from harness import provider as providers
from harness.client import Answer, Client
from harness.gateway import RUNTIME_IMAGE
from harness.install import (
    install_monitoring,
    install_operator,
    wait_for_monitoring,
    wait_for_operator,
)
from harness.kubectl import Kubectl
from harness.shell import ROOT, CommandError, say, step, wait_for

NAMESPACE: Final = "demo"
GATEWAY: Final = "photos"
SAMPLE: Final = Path("manifests/samples/photos.yaml")
PHOTOGRAPH: Final = ROOT / "tests" / "pictures" / "coffee.jpg"

RULES_DEADLINE_SECONDS: Final = 5.0


def main() -> None:
    """Run the demo, or take its cluster down."""
    parser = argparse.ArgumentParser(prog="make demo", description=__doc__)
    parser.add_argument("action", nargs="?", choices=["up", "down"], default="up")
    action = parser.parse_args().action
    provider = providers.choose()
    if action == "down":
        provider.delete()
        return
    start = time.monotonic()
    try:
        show(provider)
    except (CommandError, TimeoutError) as error:
        sys.exit(f"\n✗ {error}\n  The cluster is still up: see README, 'When the demo fails'.")
    say(f"\nThe whole demo took {time.monotonic() - start:.0f} s.")


def show(provider: providers.Provider) -> None:
    """Every step of the demo, in order."""
    kubectl = set_up(provider)
    client = Client(kubectl, NAMESPACE)
    apply_gateway(kubectl, client)
    answer = classify(client)
    find_everywhere(kubectl, answer)
    prove_monitoring(kubectl, client)
    edit_slo(kubectl)
    refuse_bad_edit(kubectl)
    delete_gateway(kubectl)
    look_around(kubectl, provider)


def set_up(provider: providers.Provider) -> Kubectl:
    """From nothing to a cluster with monitoring and the operator; what is there stays."""
    with step("Parts: what the cluster is made of, built once"):
        provider.prepare("demo")
    with step("Images: operator and runtime, from the Dockerfiles"):
        provider.build_images()
    with step("Cluster: a real kubelet, API server, scheduler and containerd"):
        provider.create()
        provider.load_images()
    kubectl = Kubectl(provider.kubectl, providers.KUBECONFIG)
    with step("Platform: Prometheus Operator, Prometheus, Alertmanager; then the operator"):
        install_monitoring(kubectl, provider)
        install_operator(kubectl)
        wait_for_operator(kubectl)
        wait_for_monitoring(kubectl)
    return kubectl


def apply_gateway(kubectl: Kubectl, client: Client) -> None:
    """The model owner's part: apply one YAML, wait until it is Ready."""
    with step(f"Gateway: kubectl apply -f {SAMPLE}"):
        say((ROOT / SAMPLE).read_text().strip(), indent=2)
        if kubectl.get("namespace", NAMESPACE) is None:
            kubectl("create", "namespace", NAMESPACE)
        apply_sample(kubectl)
        client.start(RUNTIME_IMAGE)
        wait_until_ready(kubectl)
        say(kubectl("get", "igw", "-n", NAMESPACE).rstrip(), indent=1)
        say(children(kubectl), indent=1)


def apply_sample(kubectl: Kubectl) -> None:
    """Apply the sample, as its owner does."""
    kubectl("apply", "-n", NAMESPACE, "-f", str(SAMPLE))


def wait_until_ready(kubectl: Kubectl) -> None:
    """Wait as a user does: the condition, by name."""
    kubectl(
        "wait",
        "-n",
        NAMESPACE,
        "--for=condition=Ready",
        f"igw/{GATEWAY}",
        "--timeout=240s",
        timeout_seconds=260,
    )


def children(kubectl: Kubectl) -> str:
    """What the operator made of it."""
    kinds = (
        "deployment,service,configmap,serviceaccount,hpa,pdb,networkpolicy,"
        "servicemonitor,prometheusrule"
    )
    names = kubectl(
        "get", kinds, "-n", NAMESPACE, "-l", f"inference.igw.dev/gateway={GATEWAY}", "-o", "name"
    )
    return "It became: " + ", ".join(sorted(names.split()))


def classify(client: Client) -> Answer:
    """The application's part: post a photograph."""
    with step(f"Prediction: {PHOTOGRAPH.relative_to(ROOT)}, posted through the Service"):
        url = f"http://{GATEWAY}.{NAMESPACE}.svc/predict"
        answer = client.post(url, PHOTOGRAPH)
        result = answer.json
        if answer.status != 200:
            message = f"{url} answered {answer.status}: {answer.body}"
            raise CommandError(message)
        say(
            f"{result['prediction']}, confidence {result['confidence']:.3f}, "
            f"X-Request-ID {answer.request_id}",
            indent=1,
        )
    return answer


def find_everywhere(kubectl: Kubectl, answer: Answer) -> None:
    """The SRE's part: the same request in metrics, logs and traces."""
    with step("Observability: the same request in the log, the trace and Prometheus"):
        line = wait_for(
            "the request in a pod's log",
            lambda: log_line(kubectl, answer.request_id),
            timeout_seconds=20,
        )
        say(json.dumps(line), indent=1)
        trace_id = line["trace_id"]
        wait_for(
            f"trace {trace_id} in the collector's output",
            lambda: trace_id in collector_log(kubectl),
            timeout_seconds=90,
            every_seconds=2,
        )
        say(f"trace_id {trace_id}: found in the collector's output", indent=1)
        query = (
            f'sum(http_requests_total{{namespace="{NAMESPACE}",gateway="{GATEWAY}",'
            'endpoint="/predict",status="2xx"}) > 0'
        )
        (sample, *_) = wait_for(
            "the request in Prometheus",
            lambda: kubectl.prometheus(query) or None,
            timeout_seconds=90,
            every_seconds=2,
        )
        say(f"{query}  →  {sample['value'][1]}", indent=1)


def prove_monitoring(kubectl: Kubectl, client: Client) -> None:
    """The operator's part: Prometheus says what it scrapes and evaluates, and what is left."""
    with step("Proof: Prometheus scrapes it, evaluates its rules and has measured its budget"):
        url = f"http://{GATEWAY}.{NAMESPACE}.svc/predict"

        def proven() -> bool:
            # Between two scrapes: what was served before the first one is in no rate.
            client.post(url, PHOTOGRAPH)
            found = kubectl.condition("igw", GATEWAY, NAMESPACE, "SLOMet") or {}
            return found.get("status") == "True"

        wait_for("SLOMet to be True", proven, timeout_seconds=400, every_seconds=5)
        found = kubectl.condition("igw", GATEWAY, NAMESPACE, "MonitoringReady") or {}
        if found.get("status") != "True":
            message = f"MonitoringReady is {found}"
            raise CommandError(message)
        say(f"MonitoringReady: {found['message']}", indent=1)
        say(kubectl("get", "igw", "-n", NAMESPACE).rstrip(), indent=1)


def log_line(kubectl: Kubectl, request_id: str) -> dict[str, str] | None:
    """The prediction_completed line of a request, from whichever pod answered it."""
    logs = kubectl(
        "logs", "-n", NAMESPACE, "-l", selector("runtime"), "--tail=500", "--prefix=false"
    )
    for text in logs.splitlines():
        if request_id in text and "prediction_completed" in text:
            line: dict[str, str] = json.loads(text)
            return line
    return None


def collector_log(kubectl: Kubectl) -> str:
    """What the gateway's collector printed."""
    return kubectl("logs", "-n", NAMESPACE, "-l", selector("collector"), "--tail=5000")


def selector(component: str) -> str:
    """Label selector of the gateway's pods of one component."""
    return f"inference.igw.dev/gateway={GATEWAY},app.kubernetes.io/component={component}"


def edit_slo(kubectl: Kubectl) -> None:
    """An SRE edits one number: rules follow at once, no pod restarts."""
    with step("SLO edit: spec.slo.latency.threshold 300ms → 250ms"):
        before = pods(kubectl)
        patch_threshold(kubectl, "250ms")
        start = time.monotonic()
        wait_for(
            "the PrometheusRule to ask for le=0.25",
            lambda: 'le=\\"0.25\\"' in rules(kubectl) or 'le="0.25"' in rules(kubectl),
            timeout_seconds=RULES_DEADLINE_SECONDS,
            every_seconds=0.2,
        )
        say(f"PrometheusRule changed after {time.monotonic() - start:.1f} s", indent=1)
        time.sleep(5)
        if pods(kubectl) != before:
            message = f"pods changed: {before} → {pods(kubectl)}"
            raise CommandError(message)
        say(f"the same {len(before)} runtime pods, no restart", indent=1)


def patch_threshold(kubectl: Kubectl, threshold: str) -> None:
    """Edit the latency threshold as `kubectl patch` does."""
    patch = json.dumps({"spec": {"slo": {"latency": {"threshold": threshold}}}})
    kubectl("patch", "igw", GATEWAY, "-n", NAMESPACE, "--type=merge", "-p", patch)


def rules(kubectl: Kubectl) -> str:
    """The gateway's PrometheusRule as JSON text."""
    return kubectl(
        "get",
        "prometheusrule",
        "-n",
        NAMESPACE,
        "-l",
        f"inference.igw.dev/gateway={GATEWAY}",
        "-o",
        "json",
    )


def pods(kubectl: Kubectl) -> dict[str, int]:
    """The runtime's pods and how often each restarted."""
    return {
        pod["metadata"]["uid"]: sum(
            status["restartCount"] for status in pod["status"].get("containerStatuses", [])
        )
        for pod in kubectl.items("pods", NAMESPACE, selector("runtime"))
    }


def refuse_bad_edit(kubectl: Kubectl) -> None:
    """A mistake is told at once, and changes nothing."""
    with step("A mistake: spec.slo.availability.objective 100"):
        patch = json.dumps({"spec": {"slo": {"availability": {"objective": 100}}}})
        try:
            kubectl("patch", "igw", GATEWAY, "-n", NAMESPACE, "--type=merge", "-p", patch)
        except CommandError as error:
            say(str(error).split("exited with 1: ", 1)[-1], indent=1)
        else:
            message = "the API server accepted an objective of 100"
            raise CommandError(message)


def delete_gateway(kubectl: Kubectl) -> None:
    """Deleting the gateway leaves nothing behind."""
    with step("Delete: kubectl delete igw photos"):
        kubectl("delete", "igw", GATEWAY, "-n", NAMESPACE, "--timeout=60s")
        wait_for(
            "every child to be gone",
            lambda: not leftovers(kubectl),
            timeout_seconds=120,
        )
        say("everything that the gateway became is gone", indent=1)


def leftovers(kubectl: Kubectl) -> list[str]:
    """Objects with the gateway's label that still exist."""
    kinds = (
        "pods,deployment,replicaset,service,configmap,serviceaccount,hpa,pdb,networkpolicy,"
        "servicemonitor,prometheusrule"
    )
    return kubectl(
        "get", kinds, "-n", NAMESPACE, "-l", f"inference.igw.dev/gateway={GATEWAY}", "-o", "name"
    ).split()


def look_around(kubectl: Kubectl, provider: providers.Provider) -> None:
    """Put the gateway back and say where to go from here."""
    with step("Back again, for you to look around"):
        apply_sample(kubectl)
        wait_until_ready(kubectl)
    shown = Path(provider.kubectl).name
    alias = "" if shown == provider.kubectl else f"alias kubectl={provider.kubectl}; "
    for line in (
        f"{alias}export KUBECONFIG={providers.KUBECONFIG}",
        "kubectl get igw -A -o wide",
        "kubectl describe igw photos -n demo",
        "kubectl port-forward -n demo service/photos 8080:80 &",
        "curl -s -T tests/pictures/chelsea.jpg -X POST 127.0.0.1:8080/predict",
        "kubectl edit igw photos -n demo       # change spec.slo and watch the rules follow",
        "make demo-down                        # ends the cluster",
    ):
        say(line, indent=1)


if __name__ == "__main__":
    main()
