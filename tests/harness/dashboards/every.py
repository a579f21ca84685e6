"""The dashboards that are shipped, and the files that they become in manifests/dashboards."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Final

from harness.dashboards.fleet import build_fleet
from harness.dashboards.gateway import build_gateway
from harness.dashboards.grafana import Dashboard, render
from harness.dashboards.operator_itself import build_operator
from harness.shell import ROOT

FOLDER: Final = ROOT / "manifests" / "dashboards"


def dashboards() -> tuple[Dashboard, ...]:
    """All of them."""
    return build_gateway(), build_fleet(), build_operator()


def dashboard_files() -> Mapping[str, str]:
    """Text by name of file."""
    return {
        f"{each.uid}.json": json.dumps(render(each), indent=1, ensure_ascii=False) + "\n"
        for each in dashboards()
    }
