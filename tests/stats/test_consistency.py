"""The paper as one more run: what the test for consistency keeps to."""

from dataclasses import replace
from random import Random

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy import stats as reference

from harness import stats
from harness.stats import Family
from harness.stats.consistency import _as_one_more

ALPHA = 0.05
# Sixteenths, so that shifts and scales by powers of two lose no bit.
elements = st.integers(-160, 160).map(lambda whole: whole / 16)
studies = st.tuples(st.integers(2, 25), st.integers(1, 4)).flatmap(
    lambda shape: st.tuples(
        arrays(np.float64, shape, elements=elements),
        arrays(np.float64, shape[1], elements=elements),
    )
)


def family(reported: np.ndarray, *, half: float = 0.0, runs: int = 1) -> Family:
    rows = len(reported)
    return Family(
        reported=np.asarray(reported, float),
        half=np.full(rows, half),
        runs=np.full(rows, float(runs)),
        weights=np.full(rows, 1 / rows),
        censored=np.zeros(rows, dtype=bool),
    )


def draws(seed: int, seeds: int, rows: int) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(seeds, rows))


def test_the_p_of_a_further_draw_is_that_of_a_two_sample_t_test_with_one_on_one_side() -> None:
    values = draws(0, 8, 3)
    reported = np.array([0.1, 1.5, -4.0])
    expected = [
        reference.ttest_ind(values[:, row], [reported[row]]).pvalue
        for row in range(3)
    ]  # fmt: skip
    assert stats.prediction_p(values, reported, np.ones(3)) == pytest.approx(expected)


def test_a_mean_of_several_runs_is_held_against_the_spread_of_such_means() -> None:
    values = draws(1, 6, 1)
    mean, spread = values.mean(), values.std(ddof=1)
    t = (2.0 - mean) / (spread * np.sqrt(1 / 4 + 1 / 6))
    (p,) = stats.prediction_p(values, np.array([2.0]), np.array([4.0]))
    assert p == pytest.approx(2 * reference.t.sf(abs(t), 5))


@given(studies, st.sampled_from([-4.0, 0.5, 8.0]))
def test_a_shift_of_everything_changes_nothing(
    study: tuple[np.ndarray, np.ndarray], by: float
) -> None:
    values, reported = study
    plain = stats.joint_consistency(values, family(reported), ALPHA).p
    moved = stats.joint_consistency(values + by, family(reported + by), ALPHA).p
    np.testing.assert_allclose(moved, plain, atol=1e-7)


@given(studies, st.sampled_from([0.25, 2.0, -4.0]))
def test_another_unit_changes_nothing(study: tuple[np.ndarray, np.ndarray], by: float) -> None:
    values, reported = study
    plain = stats.joint_consistency(values, family(reported), ALPHA).p
    scaled = stats.joint_consistency(values * by, family(reported * by), ALPHA).p
    np.testing.assert_allclose(scaled, plain, atol=1e-7)


@given(studies, st.randoms(use_true_random=False))
def test_the_order_of_the_seeds_changes_nothing(
    study: tuple[np.ndarray, np.ndarray], random: Random
) -> None:
    values, reported = study
    order = list(range(len(values)))
    random.shuffle(order)
    plain = stats.joint_consistency(values, family(reported), ALPHA).p
    np.testing.assert_allclose(
        stats.joint_consistency(values[order], family(reported), ALPHA).p, plain, atol=1e-7
    )


@pytest.mark.parametrize("seeds", [3, 10, 30])
def test_the_farther_off_the_smaller_p(seeds: int) -> None:
    values = draws(2, seeds, 2)
    ps = [
        stats.joint_consistency(values, family(np.array([by, 0.0])), ALPHA).p[0]
        for by in (0.0, 1.0, 2.0, 5.0, 50.0)
    ]
    assert ps == sorted(ps, reverse=True)
    assert ps[0] > ALPHA
    # With three seeds a value fifty spreads off may still be beyond what two rows can show.
    assert ps[-1] <= ALPHA or seeds == 3


@pytest.mark.parametrize("seeds", [19, 20, 40])
def test_from_nineteen_seeds_on_the_rank_decides_exactly(seeds: int) -> None:
    """Whichever of the exchangeable runs is taken for the paper, so many of them are rejected."""
    runs = np.random.default_rng(seeds).exponential(size=(seeds + 1, 3))
    rejected = 0
    for paper in range(len(runs)):
        found = stats.joint_consistency(np.delete(runs, paper, axis=0), family(runs[paper]), ALPHA)
        assert found.ranked
        rejected += (found.p <= ALPHA).any()
    assert rejected == int(ALPHA * (seeds + 1))
    assert stats.left_out(runs, family(runs[0]), ALPHA) == rejected


@pytest.mark.parametrize("seeds", [3, 7])
def test_left_out_means_each_seed_against_the_others(seeds: int) -> None:
    values = draws(5, seeds, 2)
    values[0] += 40.0
    others = [np.delete(values, seed, axis=0) for seed in range(seeds)]
    expected = sum(
        bool((stats.joint_consistency(rest, family(values[seed]), ALPHA).p <= ALPHA).any())
        for seed, rest in enumerate(others)
    )
    assert stats.left_out(values, family(np.zeros(2)), ALPHA) == expected
    assert seeds == 3 or expected == 1


def test_seeds_that_are_shown_not_to_be_normal_leave_the_rank_alone() -> None:
    values = np.array([[0.0], [0.01], [0.02], [0.0], [0.015], [0.01], [3.0], [0.02]])
    found = stats.joint_consistency(values, family(np.array([40.0])), ALPHA)
    assert found.abnormal.all()
    assert found.p[0] == pytest.approx(1 / 9)


def test_a_row_that_some_seeds_have_no_value_in_can_be_what_is_farthest_off() -> None:
    """Among fewer values a deviation is fewer spreads at most, however far off the paper is."""
    values = draws(3, 6, 12)
    values[4:, 0] = np.nan
    values[5, 1] += 9.0  # with six others a run can be 2.3 spreads off, with four 1.8
    near, far = (
        stats.joint_consistency(values, family(np.array([by, *values[0, 1:]])), ALPHA).p[0]
        for by in (0.0, 1e6)
    )
    assert near > ALPHA
    assert far <= ALPHA


@pytest.mark.parametrize("count", [3, 4, 12])
def test_each_run_is_held_against_all_the_others_as_one_more_draw(count: int) -> None:
    runs = draws(count, count, 5)
    runs[0, 1] = np.nan
    expected = [
        stats.prediction_p(np.delete(runs, run, axis=0), runs[run], np.ones(5))
        for run in range(count)
    ]
    known = ~np.isnan(expected)
    assert known.sum() >= 5 * count - 3  # of three runs one is missing: the others have one other
    assert _as_one_more(runs)[known] == pytest.approx(np.array(expected)[known])


@given(st.integers(19, 40), st.integers(0, 2**16))
def test_where_no_value_is_missing_the_rank_is_that_of_the_largest_deviation(
    seeds: int, seed: int
) -> None:
    """In spreads of all runs: the one is a rising function of the other."""
    runs = draws(seed, seeds + 1, 4)
    largest = (np.abs(runs - runs.mean(axis=0)) / runs.std(axis=0)).max(axis=1)
    own = np.abs(runs[-1] - runs.mean(axis=0)) / runs.std(axis=0)
    found = stats.joint_consistency(runs[:-1], family(runs[-1]), ALPHA)
    assert found.p == pytest.approx((largest[:, np.newaxis] >= own - 1e-9).mean(axis=0))


def test_what_the_print_rounds_away_is_no_difference() -> None:
    values = np.array([[1.00001], [1.00002], [1.00003]])
    rounded = family(np.array([1.0001]), half=0.5e-4)
    off = family(np.array([1.0001]))
    assert stats.joint_consistency(values, rounded, ALPHA).p[0] > 0.1
    assert stats.joint_consistency(values, off, ALPHA).p[0] <= ALPHA


def test_where_chance_moves_nothing_a_difference_is_none() -> None:
    values = np.full((3, 2), 0.1)
    found = stats.joint_consistency(values, family(np.array([0.1, 0.2])), ALPHA)
    assert found.p.tolist() == [1.0, 0.0]


def test_a_row_that_one_seed_alone_has_is_not_tested() -> None:
    values = draws(6, 4, 2)
    values[1:, 0] = np.nan
    found = stats.joint_consistency(values, family(np.array([0.0, 50.0])), ALPHA)
    assert np.isnan(found.p[0])
    assert found.p[1] <= ALPHA


def test_a_row_with_more_weight_is_rejected_sooner() -> None:
    values = draws(4, 6, 4)
    asked = family(np.array([4.5, 0.0, 0.0, 0.0]))
    heavy = replace(asked, weights=np.array([0.7, 0.1, 0.1, 0.1]))
    plain, favoured = (stats.joint_consistency(values, each, ALPHA).p[0] for each in (asked, heavy))
    assert favoured < plain


@given(studies)
def test_fewer_than_nineteen_seeds_reject_only_a_paper_that_is_the_farthest_off(
    study: tuple[np.ndarray, np.ndarray],
) -> None:
    values, reported = study
    assume(len(values) < 19)
    found = stats.joint_consistency(values, family(reported), ALPHA)
    for row in np.flatnonzero(found.p <= ALPHA):
        column = np.append(values[:, row], reported[row])
        if not np.isnan(column).any() and np.ptp(column) > 0:
            assert np.abs(column - column.mean()).argmax() == len(values)
