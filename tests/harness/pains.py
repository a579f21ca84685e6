"""The page of what others suffered, ``docs/what-does-not-happen.md``, written from this list.

A test that shows that one of these does not happen is marked with its number,
``@pytest.mark.pain(3)``; the page names every test that is.
"""

from __future__ import annotations

import ast
import textwrap
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from harness.shell import ROOT

_TESTS: Final = ROOT / "tests"
_WIDTH: Final = 100
_MARK: Final = "pytest.mark.pain"
_INTRODUCTION: Final = """\
<!-- Generated from tests/harness/pains.py and the tests marked `pain` by `make generate`. -->
# What does not happen

Fifteen ways in which operators for model serving, and for rollouts and monitoring around it, have
hurt the people who ran them: each with public reports of it (project and number of the issue or
pull request), what this project does about it, and the tests that would fail if it did happen.
`pytest -m 'pain and not e2e'` runs those that need no node, `make e2e` and `make matrix` run the
others.
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Pain:
    """One way in which others were hurt."""

    title: str
    reports: str
    """Who suffered: project and number of the issue or pull request."""
    answer: str
    """What this project does."""
    not_ours: str = ""
    """What of it cannot happen here, and why."""


@dataclass(frozen=True, slots=True, kw_only=True, order=True)
class Proof:
    """One marked test."""

    file: Path
    name: str
    sentence: str


PAINS: Final[Mapping[int, Pain]] = {
    1: Pain(
        title="Ready while it is broken",
        reports="kserve#1859, kserve#2037, kserve#4626, kaito#1493, LLMKube#1303, LLMKube#1257",
        answer="`Ready` is True only while every child is live as it was applied and as many "
        "replicas of the asked revision are ready as are asked for. It is judged anew at every "
        "change of any pod, and nothing ever skips the report. Zero replicas on request are "
        "`Ready`, and not `Available`.",
    ),
    2: Pain(
        title="A status that speaks of the spec before",
        reports="KServe copies the Deployment's generation into its own; NIM never looks at it; "
        "`kubectl wait` races with both",
        answer="Status and each condition carry the generation that was judged, a report is "
        "refused where the gateway has changed since, and a child counts only if it is the one "
        "that was applied. What nobody has judged yet says `observedGeneration: -1`.",
    ),
    3: Pain(
        title="A tug-of-war over replicas",
        reports="kserve#2278, kserve#2269, kserve#3768, LLMKube#1881, NIM#145, "
        "opentelemetry-operator#4260, knative/operator#1200",
        answer="Who scales owns `spec.replicas`: the operator applies the live number until the "
        "autoscaler has taken the field over, and leaves it out from then on. Somebody's own "
        "autoscaler is named and not fought. The gateway's `/scale` has its selector.",
        not_ours="argo-rollouts#2857, #3848 and #4047 are about canaries, which do not exist here.",
    ),
    4: Pain(
        title="A change of autoscalers that strands objects",
        reports="kserve#5196, flagger#259, flagger#1654, flagger#1934",
        answer="The old autoscaler goes first, finalizer and all, and the new one waits for its "
        "end; the number of replicas stays meanwhile, and a condition says who is waited for. A "
        "paused ScaledObject is said, and never a success.",
    ),
    5: Pain(
        title="A cause that nobody can see",
        reports="kserve#2260, kserve#829, kserve#4454, kthena#1220, kthena#1503, LLMKube#78",
        answer="All pods of the asked revision are examined, with quota, scheduling, images and "
        "volumes. The worst finding is in REASON, as one stable word; the message has pod, "
        "container, exit code, the last line of the log, and the command to type next. A status "
        "with every condition is written at the first visit.",
    ),
    6: Pain(
        title="Autoscaling that died in silence",
        reports="kserve#5530, kserve#5540",
        answer="`ScalingReady` tells what the HPA or KEDA cannot read, metric by metric, also "
        "where the HPA itself says that all is well. It is a condition, not an event: it is there "
        "for as long as it is so, and is written once.",
    ),
    7: Pain(
        title="An upgrade of the controller that restarts the fleet",
        reports="opendatahub-io/kserve#1435, opendatahub-io/kserve#491, NIM#735, "
        "kserve/modelmesh-serving#486",
        answer="Pod templates that only a new operator would change stay as they are until their "
        "owner or the runtime's rollout asks for pods anyway. A restart writes nothing. Two "
        "versions never act at once: one holds the lease, the other stands by.",
    ),
    8: Pain(
        title="A deletion that hangs",
        reports="kserve#2119, kserve#4710, opendatahub-io/kserve#1124, kubeflow/hub#2789, "
        "seldon#5043, flagger#686, kopf#75, ray#21684",
        answer="There is no finalizer and no webhook: the garbage collector takes the children, "
        "also with the operator down or the spec beyond repair.",
    ),
    9: Pain(
        title="Hot loops and floods of logs",
        reports="kserve#2402, kserve#2698, seldon#4922, argo-rollouts#1107",
        answer="What is as it should be is not written. What is refused waits, twice as long each "
        "time, for each child by itself, and all retries share a rate. A field that somebody sets "
        "back again and again is put right ever more seldom, and who does it is named.",
    ),
    10: Pain(
        title="Ready before the model is loaded",
        reports="kserve#3113, kserve#5447, kserve#5983",
        answer="Readiness is the runtime's own: the model is loaded, warm, and has given the "
        "right answer to a known picture. An open port is no evidence. A new replica is ready "
        "before an old one goes.",
        not_ours="There is no canary whose traffic could be moved too early.",
    ),
    11: Pain(
        title="No data taken for an answer",
        reports="flagger#883, flagger#1035, flagger#1689, flagger#1581, argo-rollouts#1905, "
        "argo-rollouts#1945",
        answer="A quiet service neither pages nor passes: rules count failures, a bucket that is "
        "missing has an alert of its own, an objective without readings is Unknown, and only "
        "gateways that were Ready before can prove a new runtime.",
        not_ours="Rollouts are not gated by metrics yet, so none can be rolled back by silence.",
    ),
    12: Pain(
        title="A gate that does not say why it is shut",
        reports="argo-rollouts#404, argo-rollouts#457, argo-rollouts#1832, argo-rollouts#2087, "
        "argo-rollouts#3015",
        answer="`RolloutHeld` names the gateway that fails, with its reason and the command to "
        "type; it is in events and metrics too, and ends by itself when its cause does. A spec "
        "that makes no sense is refused, or `InvalidSpec`, never progress.",
    ),
    13: Pain(
        title="Monitoring that is there and that nobody reads",
        reports="prometheus-operator#5917, prometheus-operator#3837, kube-prometheus#1392, "
        'kserve#3696, kserve#4645, sloth#162; `le="1.0"`: kube-prometheus#2573, pyrra#1611',
        answer="`MonitoringReady` is never True because an object exists. The gateway's labels "
        "reach the objects that a Prometheus selects by, and rules name buckets exactly as the "
        "runtime exports and Prometheus 3 stores them.",
    ),
    14: Pain(
        title="Alerts that can never fire",
        reports="LLMKube#1145",
        answer="Rules read what the shipped runtime counts in the path of each request, and "
        "every series that they read is exported before the first request. Rules are tested by "
        "promtool with outages that must page.",
    ),
    15: Pain(
        title="An API that bites back",
        reports="kserve#3487, kserve#2196, kserve#3376, kserve#4574, kserve#4085, kserve#2668, "
        "seldon#4567, knative/serving#14705",
        answer="The CRDs fit a quarter of what client-side apply can store. Bad input is refused "
        "by field, or `Stalled` with the field and one event, and recovers by itself. A changed "
        "runtime reaches its gateways at once. Disruption budgets and traces are there without "
        "being asked for, and `kubectl rollout restart` is respected.",
        not_ours="Nothing is promoted by itself (kserve#3085), as there is no canary.",
    ),
}


def pains_page() -> str:
    """The whole page."""
    proofs = find_proofs()
    return _INTRODUCTION + "".join(
        _section(number, pain, proofs.get(number, ())) for number, pain in PAINS.items()
    )


def find_proofs() -> dict[int, list[Proof]]:
    """Every marked test, by the number on its mark."""
    found: dict[int, list[Proof]] = defaultdict(list)
    for path in sorted(_TESTS.rglob("test_*.py")):
        for test in ast.walk(ast.parse(path.read_text())):
            if isinstance(test, ast.FunctionDef | ast.AsyncFunctionDef):
                sentence = (ast.get_docstring(test) or "").partition("\n")[0]
                proof = Proof(file=path.relative_to(ROOT), name=test.name, sentence=sentence)
                for number in _read_marks(test):
                    found[number].append(proof)
    return {number: sorted(proofs) for number, proofs in sorted(found.items())}


def _read_marks(test: ast.FunctionDef | ast.AsyncFunctionDef) -> Iterator[int]:
    for decorator in test.decorator_list:
        if isinstance(decorator, ast.Call) and ast.unparse(decorator.func) == _MARK:
            yield from (int(ast.literal_eval(argument)) for argument in decorator.args)


def _section(number: int, pain: Pain, proofs: list[Proof] | tuple[()]) -> str:
    words = [f"Reported: {pain.reports}.", pain.answer]
    if pain.not_ours:
        words.append(f"Not ours: {pain.not_ours}")
    page = f"\n## {number}. {pain.title}\n"
    page += "".join(f"\n{_wrap(text)}\n" for text in words)
    page += "\n| Test | What it shows |\n|---|---|\n"
    for proof in proofs:
        page += f"| [`{proof.name}`](../{proof.file}) | {proof.sentence} |\n"
    return page


def _wrap(text: str) -> str:
    return textwrap.fill(text, width=_WIDTH, break_long_words=False, break_on_hyphens=False)
