"""The test of paired rows: its level, and what it could have shown."""

import numpy as np
import pytest
from scipy import stats

from harness.compare import ALPHA, POWER, detectable
from harness.stats import familywise, paired

NO_FLOOR = np.zeros(3) + 1e-15


def test_a_rows_p_is_that_of_scipys_paired_test() -> None:
    rng = np.random.default_rng(0)
    before, after = rng.normal(size=(2, 7, 3))
    found = paired(after - before, NO_FLOOR)
    assert found.p == pytest.approx(stats.ttest_rel(after, before).pvalue)


def test_all_patterns_of_signs_are_counted_as_scipy_counts_them() -> None:
    rng = np.random.default_rng(1)
    values = rng.normal(0.5, 1.0, size=(8, 1))
    found = paired(values, NO_FLOOR[:1])
    exact = stats.permutation_test(
        (values[:, 0],), lambda x, axis: np.abs(x.mean(axis=axis)), permutation_type="samples",
        alternative="greater", n_resamples=np.inf, vectorized=True,
    )  # fmt: skip
    assert found.chance(float(found.p[0])) == pytest.approx(exact.pvalue)


def test_what_is_smaller_than_rounding_is_no_difference() -> None:
    found = paired(np.full((8, 3), 4e-5), np.full(3, 5e-5))
    assert (found.p == 1).all()
    assert found.chance(1.0) == 1.0


def test_several_experiments_are_one_family() -> None:
    one = paired(np.ones((8, 3)), NO_FLOOR)
    assert one.chance(float(one.p[0])) == 2 / 2**8
    assert familywise([one] * 3, float(one.p[0])) == pytest.approx(1 - (1 - 2 / 2**8) ** 3)


@pytest.mark.parametrize("n", [6, 8, 16])
def test_noise_of_any_symmetric_kind_is_called_a_move_in_at_most_one_of_twenty(n: int) -> None:
    rng = np.random.default_rng(n)
    alarms = 0
    for _ in range(300):
        common = rng.standard_t(2, size=(n, 1))
        found = paired(common + rng.standard_t(2, size=(n, 5)), np.full(5, 1e-12))
        alarms += found.chance(float(found.p.min())) <= ALPHA
    assert alarms <= 27  # of 300; 15 are expected, more than 27 come twice in a thousand


@pytest.mark.parametrize("n", [3, 5, 10])
def test_a_change_of_the_detectable_size_is_found_about_four_times_in_five(n: int) -> None:
    rng = np.random.default_rng(n)
    tests = 4
    samples = rng.normal(detectable(n, tests), 1.0, size=(4000, n))
    found = stats.ttest_1samp(samples, 0.0, axis=1).pvalue <= ALPHA / tests
    assert np.mean(found) == pytest.approx(POWER, abs=0.12)


def test_more_seeds_show_smaller_changes_and_more_tests_only_larger_ones() -> None:
    assert detectable(10, 1) < detectable(5, 1) < detectable(5, 10)
