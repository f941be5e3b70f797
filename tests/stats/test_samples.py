"""Two samples: Welch's tests, exact ranks with ties, and the spread."""

from itertools import combinations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import mannwhitneyu, rankdata, ttest_ind, ttest_ind_from_stats
from statsmodels.stats.weightstats import CompareMeans

from harness import stats

samples = st.lists(st.floats(-10, 10, width=32), min_size=2, max_size=9).map(np.array)
tied = st.lists(st.integers(0, 3), min_size=2, max_size=5).map(lambda x: np.array(x, float))


def spread_out(sample: np.ndarray) -> bool:
    return bool(np.std(sample) > 1e-3)


@given(samples.filter(spread_out), samples.filter(spread_out), st.floats(0.01, 20))
def test_welch_is_that_of_scipy_and_statsmodels(
    one: np.ndarray, other: np.ndarray, margin: float
) -> None:
    pair = stats.summarise(one), stats.summarise(other)
    assert stats.welch_p(*pair) == pytest.approx(ttest_ind(one, other, equal_var=False).pvalue)
    expected, *_ = CompareMeans.from_data(one, other).ttost_ind(-margin, margin, "unequal")
    assert stats.welch_equivalence_p(*pair, margin) == pytest.approx(expected, abs=1e-9)


@given(samples.filter(spread_out), samples.filter(spread_out), st.floats(0.01, 20))
def test_means_are_equivalent_exactly_where_the_interval_lies_inside(
    one: np.ndarray, other: np.ndarray, margin: float
) -> None:
    pair = stats.summarise(one), stats.summarise(other)
    low, high = stats.welch_interval(*pair, 0.05)
    inside = min(low + margin, margin - high)
    if abs(inside) > 1e-9:
        assert (stats.welch_equivalence_p(*pair, margin) <= 0.05) == (inside > 0)


@given(tied, tied)
def test_ranks_with_ties_are_those_of_every_way_to_deal_the_values(
    one: np.ndarray, other: np.ndarray
) -> None:
    ranks = rankdata(np.concatenate([one, other]))
    sums = np.array(
        [ranks[list(dealt)].sum() for dealt in combinations(range(len(ranks)), len(one))]
    )
    off = np.abs(sums - sums.mean())
    expected = (off >= off[0] - 1e-9).mean()  # the first way is that of the samples themselves
    assert stats.rank_p(one, other) == pytest.approx(expected)
    assert stats.rank_p(other, one) == pytest.approx(expected)


def test_ranks_without_ties_and_of_many_values_are_those_of_scipy() -> None:
    rng = np.random.default_rng(3)
    few, more = rng.normal(size=10), rng.normal(size=12) + 0.8
    assert stats.rank_p(few, more) == pytest.approx(
        mannwhitneyu(few, more, method="exact").pvalue, rel=1e-9
    )
    many, most = rng.integers(0, 9, 80), rng.integers(1, 9, 70)
    assert stats.rank_p(many * 1.0, most * 1.0) == pytest.approx(
        mannwhitneyu(many, most, method="asymptotic").pvalue, rel=1e-9
    )


@pytest.mark.parametrize("value", [98.25, 11.02, 1e-9, 7e8])
def test_rounding_errors_break_no_ties(value: float) -> None:
    one = np.array([value] * 6)
    other = np.array([value / 100 * 100 + value * 2e-16 * k for k in range(6)])
    assert stats.rank_p(one, other) == 1.0
    assert stats.scale_p(one, other) == 1.0


def test_one_outlying_run_is_no_difference_of_spread_and_ten_are() -> None:
    rng = np.random.default_rng(0)
    without = 10 + 0.4 * rng.normal(size=10)
    with_one = np.append(10 + 0.4 * rng.normal(size=9), 71.0)
    assert stats.scale_p(without, with_one) > 0.2
    assert stats.larger_sd_p(stats.summarise(with_one), stats.summarise(without)) < 1e-9
    assert stats.scale_p(without, 10 + 6 * rng.normal(size=10)) < 0.01


def test_samples_without_spread_are_equal_or_not() -> None:
    same, off = stats.Sample(10, 11.02, 0.0), stats.Sample(10, 11.12, 0.0)
    assert (stats.welch_p(same, same), stats.welch_p(same, off)) == (1.0, 0.0)
    assert stats.welch_p(same, off, rounding=0.11) == 1.0
    assert (
        stats.welch_equivalence_p(same, off, 0.2),
        stats.welch_equivalence_p(same, off, 0.05),
    ) == (
        0.0,
        1.0,
    )
    one_side = stats.Sample(10, 11.0, 0.2)
    expected = ttest_ind_from_stats(11.02, 0.0, 10, 11.0, 0.2, 10, equal_var=False).pvalue
    assert stats.welch_p(same, one_side) == pytest.approx(expected)


def test_more_seeds_help_until_the_papers_own_error_is_too_large() -> None:
    ours, theirs = stats.Sample(3, 1.0, 0.3), stats.Sample(10, 1.05, 0.1)
    more = stats.more_for_welch_equivalence(ours, theirs, 0.25, 0.05)
    assert more is not None
    low, high = stats.welch_interval(stats.Sample(3 + more, 1.0, 0.3), theirs, 0.05)
    assert max(-low, high) <= 0.25
    low, high = stats.welch_interval(stats.Sample(2 + more, 1.0, 0.3), theirs, 0.05)
    assert max(-low, high) > 0.25
    assert stats.more_for_welch_equivalence(ours, theirs, 0.06, 0.05) is None
    assert stats.more_for_welch(ours, stats.Sample(10, 1.3, 0.1), 0.0, 0.05) is not None
    assert stats.more_for_welch(ours, theirs, 0.05, 0.05) is None
