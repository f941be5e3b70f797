"""Numbers at the ends of what a manifest may say, or beyond: a verdict stays calculable."""

import warnings
from collections.abc import Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.manifest.fields import LARGEST, SMALLEST
from harness.report.documents import verdicts_document
from harness.report.terminal import claims as printed
from harness.verdict import ExperimentVerdict, Outcome, propose
from tests.verdict.builders import band, curve, exact, experiment, trial, value, verdict_on

EXTREME = (0.0, 1e-300, SMALLEST, -1.0, 1.0, LARGEST, -LARGEST, 1e200, -1.7e308)
recorded = st.sampled_from(EXTREME)
reported = st.sampled_from([number for number in EXTREME if abs(number) <= LARGEST])


@given(
    st.lists(st.lists(recorded, min_size=2, max_size=2), min_size=1, max_size=12),
    st.tuples(reported, reported),
    st.sampled_from([SMALLEST, 1.0, LARGEST]),
)
@settings(max_examples=40)
def test_no_number_that_is_allowed_makes_a_warning_or_an_infinity(
    seeds: Sequence[list[float]], rows: tuple[float, float], tolerance: float
) -> None:
    listed = {1: rows[0], 2: rows[1]}
    asked = experiment(
        value(listed, tolerance),
        curve(listed, tolerance, name="curve"),
        band(listed, tolerance),
        exact({1: round(rows[0])}, decimals=17, name="true"),
        value(rows[0], tolerance, name="test"),
        epochs=2,
    )
    trials = {n: trial(one, true=one, test=one[-1]) for n, one in enumerate(seeds)}
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        verdict = verdict_on(asked, trials)
        propose(verdict, coverage=0.99, confidence=0.95)
    _no_infinity(verdict)


def _no_infinity(verdict: ExperimentVerdict) -> None:
    verdicts_document([verdict]).text()
    printed(verdict, width=200)


@pytest.mark.parametrize("huge", [1e200, -1.7e308])
def test_a_recorded_value_too_large_to_calculate_with_fails_and_is_named(huge: float) -> None:
    asked = experiment(value({1: 1.0}), epochs=1)
    verdict = verdict_on(asked, {0: trial([1.0]), 3: trial([huge]), 4: trial([1.0])})
    assert verdict.verdict is not Outcome.REPRODUCED
    assert "seed 3 recorded values beyond 1e+151, which count as that" in verdict.notes
