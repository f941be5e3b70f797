"""What the planned seeds can show, given the SD of the stored ones (power)."""

from dataclasses import dataclass

from harness import stats
from harness.stats import Sample
from harness.verdict.results import ExperimentVerdict


@dataclass(frozen=True)
class Prospect:
    """What the planned seeds can show in one row."""

    name: str
    tolerance: float
    stored: int
    """How many seeds the SD was computed from."""
    sd: float
    room: float
    """How far the mean may lie from the reported value and still be shown to be equivalent.

    Negative if the planned seeds cannot show it even for a mean that is equal.
    """
    needed: int | None
    """How many seeds could show it for a mean that is equal; None if a thousand could not."""

    @property
    def hopeless(self) -> bool:
        """Whether single runs differ by more than the tolerance, as the paper's run may, too."""
        return self.sd > self.tolerance


def prospects(verdict: ExperimentVerdict, seeds: int) -> tuple[Prospect, ...]:
    """What the planned seeds can show, for every row that is compared with them and has an SD.

    Args:
        verdict: on the stored seeds, complete or not.
        seeds: how many are planned.
    """
    return tuple(
        Prospect(
            name=row.name,
            tolerance=row.tolerance,
            stored=row.n,
            sd=row.spread,
            room=_room(row.tolerance, row.spread, seeds, verdict.alpha),
            needed=_needed(row.tolerance, row.spread, verdict.alpha),
        )
        for row in verdict.results
        if row.spread is not None and row.about is not None and row.about.compared
    )


def _room(tolerance: float, sd: float, seeds: int, alpha: float) -> float:
    if seeds < 2:
        return -tolerance
    low, high = stats.mean_interval(Sample(seeds, 0.0, sd), alpha)
    return tolerance - (high - low) / 2


def _needed(tolerance: float, sd: float, alpha: float) -> int | None:
    more = stats.more_for_equivalence(Sample(2, 0.0, sd), 0.0, tolerance, alpha)
    if more is None:
        return None
    two = stats.mean_interval(Sample(2, 0.0, sd), alpha)[1] <= tolerance
    return 2 if two else 2 + more
