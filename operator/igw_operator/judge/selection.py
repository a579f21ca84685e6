"""Whether a Prometheus object selects a ServiceMonitor or a PrometheusRule, and if not, why.

The Prometheus Operator leaves out what is not selected without a word, so this is what stands
between "nothing is scraped" and "label release is missing". Evaluated as it evaluates: an absent
selector takes nothing, an empty one everything, and an absent *namespace* selector takes the
Prometheus' own namespace only.
https://prometheus-operator.dev/docs/api-reference/api/#monitoring.coreos.com/v1.CommonPrometheusFields
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

_SELECTORS: Final = {
    "ServiceMonitor": ("serviceMonitorSelector", "serviceMonitorNamespaceSelector"),
    "PrometheusRule": ("ruleSelector", "ruleNamespaceSelector"),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Selectable:
    """One object that a Prometheus should select."""

    kind: str
    namespace: str
    name: str
    labels: Mapping[str, str]

    def __str__(self) -> str:
        return f"{self.kind} {self.name}"


def find_faults(
    prometheus: Mapping[str, Any],
    wanted: Selectable,
    namespace_labels: Mapping[str, str] | None,
) -> tuple[str, ...]:
    """Why a Prometheus object leaves an object out, a sentence for each; none: it takes it.

    ``namespace_labels`` are those of the object's namespace; None: nobody knows them, and what
    only they could tell is no fault.
    """
    spec = prometheus.get("spec") or {}
    by_label, by_namespace = _SELECTORS[wanted.kind]
    return tuple(
        f"{name_of(prometheus)} does not select {wanted}: {fault}"
        for fault in (
            *_check_labels(spec, by_label, wanted),
            *_check_namespace(prometheus, by_namespace, wanted, namespace_labels),
        )
    )


def name_of(prometheus: Mapping[str, Any]) -> str:
    """How messages call a Prometheus object."""
    metadata = prometheus["metadata"]
    return f"Prometheus {metadata.get('namespace', '')}/{metadata['name']}"


def _check_labels(spec: Mapping[str, Any], field: str, wanted: Selectable) -> Iterator[str]:
    selector = spec.get(field)
    if selector is None:
        yield f"its spec.{field} is absent, which selects nothing"
        return
    for want in find_unmet(selector, wanted.labels):
        yield f"its spec.{field} wants {want}"


def _check_namespace(
    prometheus: Mapping[str, Any],
    field: str,
    wanted: Selectable,
    labels: Mapping[str, str] | None,
) -> Iterator[str]:
    selector = (prometheus.get("spec") or {}).get(field)
    own = prometheus["metadata"].get("namespace", "")
    if selector is None:
        if own != wanted.namespace:
            yield f"its spec.{field} is absent, which selects namespace {own} only"
        return
    if labels is None:
        return
    for want in find_unmet(selector, labels, f" on namespace {wanted.namespace}"):
        yield f"its spec.{field} wants {want}"


def find_unmet(
    selector: Mapping[str, Any], labels: Mapping[str, str], where: str = ""
) -> list[str]:
    """The requirements of a label selector that labels do not meet, as people read them."""
    equal = (selector.get("matchLabels") or {}).items()
    unmet = [
        f"label {key}={value}{where}{_tell(labels, key)}"
        for key, value in sorted(equal)
        if labels.get(key) != value
    ]
    for rule in selector.get("matchExpressions") or ():
        key, operator, values = rule["key"], rule["operator"], rule.get("values") or ()
        if not _holds(operator, labels.get(key), values):
            unmet.append(f"label {_render(key, operator, values)}{where}{_tell(labels, key)}")
    return unmet


def _holds(operator: str, value: str | None, values: Sequence[str]) -> bool:
    """As Kubernetes decides it; an operator that it does not know matches nothing."""
    return {
        "In": value is not None and value in values,
        "NotIn": value is None or value not in values,
        "Exists": value is not None,
        "DoesNotExist": value is None,
    }.get(operator, False)


def _render(key: str, operator: str, values: Sequence[str]) -> str:
    if operator in {"In", "NotIn"}:
        return f"{key} {'in' if operator == 'In' else 'not in'} ({', '.join(values)})"
    words = {"Exists": f"{key} to exist", "DoesNotExist": f"{key} to be absent"}
    return words.get(operator, f"{key} {operator}, which is no operator")


def _tell(labels: Mapping[str, str], key: str) -> str:
    return f", not {labels[key]!r}" if key in labels else ", which is not there"
