"""The test, and what it could have shown."""

import numpy as np
import pytest
from scipy import stats

from harness.compare import ALPHA, POWER, detectable, paired_p


def test_p_is_that_of_scipys_paired_test() -> None:
    rng = np.random.default_rng(0)
    before, after = rng.normal(size=(2, 7))
    differences = after - before
    ours = paired_p(float(differences.mean()), float(differences.std(ddof=1)), 7)
    assert ours == pytest.approx(stats.ttest_rel(after, before).pvalue)


def test_a_step_that_every_seed_took_alike_is_no_chance() -> None:
    assert paired_p(0.1, 0.0, 3) == 0.0
    assert paired_p(0.0, 0.0, 3) == 1.0


@pytest.mark.parametrize("n", [3, 5, 10])
def test_a_change_of_the_detectable_size_is_found_about_four_times_in_five(n: int) -> None:
    rng = np.random.default_rng(n)
    tests = 4
    samples = rng.normal(detectable(n, tests), 1.0, size=(4000, n))
    found = stats.ttest_1samp(samples, 0.0, axis=1).pvalue <= ALPHA / tests
    assert np.mean(found) == pytest.approx(POWER, abs=0.12)


def test_more_seeds_show_smaller_changes_and_more_tests_only_larger_ones() -> None:
    assert detectable(10, 1) < detectable(5, 1) < detectable(5, 10)
