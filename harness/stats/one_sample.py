"""One sample: intervals of its mean and SD, tests that rest on them, and seeds still to add.

The proposed numbers of seeds assume that more seeds are like those already recorded.
"""

from collections.abc import Callable
from dataclasses import dataclass
from math import erf, sqrt

import numpy as np
from numpy.typing import NDArray
from scipy.special import chdtri, ndtri, stdtr, stdtrit

from harness.stats.curves import Array


@dataclass(frozen=True, slots=True)
class Sample:
    """Size, mean and standard deviation (SD) of a sample."""

    n: int
    mean: float | None
    """None if there is no value."""
    sd: float | None
    """Standard deviation, divided by n - 1; None if there are fewer than two values."""
    skewness: float = 0.0
    """Sample skewness, without bias for normal samples; 0 if there are fewer than three values."""

    @property
    def skewed(self) -> bool:
        """Whether the sample may be skewed: then tests of the mean are adjusted for it.

        True for half a standard error of a normal sample's skewness or more. With few seeds, little
        is enough to doubt symmetry, and the adjustment costs a symmetric sample little. Fewer than
        five values say nothing about their skewness.

        Source:
            Fisher (1930), The moments of the distribution for normal samples, for the error.
        """
        n = self.n
        if n < 5:
            return False
        error = sqrt(6 * n * (n - 1) / ((n - 2) * (n + 1) * (n + 3)))
        return abs(self.skewness) > DOUBTED * error


DOUBTED = 0.5
"""Skewness, in standard errors, from which on a test of the mean is adjusted for it."""


def summarise(values: Array) -> Sample:
    """Summarise a sample.

    Args:
        values: shape (n,); NaN marks a missing value.
    """
    # Sorted, so that not even the last bit depends on the order of the seeds.
    given = np.sort(values[~np.isnan(values)])
    n = len(given)
    return Sample(
        n=n,
        mean=float(given.mean()) if n else None,
        sd=float(given.std(ddof=1)) if n > 1 else None,
        skewness=_skewness(given),
    )


def _skewness(values: Array) -> float:
    """Skewness G1 = n sum d^3 / ((n - 1)(n - 2) s^3) of values, shape (n,)."""
    n = len(values)
    sd = values.std(ddof=1) if n > 2 else 0.0
    if sd <= NOISE * np.abs(values).max(initial=0.0):
        return 0.0
    return float((((values - values.mean()) / sd) ** 3).sum() * n / ((n - 1) * (n - 2)))


NOISE = 1e-12
"""Relative size of rounding errors: an SD below this share of the mean counts as 0."""


def mean_and_sd(sample: Sample) -> tuple[float, float]:
    """Mean and SD of two values or more; an SD that is only rounding counts as 0.

    Raises:
        ValueError: the sample has fewer than two values, so it has no SD.
    """
    if sample.mean is None or sample.sd is None:
        raise ValueError(f"a sample of {sample.n} has no SD")
    return sample.mean, 0.0 if sample.sd <= NOISE * abs(sample.mean) else sample.sd


def mean_interval(sample: Sample, alpha: float) -> tuple[float, float]:
    """Confidence interval of the mean at level 1 - 2 alpha: mean ± t s / sqrt(n).

    t is the quantile 1 - alpha of Student's distribution with n - 1 degrees of freedom. If the
    sample may be skewed, each end is the wider of this and of Hall's transformed interval: on
    skewed samples t alone misses the mean two to three times as often as alpha. Two one-sided tests
    at `alpha` correspond to the interval.

    Args:
        sample: of two values or more.
        alpha: probability of missing the mean, on each side.

    Source:
        Student (1908), The probable error of a mean, Biometrika 6(1). Hall (1992), On the removal
        of skewness by transformation, J. R. Stat. Soc. B 54(1), equation 2.7.
    """
    mean, sd = mean_and_sd(sample)
    t = float(stdtrit(sample.n - 1, 1 - alpha)) / sqrt(sample.n)
    low, high = t, -t
    if sample.skewed:
        low, high = max(t, _unskewed(t, sample)), min(-t, _unskewed(-t, sample))
    return mean - sd * low, mean - sd * high


FAR = 1e9
"""In SDs: farther off every p-value is 0 or 1, and cubes would overflow."""


def _hall(u: float, sample: Sample) -> float:
    """Hall's increasing transformation of u = (mean - m) / s, which removes skewness."""
    a, u = sample.skewness, min(max(u, -FAR), FAR)
    return u + a * u**2 / 3 + a**2 * u**3 / 27 + a / (6 * sample.n)


def _unskewed(value: float, sample: Sample) -> float:
    """The inverse of `_hall`; the sample's skewness is not 0."""
    a = sample.skewness
    return 3 / a * (float(np.cbrt(1 + a * (value - a / (6 * sample.n)))) - 1)


def equivalence_p(sample: Sample, centre: float, margin: float) -> float:
    """How surely the mean lies within `margin` of `centre` (two one-sided t-tests).

    Returns the larger p of the two. `t = (margin - |mean - centre|) / (s / sqrt(n))`, with n - 1
    degrees of freedom; if the sample may be skewed, p is the larger of this one and Hall's. p is at
    most alpha exactly if `mean_interval(sample, alpha)` lies within the margin.

    Args:
        sample: of two values or more; if the SD is 0, the mean is known exactly.
        centre: the value that the mean is compared with.
        margin: the largest difference that does not matter.

    Source:
        Schuirmann (1987), A comparison of the two one-sided tests procedure and the power approach
        for assessing the equivalence of average bioavailability, J. Pharmacokin. Biopharm. 15(6).
    """
    mean, sd = mean_and_sd(sample)
    room = margin - abs(mean - centre)
    if sd == 0.0:
        return 0.0 if room >= 0 else 1.0
    df, root = sample.n - 1, sqrt(sample.n)
    p = float(stdtr(df, -room / (sd / root)))
    if not sample.skewed:
        return p
    below, above = (mean - centre - margin) / sd, (mean - centre + margin) / sd
    upper = float(stdtr(df, root * _hall(below, sample)))
    lower = float(stdtr(df, -root * _hall(above, sample)))
    return max(p, upper, lower)


def two_runs_differ(sample: Sample, runs: int, alpha: float) -> float:
    """How far one more run may lie from a mean of `runs` runs: t s sqrt(1 + 1 / runs).

    t is the quantile 1 - alpha / 2 of Student's distribution with n - 1 degrees of freedom.

    Args:
        sample: of two runs or more, for the SD of a run.
        runs: in the other mean; usually 1.
        alpha: probability that two runs of one kind lie farther apart.

    Source:
        Hahn and Meeker (1991), Statistical Intervals, section 4.7.
    """
    _, sd = mean_and_sd(sample)
    return float(stdtrit(sample.n - 1, 1 - alpha / 2)) * sd * sqrt(1 + 1 / runs)


def sd_bounds(sample: Sample, alpha: float) -> tuple[float, float]:
    """Lower and upper confidence bound of the standard deviation, each at level 1 - alpha.

    The bounds are s sqrt((n - 1) / chi2). chi2 is the quantile 1 - alpha (lower bound) or alpha
    (upper bound) of the chi-square distribution with n - 1 degrees of freedom. They hold for
    normal samples only: with heavy tails the true bounds are wider.

    Args:
        sample: of two values or more.
        alpha: probability that a bound is wrong, for each of the two.

    Source:
        Cochran (1934), The distribution of quadratic forms in a normal system,
        Proc. Camb. Phil. Soc. 30(2).
    """
    _, sd = mean_and_sd(sample)
    df = sample.n - 1
    # chdtri takes the probability above the quantile.
    lower, upper = (sd * sqrt(df / float(chdtri(df, above))) for above in (alpha, 1 - alpha))
    return lower, upper


def share_within(margin: float, sd: float) -> float:
    """Share of a normal population that lies within `margin` of its mean: erf(m / (s sqrt(2)))."""
    return float(erf(margin / (sd * sqrt(2))))


def howe_factor(n: int, coverage: float, confidence: float) -> float:
    """Factor k such that mean ± k s contains at least `coverage` of a normal population.

    This is true with probability `confidence`. k = z sqrt((n - 1)(1 + 1 / n) / chi2), with z the
    normal quantile (1 + coverage) / 2 and chi2 the quantile 1 - confidence of the chi-square
    distribution with n - 1 degrees of freedom.

    Args:
        n: size of the sample that mean and s were computed from, at least 2.
        coverage: share of the population.
        confidence: probability that the interval covers that share.

    Source:
        Howe (1969), Two-sided tolerance limits for normal populations, some improvements,
        J. Am. Stat. Assoc. 64(326), equation 2.2.
    """
    df = n - 1
    return float(ndtri((1 + coverage) / 2)) * sqrt(df * (1 + 1 / n) / float(chdtri(df, confidence)))


def range_confidence(n: NDArray[np.int64] | int, coverage: float) -> Array:
    """How surely the smallest and the largest of n values enclose a share of their population.

    1 - n p^(n - 1) + (n - 1) p^n with p the share, for any continuous distribution.

    Args:
        n: size of the sample, at least 2; an integer or an array of them.
        coverage: share of the population.

    Source:
        Wilks (1941), Determination of sample sizes for setting tolerance limits,
        Ann. Math. Stat. 12(1).
    """
    return np.asarray(1 - n * coverage ** (n - 1.0) + (n - 1) * coverage ** (n * 1.0))


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
