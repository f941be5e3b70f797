"""Claims of kind `sample`: the paper's runs against the seeds, two samples against each other."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from harness.manifest import SampleClaim, SpreadLimit
from harness.manifest.claims import AllValues, MeanAndSd
from harness.report import figures
from harness.verdict import ClaimResult, Outcome
from tests.verdict.builders import TEST, experiment, near, row, trial, value, verdict_on

REPRODUCED, IMMATERIAL = Outcome.REPRODUCED, Outcome.IMMATERIAL_DIFFERENCE
INCONCLUSIVE, NOT_REPRODUCED = Outcome.INCONCLUSIVE, Outcome.NOT_REPRODUCED

TABLE = [96.5, 96.57, 96.68, 96.73, 96.75, 96.79, 96.83, 96.86, 96.86, 96.85]
"""A cell of a published grid: ten trials."""


def sample(reported: Any, tolerance: float = 0.3, **fields: Any) -> SampleClaim:
    return SampleClaim(
        kind="sample", name="cell", reported=reported, tolerance=near(tolerance), **TEST, **fields
    )


def summary(values: Sequence[float], *, ddof: int = 0, decimals: int = 2) -> dict[str, Any]:
    mean, sd = round(float(np.mean(values)), decimals), float(np.std(values, ddof=ddof))
    return {"mean": mean, "sd": round(sd, decimals), "runs": len(values), "ddof": ddof}


def judged(ours: Sequence[float], claim: SampleClaim) -> ClaimResult:
    seeds = {seed: trial([0.0], test=at) for seed, at in enumerate(ours)}
    found = verdict_on(experiment(claim, epochs=1, seeds=range(len(ours))), seeds)
    return row(found, "cell")


def both(values: Sequence[float]) -> list[dict[str, Any]]:
    """The two ways in which a paper reports its runs."""
    return [{"values": list(values)}, summary(values)]


def moved(by: float, times: float = 1.0) -> list[float]:
    middle = float(np.mean(TABLE))
    return [round(middle + by + times * (value - middle), 2) for value in TABLE]


@pytest.mark.parametrize("reported", both(TABLE))
@pytest.mark.parametrize(
    ("ours", "outcome"),
    [
        (moved(0.02), REPRODUCED),
        (moved(0.18), IMMATERIAL),
        (moved(0.9), NOT_REPRODUCED),
        (moved(-0.9), NOT_REPRODUCED),
        ([96.2, 96.9, 97.3], INCONCLUSIVE),
    ],
)
def test_two_samples_are_judged_by_nearness_and_by_chance(
    reported: dict[str, Any], ours: Sequence[float], outcome: Outcome
) -> None:
    found = judged(ours, sample(reported, decimals=2))
    assert found.verdict is outcome, found
    assert found.interval is not None
    low, high = found.interval
    assert (abs(found.reported - low) <= 0.305 and abs(high - found.reported) <= 0.305) == (
        outcome.holds
    )


def test_ten_against_ten_is_not_one_run_against_ten() -> None:
    """The error of a mean of ten is a third of that of a single run, and so is what is noticed."""
    ours = moved(0.2)
    assert judged(ours, sample(summary(TABLE), 0.1)).verdict is NOT_REPRODUCED
    seeds = {seed: trial([0.0], test=at) for seed, at in enumerate(ours)}
    one_run = experiment(value(96.74, 0.1, name="cell"), epochs=1, seeds=range(10))
    assert row(verdict_on(one_run, seeds), "cell").verdict is INCONCLUSIVE


def test_ddof_says_what_the_printed_sd_divides_by() -> None:
    divided_by_n = MeanAndSd(mean=95.81, sd=0.23, runs=10, ddof=0)
    assert divided_by_n.unbiased_sd == pytest.approx(0.2424, abs=1e-4)
    assert MeanAndSd(mean=95.81, sd=0.23, runs=10, ddof=1).unbiased_sd == 0.23
    assert AllValues(values=tuple(TABLE)).unbiased_sd == pytest.approx(np.std(TABLE, ddof=1))


EQUAL = [11.02] * 10


@pytest.mark.parametrize("reported", both(EQUAL))
@pytest.mark.parametrize(
    ("ours", "outcome"),
    [
        (EQUAL, REPRODUCED),
        ([11.02, 11.02], REPRODUCED),
        ([11.12] * 10, IMMATERIAL),
        ([12.02] * 10, NOT_REPRODUCED),
        # One side only: ours differ a little, as a paper's that happened to be equal may.
        ([11.02] * 8 + [10.9, 11.02], REPRODUCED),
        ([9.8, 10.1, 9.7, 9.8, 10.2, 9.9, 9.8, 10.0, 9.7, 10.1], NOT_REPRODUCED),
        # Two seeds against ten: by chance once in 33 (both orders), if all twelve were alike.
        ([12.02] * 2, NOT_REPRODUCED),
    ],
)
def test_runs_that_are_all_equal_get_right_answers(
    reported: dict[str, Any], ours: Sequence[float], outcome: Outcome
) -> None:
    found = judged(ours, sample(reported, decimals=2))
    assert found.verdict is outcome, found


@pytest.mark.parametrize(
    "reported", both([10.9, 9.8, 11.02, 10.1, 10.4, 11.0, 9.9, 10.8, 10.2, 9.73])
)
def test_ours_may_be_the_side_without_spread(reported: dict[str, Any]) -> None:
    assert judged([10.4] * 10, sample(reported, 1.0, decimals=2)).verdict.holds
    assert judged([14.4] * 10, sample(reported, 1.0, decimals=2)).verdict is NOT_REPRODUCED


HUMPS = [10.12, 10.92, 11.02, 10.95, 10.92, 10.3, 10.8, 11.0, 10.4, 71.16]


@pytest.mark.parametrize("reported", both(HUMPS))
@pytest.mark.parametrize(
    ("ours", "tolerance", "outcome"),
    [
        # None of ours is in the hump, as in one of three such samples: no difference is shown.
        ([10.2, 10.9, 11.02, 10.5, 10.92, 10.31, 10.7, 11.0, 10.4, 10.85], 5.0, INCONCLUSIVE),
        ([10.2, 10.9, 11.02, 10.5, 10.92, 10.31, 10.7, 11.0, 10.4, 70.3], 5.0, INCONCLUSIVE),
        # The mean is known to a tolerance as wide as its error, and to no smaller one.
        ([10.2, 10.9, 11.02, 10.5, 10.92, 10.31, 10.7, 11.0, 10.4, 70.3], 20.0, REPRODUCED),
        # All of ours learn.
        ([70.2, 71.9, 69.1, 70.5, 71.5, 71.3, 70.7, 69.0, 70.4, 70.8], 5.0, NOT_REPRODUCED),
    ],
)
def test_two_humps_get_right_answers(
    reported: dict[str, Any], ours: Sequence[float], tolerance: float, outcome: Outcome
) -> None:
    found = judged(ours, sample(reported, tolerance, decimals=2))
    assert found.verdict is outcome, found


def test_a_hump_of_ours_alone_is_no_difference_either() -> None:
    low = [10.2, 10.9, 11.02, 10.5, 10.92, 10.31, 10.7, 11.0, 10.4, 10.85]
    for reported in both(low):
        assert judged(HUMPS, sample(reported, 5.0, decimals=2)).verdict is INCONCLUSIVE


def test_the_sd_is_checked_as_well() -> None:
    ours = moved(0.0, times=6.0)
    for reported in both(TABLE):
        found = judged(ours, sample(reported, 1.0, decimals=2))
        assert found.verdict is IMMATERIAL, found
        assert found.note.startswith("SD 0.7")
        uncertain = judged(ours, sample(reported, 0.3, decimals=2))
        assert uncertain.verdict is INCONCLUSIVE, "the tolerance is one of the mean"
        limited = sample(
            reported, 1.0, decimals=2, largest_spread=SpreadLimit(value=0.2, reason="so it is")
        )
        assert judged(ours, limited).verdict is NOT_REPRODUCED


def test_an_sd_that_is_smaller_is_seen_if_all_values_are_known() -> None:
    """One outlying run of the paper's explains any SD that is larger than ours."""
    theirs, ours = moved(0.0, times=12.0), moved(0.0)
    known, printed = both(theirs)
    assert judged(ours, sample(known, 3.0, decimals=2)).verdict is IMMATERIAL
    assert judged(ours, sample(printed, 3.0, decimals=2)).verdict is REPRODUCED


def test_the_last_digit_is_no_difference() -> None:
    reported = {"mean": 0.2, "sd": 0.0, "runs": 10, "ddof": 0}
    ours = [0.2301, 0.2302, 0.2299]
    assert judged(ours, sample(reported, 0.05, decimals=1)).verdict is REPRODUCED
    assert judged(ours, sample(reported, 0.05)).verdict is not REPRODUCED


@pytest.mark.parametrize(
    ("ours", "outcome"),
    [(96.5, REPRODUCED), (97.2, REPRODUCED), (98.0, NOT_REPRODUCED)],
)
def test_one_seed_is_judged_by_the_papers_own_spread(ours: float, outcome: Outcome) -> None:
    found = judged([ours], sample(summary(TABLE), 0.3))
    assert found.verdict is outcome
    assert "no statistical claim" in found.method


def test_one_seed_in_a_hump_of_the_papers_is_fine() -> None:
    assert judged([71.0], sample({"values": HUMPS}, 2.0)).verdict is REPRODUCED


def test_an_inconclusive_sample_says_how_many_more_seeds_would_do() -> None:
    found = judged([96.2, 96.9, 97.3], sample(summary(TABLE)))
    assert found.more_seeds is not None
    assert "more seed" in found.note
    hopeless = judged(HUMPS, sample({"values": HUMPS}, 1.0))
    assert hopeless.more_seeds is None
    assert "the paper's own mean" in hopeless.note


def test_claims_share_alpha_with_the_joint_test_of_the_other_rows() -> None:
    ours = moved(0.18)
    alone = judged(ours, sample(summary(TABLE)))
    seeds = {seed: trial([0.0], test=at) for seed, at in enumerate(ours)}
    beside = value(96.92, name="other")
    whole = verdict_on(experiment(sample(summary(TABLE)), beside, epochs=1, seeds=range(10)), seeds)
    assert row(whole, "cell").p_consistency == pytest.approx(2 * (alone.p_consistency or 0))
    only = verdict_on(experiment(beside, epochs=1, seeds=range(10)), seeds)
    assert row(whole, "other").p_consistency == pytest.approx(
        min(1.0, 2 * (row(only, "other").p_consistency or 0))
    )


def test_a_figure_shows_the_papers_runs_beside_ours() -> None:
    ours = moved(0.1)
    seeds = {seed: trial([0.0], test=at) for seed, at in enumerate(ours)}
    claim = sample({"values": TABLE}, decimals=2)
    drawing = figures.figure(verdict_on(experiment(claim, epochs=1, seeds=range(10)), seeds))
    assert drawing is not None
    drawn = [list(line.get_ydata()) for axes in drawing.axes for line in axes.lines]
    assert TABLE in drawn
    assert ours in drawn
