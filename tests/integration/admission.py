"""A platform's policy that denies objects of a kind, as people have it in their clusters."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from igw_operator.kinds import Resource
from integration.cluster import Manifest, RefusedError, wait_for
from integration.conftest import Place

_PATH = "/apis/admissionregistration.k8s.io/v1"
_PLURALS = {
    "ValidatingAdmissionPolicy": "validatingadmissionpolicies",
    "ValidatingAdmissionPolicyBinding": "validatingadmissionpolicybindings",
}


@contextmanager
def denying(place: Place, resource: Resource, words: str) -> Iterator[None]:
    """While the block runs, a namespace takes no object of a kind, and says these words."""
    manifests = list(_build(place.namespace, resource, words))
    for manifest in manifests:
        place.cluster.request("POST", f"{_PATH}/{_PLURALS[manifest['kind']]}", manifest)
    try:
        wait_for(lambda: _is_denied(place, resource, words), "the policy to be in force", 60)
        yield
    finally:
        for manifest in reversed(manifests):
            path = f"{_PATH}/{_PLURALS[manifest['kind']]}/{place.namespace}"
            place.cluster.request("DELETE", path)


def _build(namespace: str, resource: Resource, words: str) -> Iterator[Manifest]:
    common = {"apiVersion": "admissionregistration.k8s.io/v1", "metadata": {"name": namespace}}
    rule = {
        "apiGroups": [resource.group],
        "apiVersions": [resource.version],
        "operations": ["CREATE", "UPDATE"],
        "resources": [resource.plural],
    }
    policy: Manifest = {
        "matchConstraints": {"resourceRules": [rule]},
        "validations": [{"expression": "false", "message": words}],
    }
    labels = {"kubernetes.io/metadata.name": namespace}
    binding: Manifest = {
        "policyName": namespace,
        "validationActions": ["Deny"],
        "matchResources": {"namespaceSelector": {"matchLabels": labels}},
    }
    yield common | {"kind": "ValidatingAdmissionPolicy", "spec": policy}
    yield common | {"kind": "ValidatingAdmissionPolicyBinding", "spec": binding}


def _is_denied(place: Place, resource: Resource, words: str) -> bool:
    """Whether an object that is in all else valid is denied; it is only tried."""
    probe = {
        "apiVersion": resource.api_version,
        "kind": resource.kind,
        "metadata": {"name": "probe"},
        "spec": {},
    }
    try:
        place.cluster.request("POST", resource.path(place.namespace), probe, dryRun="All")
    except RefusedError as error:
        return words in error.message
    return False
