"""Comparisons as one JSON document, for programs."""

from collections.abc import Iterable

from harness.compare.model import Change, Comparison
from harness.record import Json

FORMAT = 1
"""Raised when a field changes its meaning or goes away."""


def document(found: Iterable[Comparison]) -> dict[str, Json]:
    """All comparisons; holds nothing that JSON cannot (no NaN), so it may be dumped strictly."""
    return {"format": FORMAT, "experiments": [_comparison(each) for each in found]}


def _comparison(found: Comparison) -> dict[str, Json]:
    return {
        "id": found.id,
        "standing": found.standing,
        "verdict": found.verdict,
        "epochs": found.epochs,
        "seeds": list(found.seeds),
        "identical": list(found.identical),
        "only_base": list(found.only_base),
        "only_new": list(found.only_new),
        "cut_short": list(found.cut_short),
        "changes": [_change(change) for change in found.changes],
        "surroundings": None
        if found.surroundings is None
        else {
            thing: {"base": base, "new": new} for thing, (base, new) in found.surroundings.items()
        },
    }


def _change(change: Change) -> dict[str, Json]:
    return {
        "claim": change.claim,
        "row": change.row,
        "unit": change.unit,
        "n": change.n,
        "difference": change.difference,
        "spread": change.spread,
        "share_of_tolerance": change.share,
        "effect": change.effect,
        "p": change.p,
        "p_holm": change.p_holm,
        "tests": change.tests,
        "detectable": change.detectable,
        "moved": change.moved,
    }
