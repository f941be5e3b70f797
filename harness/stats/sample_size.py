"""How many more seeds would decide, if they came out like those that there are."""

from collections.abc import Callable
from math import sqrt

import numpy as np
from numpy.typing import NDArray
from scipy.special import chdtri, stdtrit

from harness.stats.curves import Array
from harness.stats.intervals import Sample, spread_of

MOST = 1_000
"""More seeds than this are no advice."""


def more_for_equivalence(sample: Sample, centre: float, margin: float, alpha: float) -> int | None:
    """The seeds to add until `mean_interval` lies inside the margin; None if none would do.

    Mean and spread are taken to stay as they are.
    """
    mean, spread = spread_of(sample)
    room = margin - abs(mean - centre)
    return _first(
        sample.n, lambda n: np.asarray(stdtrit(n - 1, 1 - alpha) * spread / np.sqrt(n) <= room)
    )


def more_for_consistency(sample: Sample, gap: float, runs: int, alpha: float) -> int | None:
    """The seeds to add until `prediction_p` falls to alpha; None if none would do.

    Args:
        sample: of two values or more; its spread is taken to stay as it is.
        gap: between the mean and the reported value, rounding allowed for.
        runs: how many runs the reported value is the mean of.
        alpha: what the one test may spend.
    """
    _, spread = spread_of(sample)

    def shown(n: NDArray[np.int64]) -> Array:
        reach = spread * np.sqrt(1 / runs + 1 / n)
        return np.asarray(stdtrit(n - 1, 1 - alpha / 2) * reach <= gap)

    # With ever so many seeds the normal quantile times the spread of a run remains.
    return _first(sample.n, shown) if gap > spread / sqrt(runs) else None


def more_for_spread(sample: Sample, limit: float, alpha: float) -> int | None:
    """The seeds to add until the upper one of `spread_bounds` falls to a limit; None if none do."""
    _, spread = spread_of(sample)

    def bounded(n: NDArray[np.int64]) -> Array:
        return np.asarray(spread * np.sqrt((n - 1) / chdtri(n - 1, 1 - alpha)) <= limit)

    return _first(sample.n, bounded)


def _first(n: int, holds: Callable[[NDArray[np.int64]], Array]) -> int | None:
    """How far beyond n the first number lies that holds."""
    found = np.flatnonzero(holds(np.arange(n + 1, n + 1 + MOST)))
    return int(found[0]) + 1 if len(found) else None
