"""Ready and Available: is the gateway as it is asked for, and does it answer at all?

They are two questions. *Ready* compares with the spec: every asked replica runs the asked
revision. *Available* looks at the present: some replica, of whatever revision, answers. So a
gateway with zero replicas on request is Ready (the wish is fulfilled, `kubectl wait` and
GitOps tools go on) and not Available (nothing serves), and one whose new image cannot be
pulled is not Ready and Available.
"""

from __future__ import annotations

import re
from typing import Final

from igw_operator import conventions
from igw_operator.errors import AmbiguousDefaultError, SpecError
from igw_operator.judge.children import check_children
from igw_operator.judge.diagnosis import diagnose
from igw_operator.judge.finding import Finding, Policy, Truth, Verdict, first_finding
from igw_operator.judge.prose import counted
from igw_operator.judge.reasons import SEVERITY, STALLED, Reason
from igw_operator.judge.scene import Concern, Scene
from igw_operator.judge.workload import Workload
from igw_operator.plan.scaling import choose_scaling

_MODEL_NAME: Final = re.compile(r"spec\.(model|additionalModels\[\d+\])\.name")
_ABOUT_RUNTIME: Final = {
    Reason.RUNTIME_NOT_FOUND,
    Reason.AMBIGUOUS_DEFAULT,
    Reason.INVALID_RUNTIME,
}


def judge_ready(scene: Scene) -> Verdict:
    """True only when nothing at all speaks against it."""
    finding = first_finding(_CHAIN, scene)
    if finding is not None:
        return Verdict(truth=Truth.FALSE, finding=finding)
    wanted = scene.server.wanted if scene.server is not None else 0
    if wanted == 0:
        text = f"Gateway {scene.name} has 0 replicas, as asked for: nothing answers"
        return Verdict(truth=Truth.TRUE, finding=Finding(reason=Reason.SCALED_TO_ZERO, text=text))
    text = f"{wanted} of {counted(wanted, 'replica')} ready"
    return Verdict(truth=Truth.TRUE, finding=Finding(reason=Reason.SERVING, text=text))


def is_stalled(scene: Scene, ready: Verdict) -> bool:
    """Whether waiting cannot cure what keeps a gateway from being Ready."""
    reason = ready.finding.reason
    gave_up = scene.server is not None and scene.server.has_exceeded_its_deadline
    return reason in STALLED or (gave_up and reason in SEVERITY)


def judge_available(scene: Scene, ready: Verdict) -> Verdict:
    """True while at least one replica answers."""
    server = scene.server
    if server is not None and server.available > 0:
        text = f"{server.available} of {counted(server.wanted, 'replica')} available"
        full = server.available >= server.wanted
        reason = Reason.SERVING if full else Reason.PARTIAL_CAPACITY
        return Verdict(truth=Truth.TRUE, finding=Finding(reason=reason, text=text))
    finding = Finding(
        reason=ready.finding.reason,
        text=f"No replica is available. {ready.finding.text}",
        command=ready.finding.command,
    )
    return Verdict(truth=Truth.FALSE, finding=finding)


def _check_deletion(scene: Scene) -> Finding | None:
    if not scene.snapshot.manifest["metadata"].get("deletionTimestamp"):
        return None
    return Finding(
        reason=Reason.DELETING, text=f"Gateway {scene.name} and its objects are being deleted"
    )


def _check_spec(scene: Scene) -> Finding | None:
    """The request must make sense, together with the runtime that it names."""
    snapshot, error = scene.snapshot, scene.snapshot.spec_error
    if error is not None:
        reason = _reason_of_spec(error, is_parsed=snapshot.gateway is not None)
        about_runtime = reason in _ABOUT_RUNTIME
        edit = f"kubectl edit igw {scene.name} -n {scene.namespace}"
        return Finding(
            reason=reason,
            text=str(error),
            command="kubectl get igwr" if about_runtime else edit,
        )
    if snapshot.runtime is None:
        return Finding(
            reason=Reason.RUNTIME_NOT_FOUND,
            text="No InferenceRuntime serves this gateway",
            command="kubectl get igwr",
        )
    return None


def _reason_of_spec(error: SpecError, *, is_parsed: bool) -> Reason:
    path = error.errors[0].path
    if isinstance(error, AmbiguousDefaultError):
        return Reason.AMBIGUOUS_DEFAULT
    if is_parsed and path.startswith("spec.runtimeRef"):
        invalid = isinstance(error.__cause__, SpecError)
        return Reason.INVALID_RUNTIME if invalid else Reason.RUNTIME_NOT_FOUND
    if is_parsed and _MODEL_NAME.fullmatch(path):
        return Reason.MODEL_NOT_FOUND
    return Reason.INVALID_SPEC


def _check_children(scene: Scene) -> Finding | None:
    return check_children(scene, Concern.SERVING)


def _check_server(scene: Scene) -> Finding | None:
    if scene.server is None:
        return Finding(
            reason=Reason.APPLYING, text=f"Deployment {scene.child_name()} does not exist yet"
        )
    if scene.server.is_complete:
        return None
    return diagnose(scene.server, scene.now) or _check_progress(scene.server)


def _check_progress(server: Workload) -> Finding:
    """Nothing is known to be wrong, so it only takes time."""
    if not server.is_observed:
        text = "its last change has not been picked up yet"
    elif server.replicas != server.updated or server.updated != server.wanted:
        text = (
            f"{server.updated} of {counted(server.wanted, 'replica')} up to date, "
            f"{server.replicas - server.updated} outdated, {server.available} available"
        )
    elif server.ready != server.wanted:
        text = f"{server.ready} of {counted(server.wanted, 'replica')} ready"
    elif server.available != server.wanted:
        text = f"{counted(server.wanted, 'replica')} ready, {server.available} for long enough"
    else:
        text = "all replicas are available, its controller has yet to say that it is complete"
    command = f"kubectl rollout status deployment/{server.name} -n {server.namespace}"
    fetching = [
        (pod, container)
        for pod in server.pods
        for container in pod.containers
        if container.name.partition("-")[0] == conventions.CONTAINER_FETCH
        and container.running_since is not None
    ]
    if fetching:
        # It may take many minutes, and its log says what it waits for.
        pod, container = fetching[0]
        text += f"; pod {pod.name} still fetches the model"
        command = pod.logs(container)
    return Finding(
        reason=Reason.REPLICAS_STARTING if server.is_rolled_out else Reason.PROGRESSING,
        text=f"Deployment {server.name}: {text}",
        command=command,
    )


def _check_bounds(scene: Scene) -> Finding | None:
    """The autoscaler takes a while to obey new bounds; until then the old number is no success."""
    gateway, server = scene.snapshot.gateway, scene.server
    scaling = choose_scaling(gateway.spec) if gateway is not None else None
    if scaling is None or server is None:
        return None
    if scaling.min_replicas <= server.wanted <= scaling.max_replicas:
        return None
    name, namespace = server.name, scene.namespace
    if server.wanted == 0:
        return Finding(
            reason=Reason.AUTOSCALER_OFF,
            text=f"Deployment {name} was scaled to 0, which switches its autoscaler off",
            command=f"kubectl scale deployment {name} -n {namespace} "
            f"--replicas={scaling.min_replicas}",
        )
    return Finding(
        reason=Reason.SCALING,
        text=f"Deployment {name} has {counted(server.wanted, 'replica')}, "
        f"{scaling.min_replicas} to {scaling.max_replicas} are asked for",
        command=f"kubectl describe hpa {name} -n {namespace}",
    )


_CHAIN: Final[tuple[Policy[Scene], ...]] = (
    _check_deletion,  # what is on its way out is judged no further
    _check_spec,  # a request that makes no sense cannot be fulfilled
    _check_children,  # every object that serving needs is written, and live as written
    _check_server,  # the Deployment is complete, or its worst pod says why not
    _check_bounds,  # and complete with a number of replicas that was asked for
)
