"""Bounds of the spread, and intervals for single runs to come."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats as reference

from harness import stats

counts = st.integers(2, 200)


@given(counts, st.floats(0.1, 5), st.sampled_from([0.01, 0.05, 0.1]))
def test_the_bounds_of_the_spread_are_those_of_the_chi_square_distribution(
    n: int, spread: float, alpha: float
) -> None:
    low, high = stats.sd_bounds(stats.Sample(n, 0.0, spread), alpha)
    for bound, quantile in ((low, 1 - alpha), (high, alpha)):
        assert (n - 1) * (spread / bound) ** 2 == pytest.approx(
            reference.chi2.ppf(quantile, n - 1), rel=1e-6
        )
    assert low < high


@pytest.mark.parametrize(
    ("n", "coverage", "confidence", "k"),
    [
        # NIST/SEMATECH e-Handbook of Statistical Methods, section 7.2.6.3: 43 wafers.
        (43, 0.90, 0.99, 2.217),
        # Berthouex and Brown (2002), Statistics for Environmental Engineers, table 21.1.
        (5, 0.95, 0.95, 5.08),
        (10, 0.95, 0.95, 3.39),
        (10, 0.99, 0.95, 4.44),
        (20, 0.90, 0.95, 2.32),
        (30, 0.95, 0.95, 2.55),
        (60, 0.95, 0.95, 2.34),
    ],
)
def test_howes_factor_is_that_of_published_tables(
    n: int, coverage: float, confidence: float, k: float
) -> None:
    assert stats.howe_factor(n, coverage, confidence) == pytest.approx(k, rel=0.005)


def test_the_interval_covers_as_often_as_it_says() -> None:
    rng = np.random.default_rng(0)
    n, coverage, confidence = 8, 0.9, 0.95
    samples = rng.normal(size=(4000, n))
    half = stats.howe_factor(n, coverage, confidence) * samples.std(axis=1, ddof=1)
    mean = samples.mean(axis=1)
    covered = reference.norm.cdf(mean + half) - reference.norm.cdf(mean - half)
    assert (covered >= coverage).mean() == pytest.approx(confidence, abs=0.015)


@given(counts)
def test_more_seeds_make_a_narrower_interval(n: int) -> None:
    assert stats.howe_factor(n + 1, 0.95, 0.95) < stats.howe_factor(n, 0.95, 0.95)


@pytest.mark.parametrize(
    ("n", "coverage", "confidence"), [(93, 0.95, 0.95), (130, 0.95, 0.99), (473, 0.99, 0.95)]
)
def test_so_many_values_have_a_range_that_covers_as_published(
    n: int, coverage: float, confidence: float
) -> None:
    """Wilks's sizes, as tables of distribution-free tolerance limits have them."""
    assert stats.range_confidence(n, coverage) >= confidence
    assert stats.range_confidence(n - 1, coverage) < confidence


def test_the_range_covers_as_often_as_it_says_whatever_the_distribution() -> None:
    rng = np.random.default_rng(5)
    samples = rng.exponential(size=(4000, 50))
    covered = np.exp(-samples.min(axis=1)) - np.exp(-samples.max(axis=1)) >= 0.95
    sure = float(stats.range_confidence(50, 0.95))
    assert covered.mean() == pytest.approx(sure, abs=4 * (sure * (1 - sure) / 4000) ** 0.5)
