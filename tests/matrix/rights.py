"""The operator's rights, one by one: to take one away for a while, and to look for the cry."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any, Final

import yaml

from integration.cluster import OPERATOR_USER, Manifest, wait_for
from integration.operator_process import ROOT
from matrix.rig import WAIT_SECONDS, Rig

_FILE: Final = ROOT / "manifests" / "base" / "operator-rbac.yaml"
_REVIEWS: Final = "/apis/authorization.k8s.io/v1/subjectaccessreviews"
_NAMESPACE: Final = "igw-system"


@dataclass(frozen=True, slots=True, order=True)
class Right:
    """One verb on one resource, as a rule of a role grants it."""

    role: str
    group: str
    resource: str
    verb: str

    def __str__(self) -> str:
        return f"{self.verb} {self.resource}"

    @property
    def refusal(self) -> str:
        """What the API server says to whoever lacks it."""
        return f'cannot {self.verb} resource "{self.resource}"'


def shipped_rights() -> list[Right]:
    """Every right that the manifests give."""
    return sorted(
        Right(role["kind"], group, resource, verb)
        for role in _read_roles()
        for rule in role["rules"]
        for group in rule["apiGroups"]
        for resource in rule["resources"]
        for verb in rule["verbs"]
    )


@contextmanager
def without(rig: Rig, *rights: Right) -> Iterator[None]:
    """Take rights away for a while, all others stay; wait until it is so, and until it is over."""
    changed = [role for role in _read_roles() if role["kind"] in {it.role for it in rights}]
    with ExitStack() as stack:
        for role in changed:
            stack.callback(rig.cluster.apply, role)
            rules = [part for rule in role["rules"] for part in _split(rule, role["kind"], rights)]
            rig.cluster.apply({**role, "rules": rules})
        for right in rights:
            _wait_until(rig, right, is_allowed=False)
        yield
    for right in rights:
        _wait_until(rig, right, is_allowed=True)


def _read_roles() -> list[Manifest]:
    manifests = yaml.safe_load_all(_FILE.read_text())
    return [it for it in manifests if it["kind"] in {"ClusterRole", "Role"}]


def _split(rule: Manifest, role: str, rights: tuple[Right, ...]) -> Iterator[Manifest]:
    """The rule as one rule for each of its resources, less the rights."""
    for group in rule["apiGroups"]:
        for resource in rule["resources"]:
            left = [it for it in rule["verbs"] if Right(role, group, resource, it) not in rights]
            if left:
                yield {**rule, "apiGroups": [group], "resources": [resource], "verbs": left}


def _wait_until(rig: Rig, right: Right, *, is_allowed: bool) -> None:
    what = f"it to be {'allowed' if is_allowed else 'forbidden'} to {right}"
    wait_for(lambda: _is_allowed(rig, right) == is_allowed, what, WAIT_SECONDS)


def _is_allowed(rig: Rig, right: Right) -> bool:
    resource, _, subresource = right.resource.partition("/")
    about: dict[str, Any] = {
        "group": right.group,
        "resource": resource,
        "subresource": subresource,
        "verb": right.verb,
        "namespace": _NAMESPACE if right.role == "Role" else "",
        "name": "igw-operator" if right.resource == "leases" else "",
    }
    review = {
        "apiVersion": "authorization.k8s.io/v1",
        "kind": "SubjectAccessReview",
        "spec": {
            "user": OPERATOR_USER,
            "groups": ["system:serviceaccounts", "system:authenticated"],
            "resourceAttributes": {name: value for name, value in about.items() if value},
        },
    }
    return bool(rig.cluster.request("POST", _REVIEWS, review)["status"]["allowed"])
