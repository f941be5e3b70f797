"""The results of a study: which verdicts depend on which assumptions, as data and as sentences."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from math import inf, isinf

from harness.manifest import Experiment
from harness.record import Json, canonical_json
from harness.study.variants import Factor, Variant, setting
from harness.verdict import ClaimResult, ExperimentVerdict, Outcome, gravest


class Hinge(StrEnum):
    """Whether a verdict depends on an assumption, among the values that were tried."""

    YES = "yes"
    """The verdict holds with one value and fails with another."""
    NO = "no"
    """The verdict is the same with every value."""
    OPEN = "open"
    """The verdict is undecided with some value, and no two values give opposite verdicts."""
    NOT_RUN = "not run"
    """No variant has a verdict."""


_PRECEDENCE = (Hinge.YES, Hinge.OPEN, Hinge.NO, Hinge.NOT_RUN)
"""If the groups of a grid give different answers, the first of these that occurs counts."""


@dataclass(frozen=True)
class Result:
    """One variant and its verdict."""

    variant: Variant
    verdict: ExperimentVerdict

    @property
    def farthest(self) -> tuple[float, str]:
        """The row farthest from its reported value: its distance in tolerances, and its name.

        The distance is infinite if a row failed without a value to compare (a curve that never
        took off, for example).
        """
        rows = ((share(row), row.name) for row in self.verdict.results)
        return max(rows, default=(0.0, ""))


def share(row: ClaimResult) -> float:
    """Return the difference of a row as a multiple of its tolerance; 0 if nothing was judged."""
    if row.difference is None or not row.tolerance:
        return inf if row.verdict is Outcome.NOT_REPRODUCED else 0.0
    return abs(row.difference) / row.tolerance


def claim_outcome(verdict: ExperimentVerdict, claim: str) -> Outcome:
    """Return the most severe outcome among the rows of a claim."""
    return gravest(row.verdict for row in verdict.results if row.claim == claim)


@dataclass(frozen=True)
class Study:
    """All variants of one experiment, with their verdicts."""

    experiment: Experiment
    """The experiment with the manifest's own values."""
    factors: tuple[Factor, ...]
    results: tuple[Result, ...]
    """The results. The first is that of the manifest's own values."""
    grid: bool
    """Whether every combination was tried, not one change at a time."""

    @property
    def claims(self) -> tuple[str, ...]:
        """Names of the claims, in the order of the manifest."""
        return tuple(claim.name for claim in self.experiment.manifest.claims)

    @property
    def incomplete(self) -> bool:
        """Whether trials of a variant are missing or lost to infrastructure."""
        return any(result.verdict.incomplete for result in self.results)

    def groups(self, factor: Factor) -> Iterator[tuple[Result, ...]]:
        """Yield groups of variants that differ in this factor only, in the order of its values."""
        place = self.factors.index(factor)
        groups: dict[str, list[Result]] = {}
        for result in self.results:
            settings = result.variant.settings
            others = canonical_json([*settings[:place], *settings[place + 1 :]])
            groups.setdefault(others, []).append(result)
        for group in groups.values():
            if len(group) > 1:
                yield _in_order(group, place)

    def hinge(self, factor: Factor, claim: str | None = None) -> Hinge:
        """Return whether the verdict on a claim, or on the experiment, depends on a factor."""

        def outcome(result: Result) -> Outcome:
            whole = result.verdict
            return whole.verdict if claim is None else claim_outcome(whole, claim)

        answers = {_hinge(map(outcome, group)) for group in self.groups(factor)}
        return next(hinge for hinge in _PRECEDENCE if hinge in answers)

    def reproduced(self) -> tuple[Result, ...]:
        """Return the variants that reproduce the experiment."""
        return tuple(result for result in self.results if result.verdict.verdict.holds)

    def nearest(self) -> Result:
        """Return the first variant whose farthest row is closest to the paper."""
        return min(self.results, key=lambda result: result.farthest[0])


def _hinge(outcomes: Iterable[Outcome]) -> Hinge:
    """Return whether outcomes with different values of one factor differ."""
    judged = {outcome for outcome in outcomes if outcome is not Outcome.NOT_RUN}
    if not judged:
        return Hinge.NOT_RUN
    holds = any(outcome.holds for outcome in judged)
    fails = Outcome.NOT_REPRODUCED in judged
    if holds and fails:
        return Hinge.YES
    return Hinge.OPEN if any(outcome.undecided for outcome in judged) else Hinge.NO


def _in_order(group: Sequence[Result], place: int) -> tuple[Result, ...]:
    """Sort numbers. Keep the order of other values, with the manifest's own first."""

    def value(result: Result) -> Json:
        return result.variant.settings[place]

    numbers = all(isinstance(value(result), int | float) for result in group)
    return tuple(sorted(group, key=value)) if numbers else tuple(group)


CAVEAT = (
    "These verdicts are exploratory: among many variants some agree by chance. Write the values "
    "into a manifest, and confirm them with seeds that this study did not use."
)


def named(study: Study, result: Result) -> str:
    """Return the name of a variant: its changes."""
    settings = zip(study.factors, result.variant.settings, strict=True)
    changed = [setting(factor.name, value) for factor, value in settings if value != factor.own]
    return ", ".join(changed) or "the manifest's own values"


def sentences(study: Study) -> Iterator[str]:
    """Yield sentences: which verdicts depend on which parameters, and which variants reproduce."""
    yield from (_dependence(study, at) for at in range(len(study.factors)))
    yield _reproducing(study)
    yield CAVEAT


def _dependence(study: Study, at: int) -> str:
    factor = study.factors[at]
    whole = study.hinge(factor)
    claims = [name for name in study.claims if study.hinge(factor, name) is Hinge.YES]
    undecided = [name for name in study.claims if study.hinge(factor, name) is Hinge.OPEN]
    answer = {
        Hinge.YES: "the verdict on the experiment depends on it",
        Hinge.NO: "the verdict on the experiment does not depend on it",
        Hinge.OPEN: "it is open whether the verdict on the experiment depends on it",
        Hinge.NOT_RUN: "nothing was judged",
    }[whole]
    parts = [answer]
    if claims:
        parts.append(f"claims that depend on it: {', '.join(claims)}")
    if undecided:
        parts.append(f"open for: {', '.join(undecided)}")
    return f"{factor.name} ({factor.basis}): {'; '.join(parts)}."


def _reproducing(study: Study) -> str:
    reproduced = study.reproduced()
    if reproduced:
        return f"Reproduced with: {'; '.join(named(study, result) for result in reproduced)}."
    nearest = study.nearest()
    far, row = nearest.farthest
    off = "could not be compared" if isinf(far) else f"is {far:.1f} tolerances off"
    return f"No variant reproduces all claims. Nearest: {named(study, nearest)}; row {row} {off}."
