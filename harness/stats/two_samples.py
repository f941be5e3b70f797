"""Compare two samples, unpaired or paired by seed.

Unpaired: the seeds' values, and the several runs that a paper averages. Welch's tests need size,
mean and SD of both samples. The rank tests need all values. They hold for any distribution: all
values equal, two peaks, heavy tails.

Paired: many rows in one test. The statistic is the smallest p-value of the rows' paired t-tests,
that is the largest studentised difference. Rows that move in opposite directions do not cancel. Its
distribution comes from the seeds themselves: if nothing moved, each seed's differences may as well
have the other sign.
"""

from collections.abc import Callable
from dataclasses import dataclass
from math import erfc, sqrt

import numpy as np
from numpy.typing import NDArray
from scipy.special import fdtrc, stdtr, stdtrit

from harness.stats.curves import Array
from harness.stats.one_sample import NOISE, Sample, first_size, mean_and_sd

EXACT_UP_TO = 100
"""Size of both samples together up to which `rank_p` is exact."""


def welch_interval(one: Sample, other: Sample, alpha: float) -> tuple[float, float]:
    """Confidence interval of the difference of two means (one - other), at level 1 - 2 alpha.

    The SDs may differ. d ± t sqrt(s1² / n1 + s2² / n2), with t the quantile 1 - alpha of Student's
    distribution and Welch's degrees of freedom.

    Args:
        one: two values or more.
        other: likewise.
        alpha: probability of missing the difference, on each side.

    Source:
        Welch (1947), The generalization of 'Student's' problem when several different population
        variances are involved, Biometrika 34(1/2).
    """
    difference, error, df = _welch(one, other)
    half = float(stdtrit(df, 1 - alpha)) * error
    return difference - half, difference + half


def welch_p(one: Sample, other: Sample, rounding: float = 0.0) -> float:
    """Two-sided p that two means are equal, although the SDs may differ (Welch's t-test).

    If both SDs are 0, p is 1 for equal means and 0 for others.

    Args:
        one: two values or more.
        other: likewise.
        rounding: how far off the means may be because they were rounded.
    """
    difference, error, df = _welch(one, other)
    gap = max(0.0, abs(difference) - rounding)
    if error == 0.0:
        return 1.0 if gap <= NOISE * abs(other.mean or 0.0) else 0.0
    return float(2 * stdtr(df, -gap / error))


def welch_equivalence_p(one: Sample, other: Sample, margin: float) -> float:
    """How surely two means differ by at most `margin` (Welch's two one-sided t-tests).

    Returns the larger p of the two. p is at most alpha exactly if `welch_interval(one, other,
    alpha)` lies within ± margin.

    Source:
        Schuirmann (1987), J. Pharmacokin. Biopharm. 15(6), with the degrees of freedom of
        Welch (1947); Dannenberg, Dette and Munk (1994), Biometrical Journal 36(1), for that form.
    """
    difference, error, df = _welch(one, other)
    room = margin - abs(difference)
    if error == 0.0:
        return 0.0 if room >= 0 else 1.0
    return float(stdtr(df, -room / error))


def more_for_welch_equivalence(
    one: Sample, other: Sample, margin: float, alpha: float
) -> int | None:
    """How many values to add to `one` until the means are shown to be equivalent; None if too many.

    Assumes that means and SDs stay as they are. The error of `other` stays, so that even a thousand
    values may be too few.
    """
    room = margin - _gap(one, other)
    return _more(one, other, lambda error, t: np.asarray(t * error <= room), 1 - alpha)


def more_for_welch(one: Sample, other: Sample, rounding: float, alpha: float) -> int | None:
    """How many values to add to `one` until `welch_p` falls to alpha; None if too many."""
    gap = _gap(one, other) - rounding
    return _more(one, other, lambda error, t: np.asarray(t * error <= gap), 1 - alpha / 2)


def rank_p(one: Array, other: Array) -> float:
    """Two-sided p that two samples come from one distribution (Wilcoxon's rank-sum test).

    The statistic is the sum of the ranks of one sample; tied values share their mean rank. p is the
    share of all ways to deal the pooled values into two samples of these sizes whose sum is at
    least as far from its mean. It is exact for any distribution, with or without ties, up to
    `EXACT_UP_TO` values. For more, it is the normal approximation with the variance for ties.
    `scipy.stats.mannwhitneyu` ignores ties in its exact method, and ties are common in accuracies.

    Args:
        one: shape (n,).
        other: shape (m,).

    Source:
        Lehmann (1975), Nonparametrics, chapter 1, sections 2 and 4. The sums are counted as in
        Streitberg and Röhmel (1986), Statistical Software Newsletter 12(1).
    """
    pooled = _on_a_grid(np.concatenate([one, other]))
    _, place, ties = np.unique(pooled, return_inverse=True, return_counts=True)
    # Twice the mean ranks, which are whole numbers.
    ranks = (2 * np.cumsum(ties) - ties + 1)[place]
    small = ranks[: len(one)] if len(one) <= len(other) else ranks[len(one) :]
    n, total = len(small), len(pooled)
    off = abs(int(small.sum()) - n * (total + 1))
    if total <= EXACT_UP_TO:
        ways = _ways(ranks, n)
        far = np.abs(np.arange(len(ways)) - n * (total + 1)) >= off
        return float(min(1.0, ways[far].sum() / ways.sum()))
    variance = n * (total - n) / (total * (total - 1)) * float(((ranks - (total + 1)) ** 2).sum())
    return erfc(max(0, off - 1) / sqrt(2 * variance)) if variance else 1.0


def scale_p(one: Array, other: Array) -> float:
    """Two-sided p that two samples vary equally: `rank_p` of the distances from the median.

    The larger p of two: of distances from the median of both samples together, whose p is exact if
    both come from one distribution, and of distances from each sample's own median, which does not
    take a difference of location for one of scale.

    Ranks make it robust. A single outlying run has one rank, however far off it is, whereas it
    decides an F-test alone: if one run in ten ends at 71 instead of 10, samples of ten often have
    none, and their SDs differ a hundredfold by chance.

    Args:
        one: shape (n,), five values or more.
        other: shape (m,), likewise.

    Source:
        Conover, Johnson and Johnson (1981), A comparative study of tests for homogeneity of
        variances, Technometrics 23(4): of robust tests those of ranked distances from the median.
    """
    pooled = _on_a_grid(np.concatenate([one, other]))
    first, second = pooled[: len(one)], pooled[len(one) :]
    together = np.abs(pooled - np.median(pooled))
    apart = np.abs(first - np.median(first)), np.abs(second - np.median(second))
    return max(rank_p(together[: len(one)], together[len(one) :]), rank_p(*apart))


def larger_sd_p(one: Sample, other: Sample) -> float:
    """One-sided p that the SD of `one` is not larger (F-test). Holds for normal samples only.

    F = s1² / s2² with n1 - 1 and n2 - 1 degrees of freedom.

    Source:
        Snedecor and Cochran (1989), Statistical Methods, section 6.12.
    """
    sds = mean_and_sd(one)[1], mean_and_sd(other)[1]
    if sds[1] == 0.0:
        return 1.0 if sds[0] == 0.0 else 0.0
    return float(fdtrc(one.n - 1, other.n - 1, (sds[0] / sds[1]) ** 2))


def _welch(one: Sample, other: Sample) -> tuple[float, float, float]:
    """Difference of the means, its standard error, and Welch's degrees of freedom."""
    (mean, sd), (centre, spread) = mean_and_sd(one), mean_and_sd(other)
    error, df = _error(np.array([one.n]), sd, other.n, spread)
    return mean - centre, float(error[0]), float(df[0])


def _gap(one: Sample, other: Sample) -> float:
    return abs(mean_and_sd(one)[0] - mean_and_sd(other)[0])


def _error(n: NDArray[np.int64], sd: float, m: int, spread: float) -> tuple[Array, Array]:
    """Standard error of a difference of means, and its degrees of freedom, for several sizes n."""
    ours, theirs = sd**2 / n, spread**2 / m
    with np.errstate(invalid="ignore"):
        df = (ours + theirs) ** 2 / (ours**2 / np.maximum(n - 1, 1) + theirs**2 / max(m - 1, 1))
    return np.sqrt(ours + theirs), np.where(np.isnan(df), n + m - 2.0, df)


def _more(
    one: Sample, other: Sample, shown: Callable[[Array, Array], Array], quantile: float
) -> int | None:
    """How many values to add until the standard error and the quantile of t show something."""
    sd, spread = mean_and_sd(one)[1], mean_and_sd(other)[1]

    def holds(n: NDArray[np.int64]) -> Array:
        error, df = _error(n, sd, other.n, spread)
        return shown(error, stdtrit(df, quantile))

    return first_size(one.n, holds)


def _on_a_grid(values: Array) -> Array:
    """The values as whole numbers of a tiny unit, so that rounding errors break no ties."""
    size = float(np.abs(values).max(initial=0.0))
    return np.round(values / (10 * NOISE * size)) if size else values


def _ways(ranks: NDArray[np.int64], n: int) -> Array:
    """In how many ways n of the ranks have each sum, shape (largest sum + 1,)."""
    largest = int(ranks.sum())
    ways = np.zeros((n + 1, largest + 1))
    ways[0, 0] = 1.0
    for rank in ranks.tolist():
        ways[1:, rank:] += ways[:-1, : largest + 1 - rank].copy()
    return np.asarray(ways[n])


EXACT_FROM = 6
"""With fewer seeds even the strongest pattern of signs is not rare enough for a level of 5 %."""
EXACT_TO = 12
"""Up to so many seeds all 2^n patterns of signs are counted; beyond, a random sample of them."""
FLIPS = 4095
"""Size of that sample, without the pattern that was observed."""
TIED = 1 + 1e-9
"""Factor for ties between p-values, which rounding separates."""


@dataclass(frozen=True)
class Paired:
    """The paired test of one set of seeds."""

    p: Array
    """p-value of each row's paired t-test, shape (rows,)."""
    smallest: Array | None
    """The smallest p-value of any row, for each pattern of signs; sorted. None with few seeds."""

    @property
    def method(self) -> str:
        """The test's name."""
        if self.smallest is None:
            return "paired t-tests with Bonferroni's correction"
        return f"sign-flip test over {len(self.smallest):,} patterns"

    def chance(self, p: float) -> float:
        """Probability that some row has a p-value as small as this although nothing moved."""
        if self.smallest is None:
            return min(1.0, len(self.p) * p)
        return float(np.searchsorted(self.smallest, p * TIED, side="right") / len(self.smallest))


def paired(differences: Array, floor: Array) -> Paired:
    """Test all rows of a set of seeds.

    Args:
        differences: new minus base, shape (seeds, rows); NaN where a side has no value.
        floor: size of rounding in each row, shape (rows,). Smaller differences count as none, and
            the SD of the differences is at least this, so that rounding is never a move.

    Source:
        Fisher (1935), The Design of Experiments, section 21, for the sign flips; Westfall and
        Young (1993), Resampling-based Multiple Testing, section 2.3, for the smallest p-value.
    """
    known = ~np.isnan(differences)
    counted = np.where(known & (np.abs(differences) > floor), differences, 0.0)
    n = known.sum(axis=0)
    seeds = len(differences)
    observed = _p_values(np.ones((1, seeds)), counted, n, floor)[0]
    if seeds < EXACT_FROM:
        return Paired(observed, None)
    smallest = [
        _p_values(signs, counted, n, floor).min(axis=1, initial=1.0) for signs in _signs(seeds)
    ]
    return Paired(observed, np.sort(np.concatenate(smallest)))


def familywise(tests: list[Paired], p: float) -> float:
    """Probability that any of several independent tests shows a p-value as small as this."""
    return float(1 - np.prod([1 - test.chance(p) for test in tests]))


def _signs(seeds: int) -> list[Array]:
    """Patterns of signs, shape (patterns, seeds), in blocks; the first pattern is the observed."""
    if seeds <= EXACT_TO:
        patterns = np.arange(2**seeds)[:, np.newaxis] >> np.arange(seeds) & 1
        return [1.0 - 2.0 * patterns]
    random = np.random.default_rng(seeds)
    return [np.ones((1, seeds)), random.choice([-1.0, 1.0], size=(FLIPS, seeds))]


def _p_values(signs: Array, differences: Array, n: Array, floor: Array) -> Array:
    """Two-sided p-values of paired t-tests, shape (patterns, rows); 1 for fewer than two seeds."""
    count = np.maximum(n, 2)
    mean = signs @ differences / count
    squares = (differences**2).sum(axis=0)  # which no sign changes
    sd = np.sqrt(np.maximum(squares - count * mean**2, 0.0) / (count - 1))
    t = np.abs(mean) / (np.maximum(sd, floor) / np.sqrt(count))
    return np.asarray(np.where(n > 1, 2 * stdtr(count - 1, -t), 1.0))
