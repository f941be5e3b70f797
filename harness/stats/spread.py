"""How large the spread itself may be."""

from math import sqrt

from scipy.special import chdtri

from harness.stats.samples import Sample, spread_of


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
