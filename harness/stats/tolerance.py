"""Tolerance intervals: where single values to come will lie."""

from math import sqrt

from scipy.special import chdtri, ndtri


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
