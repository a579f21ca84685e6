"""Golden cases: ``tests/golden/<case>/in.yaml`` and what is rendered from it, ``out.yaml``.

``IGW_UPDATE_GOLDEN=1 pytest tests/igw_operator/plan`` rewrites every out.yaml; review the
difference as you would review code: it is what users' clusters will see.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import yaml

from factories import a_runtime
from igw_operator import conventions
from igw_operator.api.objects import Manifest, parse_gateway, parse_runtime
from igw_operator.plan.inputs import Capabilities, Defaults
from igw_operator.plan.render import render
from plan_kit.children import EVERY_API

GOLDEN: Final = Path(__file__).parents[1] / "golden"
CASES: Final = sorted(path.parent.name for path in GOLDEN.glob("*/in.yaml"))

_MONITORED: Final = Capabilities(service_monitors=True, prometheus_rules=True)
_CAPABILITIES: Final = {
    "minimal": Capabilities(),
    "everything-set": EVERY_API,
    "keda": replace(_MONITORED, scaled_objects=True),
    "tokens-and-tls": replace(_MONITORED, http_routes=True),
}
_DEFAULTS: Final = {
    "everything-set": Defaults(
        monitor_labels={"release": "prometheus", "tier": "platform"},
        runbook_base_url="https://runbooks.example",
        grafana_url="https://grafana.example",
        monitoring_namespaces=("monitoring", "observability"),
        proxy_namespaces=("envoy-gateway-system",),
    ),
    "keda": Defaults(prometheus_url="http://prometheus.monitoring.svc:9090"),
}


def render_case(case: str) -> list[Manifest]:
    """What the operator makes of a case's in.yaml."""
    documents = {
        document["kind"]: document
        for document in yaml.safe_load_all((GOLDEN / case / "in.yaml").read_text())
    }
    runtime = documents.get(conventions.RUNTIME_KIND)
    return render(
        parse_gateway(documents[conventions.GATEWAY_KIND]),
        parse_runtime(runtime) if runtime else a_runtime(),
        _CAPABILITIES.get(case, _MONITORED),
        _DEFAULTS.get(case, Defaults()),
    )


def dump(manifests: list[Manifest]) -> str:
    """YAML as people read it: one document an object, texts as blocks."""
    return yaml.dump_all(manifests, Dumper=_Dumper, sort_keys=False, width=1000)


class _Dumper(yaml.SafeDumper):
    """Writes texts of several lines as literal blocks and repeats nothing by alias."""

    def ignore_aliases(self, data: Any) -> bool:  # noqa: ARG002
        return True


def _represent_text(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    style = "|" if "\n" in text else None
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style=style)


_Dumper.add_representer(str, _represent_text)
