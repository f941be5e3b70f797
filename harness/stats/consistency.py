"""Could the reported values come from one more run? One test for all rows of an experiment.

If the reported values do come from one more run, the probability of rejecting any row is at most
alpha, over all rows together. There are two tests:

* The **rank**. The n seeds and the paper are n + 1 exchangeable runs. For each run and row, compute
  how improbable its value is, given the other runs (`prediction_p`). A run's smallest probability
  over all rows says how far off the run is. A row's p is the share of runs that are at least as far
  off as the paper is in that row. The rank assumes nothing about the distribution of runs, but p is
  never below 1 / (n + 1). It compares probabilities and not deviations: where some runs have no
  value, deviations are smaller (at most 1.8 SD among five values, 2.3 SD among seven).
* If 1 / (n + 1) is above alpha, **Student's t** for one more draw, with Holm's correction over the
  rows. Its extreme quantiles depend on the tails, which few seeds cannot show. Therefore a row is
  rejected only if the paper is also the farthest off of all n + 1 runs, which keeps false alarms
  below 1 / (n + 1) for any distribution. If the seeds of a row are not normally distributed
  (Shapiro-Wilk test), only the rank counts.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import accumulate

import numpy as np
from numpy.typing import NDArray
from scipy.special import stdtr

from harness.stats.curves import Array
from harness.stats.one_sample import NOISE

TIED = 1e-6
"""Relative tolerance for ties between p-values. Rounding grows with the degrees of freedom."""

NORMALITY = 0.1
"""Level of the Shapiro-Wilk test. It is high because few seeds seldom show non-normality."""


@dataclass(frozen=True)
class Family:
    """The rows that are tested together. All arrays have shape (rows,)."""

    reported: Array
    half: Array
    """Half a unit of the last digit that is printed."""
    runs: Array
    """How many runs the paper averages in a value."""
    weights: Array
    """Weight of each row in Holm's correction."""
    censored: NDArray[np.bool_]
    """Rows in which some value is only known to lie beyond the last recorded epoch."""


@dataclass(frozen=True)
class Consistency:
    """Result of the test of a family. All arrays have shape (rows,)."""

    p: Array
    """Corrected for all rows; NaN if a row has fewer than two values."""
    ranked: bool
    """Whether the rank alone decided."""
    abnormal: NDArray[np.bool_]
    """Rows decided by rank because their seeds are not normally distributed."""


def prediction_p(values: Array, reported: Array, runs: Array) -> Array:
    """Two-sided p-value that a value is one more draw from the seeds' distribution, row by row.

    t = (y - mean) / (s sqrt(1 / m + 1 / n)) with n - 1 degrees of freedom. If all seeds are equal
    (s = 0), p is 1 for the same value and 0 for any other.

    Args:
        values: of the seeds, shape (seeds, rows); NaN where one has none.
        reported: shape (rows,).
        runs: how many runs m the paper averages, shape (rows,).

    Returns:
        Shape (rows,); NaN if there are fewer than two values.

    Source:
        Hahn and Meeker (1991), Statistical Intervals, section 4.7 (m = 1) and 4.8.
    """
    n, mean, sd = _moments(values)
    gap = np.abs(reported - mean)
    gap = np.where(gap <= NOISE * np.abs(mean), 0.0, gap)
    scale = sd * np.sqrt(1 / runs + 1 / np.maximum(n, 1))
    with np.errstate(divide="ignore", invalid="ignore"):
        t = np.where(gap == 0, 0.0, gap / scale)
    return np.where(n > 1, 2 * stdtr(np.maximum(n - 1, 1), -t), np.nan)


def joint_consistency(values: Array, family: Family, alpha: float) -> Consistency:
    """Test all rows together; the probability of any false rejection is at most alpha.

    Args:
        values: of the seeds, shape (seeds, rows); NaN where one has none.
        family: what the paper reports in these rows.
        alpha: level of the test, for all rows together.

    Source:
        The rank of the least probable row: Westfall and Young (1993), Resampling-based Multiple
        Testing, section 2.3 (single-step minP), with the n + 1 choices of which run is the paper
        in place of permutations. Holm (1979). Shapiro and Wilk (1965), Biometrika 52(3/4).
    """
    reported = _towards_the_mean(values, family)
    rank = _rank(values, reported)
    single = 1 / (len(values) + 1)
    p = prediction_p(values, reported, family.runs)
    known = ~np.isnan(p)
    if single <= alpha and (family.runs == 1).all():
        ranks = np.where(known, rank, np.nan)
        return Consistency(ranks, ranked=True, abnormal=np.zeros_like(family.censored))
    weights = family.weights / family.weights[known].sum() if known.any() else family.weights
    doubted = known & (p <= alpha)
    abnormal = np.array(
        [asked and not_normal(column) for asked, column in zip(doubted, values.T, strict=True)]
    )
    abnormal |= known & family.censored
    p = np.where(abnormal, np.maximum(rank, single), p)
    p[known] = holm(p[known].tolist(), weights[known].tolist())
    one_run = family.runs == 1  # a mean of several runs is not exchangeable with single ones
    farthest = ~one_run | (rank <= single * (1 + NOISE))
    return Consistency(np.where(farthest, p, np.maximum(p, rank)), ranked=False, abnormal=abnormal)


def left_out(values: Array, family: Family, alpha: float) -> int:
    """Leave-one-out check: how many seeds are rejected if each in turn stands for the paper.

    If the test is calibrated, a fraction alpha of the seeds on average.

    Args:
        values: of the seeds, shape (seeds, rows).
        family: for its rounding, weights and rows; its reported values are not used.
        alpha: level of the test, for all rows together.
    """
    n = len(values)
    if 1 / n <= alpha and (family.runs == 1).all():
        # Each run is compared with all others, so one ranking answers for every choice of paper.
        least = np.sort(_as_one_more(values).min(axis=1, initial=1.0))
        as_far = np.searchsorted(least, least * (1 + TIED), side="right")
        return int((as_far / n <= alpha).sum())
    alarms = 0
    for seed in range(n):
        others = np.delete(values, seed, axis=0)
        asked = replace(family, reported=values[seed], runs=np.ones_like(family.runs))
        alarms += bool((joint_consistency(others, asked, alpha).p <= alpha).any())
    return alarms


def _moments(values: Array) -> tuple[NDArray[np.int64], Array, Array]:
    """Number, mean and SD of each row's values."""
    known = ~np.isnan(values)
    n = known.sum(axis=0)
    mean = np.where(known, values, 0.0).sum(axis=0) / np.maximum(n, 1)
    squares = np.where(known, (values - mean) ** 2, 0.0).sum(axis=0)
    sd = np.sqrt(squares / np.maximum(n - 1, 1))
    return n, mean, np.where(sd <= NOISE * np.abs(mean), 0.0, sd)


def _towards_the_mean(values: Array, family: Family) -> Array:
    """The reported values before rounding, each chosen as near to the mean as rounding allows."""
    _, mean, _ = _moments(values)
    return np.clip(mean, family.reported - family.half, family.reported + family.half)


def _as_one_more(runs: Array) -> Array:
    """`prediction_p` of each run, given all other runs; computed for all runs at once.

    Args:
        runs: shape (runs, rows); NaN if one has no value.

    Returns:
        Shape (runs, rows); 1 if a run has no value, or if fewer than two others have one.

    Source:
        The distance of a value from the mean of all n values gives its distance from the others:
        Cook and Weisberg (1982), Residuals and Influence in Regression, section 2.2.
    """
    n, mean, sd = _moments(runs)
    with np.errstate(divide="ignore", invalid="ignore"):
        share = np.where(sd > 0, (runs - mean) ** 2 / sd**2 * n / (n - 1.0) ** 2, 0.0)
        # The share of the squared deviations; if it is 1, the others are equal but for rounding.
        t = np.sqrt((n - 2) * share / np.maximum(1 - share, NOISE))
    known = ~np.isnan(runs) & (n > 2)
    return np.where(known, 2 * stdtr(np.maximum(n - 2, 1), -t), 1.0)


def _rank(values: Array, reported: Array) -> Array:
    """For each row, the share of runs (with the paper) that are at least as far off in any row."""
    p = _as_one_more(np.vstack([values, reported]))
    least, paper = p.min(axis=1, initial=1.0), p[-1]
    return np.asarray((least[:, np.newaxis] <= paper * (1 + TIED)).mean(axis=0))


def not_normal(column: Array) -> bool:
    """Whether values, shape (seeds,), are shown not to be normally distributed (Shapiro-Wilk).

    Fewer than three values show nothing.

    Source:
        Shapiro and Wilk (1965), An analysis of variance test for normality, Biometrika 52(3/4).
    """
    known = column[~np.isnan(column)]
    size = np.ptp(known) if len(known) else 0.0
    if len(known) < 3 or size <= NOISE * np.abs(known).max():
        return False
    from scipy.stats import shapiro  # noqa: PLC0415 - takes a second to import and is seldom needed

    return bool(shapiro((known - known.min()) / size).pvalue < NORMALITY)


def holm(ps: Sequence[float], weights: Sequence[float] | None = None) -> list[float]:
    """p-values corrected for testing many rows (Holm), in the order given.

    Reject every hypothesis whose corrected p is at most alpha: then the probability of any false
    rejection is at most alpha, however the tests depend on one another. With equal weights the
    k-th smallest p of m is multiplied by m - k + 1. In general, the p-values are sorted by
    p / weight; each is multiplied by the sum of its own and all later weights, divided by its own
    weight, and raised to the value before it if it is smaller.

    Args:
        ps: the p-values.
        weights: positive; a test with a larger weight gets a larger share of alpha.

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
