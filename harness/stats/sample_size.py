"""How many more seeds would settle a question, if they are like those already recorded."""

from collections.abc import Callable
from dataclasses import dataclass
from math import sqrt

import numpy as np
from numpy.typing import NDArray
from scipy.special import chdtri, stdtrit

from harness.stats.curves import Array
from harness.stats.intervals import Sample, mean_and_sd

MOST = 1_000
"""Nobody runs more seeds than this, so no larger number is proposed."""

ASSURANCE = 0.8
"""Probability that a proposed number of seeds settles its question."""

DRAWS = 2_000
"""Simulated studies; the share of those that are settled is known to about one in a hundred."""


def more_for_equivalence(sample: Sample, centre: float, margin: float, alpha: float) -> int | None:
    """How many seeds to add until `mean_interval` lies within the margin; None if too many.

    Assumes that mean and SD stay as they are.
    """
    mean, sd = mean_and_sd(sample)
    room = margin - abs(mean - centre)
    return first_size(
        sample.n, lambda n: np.asarray(stdtrit(n - 1, 1 - alpha) * sd / np.sqrt(n) <= room)
    )


@dataclass(frozen=True)
class Question:
    """What more seeds of a row should settle: is the mean close enough, or is it too far off?"""

    centre: float
    margin: float
    """The largest difference that does not matter, with rounding."""
    rounding: float
    runs: int
    """How many runs the paper averages in the reported value."""
    alpha: float
    """Level of the equivalence test once the seeds are added."""
    alpha_off: float
    """Level of the test that the reported value is one more run."""
    least: int = 0
    """With fewer seeds than this, the second test cannot reject."""


def more_to_settle(sample: Sample, question: Question) -> int | None:
    """How many seeds to add so that either test decides with probability `ASSURANCE`.

    The probability allows for what the sample leaves open: mean and SD are drawn from their
    posterior distribution, and the new seeds from these.

    Returns:
        None if `MOST` seeds are too few.

    Source:
        O'Hagan, Stevens and Campbell (2005), Assurance in clinical trial design, Pharmaceutical
        Statistics 4(3); the posterior: Gelman et al. (2013), Bayesian Data Analysis, section 3.2.
    """

    def settled(n: int, mean: Array, sd: Array) -> NDArray[np.bool_]:
        off = np.abs(mean - question.centre)
        near = stdtrit(n - 1, 1 - question.alpha) * sd / sqrt(n) <= question.margin - off
        reach = stdtrit(n - 1, 1 - question.alpha_off / 2) * sd * sqrt(1 / question.runs + 1 / n)
        return np.asarray(near | ((off - question.rounding > reach) & (n >= question.least)))

    return _assured(sample, settled)


def more_for_sd(sample: Sample, limit: float, alpha: float) -> int | None:
    """How many seeds to add so that the SD is shown to keep a limit, or not, as `more_to_settle`.

    Args:
        sample: of two values or more.
        limit: of the SD.
        alpha: level of each of the two bounds of `sd_bounds`.
    """

    def settled(n: int, _: Array, sd: Array) -> NDArray[np.bool_]:
        low, high = (sd * sqrt((n - 1) / chdtri(n - 1, above)) for above in (alpha, 1 - alpha))
        return np.asarray((high <= limit) | (low > limit))

    return _assured(sample, settled)


def _assured(
    sample: Sample, settled: Callable[[int, Array, Array], NDArray[np.bool_]]
) -> int | None:
    """The smallest number of new seeds for which enough simulated studies are settled."""
    mean, sd = mean_and_sd(sample)
    if sd == 0.0:
        return None
    random, df = np.random.default_rng(sample.n), sample.n - 1
    # In units of the sample's SD, and from its mean, so that squares stay finite.
    sigma = np.sqrt(df / random.chisquare(df, DRAWS))
    centre = sigma * random.normal(size=DRAWS) / sqrt(sample.n)
    z, deviate = random.normal(size=(2, DRAWS))

    def enough(more: int) -> bool:
        n = sample.n + more
        new = centre + sigma * z / sqrt(more)
        spread = sigma**2 * _chi_square(more - 1, deviate) if more > 1 else 0.0
        squares = df + spread + sample.n * more / n * new**2
        both, size = mean + sd * more / n * new, sd * np.sqrt(squares / (n - 1))
        return bool(settled(n, both, size).mean() >= ASSURANCE)

    low, high = 0, 1
    while not enough(high):
        low, high = high, 2 * high
        if low >= MOST:
            return None
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if enough(middle) else (middle, high)
    return high


def _chi_square(df: int, deviate: Array) -> Array:
    """Chi-square values from standard normal ones; the exact quantiles take 50 times as long.

    Source:
        Wilson and Hilferty (1931), The distribution of chi-square, PNAS 17(12).
    """
    cube = 1 - 2 / (9 * df) + deviate * sqrt(2 / (9 * df))
    return np.asarray(df * np.maximum(cube, 0.0) ** 3)


def more_for_side(sample: Sample, limit: float, alpha: float) -> int | None:
    """How many seeds to add until the mean is shown to lie on its side of a limit."""
    mean, sd = mean_and_sd(sample)
    room = abs(mean - limit)
    return first_size(
        sample.n, lambda n: np.asarray(stdtrit(n - 1, 1 - alpha) * sd / np.sqrt(n) <= room)
    )


def first_size(n: int, holds: Callable[[NDArray[np.int64]], Array]) -> int | None:
    """How much larger than n the first number is for which the condition holds."""
    fulfilled = np.flatnonzero(holds(np.arange(n + 1, n + 1 + MOST)))
    return int(fulfilled[0]) + 1 if len(fulfilled) else None
