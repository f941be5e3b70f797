"""The test, its correction, and what it could have shown."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from harness.compare.paired import ALPHA, POWER, detectable, holm, paired_p

Ps = st.lists(st.floats(0.0, 1.0), min_size=1, max_size=20)


def test_p_is_that_of_scipys_paired_test() -> None:
    rng = np.random.default_rng(0)
    before, after = rng.normal(size=(2, 7))
    differences = after - before
    ours = paired_p(float(differences.mean()), float(differences.std(ddof=1)), 7)
    assert ours == pytest.approx(stats.ttest_rel(after, before).pvalue)


def test_a_step_that_every_seed_took_alike_is_no_chance() -> None:
    assert paired_p(0.1, 0.0, 3) == 0.0
    assert paired_p(0.0, 0.0, 3) == 1.0


def test_holm_as_in_a_worked_example() -> None:
    """Of 0.01, 0.04, 0.03, 0.005: times 3, 1, 2 and 4, and never below a smaller one's."""
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])


@given(Ps)
def test_correction_never_lowers_a_p_and_keeps_their_order(ps: list[float]) -> None:
    adjusted = holm(ps)
    assert all(p <= new <= 1.0 for p, new in zip(ps, adjusted, strict=True))
    assert [new for _, new in sorted(zip(ps, adjusted, strict=True))] == sorted(adjusted)


@given(Ps, st.randoms(use_true_random=False))
def test_correction_knows_no_order_of_the_claims(ps: list[float], shuffler: object) -> None:
    places = list(range(len(ps)))
    shuffler.shuffle(places)  # type: ignore[attr-defined]
    assert holm([ps[place] for place in places]) == [holm(ps)[place] for place in places]


@pytest.mark.parametrize("n", [3, 5, 10])
def test_a_change_of_the_detectable_size_is_found_about_four_times_in_five(n: int) -> None:
    rng = np.random.default_rng(n)
    tests = 4
    samples = rng.normal(detectable(n, tests), 1.0, size=(4000, n))
    found = stats.ttest_1samp(samples, 0.0, axis=1).pvalue <= ALPHA / tests
    assert np.mean(found) == pytest.approx(POWER, abs=0.12)


def test_more_seeds_show_smaller_changes_and_more_tests_only_larger_ones() -> None:
    assert detectable(10, 1) < detectable(5, 1) < detectable(5, 10)
