"""Is the mean as near to a value as matters? Two one-sided tests."""

from math import sqrt

from scipy.special import stdtr, stdtrit

from harness.stats.samples import Sample, spread_of


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

    t = (margin - |mean - centre|) / (s / sqrt(n)) with n - 1 degrees of freedom. It is at most
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
