"""Are reported values plausible as one more run? One test for a family of rows.

Both tests that are used hold the chance of any false rejection, over all rows together, at alpha
when the reported values are one more run:

* The **rank**: the n seeds and the paper are n + 1 exchangeable runs. Each run in turn is held
  against the others, row by row, as one more draw; the least probable of its values, over all rows,
  says how far off it is, and a row's p is the share of runs that are as far off as the paper is
  there. It assumes nothing of how runs spread, and takes every row into account; but it is never
  below 1 / (n + 1). Probabilities, since rows that some runs have no value in know fewer others:
  among five values a deviation is 1.8 spreads at most, among seven 2.3.
* Where 1 / (n + 1) is above alpha, **Student's t** for a further draw, with Holm's correction over
  the rows. Its deep quantiles rest on tails of which few seeds say nothing. So a row is rejected
  only if the paper is besides the farthest off of all n + 1 runs, which holds false alarms below
  1 / (n + 1) however runs spread; and where Shapiro and Wilk's test finds that the seeds of the row
  are not normal, nothing but the rank counts.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import accumulate

import numpy as np
from numpy.typing import NDArray
from scipy.special import stdtr

from harness.stats.curves import Array
from harness.stats.intervals import NOISE

TIED = 1e-6
"""Of two probabilities, as a share: equal deviations may differ in their last bits, of which a
power of many degrees of freedom makes more."""

NORMALITY = 0.1
"""Level of Shapiro and Wilk's test. High, for few seeds seldom show that they are not normal."""


@dataclass(frozen=True)
class Family:
    """The rows that are tested together. All arrays have shape (rows,)."""

    reported: Array
    half: Array
    """Half a unit of the last digit that is printed."""
    runs: Array
    """How many runs the paper averages in a value."""
    weights: Array
    """What each row counts where the correction is Holm's."""
    censored: NDArray[np.bool_]
    """Rows of which some value is known only to lie beyond what was recorded."""


@dataclass(frozen=True)
class Consistency:
    """What one test of a family found. All arrays have shape (rows,)."""

    p: Array
    """Adjusted for the whole family; NaN where a row has fewer than two values."""
    ranked: bool
    """Whether the rank alone decided."""
    abnormal: NDArray[np.bool_]
    """Rows that the rank decided since their seeds are not normal."""


def prediction_p(values: Array, reported: Array, runs: Array) -> Array:
    """Two-sided p that a value is a further draw, row by row.

    t = (y - mean) / (s sqrt(1 / m + 1 / n)) with n - 1 degrees of freedom. Without any spread,
    chance moves nothing: p is 1 where the value is that of the seeds, else 0.

    Args:
        values: of the seeds, shape (seeds, rows); NaN where one has none.
        reported: shape (rows,).
        runs: how many runs m the paper averages, shape (rows,).

    Returns:
        Shape (rows,); NaN where there are fewer than two values.

    Source:
        Hahn and Meeker (1991), Statistical Intervals, section 4.7 (m = 1) and 4.8.
    """
    n, mean, spread = _moments(values)
    gap = np.abs(reported - mean)
    gap = np.where(gap <= NOISE * np.abs(mean), 0.0, gap)
    scale = spread * np.sqrt(1 / runs + 1 / np.maximum(n, 1))
    with np.errstate(divide="ignore", invalid="ignore"):
        t = np.where(gap == 0, 0.0, gap / scale)
    return np.where(n > 1, 2 * stdtr(np.maximum(n - 1, 1), -t), np.nan)


def consistency(values: Array, family: Family, alpha: float) -> Consistency:
    """Test all rows of a family, so that any is falsely rejected with probability alpha at most.

    Args:
        values: of the seeds, shape (seeds, rows); NaN where one has none.
        family: what the paper reports in these rows.
        alpha: of the whole family.

    Source:
        The rank of the least probable row: Westfall and Young (1993), Resampling-based Multiple
        Testing, section 2.3 (single-step minP), with the n + 1 choices of which run is the paper
        in place of permutations. Holm (1979). Shapiro and Wilk (1965), Biometrika 52(3/4).
    """
    reported = _towards_the_mean(values, family)
    rank = _rank(values, reported)
    single = 1 / (len(values) + 1)
    p = prediction_p(values, reported, family.runs)
    there = ~np.isnan(p)
    if single <= alpha and (family.runs == 1).all():
        ranks = np.where(there, rank, np.nan)
        return Consistency(ranks, ranked=True, abnormal=np.zeros_like(family.censored))
    weights = family.weights / family.weights[there].sum() if there.any() else family.weights
    doubted = there & (p <= alpha)
    abnormal = np.array(
        [asked and not_normal(column) for asked, column in zip(doubted, values.T, strict=True)]
    )
    abnormal |= there & family.censored
    p = np.where(abnormal, np.maximum(rank, single), p)
    p[there] = holm(p[there].tolist(), weights[there].tolist())
    one_run = family.runs == 1  # a mean of several runs is not exchangeable with single ones
    farthest = ~one_run | (rank <= single * (1 + NOISE))
    return Consistency(np.where(farthest, p, np.maximum(p, rank)), ranked=False, abnormal=abnormal)


def left_out(values: Array, family: Family, alpha: float) -> int:
    """How many seeds would be rejected if each in turn were the paper, and the rest the seeds.

    Where the test keeps its word, a share of alpha on average.

    Args:
        values: of the seeds, shape (seeds, rows).
        family: whose rounding, weights and rows are used; what it reports is not.
        alpha: of the whole family.
    """
    n = len(values)
    if 1 / n <= alpha and (family.runs == 1).all():
        # Each is held against all the others, whichever is the paper: one ranking answers for all.
        least = np.sort(_as_one_more(values).min(axis=1, initial=1.0))
        as_far = np.searchsorted(least, least * (1 + TIED), side="right")
        return int((as_far / n <= alpha).sum())
    alarms = 0
    for seed in range(n):
        others = np.delete(values, seed, axis=0)
        asked = replace(family, reported=values[seed], runs=np.ones_like(family.runs))
        alarms += bool((consistency(others, asked, alpha).p <= alpha).any())
    return alarms


def _moments(values: Array) -> tuple[NDArray[np.int64], Array, Array]:
    """Number, mean and standard deviation of each row's values."""
    there = ~np.isnan(values)
    n = there.sum(axis=0)
    mean = np.where(there, values, 0.0).sum(axis=0) / np.maximum(n, 1)
    squares = np.where(there, (values - mean) ** 2, 0.0).sum(axis=0)
    spread = np.sqrt(squares / np.maximum(n - 1, 1))
    return n, mean, np.where(spread <= NOISE * np.abs(mean), 0.0, spread)


def _towards_the_mean(values: Array, family: Family) -> Array:
    """The reported values, each anywhere in what its print may stand for: nearest to the mean."""
    _, mean, _ = _moments(values)
    return np.clip(mean, family.reported - family.half, family.reported + family.half)


def _as_one_more(runs: Array) -> Array:
    """`prediction_p` of each run as one more draw, held against all the others, for all at once.

    Args:
        runs: shape (runs, rows); NaN where one has no value.

    Returns:
        Shape (runs, rows); 1 where a run has no value, or fewer than two others have one.

    Source:
        A value's distance from the mean of all n, in their spread, gives that from the others:
        Cook and Weisberg (1982), Residuals and Influence in Regression, section 2.2.
    """
    n, mean, spread = _moments(runs)
    with np.errstate(divide="ignore", invalid="ignore"):
        share = np.where(spread > 0, (runs - mean) ** 2 / spread**2 * n / (n - 1.0) ** 2, 0.0)
        # Of the squares of all: where it is all of them the others are equal, but for rounding.
        t = np.sqrt((n - 2) * share / np.maximum(1 - share, NOISE))
    known = ~np.isnan(runs) & (n > 2)
    return np.where(known, 2 * stdtr(np.maximum(n - 2, 1), -t), 1.0)


def _rank(values: Array, reported: Array) -> Array:
    """For each row, the share of all runs, the paper among them, that are as far off anywhere."""
    p = _as_one_more(np.vstack([values, reported]))
    least, paper = p.min(axis=1, initial=1.0), p[-1]
    return np.asarray((least[:, np.newaxis] <= paper * (1 + TIED)).mean(axis=0))


def not_normal(column: Array) -> bool:
    """Whether values, shape (seeds,), are shown not to be normal; fewer than three show nothing.

    Source:
        Shapiro and Wilk (1965), An analysis of variance test for normality, Biometrika 52(3/4).
    """
    there = column[~np.isnan(column)]
    size = np.ptp(there) if len(there) else 0.0
    if len(there) < 3 or size <= NOISE * np.abs(there).max():
        return False
    from scipy.stats import shapiro  # noqa: PLC0415 - takes a second to import, and is seldom asked

    return bool(shapiro((there - there.min()) / size).pvalue < NORMALITY)


def holm(ps: Sequence[float], weights: Sequence[float] | None = None) -> list[float]:
    """Adjusted p-values, in the order given; each at most alpha where its hypothesis is rejected.

    In the order of p / weight, each is multiplied by the weights of all that are left, divided by
    its own, and never made less than those before it; with equal weights the k-th smallest of m is
    multiplied by m - k + 1. The chance of any false rejection is at most alpha, however the tests
    depend on one another.

    Args:
        ps: the p-values.
        weights: what each counts, positive; a larger one gives its test more of alpha.

    Source:
        Holm (1979), A simple sequentially rejective multiple test procedure, Scand. J. Stat. 6(2),
        the weighted form in its section 4.
    """
    shares = [1.0] * len(ps) if weights is None else list(weights)
    order = sorted(range(len(ps)), key=lambda at: (ps[at] / shares[at], at))
    left = list(accumulate(shares[place] for place in reversed(order)))[::-1]
    adjusted = [0.0] * len(ps)
    reached = 0.0
    for place, weight in zip(order, left, strict=True):
        reached = max(reached, min(1.0, ps[place] * weight / shares[place]))
        adjusted[place] = reached
    return adjusted
