from __future__ import annotations

from typing import Any

import pytest

from igw_operator import conventions
from plan_kit.children import build, container, pod_spec

KEY = ("Deployment", "photos")


@pytest.mark.parametrize("name", ["photos", "photos-collector"])
def test_meets_the_restricted_pod_security_standard(name: str) -> None:
    """Every pod runs as nobody, on a read-only root, without a capability or a token."""
    deployment = build()["Deployment", name]
    pod, security = pod_spec(deployment), container(deployment)["securityContext"]
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert pod["securityContext"]["runAsUser"] == 65532
    assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert pod["automountServiceAccountToken"] is False
    assert security["allowPrivilegeEscalation"] is False
    assert security["readOnlyRootFilesystem"] is True
    assert security["capabilities"] == {"drop": ["ALL"]}


def test_leaves_replicas_to_the_autoscaler() -> None:
    """With scaling, the number of replicas is not the operator's to say."""
    assert build()[KEY]["spec"]["replicas"] is None


@pytest.mark.parametrize("replicas", [0, 1, 5])
def test_writes_fixed_replicas(replicas: int) -> None:
    """A fixed number of replicas is written, also none."""
    assert build(replicas=replicas)[KEY]["spec"]["replicas"] == replicas


def test_runs_the_entrypoint_of_the_image() -> None:
    """The image's own entry point is PID 1, so that it gets SIGTERM."""
    runtime = container(build()[KEY])
    assert "command" not in runtime
    assert runtime["args"] == ["serve", "--config", "/etc/igw/runtime.json"]


def test_mounts_the_settings_as_a_directory() -> None:
    """A subPath mount would never see a live update."""
    deployment = build()[KEY]
    (mount,) = (m for m in container(deployment)["volumeMounts"] if m["name"] == "config")
    assert mount == {"name": "config", "mountPath": "/etc/igw", "readOnly": True}
    assert {"name": "config", "configMap": {"name": "photos-config"}} in pod_spec(deployment)[
        "volumes"
    ]


def test_mounts_a_claim_read_only() -> None:
    """A model in a volume is mounted where the settings say that it lies."""
    deployment = build(model={"name": "m", "uri": "pvc://models/a/b"})[KEY]
    assert {
        "name": "models",
        "persistentVolumeClaim": {"claimName": "models", "readOnly": True},
    } in pod_spec(deployment)["volumes"]
    assert {"name": "models", "mountPath": "/mnt/models", "readOnly": True} in container(
        deployment
    )["volumeMounts"]


@pytest.mark.parametrize(
    ("serving", "seconds"),
    [({}, 50), ({"drain": "500ms", "timeout": "1500ms"}, 12), ({"drain": "1m"}, 100)],
    ids=["default", "fractions are rounded up", "longer drain"],
)
def test_gives_time_to_drain_finish_and_flush(serving: dict[str, Any], seconds: int) -> None:
    """No pod is killed while it drains, finishes its last request or flushes its spans."""
    assert pod_spec(build(serving=serving)[KEY])["terminationGracePeriodSeconds"] == seconds


def test_gives_up_a_start_before_the_rollout_does() -> None:
    """A model may load for minutes, yet the rollout's deadline comes after the probe's."""
    deployment = build()[KEY]
    probe = container(deployment)["startupProbe"]
    budget = probe["periodSeconds"] * probe["failureThreshold"]
    assert 300 < budget < deployment["spec"]["progressDeadlineSeconds"]


@pytest.mark.pain(10)
def test_never_serves_with_fewer_replicas_during_a_rollout() -> None:
    """A new replica is ready before an old one goes."""
    strategy = build()[KEY]["spec"]["strategy"]
    assert strategy["rollingUpdate"] == {"maxSurge": "25%", "maxUnavailable": 0}


@pytest.mark.pain(10)
def test_is_ready_when_the_runtime_says_so() -> None:
    """An open port is no loaded model: both probes of readiness ask for /ready."""
    for name in ("startupProbe", "readinessProbe"):
        probe = container(build()[KEY])[name]
        assert probe["httpGet"] == {"path": "/ready", "port": "http"}
        assert not {"tcpSocket", "exec", "grpc"} & probe.keys()


def test_a_crash_leaves_its_last_line() -> None:
    """In the pod's status, so that nobody needs the right to read logs; of the collector too."""
    for name in ("photos", "photos-collector"):
        policy = container(build()["Deployment", name])["terminationMessagePolicy"]
        assert policy == "FallbackToLogsOnError"


@pytest.mark.parametrize(
    "spec",
    [
        {"model": {"name": "other"}},
        {"model": {"name": "resnet50", "version": "2"}},
        {"serving": {"maxQueue": 7}},
        {"serving": {"grpc": True}},
        {"observability": {"collector": {"mode": "Disabled"}}},
    ],
    ids=["model", "version", "serving", "grpc", "collector"],
)
def test_rolls_pods_for_a_static_setting(spec: dict[str, Any]) -> None:
    """What the runtime reads only at its start changes the pod template."""
    hashes = {
        build(**arguments)[KEY]["spec"]["template"]["metadata"]["annotations"][
            conventions.ANNOTATION_CONFIG_HASH
        ]
        for arguments in ({}, spec)
    }
    assert len(hashes) == 2


def test_pulls_as_the_runtime_says() -> None:
    """Image, policy and secrets are the InferenceRuntime's."""
    deployment = build(
        runtime={
            "image": "example.org/r:1",
            "imagePullPolicy": "Always",
            "imagePullSecrets": ["a", "b"],
        }
    )[KEY]
    assert container(deployment)["image"] == "example.org/r:1"
    assert container(deployment)["imagePullPolicy"] == "Always"
    assert pod_spec(deployment)["imagePullSecrets"] == [{"name": "a"}, {"name": "b"}]


def test_serves_tls_from_a_secret() -> None:
    """A directory, so that a renewal arrives; probes speak TLS as everybody does."""
    deployment = build(serving={"tls": {"secretName": "photos-tls"}})[KEY]
    runtime = container(deployment)

    assert {"name": "tls", "secret": {"secretName": "photos-tls"}} in pod_spec(deployment)[
        "volumes"
    ]
    assert {"name": "tls", "mountPath": "/etc/igw-tls", "readOnly": True} in runtime["volumeMounts"]
    probes = [runtime[f"{kind}Probe"] for kind in ("startup", "readiness", "liveness")]
    assert [probe["httpGet"]["scheme"] for probe in probes] == ["HTTPS"] * 3


def test_writes_nothing_of_tls_where_nobody_asks_for_it() -> None:
    """One more word in the template would restart every pod of the fleet."""
    runtime = container(build()[KEY])

    assert "scheme" not in runtime["readinessProbe"]["httpGet"]
    assert [mount["name"] for mount in runtime["volumeMounts"]] == ["config", "tmp"]
