"""Whether a quantised network may take the place of the one that it was made from.

Pure: two lists of answers, what is true, and the limits; called by `models.quantisation`.
Without labels there is only agreement with fp32. It is the harder measure: of the answers that
change, as many turn right as wrong where fp32 itself was unsure.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from igw_runtime.models.manifest import Gate


@dataclass(frozen=True, slots=True, kw_only=True)
class GateLimits:
    """What is still good enough; ratios, of all pictures and of the labelled ones."""

    min_agreement: float = 0.95
    max_accuracy_drop: float = 0.006
    min_pictures: int = 100


def measure(
    fp32: Sequence[int],
    int8: Sequence[int],
    truths: Sequence[int | None],
    limits: GateLimits,
    *,
    applied: bool = True,
) -> Gate:
    """Compare best classes picture by picture."""
    answers = list(zip(fp32, int8, truths, strict=True))
    labelled = [answer for answer in answers if answer[2] is not None]
    return Gate(
        applied=applied,
        agreement=_share([one == other for one, other, _ in answers]),
        min_agreement=limits.min_agreement,
        labelled=len(labelled),
        accuracy_fp32=_share([one == truth for one, _, truth in labelled]) if labelled else None,
        accuracy_int8=_share([one == truth for _, one, truth in labelled]) if labelled else None,
        max_accuracy_drop=limits.max_accuracy_drop,
    )


def find_weakness(fp32: Sequence[int], distinct_pictures: int, limits: GateLimits) -> str:
    """Return why the evaluation would prove nothing, whatever it gave; or an empty string."""
    if distinct_pictures < limits.min_pictures:
        return (
            f"{distinct_pictures} different picture(s) to judge by, at least "
            f"{limits.min_pictures} are asked for"
        )
    if len(set(fp32)) == 1:
        return f"fp32 gives all {len(fp32)} pictures the same class: so would a broken network"
    return ""


def check_gate(gate: Gate) -> str:
    """Return in how far int8 is worse than the limits allow; or an empty string."""
    faults = []
    if gate.agreement < gate.min_agreement:
        faults.append(
            f"int8 agrees with fp32 on {gate.agreement:.2%} of the pictures, "
            f"at least {gate.min_agreement:.2%} is asked for"
        )
    if gate.accuracy_fp32 is not None and gate.accuracy_int8 is not None:
        drop = gate.accuracy_fp32 - gate.accuracy_int8
        if drop > gate.max_accuracy_drop:
            faults.append(
                f"int8 is right on {gate.accuracy_int8:.2%} of the {gate.labelled} labelled "
                f"pictures, fp32 on {gate.accuracy_fp32:.2%}: {drop * 100:.2f} points less, "
                f"{gate.max_accuracy_drop * 100:.2f} are allowed"
            )
    return "; ".join(faults)


def _share(hits: Sequence[bool]) -> float:
    return round(sum(hits) / len(hits), 6)
