"""What a comparison is: plain, frozen results."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from harness.compare import paired
from harness.manifest import Experiment
from harness.record import StoredTrial
from harness.verdict import Outcome


class Standing(StrEnum):
    """What can be said of one experiment."""

    UNCHANGED = "unchanged"
    """Every record of every seed is equal bit for bit."""
    MOVED = "moved"
    """Some claim's values differ by more than chance explains."""
    NOT_SHOWN = "no move shown"
    """Records differ; the tests do not tell the claims' differences from chance."""
    UNTESTED = "differs, untested"
    """Records differ, and one seed carries no test."""
    NOTHING = "nothing to compare"
    """No seed was recorded on both sides."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """How one claim's values changed; of a claim of many rows, the mean over them."""

    claim: str
    unit: str
    tolerance: float
    n: int
    """Seeds that have a value on both sides."""
    difference: float
    """New less base, mean over the seeds."""
    spread: float | None
    """Standard deviation of the seeds' differences; None of one seed."""
    row: str
    """The row that differs most."""
    p_holm: float | None = None
    """Of the paired t-test, corrected for all tests of the comparison; None of one seed."""
    tests: int = 0
    """How many tests that were."""

    @property
    def share(self) -> float:
        """The difference as a share of the claim's tolerance."""
        return self.difference / self.tolerance

    @property
    def effect(self) -> float | None:
        """The difference in standard deviations; None where there is no spread to divide by."""
        return self.difference / self.spread if self.spread else None

    @property
    def p(self) -> float | None:
        """Of the paired t-test, before any correction."""
        return (
            None if self.spread is None else paired.paired_p(self.difference, self.spread, self.n)
        )

    @property
    def detectable(self) -> float | None:
        """The smallest difference that would have been found, four times in five."""
        if self.spread is None or not self.tests:
            return None
        return self.spread * paired.detectable(self.n, self.tests)

    @property
    def moved(self) -> bool:
        """Whether chance does not explain it."""
        return self.p_holm is not None and self.p_holm <= paired.ALPHA


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """How one experiment stands beside what it was."""

    id: str
    seeds: tuple[int, ...]
    """Recorded on both sides."""
    identical: tuple[int, ...]
    """Of these, the seeds whose records are equal bit for bit."""
    only_base: tuple[int, ...]
    only_new: tuple[int, ...]
    epochs: int
    """As many as both sides have."""
    cut_short: tuple[int, ...]
    """Seeds that broke off before that on one side or both."""
    verdict: Outcome | None
    """Of the new records, on the seeds and epochs that are compared; None of no seeds."""
    changes: tuple[Change, ...]
    """Of the claims whose values differ."""
    surroundings: Mapping[str, tuple[str, str]] | None
    """What the trials ran on and with, where that differs: base and new; None if not known."""

    @property
    def standing(self) -> Standing:
        """What can be said of it."""
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
        """The seeds of one experiment of which any epoch was recorded."""
        found = self.trials.items()
        return {seed for (name, seed), trial in found if name == experiment and trial.epochs}

    def trial(self, experiment: Experiment, seed: int) -> StoredTrial | None:
        """One trial; None if there is none."""
        return self.trials.get((experiment.id, seed))
