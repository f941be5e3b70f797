"""Laws of the numbers that verdicts rest on."""

import math
from random import Random

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from harness import stats

values = st.floats(-100, 100, width=32)
THRESHOLD = 0.5
curves = arrays(np.float64, st.integers(2, 30), elements=st.floats(-1, 3, width=16)).filter(
    lambda curve: curve[0] < THRESHOLD
)


def onset_of(curve: np.ndarray) -> float:
    return stats.onset(np.arange(1.0, len(curve) + 1), curve, THRESHOLD)


@given(curves, st.integers(1, 20))
def test_an_onset_moves_with_its_curve(curve: np.ndarray, by: int) -> None:
    later = np.concatenate([np.full(by, curve[0]), curve])
    assert onset_of(later) == pytest.approx(onset_of(curve) + by, nan_ok=True)


@given(curves, curves)
def test_an_onset_ignores_what_comes_after_it(curve: np.ndarray, after: np.ndarray) -> None:
    at = onset_of(curve)
    if not math.isnan(at):
        kept = curve[: math.ceil(at)]
        assert onset_of(np.concatenate([kept, after])) == at


@given(st.floats(1.01, 9.0), st.floats(0.1, 10))
def test_an_onset_is_exact_on_straight_lines(at: float, slope: float) -> None:
    epochs = np.arange(1.0, 12)
    found = stats.onset(epochs, THRESHOLD + slope * (epochs - at), THRESHOLD)
    assert found == pytest.approx(at)


@given(curves)
def test_a_curve_takes_off_where_it_has_the_threshold_and_nowhere_before(
    curve: np.ndarray,
) -> None:
    at = onset_of(curve)
    if math.isnan(at):
        assert (curve < THRESHOLD).all()
    else:
        epochs = np.arange(1.0, len(curve) + 1)
        assert stats.value_at(epochs, curve, np.array([at]))[0] == pytest.approx(THRESHOLD)
        assert (curve[epochs < at] < THRESHOLD).all()


def test_a_curve_that_begins_over_the_threshold_took_off_at_its_first_epoch() -> None:
    assert onset_of(np.array([0.7, 0.9])) == 1.0


def test_an_onset_is_read_between_rows_that_are_not_neighbours() -> None:
    assert stats.onset(np.array([10.0, 20.0]), np.array([0.0, 1.0]), 0.25) == 12.5


@given(curves, st.floats(-5, 40))
def test_a_curve_is_never_carried_beyond_what_was_recorded(curve: np.ndarray, at: float) -> None:
    epochs = np.arange(1.0, len(curve) + 1)
    (found,) = stats.value_at(epochs, curve, np.array([at]))
    assert math.isnan(found) == (not 1 <= at <= len(curve))


@given(curves, st.integers(0, 10))
def test_what_was_not_recorded_changes_no_value(curve: np.ndarray, gap: int) -> None:
    padded = np.concatenate([curve, np.full(gap, np.nan)])
    epochs = np.arange(1.0, len(padded) + 1)
    places = np.linspace(0, len(padded) + 1, 17)
    short = stats.value_at(epochs[: len(curve)], curve, places)
    np.testing.assert_array_equal(stats.value_at(epochs, padded, places), short)


def test_a_curve_of_nothing_has_no_values() -> None:
    nothing = np.full(3, np.nan)
    assert np.isnan(stats.value_at(np.arange(1.0, 4), nothing, np.array([1.0, 2.0]))).all()
    assert math.isnan(onset_of(nothing))


@given(st.lists(values, min_size=2), st.randoms(use_true_random=False))
def test_a_sample_does_not_depend_on_the_order(sample: list[float], random: Random) -> None:
    shuffled = list(sample)
    random.shuffle(shuffled)
    assert stats.summarise(np.array(shuffled)) == stats.summarise(np.array(sample))


@given(st.lists(values, min_size=2), values)
def test_a_shift_moves_the_mean_and_leaves_the_sd(sample: list[float], by: float) -> None:
    plain, moved = stats.summarise(np.array(sample)), stats.summarise(np.array(sample) + by)
    assert moved.mean == pytest.approx(plain.mean + by, abs=1e-9)
    assert moved.sd == pytest.approx(plain.sd, abs=1e-6)


@pytest.mark.parametrize(
    ("sample", "expected"),
    [
        ([], stats.Sample(0, None, None)),
        ([math.nan], stats.Sample(0, None, None)),
        ([2.0, math.nan], stats.Sample(1, 2.0, None)),
        ([1.0, math.nan, 3.0], stats.Sample(2, 2.0, math.sqrt(2))),
    ],
)
def test_a_sample_counts_only_what_is_there(sample: list[float], expected: stats.Sample) -> None:
    assert stats.summarise(np.array(sample)) == expected
