"""Which pictures there are, of which part of which dashboard, and what is to be seen on them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).parents[3]
IMAGES: Final = ROOT / "docs" / "images"
DASHBOARDS: Final = ROOT / "manifests" / "dashboards"
ANSWERS: Final = ROOT / ".igw" / "pictures.json"
MADE: Final = IMAGES / "dashboards.json"
"""When the pictures were made, and what happened meanwhile."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Picture:
    """Rows of a dashboard; without titles, all of them."""

    file: str
    dashboard: str
    rows: tuple[str, ...] = ()
    shows: str


PICTURES: Final = (
    Picture(
        file="dashboard-objectives.png",
        dashboard="igw-gateway",
        rows=("Objectives", "Burn rates"),
        shows="Large photographs are slow and spend the budget of latency, the burst is shed and "
        "spends that of availability. Where both windows of a panel are above its dashed line, "
        "somebody is told: the alert is pending, then it fires, from one red line to the other. "
        "(The panels of longer windows wait until there is as much history as the shorter one is "
        "long.)",
    ),
    Picture(
        file="dashboard-requests.png",
        dashboard="igw-gateway",
        rows=("Requests", "Stages"),
        shows="What explains it. First only `preprocess` and the queue behind it take longer, "
        "with as many requests as before: larger pictures. Then there are more requests than two "
        "replicas can answer, and what the queue has no room for is refused in milliseconds.",
    ),
    Picture(
        file="dashboard-replicas.png",
        dashboard="igw-gateway",
        rows=("Replicas and saturation", "Model and cost", "Telemetry"),
        shows="At first the rollout, which goes over three replicas, and towards the end the "
        "deleted pod. CPU and memory follow the large photographs, and the limit throttles.",
    ),
    Picture(
        file="dashboard-fleet.png",
        dashboard="igw-fleet",
        shows="The worst budget comes first. `defects` asks for more CPU than any node has: it is "
        "not Ready, and after five minutes an alert says that it sends no metrics.",
    ),
    Picture(
        file="dashboard-operator.png",
        dashboard="igw-operator",
        shows="An operator with little to do: it works when the runtime is rolled out and when a "
        "pod is deleted, and in between it writes nothing but budgets that have changed.",
    ),
)
