"""A sample in two numbers: intervals of its mean and SD, and tests that rest on them."""

from dataclasses import dataclass
from math import sqrt

import numpy as np
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
    )


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

    t is the quantile 1 - alpha of Student's distribution with n - 1 degrees of freedom. The
    interval assumes a normal sample. Two one-sided tests at `alpha` correspond to it.

    Args:
        sample: of two values or more.
        alpha: probability of missing the mean, on each side.

    Source:
        Student (1908), The probable error of a mean, Biometrika 6(1).
    """
    mean, sd = mean_and_sd(sample)
    half = float(stdtrit(sample.n - 1, 1 - alpha)) * sd / sqrt(sample.n)
    return mean - half, mean + half


def equivalence_p(sample: Sample, centre: float, margin: float) -> float:
    """How surely the mean lies within `margin` of `centre` (two one-sided t-tests).

    Returns the larger p of the two. `t = (margin - |mean - centre|) / (s / sqrt(n))`, with n - 1
    degrees of freedom. p is at most alpha exactly if `mean_interval(sample, alpha)` lies within the
    margin.

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
    return float(stdtr(sample.n - 1, -room / (sd / sqrt(sample.n))))


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
