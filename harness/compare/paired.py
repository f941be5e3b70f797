"""Paired differences of few seeds: a test, its correction, and what it could have shown."""

from math import sqrt

from scipy.special import stdtr, stdtrit  # scipy.stats takes a second to import

ALPHA = 0.05
"""Of all tests of one comparison together."""
POWER = 0.8
"""The chance with which a change of the size that is called detectable is found."""


def paired_p(mean: float, spread: float, n: int) -> float:
    """Two-sided p of the paired t-test: t = mean / (spread / sqrt(n)), n - 1 degrees of freedom.

    Args:
        mean: of the differences.
        spread: their standard deviation, with n - 1 in its divisor. Without any, every seed
            moved alike, which chance never does.
        n: how many differences, at least 2.

    Source:
        Student (1908), The probable error of a mean, Biometrika 6(1).
    """
    if spread == 0.0:
        return 1.0 if mean == 0.0 else 0.0
    return float(2 * stdtr(n - 1, -abs(mean) / (spread / sqrt(n))))


def detectable(n: int, tests: int) -> float:
    """The smallest mean difference that is found, in standard deviations of the differences.

    With probability `POWER`, at `ALPHA` over `tests` tests, each taken as the first of Holm's:
    (t(1 - alpha / 2 tests) + t(power)) / sqrt(n), with n - 1 degrees of freedom.

    Source:
        Bloom (1995), Minimum detectable effects, Evaluation Review 19(5).
    """
    found, seldom_missed = stdtrit(n - 1, 1 - ALPHA / (2 * tests)), stdtrit(n - 1, POWER)
    return float((found + seldom_missed) / sqrt(n))
