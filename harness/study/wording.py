"""A study in a few sentences."""

from collections.abc import Iterator
from math import isinf

from harness.study.factors import says
from harness.study.model import Hinge, Result, Study

CAVEAT = (
    "These verdicts are exploratory: among many variants some agree by chance. What is found here "
    "is to be written into a manifest, and confirmed with seeds that were not used to find it."
)


def named(study: Study, result: Result) -> str:
    """A variant by what it changes."""
    settings = zip(study.factors, result.variant.settings, strict=True)
    changed = [says(factor.name, value) for factor, value in settings if value != factor.own]
    return ", ".join(changed) or "the manifest's own values"


def sentences(study: Study) -> Iterator[str]:
    """What hinges on what, which variants reproduce, and what that is worth."""
    yield from (_hinging(study, at) for at in range(len(study.factors)))
    yield _found(study)
    yield CAVEAT


def _hinging(study: Study, at: int) -> str:
    factor = study.factors[at]
    whole = study.hinge(factor)
    claims = [name for name in study.claims if study.hinge(factor, name) is Hinge.YES]
    undecided = [name for name in study.claims if study.hinge(factor, name) is Hinge.OPEN]
    said = {
        Hinge.YES: "the experiment's verdict hinges on it",
        Hinge.NO: "the experiment's verdict does not hinge on it",
        Hinge.OPEN: "whether the experiment's verdict hinges on it is open",
        Hinge.NOT_RUN: "nothing was judged",
    }[whole]
    parts = [said]
    if claims:
        parts.append(f"hinging on it: {', '.join(claims)}")
    if undecided:
        parts.append(f"open: {', '.join(undecided)}")
    return f"{factor.name} ({factor.basis}): {'; '.join(parts)}."


def _found(study: Study) -> str:
    reproduced = study.reproduced()
    if reproduced:
        return f"Reproduced with: {'; '.join(named(study, result) for result in reproduced)}."
    nearest = study.nearest()
    far, row = nearest.farthest
    off = "could not be compared" if isinf(far) else f"is {far:.1f} tolerances off"
    return f"No variant reproduces all. Nearest: {named(study, nearest)}, whose row {row} {off}."
