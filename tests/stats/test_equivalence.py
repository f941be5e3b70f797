"""Two one-sided tests, and the interval that says the same."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from statsmodels.stats.weightstats import DescrStatsW

from harness import stats

samples = st.lists(st.floats(-10, 10, width=32), min_size=2, max_size=12).map(np.array)
margins = st.floats(0.01, 20)
centres = st.floats(-10, 10)


def spread_out(sample: np.ndarray) -> bool:
    return bool(np.std(sample) > 1e-3)


@given(samples.filter(spread_out), centres, margins)
def test_p_is_that_of_statsmodels(sample: np.ndarray, centre: float, margin: float) -> None:
    found = stats.equivalence_p(stats.summarise(sample), centre, margin)
    expected, *_ = DescrStatsW(sample).ttost_mean(centre - margin, centre + margin)
    assert found == pytest.approx(expected, abs=1e-9)


@given(samples.filter(spread_out), centres, margins, st.sampled_from([0.01, 0.05, 0.2]))
def test_p_is_small_exactly_where_the_interval_lies_inside(
    sample: np.ndarray, centre: float, margin: float, alpha: float
) -> None:
    summary = stats.summarise(sample)
    low, high = stats.mean_interval(summary, alpha)
    inside = min(low - (centre - margin), (centre + margin) - high)
    if abs(inside) > 1e-9:
        assert (stats.equivalence_p(summary, centre, margin) <= alpha) == (inside > 0)


def test_the_interval_is_that_of_a_textbook() -> None:
    """Mean 5, spread 2, n 9: t(0.95; 8) = 1.860 in every table."""
    sample = stats.Sample(n=9, mean=5.0, sd=2.0)
    low, high = stats.mean_interval(sample, 0.05)
    assert (low, high) == pytest.approx((5 - 1.860 * 2 / 3, 5 + 1.860 * 2 / 3), abs=1e-3)


@pytest.mark.parametrize(("centre", "p"), [(1.0, 0.0), (1.5, 0.0), (1.6, 1.0)])
def test_without_spread_the_mean_is_known(centre: float, p: float) -> None:
    sample = stats.summarise(np.full(3, 1.1) - 0.1)
    assert stats.equivalence_p(sample, centre, 0.5 + 1e-9) == p


def test_one_value_has_no_interval() -> None:
    with pytest.raises(ValueError, match="no SD"):
        stats.mean_interval(stats.summarise(np.array([1.0])), 0.05)


@given(st.integers(2, 30), st.floats(0.01, 3), st.floats(0, 2), st.floats(0.05, 3))
def test_so_many_more_seeds_would_do_and_one_fewer_would_not(
    n: int, spread: float, difference: float, margin: float
) -> None:
    sample = stats.Sample(n=n, mean=difference, sd=spread)

    def decided(count: int) -> bool:
        return stats.equivalence_p(stats.Sample(count, difference, spread), 0.0, margin) <= 0.05

    more = stats.more_for_equivalence(sample, 0.0, margin, 0.05)
    if more is None:
        assert not decided(n + 1000)
    else:
        assert decided(n + more)
        assert more == 1 or not decided(n + more - 1)


@given(st.integers(2, 30), st.floats(0.01, 3), st.floats(0, 20), st.integers(1, 5))
def test_so_many_more_seeds_would_show_that_it_is_no_chance(
    n: int, spread: float, gap: float, runs: int
) -> None:
    more = stats.more_for_consistency(stats.Sample(n, 0.0, spread), gap, runs, 0.05)

    def p(count: int) -> float:
        # A sample of so many values with just this mean and spread.
        edge = spread * math.sqrt((count - 1) / 2)
        column = np.array([[-edge], [edge], *[[0.0]] * (count - 2)])
        return float(stats.prediction_p(column, np.array([gap]), np.array([runs]))[0])

    if more is None:
        assert p(n + 1000) > 0.05 - 1e-6
    else:
        assert p(n + more) <= 0.05 + 1e-6
        assert more == 1 or p(n + more - 1) > 0.05 - 1e-6


def test_so_many_more_seeds_would_bound_the_spread() -> None:
    more = stats.more_for_sd(stats.Sample(10, 0.0, 1.0), 1.5, 0.05)
    assert more is not None
    bounds = [stats.sd_bounds(stats.Sample(10 + n, 0.0, 1.0), 0.05)[1] for n in (more - 1, more)]
    assert bounds[0] > 1.5 >= bounds[1]
    assert stats.more_for_sd(stats.Sample(10, 0.0, 1.0), 1.0, 0.05) is None
