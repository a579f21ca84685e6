"""Every command that the runbooks and the troubleshooting page tell people to type.

Tests type them: `tests/integration/test_runbooks.py` what an API server or an Alertmanager can
answer, `tests/e2e/test_runbooks.py` what needs a kubelet or another server behind the API. The few
that no test types are listed here, with the reason. Other pages have tests of their own.
"""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from harness.kubectl import Kubectl
from harness.shell import ROOT

PAGES: Final = (
    *sorted((ROOT / "docs" / "runbooks").glob("*.md")),
    ROOT / "docs" / "troubleshooting.md",
)
FENCE: Final = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
# The address that the pages have, of the demo's Alertmanager.
ALERTMANAGER: Final = "http://127.0.0.1:30093"

ON_A_NODE: Final = re.compile(
    r" (logs|top|exec|port-forward) |apiservice|--raw|describe hpa keda-hpa"
)
"""What only a kubelet, or a server behind the aggregation layer, can answer."""

NOT_RUN: Final[Mapping[str, str]] = {
    "kubectl describe pod": "a part of a command: the page says of which pod",
    "kubectl get ... -o yaml --show-managed-fields": "a part of a command: a message has the rest",
    "kubectl edit": "opens an editor",
    "kubectl -n $NS logs POD -c fetch": "the pod has to fetch a model: tests/e2e/test_fetch.py",
    "kubectl -n $NS describe hpa keda-hpa-$GW": "KEDA has to run: tests/e2e/test_keda.py",
}
"""Commands that no test runs, and why."""

_ASSIGNMENT: Final = re.compile(r"[A-Z]+=\S+( [A-Z]+=\S+)*")
_PROGRAM: Final = re.compile(r"(kubectl|amtool|python) ")


@dataclass(frozen=True, slots=True)
class Command:
    """One line that somebody types."""

    page: Path
    text: str

    @property
    def name(self) -> str:
        """How a test calls it."""
        return f"{self.page.stem}: {self.text}"

    @property
    def needs_node(self) -> bool:
        """Whether an API server alone cannot answer."""
        return ON_A_NODE.search(self.text) is not None

    def fill(self, values: Mapping[str, str]) -> str:
        """The command with words in place of those that the page leaves to the reader."""
        return fill(self.text, values)


def fill(text: str, values: Mapping[str, str]) -> str:
    """A text with words in place of those that it leaves to the reader."""
    for word, value in values.items():
        text = re.sub(rf"(?<![\w$]){re.escape(word)}(?!\w)", value, text)
    return text


def list_commands(pages: Sequence[Path] = PAGES) -> tuple[Command, ...]:
    """Each command of each page once, in the order of the pages."""
    found = (Command(page, text) for page in pages for text in _find(page.read_text()))
    return tuple({(it.page, it.text): it for it in found}.values())


def type_command(
    kubectl: Kubectl, folder: Path, command: str, **environment: str
) -> subprocess.CompletedProcess[str]:
    """Type a command into a shell that has the cluster's kubectl; its home is the folder."""
    programs = folder / "bin"
    programs.mkdir(exist_ok=True)
    (programs / "kubectl").unlink(missing_ok=True)
    (programs / "kubectl").symlink_to(Path(kubectl.binary).resolve())
    return subprocess.run(
        ["/bin/bash", "-o", "pipefail", "-c", command],
        cwd=ROOT,
        env={
            "PATH": f"{programs}:{os.environ['PATH']}",
            "HOME": str(folder),
            "KUBECONFIG": str(kubectl.kubeconfig),
            **environment,
        },
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def list_queries() -> Iterator[tuple[Path, str]]:
    """Each PromQL query of each page."""
    for page in PAGES:
        for language, body in FENCE.findall(page.read_text()):
            if language == "promql":
                yield from ((page, line) for line in body.splitlines() if line)


def _find(text: str) -> Iterator[str]:
    for language, body in FENCE.findall(text):
        if language == "sh":
            for line in _join(body).splitlines():
                command = re.sub(r"\s{2,}#.*$", "", line).strip()
                if command and not _ASSIGNMENT.fullmatch(command):
                    yield command
    for quoted in re.findall(r"`([^`]+)`", FENCE.sub("", text)):
        command = " ".join(quoted.split())
        if _PROGRAM.match(command):
            yield command


def _join(body: str) -> str:
    """Without the line breaks that only make it readable."""
    return re.sub(r"\s*\\\n\s*", " ", body)
