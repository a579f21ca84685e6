"""The documents say what the code does: alerts, series, reasons, settings, targets, links."""

from __future__ import annotations

import re
import string
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest
import yaml

from factories import a_gateway, a_runtime
from igw_operator import conventions, settings
from igw_operator.api.objects import Manifest
from igw_operator.judge.reasons import Reason
from igw_operator.plan.inputs import Capabilities, PlanInput
from igw_operator.plan.slo.alerts import ALERT_NAMES
from igw_operator.plan.slo.rule import build_prometheus_rule

ROOT: Final = Path(__file__).parents[2]
DOCS: Final = ROOT / "docs"
RUNBOOKS: Final = DOCS / "runbooks"
PAGES: Final = sorted(
    path
    for path in (*ROOT.glob("*.md"), *DOCS.rglob("*.md"))
    if path != DOCS / "api.md"  # generated
)
every_page = pytest.mark.parametrize("page", PAGES, ids=lambda path: str(path.relative_to(ROOT)))
every_runbook = pytest.mark.parametrize("alert", ALERT_NAMES)

_LINK: Final = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
_FENCE: Final = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_OF_PROMETHEUS: Final = {"up", "ALERTS"}


def test_each_alert_has_a_runbook_and_each_runbook_an_alert() -> None:
    """The link of an alert never leads nowhere."""
    pages = {path.stem for path in RUNBOOKS.glob("*.md")} - {"README"}
    assert pages == set(ALERT_NAMES)


@every_runbook
def test_a_runbook_says_what_to_look_at_how_to_silence_and_how_it_ends(alert: str) -> None:
    """Somebody who was woken up finds the same order on each page."""
    text = (RUNBOOKS / f"{alert}.md").read_text()
    assert text.startswith(f"# {alert}\n")
    headings = re.findall(r"^## (.+)$", text, re.MULTILINE)
    assert headings[0] == "Look"
    assert headings[-2:] == ["Silence", "How it ends"]
    assert {"sh", "promql"} <= {language for language, _ in _FENCE.findall(text)}
    assert alert in (RUNBOOKS / "README.md").read_text()


@every_runbook
def test_a_runbook_asks_for_series_that_exist(alert: str) -> None:
    """Every name in its queries is recorded, or exported by the runtime or the operator."""
    known = _recorded() | _exported() | _OF_PROMETHEUS | {conventions.METRIC_DESIRED_REPLICAS}
    text = (RUNBOOKS / f"{alert}.md").read_text()
    queries = [body for language, body in _FENCE.findall(text) if language == "promql"]
    asked = {name for query in queries for name in _series(query)}
    assert asked
    assert asked <= known


def test_the_index_has_the_severities_and_burn_rates_of_the_rules() -> None:
    """Its tables are the rules' numbers."""
    text = (RUNBOOKS / "README.md").read_text()
    inputs = _inputs()
    for tier in inputs.gateway.spec.slo.window.tiers:
        factor = f"{tier.factor(30):f}".rstrip("0").rstrip(".")
        assert f"| {factor} | {tier.long_window} and {tier.short_window} |" in text
    for rule in _rules():
        if "alert" in rule:
            row = next(line for line in text.splitlines() if f"[{rule['alert']}]" in line)
            assert rule["labels"]["severity"] in row


def test_troubleshooting_has_every_reason_once() -> None:
    """Whatever stands in REASON can be looked up, and nothing else is listed."""
    text = (DOCS / "troubleshooting.md").read_text()
    listed = re.findall(r"^### (.+)$", text, re.MULTILINE)
    assert sorted(listed) == sorted(Reason)


def test_install_lists_every_setting_with_its_default() -> None:
    """The table is what the operator reads."""
    text = (DOCS / "install.md").read_text()
    documented = re.findall(r"^\| `(IGW_\w+)` \| (?:`([^`]*)`)? ?\|", text, re.MULTILINE)
    read = re.findall(r"``(IGW_\w+)``", (Path(settings.__file__)).read_text())
    assert sorted(name for name, _ in documented) == sorted(read)
    assert settings.read_settings({}) == settings.read_settings(dict(documented))


@every_page
def test_links_lead_somewhere(page: Path) -> None:
    """Files exist, and so do the headings that are pointed at."""
    for target in _LINK.findall(_without_code(page.read_text())):
        if re.match(r"[a-z]+:", target):
            continue
        name, _, anchor = target.partition("#")
        linked = (page.parent / name).resolve() if name else page
        assert linked.exists(), target
        assert linked.is_relative_to(ROOT), target
        if anchor:
            assert anchor in _anchors(linked.read_text()), target


@every_page
def test_named_targets_of_make_exist(page: Path) -> None:
    """Nobody is told to type what the Makefile does not know."""
    targets = set(re.findall(r"^([a-z0-9-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    code = "\n".join(re.findall(r"`make [^`]+`|^make .*$", page.read_text(), re.MULTILINE))
    assert set(re.findall(r"make ([a-z0-9-]+)", code)) <= targets


@every_page
def test_named_files_exist(page: Path) -> None:
    """A path in back-quotes that starts in one of the top folders is there."""
    named = re.findall(
        r"`((?:crds|manifests|docs|operator|runtime|tests|requirements)/[^`\s*]+)`",
        page.read_text(),
    )
    assert [path for path in named if not (ROOT / path).exists()] == []


def test_decisions_are_numbered_and_indexed() -> None:
    """Each decision stands in the index with its own number."""
    index = (DOCS / "adr" / "README.md").read_text()
    pages = sorted(path.name for path in (DOCS / "adr").glob("[0-9]*.md"))
    assert [int(name[:4]) for name in pages] == list(range(1, len(pages) + 1))
    for name in pages:
        text = (DOCS / "adr" / name).read_text()
        assert text.startswith(f"# {name[:4]}: ")
        assert f"[{name[:4]}]({name})" in index
        assert re.findall(r"^## (.+)$", text, re.MULTILINE) == [
            "Context",
            "Decision",
            "Consequences",
            "Alternatives",
        ]


def test_hooks_are_local() -> None:
    """Committing needs no network."""
    config = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text())
    assert [repo["repo"] for repo in config["repos"]] == ["local"]
    assert all(hook["language"] == "system" for repo in config["repos"] for hook in repo["hooks"])


def _inputs() -> PlanInput:
    capabilities = Capabilities(service_monitors=True, prometheus_rules=True)
    return PlanInput(gateway=a_gateway(), runtime=a_runtime(), capabilities=capabilities)


def _rules() -> Iterator[Manifest]:
    manifest = build_prometheus_rule(_inputs())
    assert manifest is not None
    for group in manifest["spec"]["groups"]:
        yield from group["rules"]


def _recorded() -> set[str]:
    return {str(rule["record"]) for rule in _rules() if "record" in rule}


def _exported() -> set[str]:
    folder = ROOT / "runtime/igw_runtime/telemetry"
    source = "".join((folder / f"{name}.py").read_text() for name in ("metrics", "model_metrics"))
    declared = re.findall(r'"((?:http|model|inference|igw)_\w+)"', source)
    return {name + suffix for name in declared for suffix in ("", "_total", "_bucket", "_count")}


def _series(query: str) -> set[str]:
    bare = re.sub(r"\{[^}]*\}|\[[^]]*\]|\"[^\"]*\"", " ", query)
    words = re.findall(r"[a-zA-Z_:][a-zA-Z0-9_:]*(?!\w)(?!\s*\()", bare)
    grouping = set(re.findall(r"\w+", " ".join(re.findall(r"by \(([^)]*)\)", bare))))
    return {word for word in words if word not in grouping | {"by", "sum", "max", "count"}}


def _without_code(text: str) -> str:
    return re.sub(r"`[^`\n]*`", "", _FENCE.sub("", text))


def _anchors(text: str) -> set[str]:
    """GitHub's: lower case, punctuation gone, spaces to hyphens."""
    punctuation = re.escape(string.punctuation.replace("-", "").replace("_", ""))
    return {
        re.sub(f"[{punctuation}]", "", heading.lower()).replace(" ", "-")
        for heading in re.findall(r"^#+ (.+)$", _FENCE.sub("", text), re.MULTILINE)
    }
