"""MonitoringReady: whether a Prometheus scrapes the pods and evaluates the rules.

And whether the pods follow the live settings: with buckets of before, what it evaluates is not
what is asked for. Only they say which settings they follow, and only Prometheus hears it.

It cannot make a gateway unready: it answers just as well while nobody watches it. And it is
never True from the objects alone: a Prometheus selects monitors and rules by labels and
namespaces, and silently leaves the others out (prometheus-operator#5917, kserve#3696). An SRE
who reads True goes to sleep, so only what Prometheus itself answers makes it True. That nobody
answers proves nothing either way.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Final

from igw_operator import conventions
from igw_operator.api.objects import Gateway, ObjectKey
from igw_operator.judge import prose
from igw_operator.judge.children import check_children
from igw_operator.judge.finding import Finding, Truth, Verdict, first_finding, say, say_blocked
from igw_operator.judge.reasons import Reason
from igw_operator.judge.scene import Concern, Scene
from igw_operator.judge.snapshot import Reading

_OPERATOR_CRDS: Final = (
    ("service_monitors", "servicemonitors.monitoring.coreos.com"),
    ("prometheus_rules", "prometheusrules.monitoring.coreos.com"),
)
# These may be a matter of a minute or two, in which configuration is on its way: what is said then.
_PENDING: Final = {
    Reason.TARGET_MISSING: Reason.AWAITING_PROMETHEUS,
    Reason.RULES_NOT_LOADED: Reason.AWAITING_PROMETHEUS,
    Reason.SETTINGS_NOT_IN_FORCE: Reason.AWAITING_SETTINGS,
    Reason.OPERATOR_NOT_SCRAPED: Reason.AWAITING_PROMETHEUS,
    Reason.NAMESPACE_ENFORCED: Reason.AWAITING_PROMETHEUS,
}
FROM_READINGS: Final = frozenset(
    {
        Reason.MONITORED,
        Reason.PROMETHEUS_NOT_FOUND,
        Reason.PROMETHEUS_UNREACHABLE,
        Reason.NOT_SELECTED,
        Reason.TARGET_DOWN,
        Reason.RULES_FAILING,
        *_PENDING.keys(),
        *_PENDING.values(),
    }
)
"""Reasons that stay as they are for as long as a new process has no reading."""
_MOST_FAULTS: Final = 4
_LOOK_AT_SELECTORS: Final = (
    "kubectl get prometheus -A -o yaml | grep -A5 -E '(serviceMonitor|rule).*Selector'"
)
_SET_ADDRESS: Final = (
    "kubectl set env -n igw-system deployment/igw-operator "
    "IGW_PROMETHEUS_URL=http://prometheus.monitoring.svc:9090"
)


def judge_monitoring(
    scene: Scene, gateway: Gateway, before: Mapping[str, Any], carried: Verdict | None
) -> Verdict:
    """The verdict; ``before`` is the condition that it follows, ``carried`` what it said."""
    blocked = check_children(scene, Concern.MONITORING)
    if not gateway.spec.observability.metrics.enabled:
        if blocked is not None:  # what is not wanted any more cannot be removed
            return say_blocked(blocked)
        text = "spec.observability.metrics.enabled is false: nothing is scraped, nobody is paged"
        return say(Truth.FALSE, Reason.MONITORING_DISABLED, text)
    capabilities = scene.snapshot.capabilities
    missing = [crd for flag, crd in _OPERATOR_CRDS if not getattr(capabilities, flag)]
    if missing:
        text = f"No SLO rules or no scraping: the cluster does not serve {' and '.join(missing)}"
        command = f"kubectl get crd {' '.join(missing)}"
        return say(Truth.FALSE, Reason.PROMETHEUS_OPERATOR_MISSING, text, command)
    if blocked is not None:
        return say_blocked(blocked)
    reading = scene.snapshot.reading
    if reading is None:
        text = (
            "ServiceMonitor and PrometheusRule are applied; "
            "no Prometheus has been asked yet what it makes of them"
        )
        return carried or say(Truth.UNKNOWN, Reason.NOT_VERIFIED, text, _LOOK_AT_SELECTORS)
    return judge_reading(
        gateway.key, gateway.spec.slo.window.text, reading, str(before.get("reason") or "")
    )


def judge_reading(
    key: ObjectKey, window: str, reading: Reading, reason_before: str = ""
) -> Verdict:
    """What a reading says of a gateway, its SLO window, and the reason that stood there before.

    What may be on its way is not known yet; once it is overdue it is False, and stays so until
    something else is the matter: also for an operator that has just begun to wait.
    """
    view = _View(key, reading)
    if reading.is_proof:
        text = f"{reading.server} scrapes every pod and evaluates the rules"
        return say(Truth.TRUE, Reason.MONITORED, text + _warn_of_retention(window, reading))
    if unknown := first_finding(_UNKNOWN, view):
        return Verdict(truth=Truth.UNKNOWN, finding=unknown)
    finding = first_finding(_WRONG, view)
    if finding is None:
        text = f"{reading.server} has the rules, and no replica has been ready for two minutes"
        command = f"kubectl get igw {key.name} -n {key.namespace}"
        return say(Truth.UNKNOWN, Reason.AWAITING_PROMETHEUS, text, command)
    is_over = reading.is_overdue or reason_before == finding.reason
    if finding.reason in _PENDING and not is_over:
        waiting = replace(finding, reason=_PENDING[finding.reason])
        return Verdict(truth=Truth.UNKNOWN, finding=waiting)
    return Verdict(truth=Truth.FALSE, finding=finding)


@dataclass(frozen=True, slots=True)
class _View:
    """A gateway and its reading, as the policies below look at them."""

    key: ObjectKey
    reading: Reading

    @property
    def namespace(self) -> str:
        """The gateway's."""
        return self.key.namespace

    def child_name(self, suffix: str = "") -> str:
        """Name of a child object; see `conventions.child_name`."""
        return conventions.child_name(self.key.name, suffix)


def _check_is_there(view: _View) -> Finding | None:
    if view.reading.server:
        return None
    return Finding(
        reason=Reason.PROMETHEUS_NOT_FOUND,
        text="There is no Prometheus object, and the operator was told no address",
        command=_SET_ADDRESS,
    )


def _check_answers(view: _View) -> Finding | None:
    if not view.reading.error:
        return None
    return Finding(
        reason=Reason.PROMETHEUS_UNREACHABLE,
        text=f"{view.reading.server} does not answer the operator: "
        f"{prose.tidy(view.reading.error)}",
        command="kubectl get pods -A -l app.kubernetes.io/name=prometheus",
    )


def _check_selection(view: _View) -> Finding | None:
    faults = view.reading.faults
    if not faults:
        return None
    more = f"; and {len(faults) - _MOST_FAULTS} more" if len(faults) > _MOST_FAULTS else ""
    return Finding(
        reason=Reason.NOT_SELECTED,
        text=f"{'; '.join(faults[:_MOST_FAULTS])}{more}",
        command=_LOOK_AT_SELECTORS,
    )


def _check_scrapes(view: _View) -> Finding | None:
    if not view.reading.down:
        return None
    pod, error = view.reading.down[0]
    words = f": {prose.tidy(error)}" if error else ""
    return Finding(
        reason=Reason.TARGET_DOWN,
        text=f"{view.reading.server} cannot scrape {_name(view.reading.down, pod)}{words}",
        command=f"kubectl describe networkpolicy -n {view.namespace}",
    )


def _check_targets(view: _View) -> Finding | None:
    silent = view.reading.silent
    if not silent:
        return None
    monitor = view.child_name()
    return Finding(
        reason=Reason.TARGET_MISSING,
        text=f"{view.reading.server} does not scrape {_name(silent, silent[0])} "
        f"of ServiceMonitor {monitor}",
        command=f"kubectl describe servicemonitor {monitor} -n {view.namespace}",
    )


def _check_evaluation(view: _View) -> Finding | None:
    if not view.reading.rule_error:
        return None
    rule = view.child_name("slo")
    return Finding(
        reason=Reason.RULES_FAILING,
        text=f"{view.reading.server} cannot evaluate PrometheusRule {rule}: "
        f"{prose.tidy(view.reading.rule_error)}",
        command=f"kubectl get prometheusrule {rule} -n {view.namespace} -o yaml",
    )


def _check_rules(view: _View) -> Finding | None:
    missing = [slo.name for slo in view.reading.slos if not slo.is_recorded]
    if not missing:
        return None
    rule = view.child_name("slo")
    return Finding(
        reason=Reason.RULES_NOT_LOADED,
        text=f"{view.reading.server} has not recorded the objective of {' and '.join(missing)} "
        f"that PrometheusRule {rule} has now",
        command=f"kubectl describe prometheusrule {rule} -n {view.namespace}",
    )


def _check_settings(view: _View) -> Finding | None:
    outdated = view.reading.outdated
    if not outdated:
        return None
    config = view.child_name("config")
    verb = "follow" if len(outdated) > 1 else "follows"
    return Finding(
        reason=Reason.SETTINGS_NOT_IN_FORCE,
        text=f"{_name(outdated, outdated[0])} {verb} other live settings than ConfigMap {config} "
        f"has, as {view.reading.server} knows it",
        command=f"kubectl logs {outdated[0]} -n {view.namespace} | grep settings_",
    )


def _check_operator(view: _View) -> Finding | None:
    reading = view.reading
    if reading.knows_operator:
        return None
    metric = conventions.METRIC_DESIRED_REPLICAS
    if reading.enforced:
        return Finding(
            reason=Reason.NAMESPACE_ENFORCED,
            text=f"{reading.server} lacks {metric} of the gateway, because its "
            "spec.enforcedNamespaceLabel overwrites the operator's labels: name the operator's "
            "ServiceMonitor in spec.excludedFromEnforcement",
            command="kubectl get prometheus -A -o yaml | grep -A6 -E 'enforcedNamespace|excluded'",
        )
    return Finding(
        reason=Reason.OPERATOR_NOT_SCRAPED,
        text=f"{reading.server} lacks {metric} of the gateway: the operator is not scraped, so "
        "that alerts about missing metrics cannot tell what should run",
        command="kubectl get servicemonitor -A -l app.kubernetes.io/name=igw-operator",
    )


_UNKNOWN: Final = (_check_is_there, _check_answers)
# Causes before their effects: what is not selected is not scraped either.
_WRONG: Final = (
    _check_selection,
    _check_scrapes,
    _check_targets,
    _check_evaluation,
    _check_rules,
    _check_settings,
    _check_operator,
)


def _name(pods: tuple[Any, ...], first: str) -> str:
    more = len(pods) - 1
    return f"Pod {first} and {prose.counted(more, 'other')}" if more else f"Pod {first}"


def _warn_of_retention(window: str, reading: Reading) -> str:
    if not reading.retention:
        return ""
    return (
        f"; but it keeps samples for {reading.retention} only, so that the budget of "
        f"{window} is that of {reading.retention}"
    )
