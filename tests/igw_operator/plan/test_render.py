from __future__ import annotations

from factories import a_runtime, gateway_manifest
from igw_operator import conventions
from igw_operator.api.objects import parse_gateway
from igw_operator.plan.inputs import Defaults
from igw_operator.plan.render import render
from plan_kit.children import EVERY_API


def test_renders_a_gateway_from_a_file() -> None:
    """A file's gateway has no uid: its children are complete but for their owner."""
    gateway = parse_gateway(gateway_manifest())
    for child in render(gateway, a_runtime(), EVERY_API, Defaults()):
        assert "ownerReferences" not in child["metadata"]
        assert conventions.ANNOTATION_APPLIED_HASH in child["metadata"]["annotations"]
