"""The results of a verdict: plain, frozen data from which every report is made."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from harness.manifest import BaseClaim, Basis, Experiment, RowKey
from harness.record import Failure
from harness.verdict.evidence import Evidence


class Outcome(StrEnum):
    """The verdict on one reported number, or on a whole experiment."""

    REPRODUCED = "REPRODUCED"
    IMMATERIAL_DIFFERENCE = "IMMATERIAL DIFFERENCE"
    """Different, but by less than the manifest says matters: counts as reproduced."""
    INCONCLUSIVE = "INCONCLUSIVE"
    NOT_REPRODUCED = "NOT REPRODUCED"
    INCOMPLETE = "INCOMPLETE"
    """Trials are missing, or lost to infrastructure. This says nothing about the paper."""
    NOT_RUN = "NOT RUN"
    """The number needs epochs that were not asked for."""

    @property
    def holds(self) -> bool:
        """Whether the claim stands."""
        return self in (Outcome.REPRODUCED, Outcome.IMMATERIAL_DIFFERENCE)

    @property
    def undecided(self) -> bool:
        """Whether it was judged and the answer is still open."""
        return self in (Outcome.INCONCLUSIVE, Outcome.INCOMPLETE)

    @property
    def severity(self) -> int:
        """Larger if a reader must see it first. All reports use this order."""
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
    """The most severe of several outcomes.

    Raises:
        ValueError: no outcome is given.
    """
    return max(outcomes, key=lambda outcome: outcome.severity)


@dataclass(frozen=True)
class ClaimResult:
    """One reported number and what the seeds measured."""

    name: str
    """As reports print it; `key` identifies the row."""
    claim: str
    """The claim's name, or 'twin'."""
    kind: str
    metric: str
    unit: str
    """That of the metric, or 'epochs' for an onset."""
    epoch: int | None
    reported: float
    measured: float | None
    """Mean over the seeds; for a control's row about every epoch, the value farthest off."""
    tolerance: float
    n: int
    """How many seeds have a value."""
    spread: float | None
    """Standard deviation over the seeds; None if fewer than two have a value."""
    by_seed: Mapping[int, float]
    verdict: Outcome
    note: str
    """The reason for the verdict, if the numbers do not show it; names the seeds."""
    as_expected: bool | None = None
    """None while the verdict is open."""
    method: str = ""
    """The test or rule that decided."""
    interval: tuple[float, float] | None = None
    """Confidence interval of the mean at level 1 - 2 alpha; it must lie within the tolerance."""
    p_equivalence: float | None = None
    """p of two one-sided tests; at most alpha if the mean is close enough."""
    p_consistency: float | None = None
    """p that the reported value is one more run, corrected for all rows tested with it."""
    more_seeds: int | None = None
    """How many more seeds, if like these, would settle an inconclusive row."""
    about: BaseClaim | None = field(default=None, repr=False, compare=False)
    """The claim as the manifest has it; None for a control's twin."""

    @property
    def key(self) -> RowKey:
        """Identifies the row in its experiment."""
        return RowKey(self.claim, self.epoch)

    @property
    def series(self) -> str:
        """What of the evidence the row reads: its metric, or what `reduce` makes of it."""
        return self.metric if self.about is None else self.about.series

    @property
    def difference(self) -> float | None:
        """Measured less reported."""
        return None if self.measured is None else self.measured - self.reported


@dataclass(frozen=True, slots=True)
class LeftOut:
    """Leave-one-out check: each seed in turn stands for the paper, and the others test it."""

    seeds: int
    alarms: int
    """How many of them the test rejects."""


NOT_SEVERE = "not severe"
"""Marks a verdict or a claim that its rivals pass, in every report."""

SEVERE = 0.5
"""The least probability with which a verdict must reject a rival. Below it, it is more likely than
not that the verdict does not tell the rival from the method."""


@dataclass(frozen=True)
class RivalChance:
    """How a declared rival would be judged with as many seeds and epochs as the verdict has."""

    name: str
    basis: str
    """What the chances rest on: '10 records', 'a constant', or why they are not known."""
    rejected: float | None
    """The chance of NOT REPRODUCED; None if it is not known."""
    accepted: float | None
    """The chance of a verdict that holds. What is left is INCONCLUSIVE."""
    rejected_by: Mapping[str, float]
    """The chance that a claim alone rejects the rival, by claim; only claims that are judged."""
    accepted_by: Mapping[str, float]
    """The chance that all rows of a claim hold for the rival."""
    constant: bool = False


@dataclass(frozen=True)
class Severity:
    """What a verdict could have excluded with its seeds and epochs."""

    seeds: int
    epochs: int
    records: int
    """How many runs of the method the first two chances are simulated from."""
    accepted: float | None
    """The chance of a verdict that holds if the paper's run is one more run of the method; None if
    there are too few runs to say."""
    rejected: float | None
    """The chance of NOT REPRODUCED in the same case: a false alarm."""
    rivals: tuple[RivalChance, ...]

    @property
    def missed(self) -> tuple[RivalChance, ...]:
        """The rivals that the verdict as a whole does not reject (`SEVERE`)."""
        known = ((rival, rival.rejected) for rival in self.rivals)
        return tuple(rival for rival, chance in known if chance is not None and chance < SEVERE)

    @property
    def severe(self) -> bool:
        """Whether the verdict rejects every rival whose chance is known."""
        return not self.missed

    @property
    def weak_claims(self) -> Mapping[str, tuple[str, ...]]:
        """The claims that are not severe, each with the rivals that show it.

        A claim must not accept a constant: otherwise its tolerance is wider than the effect. Of all
        rivals it must reject one; one claim need not do the work of all.
        """
        claims = dict.fromkeys(name for rival in self.rivals for name in rival.rejected_by)
        found = {}
        for name in claims:
            judged = [rival for rival in self.rivals if name in rival.rejected_by]
            wide = [one for one in judged if one.constant and one.accepted_by[name] >= SEVERE]
            idle = all(rival.rejected_by[name] < SEVERE for rival in judged)
            if wide or idle:
                found[name] = tuple(rival.name for rival in wide or judged)
        return found


@dataclass(frozen=True)
class ExperimentVerdict:
    """The verdict on one experiment, and everything that it rests on."""

    id: str
    title: str
    unit: str
    paper: str
    control: bool
    verdict: Outcome
    expected: Outcome
    """NOT REPRODUCED if the manifest expects that of one of the claims that ran."""
    expected_reason: str | None
    as_expected: bool | None
    """None while it is open: incomplete or inconclusive."""
    results: tuple[ClaimResult, ...]
    seeds: tuple[int, ...]
    epochs: int
    """How many were judged: the paper's number, or fewer if fewer were asked for."""
    failures: Mapping[int, Failure]
    """By seed, the failure that ended its trial before the epochs that were asked for."""
    missing: tuple[int, ...]
    """Seeds whose trials are absent, unfinished or lost to infrastructure."""
    notes: tuple[str, ...]
    """Those in `alarms` come first."""
    bases: Mapping[Basis, int]
    """How many parameters are stated, inferred and assumed."""
    alpha: float
    """Level of each of the two tests, for all rows together."""
    left_out: LeftOut | None
    """Leave-one-out check of the test for consistency; None if there are too few seeds."""
    declared: str | None
    """SHA-256 of what was declared with the records; None if it is not known."""
    experiment: Experiment = field(repr=False, compare=False)
    """What was judged, for reports that show where its numbers come from."""
    evidence: Evidence = field(repr=False, compare=False)
    """The curves, for figures, and where they were recorded."""
    alarms: tuple[str, ...] = ()
    """Notes that reports show in red, because the verdict means less than its badge says."""
    stderr: Mapping[int, str] = field(default_factory=dict, repr=False, compare=False)
    """By seed in `failures`, the end of what its trial printed on standard error, if that is kept.
    """

    severity: Severity | None = None
    """What the verdict could have excluded; None if the manifest declares no rivals."""

    @property
    def marks(self) -> tuple[str, ...]:
        """What weakens the verdict: a single seed, or rivals that it does not reject."""
        one = ("1 seed",) if len(self.seeds) == 1 else ()
        return one + ((NOT_SEVERE,) if self.severity and self.severity.missed else ())

    @property
    def badge(self) -> str:
        """The verdict for people, with its marks."""
        return f"{self.verdict} ({', '.join(self.marks)})" if self.marks else str(self.verdict)

    @property
    def incomplete(self) -> bool:
        """Whether something that was asked for is missing."""
        rows = (result.verdict is Outcome.INCOMPLETE for result in self.results)
        return bool(self.missing) or self.verdict is Outcome.INCOMPLETE or any(rows)
