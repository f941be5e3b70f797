"""A sample in two numbers: intervals of its mean and SD, and tests that rest on them."""

from dataclasses import dataclass
from math import sqrt

import numpy as np
from scipy.special import chdtri, ndtri, stdtr, stdtrit

from harness.stats.curves import Array


@dataclass(frozen=True, slots=True)
class Sample:
    """Mean and spread of the values that there are."""

    n: int
    mean: float | None
    """None of no values."""
    spread: float | None
    """Standard deviation with n - 1 in its divisor; None of fewer than two values."""


def summarise(values: Array) -> Sample:
    """Mean and spread of a sample.

    Args:
        values: shape (n,); NaN marks a value that is not there.
    """
    # In sorted order, so that the order of the seeds cannot reach even the last bit.
    there = np.sort(values[~np.isnan(values)])
    n = len(there)
    return Sample(
        n=n,
        mean=float(there.mean()) if n else None,
        spread=float(there.std(ddof=1)) if n > 1 else None,
    )


NOISE = 1e-12
"""Share of its size up to which a value's last bits are the computer's, and no spread."""


def spread_of(sample: Sample) -> tuple[float, float]:
    """Mean and spread of two values or more; a spread that is only rounding is none.

    Raises:
        ValueError: fewer than two values have no spread.
    """
    if sample.mean is None or sample.spread is None:
        raise ValueError(f"a sample of {sample.n} has no spread")
    return sample.mean, 0.0 if sample.spread <= NOISE * abs(sample.mean) else sample.spread


def mean_interval(sample: Sample, alpha: float) -> tuple[float, float]:
    """The interval of the mean that two one-sided tests at `alpha` go with: mean -+ t s / sqrt(n).

    t is the quantile 1 - alpha of Student's distribution with n - 1 degrees of freedom, so that
    the interval covers the mean with probability 1 - 2 alpha where the sample is normal.

    Args:
        sample: of two values or more.
        alpha: of each side.

    Source:
        Student (1908), The probable error of a mean, Biometrika 6(1).
    """
    mean, spread = spread_of(sample)
    half = float(stdtrit(sample.n - 1, 1 - alpha)) * spread / sqrt(sample.n)
    return mean - half, mean + half


def equivalence_p(sample: Sample, centre: float, margin: float) -> float:
    """The larger p of two one-sided t-tests that the mean lies within `margin` of `centre`.

    `t = (margin - |mean - centre|) / (s / sqrt(n))` with n - 1 degrees of freedom. It is at most
    alpha exactly where `mean_interval(sample, alpha)` lies inside the margin.

    Args:
        sample: of two values or more; without spread the mean is known exactly.
        centre: the value that the mean is held against.
        margin: the largest difference that does not matter.

    Source:
        Schuirmann (1987), A comparison of the two one-sided tests procedure and the power approach
        for assessing the equivalence of average bioavailability, J. Pharmacokin. Biopharm. 15(6).
    """
    mean, spread = spread_of(sample)
    room = margin - abs(mean - centre)
    if spread == 0.0:
        return 0.0 if room >= 0 else 1.0
    return float(stdtr(sample.n - 1, -room / (spread / sqrt(sample.n))))


def spread_bounds(sample: Sample, alpha: float) -> tuple[float, float]:
    """One-sided bounds of the standard deviation, each missed with probability `alpha`.

    s sqrt((n - 1) / chi2), where chi2 is the quantile 1 - alpha (lower bound) or alpha (upper) of
    the chi-square distribution with n - 1 degrees of freedom. Holds for normal samples only: heavy
    tails widen the truth.

    Args:
        sample: of two values or more.
        alpha: of each bound.

    Source:
        Cochran (1934), The distribution of quadratic forms in a normal system,
        Proc. Camb. Phil. Soc. 30(2).
    """
    _, spread = spread_of(sample)
    df = sample.n - 1
    # chdtri takes the probability above the quantile.
    lower, upper = (spread * sqrt(df / float(chdtri(df, above))) for above in (alpha, 1 - alpha))
    return lower, upper


def howe_factor(n: int, coverage: float, confidence: float) -> float:
    """k, so that mean -+ k s holds at least `coverage` of a normal population, most of the time.

    k = z sqrt((n - 1)(1 + 1 / n) / chi2), with z the normal quantile (1 + coverage) / 2 and chi2
    the quantile 1 - confidence of the chi-square distribution with n - 1 degrees of freedom.

    Args:
        n: how many values mean and spread are of, at least 2.
        coverage: share of the population.
        confidence: share of the samples of which it is to be true.

    Source:
        Howe (1969), Two-sided tolerance limits for normal populations, some improvements,
        J. Am. Stat. Assoc. 64(326), equation 2.2.
    """
    df = n - 1
    return float(ndtri((1 + coverage) / 2)) * sqrt(df * (1 + 1 / n) / float(chdtri(df, confidence)))
