"""How many more seeds would settle a question, if they are like those already recorded."""

from collections.abc import Callable
from math import sqrt

import numpy as np
from numpy.typing import NDArray
from scipy.special import chdtri, stdtrit

from harness.stats.curves import Array
from harness.stats.intervals import Sample, mean_and_sd

MOST = 1_000
"""Nobody runs more seeds than this, so no larger number is proposed."""


def more_for_equivalence(sample: Sample, centre: float, margin: float, alpha: float) -> int | None:
    """How many seeds to add until `mean_interval` lies within the margin; None if too many.

    Assumes that mean and SD stay as they are.
    """
    mean, sd = mean_and_sd(sample)
    room = margin - abs(mean - centre)
    return first_size(
        sample.n, lambda n: np.asarray(stdtrit(n - 1, 1 - alpha) * sd / np.sqrt(n) <= room)
    )


def more_for_consistency(sample: Sample, gap: float, runs: int, alpha: float) -> int | None:
    """How many seeds to add until `prediction_p` falls to alpha; None if too many.

    Args:
        sample: of two values or more; its SD is assumed to stay as it is.
        gap: distance between the mean and the reported value, less the rounding.
        runs: how many runs the paper averages in the reported value.
        alpha: level of this one test.
    """
    _, sd = mean_and_sd(sample)

    def shown(n: NDArray[np.int64]) -> Array:
        reach = sd * np.sqrt(1 / runs + 1 / n)
        return np.asarray(stdtrit(n - 1, 1 - alpha / 2) * reach <= gap)

    # However many seeds there are, a single run still varies by its SD.
    return first_size(sample.n, shown) if gap > sd / sqrt(runs) else None


def more_for_sd(sample: Sample, limit: float, alpha: float) -> int | None:
    """How many seeds to add until the upper `sd_bounds` falls to a limit; None if too many."""
    _, sd = mean_and_sd(sample)

    def bounded(n: NDArray[np.int64]) -> Array:
        return np.asarray(sd * np.sqrt((n - 1) / chdtri(n - 1, 1 - alpha)) <= limit)

    return first_size(sample.n, bounded)


def first_size(n: int, holds: Callable[[NDArray[np.int64]], Array]) -> int | None:
    """How much larger than n the first number is for which the condition holds."""
    fulfilled = np.flatnonzero(holds(np.arange(n + 1, n + 1 + MOST)))
    return int(fulfilled[0]) + 1 if len(fulfilled) else None
