"""Holm's correction, plain and weighted."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from statsmodels.stats.multitest import multipletests

from harness.stats import holm

Ps = st.lists(st.floats(0.0, 1.0), min_size=1, max_size=20)
Weighted = st.lists(st.tuples(st.floats(0.0, 1.0), st.floats(0.01, 9)), min_size=1, max_size=20)


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


@pytest.mark.parametrize("count", [1, 4, 25])
def test_without_weights_it_is_the_one_of_statsmodels(count: int) -> None:
    ps = (np.random.default_rng(count).random(count) ** 3).tolist()
    assert holm(ps) == pytest.approx(multipletests(ps, method="holm")[1])


@given(Weighted, st.floats(0.1, 10))
def test_only_the_proportion_of_the_weights_counts(
    tests: list[tuple[float, float]], by: float
) -> None:
    ps, weights = zip(*tests, strict=True)
    scaled = [weight * by for weight in weights]
    assert holm(ps, scaled) == pytest.approx(holm(ps, weights), abs=1e-12)


def test_a_weight_is_a_share_of_alpha() -> None:
    # 0.03 with four fifths of alpha, 0.02 with one: alone, 0.0375 and 0.1; the second follows.
    assert holm([0.03, 0.02], [0.8, 0.2]) == pytest.approx([0.0375, 0.0375])
    assert holm([0.03, 0.08], [0.8, 0.2]) == pytest.approx([0.0375, 0.08])
