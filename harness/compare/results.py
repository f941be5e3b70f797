"""The results of a comparison, and the paired test that they rest on.

A claim's values on two sides are compared by their differences, seed by seed. The seeds are few, so
a result also says how large a change they could have shown.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from math import sqrt

from scipy.special import stdtr, stdtrit  # scipy.stats takes a second to import

from harness.manifest import Experiment
from harness.record import StoredTrial
from harness.verdict import Outcome

ALPHA = 0.05
"""Error rate of all tests of one comparison together."""
POWER = 0.8
"""Probability that a change of the size called detectable is found."""


def paired_p(mean: float, sd: float, n: int) -> float:
    """Return the two-sided p-value of the paired t-test, with n - 1 degrees of freedom.

    The statistic is t = mean / (sd / sqrt(n)).

    Args:
        mean: of the differences.
        sd: their standard deviation, with n - 1 in its divisor. If it is zero, every seed changed
            by the same amount, which chance never does.
        n: number of differences, at least 2.

    Source:
        Student (1908), The probable error of a mean, Biometrika 6(1).
    """
    if sd == 0.0:
        return 1.0 if mean == 0.0 else 0.0
    return float(2 * stdtr(n - 1, -abs(mean) / (sd / sqrt(n))))


def detectable(n: int, tests: int) -> float:
    """Return the smallest mean difference that is found with probability `POWER`.

    The result is in standard deviations of the differences: (t(1 - alpha / 2 tests) + t(power)) /
    sqrt(n), with n - 1 degrees of freedom. Each test is taken for the first of Holm's, whose level
    is `ALPHA` / tests.

    Source:
        Bloom (1995), Minimum detectable effects, Evaluation Review 19(5).
    """
    critical, power = stdtrit(n - 1, 1 - ALPHA / (2 * tests)), stdtrit(n - 1, POWER)
    return float((critical + power) / sqrt(n))


class Standing(StrEnum):
    """What a comparison shows of one experiment."""

    UNCHANGED = "unchanged"
    """Every record of every seed is equal bit for bit."""
    MOVED = "moved"
    """The values of some claim differ by more than chance explains."""
    NOT_SHOWN = "no move shown"
    """Records differ, but the tests do not tell the claims' differences from chance."""
    UNTESTED = "differs, untested"
    """Records differ, and there is only one seed, which allows no test."""
    NOTHING = "nothing to compare"
    """No seed was recorded on both sides."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """How the values of one claim changed; for a claim with many rows, the mean over them."""

    claim: str
    unit: str
    tolerance: float
    n: int
    """Seeds that have a value on both sides."""
    difference: float
    """New minus base, mean over the seeds."""
    sd: float | None
    """Standard deviation of the seeds' differences; None for one seed."""
    row: str
    """The row that differs most."""
    p_holm: float | None = None
    """p-value after Holm's correction for all tests of the comparison; None for one seed."""
    tests: int = 0
    """Number of tests that it is corrected for."""

    @property
    def share(self) -> float:
        """The difference as a share of the claim's tolerance."""
        return self.difference / self.tolerance

    @property
    def effect(self) -> float | None:
        """The difference in standard deviations; None where there is no SD to divide by."""
        return self.difference / self.sd if self.sd else None

    @property
    def p(self) -> float | None:
        """p-value of the paired t-test before any correction; None for one seed."""
        return None if self.sd is None else paired_p(self.difference, self.sd, self.n)

    @property
    def detectable(self) -> float | None:
        """The smallest difference that would have been found, four times in five."""
        if self.sd is None or not self.tests:
            return None
        return self.sd * detectable(self.n, self.tests)

    @property
    def moved(self) -> bool:
        """Whether the change is larger than chance explains."""
        return self.p_holm is not None and self.p_holm <= ALPHA


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """One experiment on two sides."""

    id: str
    seeds: tuple[int, ...]
    """Recorded on both sides."""
    identical: tuple[int, ...]
    """Of these, the seeds whose records are equal bit for bit."""
    only_base: tuple[int, ...]
    only_new: tuple[int, ...]
    epochs: int
    """Number of epochs compared: as many as both sides have."""
    cut_short: tuple[int, ...]
    """Seeds that ended before that on one side or on both."""
    verdict: Outcome | None
    """On the new records, for the seeds and epochs that are compared; None without seeds."""
    changes: tuple[Change, ...]
    """Of the claims whose values differ."""
    conditions: Mapping[str, tuple[str, str]] | None
    """Versions, hardware, code and the like that differ: base and new. None if a side has none
    recorded."""

    @property
    def standing(self) -> Standing:
        """What the comparison shows."""
        if not self.seeds:
            return Standing.NOTHING
        if self.seeds == self.identical:
            return Standing.UNCHANGED
        if any(change.moved for change in self.changes):
            return Standing.MOVED
        untested = self.changes and all(change.p is None for change in self.changes)
        return Standing.UNTESTED if untested else Standing.NOT_SHOWN


@dataclass(frozen=True)
class Side:
    """The trials of one side, by experiment and seed."""

    trials: Mapping[tuple[str, int], StoredTrial]

    def seeds(self, experiment: str) -> set[int]:
        """Return the seeds of one experiment that have at least one epoch."""
        found = self.trials.items()
        return {seed for (name, seed), trial in found if name == experiment and trial.epochs}

    def trial(self, experiment: Experiment, seed: int) -> StoredTrial | None:
        """Return one trial, or None if this side has none."""
        return self.trials.get((experiment.id, seed))
