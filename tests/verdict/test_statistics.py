"""What the statistics say of a claim, and what a verdict says of them."""

import json
from typing import Any

import numpy as np
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from harness import stats
from harness.errors import Exit
from harness.manifest import Calibration, Experiment, SecondStage, SpreadLimit, Twin
from harness.record import Declaration, StoredTrial
from harness.report.text import calibration_block
from harness.verdict import (
    Case,
    ExperimentVerdict,
    Outcome,
    exit_code,
    judge,
    propose,
    prospects,
)
from tests.verdict.builders import (
    band,
    experiment,
    failed,
    onset,
    row,
    takeoff,
    trial,
    value,
    verdict_on,
    verdicts_on,
)

NORMAL = list(np.random.default_rng(8).normal(1.0, 0.01, size=20))
NEAR = [0.99, 1.0, 1.01, 1.0, 1.005, 0.995]


def with_fields(asked: Experiment, **fields: Any) -> Experiment:
    return asked.model_copy(update={"manifest": asked.manifest.model_copy(update=fields)})


def seeds_with(values: list[float]) -> dict[int, StoredTrial]:
    return {seed: trial([0.0], test=at) for seed, at in enumerate(values)}


def judged(values: list[float], reported: float = 1.0, tolerance: float = 0.1, **fields: Any):
    claim = value(reported, tolerance, name="test").model_copy(update=fields)
    found = verdict_on(experiment(claim, epochs=1, seeds=range(len(values))), seeds_with(values))
    return row(found, "test")


def test_what_a_verdict_rests_on_stands_beside_it() -> None:
    found = judged(NEAR)
    assert found.interval[0] < np.mean(NEAR) < found.interval[1]
    assert found.p_equivalence < 0.001
    assert found.p_consistency > 0.5
    assert found.more_seeds is None


def test_an_inconclusive_row_says_how_many_more_seeds_would_decide() -> None:
    values = [0.92, 1.08, 1.05, 0.95, 1.02, 0.98]
    found = judged(values, tolerance=0.045)
    assert found.verdict is Outcome.INCONCLUSIVE
    assert f"{found.more_seeds} more seeds would probably settle it" in found.note


def test_where_the_tolerance_is_smaller_than_chance_more_seeds_would_not_settle_it() -> None:
    found = judged([0.7, 1.0, 1.3], reported=1.2, tolerance=0.05)
    assert (found.verdict, found.more_seeds) == (Outcome.INCONCLUSIVE, None)
    assert "more seeds would not settle it" in found.note


def test_half_a_unit_of_the_last_digit_is_no_difference() -> None:
    values = [1.0, 1.0, 1.0]
    assert judged(values, reported=1.1, tolerance=0.099).verdict is Outcome.NOT_REPRODUCED
    rounded = judged(values, reported=1.1, tolerance=0.099, decimals=1)
    assert rounded.verdict is Outcome.IMMATERIAL_DIFFERENCE


def test_a_mean_of_many_runs_is_held_to_less_chance() -> None:
    values = [0.9, 0.95, 1.0, 1.05, 1.1]
    one, many = judged(values, 1.2, 0.05), judged(values, 1.2, 0.05, runs=25)
    assert one.verdict is Outcome.INCONCLUSIVE
    assert many.verdict is Outcome.NOT_REPRODUCED


@pytest.mark.parametrize(
    ("values", "limit", "outcome"),
    [
        (NEAR, 0.05, Outcome.REPRODUCED),
        (NEAR, 0.007, Outcome.REPRODUCED),  # open, and said, but it is about our runs only
        (NEAR, 0.002, Outcome.NOT_REPRODUCED),
        ([1.0] * 4, 0.001, Outcome.REPRODUCED),
        # The rank decides of the consistency here, and nothing of the SD.
        (NORMAL, 0.004, Outcome.NOT_REPRODUCED),
        # Whether it is so wide is not shown: the bound is that of normal samples.
        ([*NEAR, 1.05], 0.005, Outcome.REPRODUCED),
    ],
)
def test_seeds_may_not_scatter_by_more_than_is_allowed(
    values: list[float], limit: float, outcome: Outcome
) -> None:
    found = judged(values, largest_spread=SpreadLimit(value=limit, reason="so it is"))
    assert found.verdict is outcome
    kept = stats.sd_bounds(stats.summarise(np.array(values)), 0.05)[1] <= limit
    assert ("SD between" in found.note) == (not kept)
    assert ("not shown to keep it" in found.note) == (not kept and outcome is Outcome.REPRODUCED)


@given(st.integers(2, 9), st.integers(1, 3))
def test_the_seeds_in_turn_as_the_paper_are_counted_with_their_number(seeds: int, gap: int) -> None:
    values = [1.0 + 0.01 * place for place in range(seeds)]
    values[0] += gap
    asked = experiment(value(1.0, 9.0, name="test"), epochs=1, seeds=range(seeds))
    found = verdict_on(asked, seeds_with(values)).left_out
    assert (found is None) == (seeds < 3)
    assert found is None or (found.seeds == seeds and found.alarms <= 2)


def test_from_nineteen_seeds_on_the_rank_is_named() -> None:
    values = list(np.random.default_rng(0).normal(1.0, 0.01, size=19))
    assert "rank among 20 runs" in judged(values).method
    assert judged(values, reported=1.5).verdict is Outcome.NOT_REPRODUCED


class TestSecondStage:
    STAGE = SecondStage(seeds=tuple(range(3, 6)), alpha_share=0.4)
    ASKED = with_fields(
        experiment(value(1.0, name="test"), epochs=1, seeds=(0, 1, 2)), second_stage=STAGE
    )

    @pytest.mark.parametrize(
        ("seeds", "alpha", "note"),
        [
            (3, 0.03, "first of two stages: judged at alpha 0.03"),
            (6, 0.02, "first and second stage: judged at alpha 0.02"),
            (7, 0.02, "exploratory: seed 6 not in the manifest"),
            (5, 0.02, "1 of the manifest's 6 seeds were not asked for"),
        ],
    )
    def test_each_look_has_its_share_of_alpha(self, seeds: int, alpha: float, note: str) -> None:
        found = verdict_on(self.ASKED, seeds_with(([*NEAR, 1.0])[:seeds]))
        assert found.alpha == pytest.approx(alpha)
        assert note in found.notes

    def test_less_alpha_makes_a_wider_interval(self) -> None:
        plain = experiment(value(1.0, name="test"), epochs=1, seeds=(0, 1, 2))
        both = [verdict_on(asked, seeds_with(NEAR[:3])) for asked in (plain, self.ASKED)]
        widths = [np.ptp(row(found, "test").interval) for found in both]
        assert widths[0] < widths[1]


def test_a_tolerance_changed_since_the_records_were_made_is_named() -> None:
    asked = experiment(value({1: 1.0}, 0.2), epochs=1, seeds=(0,))
    stored = trial([1.0])
    for declared, said in (({"late rows": 0.2}, False), ({"late rows": 0.1}, True), ({}, False)):
        (found,) = judge([Case(asked, (0,), 1, Declaration(declared))], lambda *_: stored)
        note = "tolerance of late rows changed since the records were made: 0.1 → 0.2"
        assert (note in found.notes) is said


ZEROS = {0: trial([0.0, 0.0]), 1: trial([0.0, 0.0])}


class TestTwin:
    TWIN = Twin(experiment="dependent", metric="mi_bits", takeoff=takeoff(0.5))
    CONTROL = with_fields(
        experiment(band({2: 0.0}), id="control", epochs=2, control=True, seeds=(0, 1)), twin=TWIN
    )
    DEPENDENT = experiment(value({2: 1.0}), id="dependent", epochs=2, seeds=(0, 1))
    LEARNS = trial([0.0, 1.0])
    NAME = "dependent takes off"

    def both(self, twins: dict[int, StoredTrial | None], epochs: int | None = None):
        return verdicts_on([(self.CONTROL, ZEROS), (self.DEPENDENT, twins)], epochs=epochs)

    def test_a_control_holds_where_its_twin_learns_with_the_same_seeds(self) -> None:
        control, dependent = self.both({0: self.LEARNS, 1: self.LEARNS})
        assert row(control, self.NAME).verdict is Outcome.REPRODUCED
        assert control.verdict is dependent.verdict is Outcome.REPRODUCED

    @pytest.mark.parametrize("dead", [(0, 1), (1,)])
    def test_a_dead_network_does_not_pass_a_control(self, dead: tuple[int, ...]) -> None:
        twins = {seed: trial([0.0, 0.0]) if seed in dead else self.LEARNS for seed in (0, 1)}
        control, dependent = self.both(twins)
        found = row(control, self.NAME)
        assert control.verdict is found.verdict is Outcome.NOT_REPRODUCED
        assert "never took off" in found.note
        assert control.as_expected is False
        assert not dependent.verdict.holds
        assert "control control failed" in dependent.notes

    def test_a_twin_that_broke_before_it_took_off_did_not_learn(self) -> None:
        control, _ = self.both({0: self.LEARNS, 1: trial([0.0], failure=failed(1))})
        assert "seed 1 failed before taking off" in row(control, self.NAME).note
        assert control.verdict is Outcome.NOT_REPRODUCED

    def test_a_twin_that_has_not_taken_off_yet_is_censored(self) -> None:
        control, _ = self.both({0: self.LEARNS, 1: self.LEARNS}, epochs=1)
        found = row(control, self.NAME)
        assert (found.verdict, found.note) == (
            Outcome.INCONCLUSIVE,
            "seeds 0-1 had not taken off by epoch 1",
        )

    @pytest.mark.parametrize("twins", [{0: LEARNS, 1: None}, {0: LEARNS}])
    def test_a_seed_that_the_twin_lacks_is_missing(self, twins: dict[int, Any]) -> None:
        control, _ = self.both(twins)
        assert row(control, self.NAME).note == "seed 1 missing"
        assert (control.verdict, control.as_expected) == (Outcome.INCOMPLETE, None)

    def test_alone_a_control_is_undecided_and_gates_nothing(self) -> None:
        control, other = verdicts_on(
            [(self.CONTROL, ZEROS), (experiment(value({2: 1.0}), id="other", epochs=2),
                                          {0: self.LEARNS})]
        )  # fmt: skip
        assert (control.verdict, control.as_expected) == (Outcome.INCONCLUSIVE, None)
        assert "dependent is not judged beside the control" in row(control, self.NAME).note
        assert exit_code([control]) is Exit.INCONCLUSIVE
        assert other.verdict is Outcome.REPRODUCED
        assert "control control is INCONCLUSIVE" in other.notes


STUDY = list(np.random.default_rng(3).normal(1.0, 0.01, size=10))


class TestCalibration:
    def study(self) -> ExperimentVerdict:
        claims = value(1.0, name="test"), onset(1.0, 0.5)
        asked = experiment(*claims, epochs=1, seeds=range(10))
        stored = {seed: trial([1.0], test=at) for seed, at in enumerate(STUDY)}
        return verdict_on(asked, stored)

    def test_bands_are_those_of_howe_and_hold_the_seeds(self) -> None:
        proposal = propose(self.study(), coverage=0.95, confidence=0.95)
        low, high = proposal.bands["test"]
        k = 3.382  # of 10 values
        mean, spread = np.mean(STUDY), np.std(STUDY, ddof=1)
        assert (low, high) == pytest.approx((mean - k * spread, mean + k * spread), abs=2e-4)
        assert proposal.inside >= 9
        assert proposal.without == {"take-off": "all seeds are equal"}

    def test_more_rows_make_wider_bands(self) -> None:
        curves = np.random.default_rng(4).normal(1.0, 0.01, size=(10, 4))
        stored = {seed: trial(list(curve)) for seed, curve in enumerate(curves)}
        factors = [
            propose(
                verdict_on(experiment(value(dict.fromkeys(range(1, rows + 1), 1.0))), stored),
                coverage=0.95,
                confidence=0.95,
            ).factor
            for rows in (1, 2, 4)
        ]
        assert factors == sorted(factors)
        assert factors[0] < factors[-1]

    def test_a_row_that_does_not_hold_gets_none(self) -> None:
        asked = experiment(value(5.0, name="test"), epochs=1, seeds=range(10))
        assert propose(verdict_on(asked, seeds_with(STUDY)), coverage=0.9, confidence=0.9) is None

    @pytest.mark.parametrize("seeds", [40, 230])
    def test_a_row_that_is_not_normal_gets_the_range_of_enough_seeds(self, seeds: int) -> None:
        rng = np.random.default_rng(6)
        normal, skewed = rng.normal(1.0, 0.01, size=seeds), rng.exponential(0.01, size=seeds)
        asked = experiment(value({1: 1.0}), value(0.01, name="test"), epochs=1, seeds=range(seeds))
        stored = {seed: trial([normal[seed]], test=skewed[seed]) for seed in range(seeds)}
        study = verdict_on(asked, stored)
        proposal = propose(study, coverage=0.95, confidence=0.95)
        if seeds == 40:
            assert proposal.bands.keys() == {"late rows @ 1"}
            assert proposal.without["test"].endswith(
                "not normally distributed; 221 seeds would be enough"
            )
        else:
            assert proposal.bands["test"] == pytest.approx((skewed.min(), skewed.max()), abs=1e-4)
            assert proposal.ranges == ("test",)
            assert proposal.inside <= seeds - 2  # never the two ends
            assert "# test: from the smallest to" in calibration_block(study, proposal)

    def test_the_block_is_what_a_manifest_takes(self) -> None:
        study = self.study()
        proposal = propose(study, coverage=0.95, confidence=0.95)
        text = calibration_block(study, proposal)
        assert "no band for take-off: all seeds are equal" in text
        read = yaml.safe_load(text)["calibration"]
        taken = Calibration.model_validate_json(json.dumps(read), strict=True)
        assert taken.bands == proposal.bands
        assert (taken.seeds, taken.records) == (tuple(range(10)), proposal.records)

    def test_bands_of_other_records_are_called_stale(self) -> None:
        study = self.study()
        taken = yaml.safe_load(
            calibration_block(study, propose(study, coverage=0.95, confidence=0.95))
        )["calibration"]
        for records, said in ((taken["records"], False), ("0" * 64, True)):
            bands = Calibration.model_validate_json(json.dumps(taken | {"records": records}))
            asked = with_fields(study.experiment, calibration=bands)
            stored = {seed: trial([1.0], test=at) for seed, at in enumerate(STUDY)}
            notes = verdict_on(asked, stored).notes
            assert any("calibrate again" in note for note in notes) is said

    def test_with_nothing_to_propose_the_block_is_a_comment(self) -> None:
        few = verdict_on(experiment(value(1.0, name="test"), epochs=1), seeds_with([1.0, 1.1]))
        assert (
            yaml.safe_load(calibration_block(few, propose(few, coverage=0.9, confidence=0.9)))
            is None
        )

    @pytest.mark.parametrize(
        ("at", "outcome"), [(1.04, Outcome.REPRODUCED), (1.06, Outcome.NOT_REPRODUCED)]
    )
    def test_one_seed_is_judged_by_the_band_and_says_so(self, at: float, outcome: Outcome) -> None:
        bands = Calibration(
            seeds=tuple(range(10)),
            records="0" * 64,
            coverage=0.95,
            confidence=0.95,
            bands={"test": (0.95, 1.05)},
        )
        asked = experiment(value(1.0, 0.01, name="test"), epochs=1, seeds=(0,))
        found = verdict_on(with_fields(asked, calibration=bands), seeds_with([at]))
        result = row(found, "test")
        assert (result.verdict, result.method) == (outcome, "band of the study of seeds 0-9")
        assert "one seed: no statistical claim is made" in found.notes


class TestProspects:
    def of(self, seeds: int, tolerance: float):
        asked = experiment(value(1.0, tolerance, name="test"), epochs=1, seeds=range(len(NEAR)))
        (found,) = prospects(verdict_on(asked, seeds_with(NEAR)), seeds)
        return found

    def test_the_room_is_what_the_interval_leaves(self) -> None:
        spread = np.std(NEAR, ddof=1)
        found = self.of(9, 0.02)
        assert (found.stored, found.sd) == (6, pytest.approx(spread))
        assert found.room == pytest.approx(0.02 - 1.8595 * spread / 3, abs=1e-5)
        assert not found.hopeless

    @pytest.mark.parametrize("tolerance", [0.02, 0.01, 0.005])
    def test_so_many_seeds_are_needed_and_one_fewer_is_too_few(self, tolerance: float) -> None:
        needed = self.of(2, tolerance).needed
        assert needed is not None
        assert self.of(needed, tolerance).room >= 0
        assert self.of(needed - 1, tolerance).room < 0

    def test_a_tolerance_below_the_spread_of_runs_is_hopeless(self) -> None:
        assert self.of(10, 0.006).hopeless
        assert not self.of(10, 0.008).hopeless
