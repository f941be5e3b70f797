"""The results of a study: which verdicts depend on which assumptions, as data and in sentences."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from math import inf, isinf

from harness.manifest import Experiment
from harness.record import Json, canonical_json
from harness.study.factors import Factor, says
from harness.study.variants import Variant
from harness.verdict import ClaimResult, ExperimentVerdict, Outcome, gravest


class Hinge(StrEnum):
    """Whether a verdict depends on an assumption, by the values that were tried."""

    YES = "yes"
    """It holds with one value and fails with another."""
    NO = "no"
    """It is the same with every value that was tried."""
    OPEN = "open"
    """It is undecided with some value, and no two other values give opposite verdicts."""
    NOT_RUN = "not run"
    """No variant judged it."""


_TELLING = (Hinge.YES, Hinge.OPEN, Hinge.NO, Hinge.NOT_RUN)
"""Which answer counts if the groups of a grid differ: the first of these that any group gives."""


@dataclass(frozen=True)
class Result:
    """One variant and its verdict."""

    variant: Variant
    verdict: ExperimentVerdict

    @property
    def farthest(self) -> tuple[float, str]:
        """The row that is farthest from its reported value: its distance in tolerances, its name.

        Infinite where a row failed without a value to compare (a curve that never took off, say).
        """
        rows = ((share(row), row.name) for row in self.verdict.results)
        return max(rows, default=(0.0, ""))


def share(row: ClaimResult) -> float:
    """The difference of a row as a multiple of its tolerance; 0 if nothing was judged."""
    if row.difference is None or not row.tolerance:
        return inf if row.verdict is Outcome.NOT_REPRODUCED else 0.0
    return abs(row.difference) / row.tolerance


def claim_outcome(verdict: ExperimentVerdict, claim: str) -> Outcome:
    """The most severe outcome among a claim's rows."""
    return gravest(row.verdict for row in verdict.results if row.claim == claim)


@dataclass(frozen=True)
class Study:
    """All variants of one experiment."""

    experiment: Experiment
    """With the manifest's own values."""
    factors: tuple[Factor, ...]
    results: tuple[Result, ...]
    """The manifest's own first."""
    grid: bool
    """Whether every combination was tried, or one change at a time."""

    @property
    def claims(self) -> tuple[str, ...]:
        """Their names, in the manifest's order."""
        return tuple(claim.name for claim in self.experiment.manifest.claims)

    @property
    def incomplete(self) -> bool:
        """Whether some variant's trials are missing, or lost to infrastructure."""
        return any(result.verdict.incomplete for result in self.results)

    def groups(self, factor: Factor) -> Iterator[tuple[Result, ...]]:
        """The variants that differ in this factor alone, in the order of its values."""
        place = self.factors.index(factor)
        found: dict[str, list[Result]] = {}
        for result in self.results:
            settings = result.variant.settings
            others = canonical_json([*settings[:place], *settings[place + 1 :]])
            found.setdefault(others, []).append(result)
        for group in found.values():
            if len(group) > 1:
                yield _in_order(group, place)

    def hinge(self, factor: Factor, claim: str | None = None) -> Hinge:
        """Whether the verdict on a claim, or on the whole experiment, hinges on a factor."""

        def look(result: Result) -> Outcome:
            whole = result.verdict
            return whole.verdict if claim is None else claim_outcome(whole, claim)

        found = {_hinge(map(look, group)) for group in self.groups(factor)}
        return next(hinge for hinge in _TELLING if hinge in found)

    def reproduced(self) -> tuple[Result, ...]:
        """The variants with which the experiment is reproduced."""
        return tuple(result for result in self.results if result.verdict.verdict.holds)

    def nearest(self) -> Result:
        """The variant whose farthest row is closest to the paper; of several the first."""
        return min(self.results, key=lambda result: result.farthest[0])


def _hinge(outcomes: Iterable[Outcome]) -> Hinge:
    there = {outcome for outcome in outcomes if outcome is not Outcome.NOT_RUN}
    if not there:
        return Hinge.NOT_RUN
    holds = any(outcome.holds for outcome in there)
    fails = Outcome.NOT_REPRODUCED in there
    if holds and fails:
        return Hinge.YES
    return Hinge.OPEN if any(outcome.undecided for outcome in there) else Hinge.NO


def _in_order(group: Sequence[Result], place: int) -> tuple[Result, ...]:
    """Numbers as they rise; others as they were given, the manifest's own first."""

    def value(result: Result) -> Json:
        return result.variant.settings[place]

    numbers = all(isinstance(value(result), int | float) for result in group)
    return tuple(sorted(group, key=value)) if numbers else tuple(group)


CAVEAT = (
    "These verdicts are exploratory: among many variants some agree by chance. Write what you find "
    "into a manifest, and confirm it with seeds that were not used to find it."
)


def named(study: Study, result: Result) -> str:
    """A variant by what it changes."""
    settings = zip(study.factors, result.variant.settings, strict=True)
    changed = [says(factor.name, value) for factor, value in settings if value != factor.own]
    return ", ".join(changed) or "the manifest's own values"


def sentences(study: Study) -> Iterator[str]:
    """Say which verdicts hinge on which parameters, and which variants reproduce."""
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
