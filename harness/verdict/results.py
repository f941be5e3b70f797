"""What a verdict is: plain, frozen results that every report is made of."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from harness.manifest import BaseClaim, Basis, Experiment, RowKey
from harness.record import Failure
from harness.verdict.evidence import Evidence


class Outcome(StrEnum):
    """What can be said of one reported number, or of a whole experiment."""

    REPRODUCED = "REPRODUCED"
    IMMATERIAL_DIFFERENCE = "IMMATERIAL DIFFERENCE"
    """Different, but by less than the manifest says matters: counts as reproduced."""
    INCONCLUSIVE = "INCONCLUSIVE"
    NOT_REPRODUCED = "NOT REPRODUCED"
    INCOMPLETE = "INCOMPLETE"
    """Trials are missing, or lost to infrastructure: says nothing about the paper."""
    NOT_RUN = "NOT RUN"
    """What the number is about was not asked for."""

    @property
    def holds(self) -> bool:
        """Whether the claim stands."""
        return self in (Outcome.REPRODUCED, Outcome.IMMATERIAL_DIFFERENCE)

    @property
    def undecided(self) -> bool:
        """Whether it was looked at and nothing can be said yet."""
        return self in (Outcome.INCONCLUSIVE, Outcome.INCOMPLETE)

    @property
    def severity(self) -> int:
        """Larger for what a reader must hear of first; the one order of all reports."""
        return _BY_SEVERITY.index(self)


_BY_SEVERITY = (
    Outcome.NOT_RUN,
    Outcome.REPRODUCED,
    Outcome.IMMATERIAL_DIFFERENCE,
    Outcome.INCONCLUSIVE,
    Outcome.INCOMPLETE,
    # A failure outranks a missing trial, because no later trial can undo it.
    Outcome.NOT_REPRODUCED,
)


def gravest(outcomes: Iterable[Outcome]) -> Outcome:
    """The most severe of some outcomes.

    Raises:
        ValueError: there are none.
    """
    return max(outcomes, key=lambda outcome: outcome.severity)


@dataclass(frozen=True)
class ClaimResult:
    """One reported number beside what the seeds gave."""

    name: str
    """As reports print it; `key` identifies the row."""
    claim: str
    """The claim's name, or 'twin'."""
    kind: str
    metric: str
    unit: str
    """The manifest's, or 'epochs' for an onset."""
    epoch: int | None
    reported: float
    measured: float | None
    """Mean over the seeds; for a control's every epoch, the value farthest off."""
    tolerance: float
    n: int
    """How many seeds have a value."""
    spread: float | None
    """Standard deviation over the seeds; None of fewer than two."""
    by_seed: Mapping[int, float]
    verdict: Outcome
    note: str
    """Why, where the numbers do not say it; names the seeds."""
    as_expected: bool | None = None
    """None as long as nothing can be said."""
    method: str = ""
    """What decided."""
    interval: tuple[float, float] | None = None
    """Of the mean, with confidence 1 - 2 alpha: it must lie within the tolerance."""
    p_equivalence: float | None = None
    """Of two one-sided tests; at most alpha where the mean is as near as matters."""
    p_consistency: float | None = None
    """That the reported value is one more run, adjusted for all rows that were tested with it."""
    more_seeds: int | None = None
    """How many more, if they came out like these, would decide what is inconclusive."""
    about: BaseClaim | None = field(default=None, repr=False, compare=False)
    """The claim as the manifest has it; None for a control's twin."""

    @property
    def key(self) -> RowKey:
        """Identifies the row in its experiment."""
        return RowKey(self.claim, self.epoch)

    @property
    def difference(self) -> float | None:
        """Measured less reported."""
        return None if self.measured is None else self.measured - self.reported


@dataclass(frozen=True, slots=True)
class LeftOut:
    """Each seed in turn taken for the paper, and tested against the others."""

    seeds: int
    alarms: int
    """How many of them the test would have rejected."""


@dataclass(frozen=True)
class ExperimentVerdict:
    """The verdict on one experiment, and all that it rests on."""

    id: str
    title: str
    unit: str
    paper: str
    control: bool
    verdict: Outcome
    expected: Outcome
    """Of the claims that ran: NOT REPRODUCED where the manifest says so of one of them."""
    expected_reason: str | None
    as_expected: bool | None
    """None as long as it is open: incomplete, or inconclusive."""
    results: tuple[ClaimResult, ...]
    seeds: tuple[int, ...]
    epochs: int
    """How many were judged: the paper's, or fewer where fewer were asked for."""
    failures: Mapping[int, Failure]
    """By seed, what kept a trial from the epochs that were asked for."""
    missing: tuple[int, ...]
    """Seeds whose trials are absent, unfinished or lost to infrastructure."""
    notes: tuple[str, ...]
    bases: Mapping[Basis, int]
    """How many parameters are stated, inferred and assumed."""
    alpha: float
    """Of each of the two tests, over all rows together."""
    left_out: LeftOut | None
    """What the test for consistency does to the seeds themselves; None where it was not made."""
    experiment: Experiment = field(repr=False, compare=False)
    """What was judged, for reports that tell where its numbers come from."""
    evidence: Evidence = field(repr=False, compare=False)
    """The curves, for figures, and where they were recorded."""

    @property
    def incomplete(self) -> bool:
        """Whether something that was asked for is not there."""
        rows = (result.verdict is Outcome.INCOMPLETE for result in self.results)
        return bool(self.missing) or self.verdict is Outcome.INCOMPLETE or any(rows)
