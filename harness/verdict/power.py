"""What seeds that are planned can decide, by the spread of those that are stored."""

from dataclasses import dataclass

from harness import stats
from harness.stats import Sample
from harness.verdict.results import ExperimentVerdict


@dataclass(frozen=True)
class Prospect:
    """One row: what is known of its spread, and what that lets the planned seeds show."""

    name: str
    tolerance: float
    stored: int
    """How many seeds the spread is of."""
    spread: float
    room: float
    """How far the mean may lie from the reported value and still be shown to be equivalent;
    negative where these seeds cannot show it even of a mean that is equal."""
    needed: int | None
    """How many seeds could show it of a mean that is equal; None where a thousand could not."""

    @property
    def hopeless(self) -> bool:
        """Whether single runs differ by more than matters: the paper's may, too, by chance."""
        return self.spread > self.tolerance


def prospects(verdict: ExperimentVerdict, seeds: int) -> tuple[Prospect, ...]:
    """The prospects of every row that is compared with the seeds and has a spread.

    Args:
        verdict: on what is stored, complete or not.
        seeds: how many are planned.
    """
    return tuple(
        Prospect(
            name=row.name,
            tolerance=row.tolerance,
            stored=row.n,
            spread=row.spread,
            room=_room(row.tolerance, row.spread, seeds, verdict.alpha),
            needed=_needed(row.tolerance, row.spread, verdict.alpha),
        )
        for row in verdict.results
        if row.spread is not None and row.about is not None and row.about.compared
    )


def _room(tolerance: float, spread: float, seeds: int, alpha: float) -> float:
    if seeds < 2:
        return -tolerance
    low, high = stats.mean_interval(Sample(seeds, 0.0, spread), alpha)
    return tolerance - (high - low) / 2


def _needed(tolerance: float, spread: float, alpha: float) -> int | None:
    more = stats.more_for_equivalence(Sample(2, 0.0, spread), 0.0, tolerance, alpha)
    if more is None:
        return None
    two = stats.mean_interval(Sample(2, 0.0, spread), alpha)[1] <= tolerance
    return 2 if two else 2 + more
