"""What each kind of claim asks of the seeds, case by case."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.errors import Exit
from harness.record import EpochRecord, FailureKind, StoredTrial
from harness.verdict import Outcome, exit_code
from tests.verdict.builders import (
    band,
    curve,
    exact,
    experiment,
    failed,
    onset,
    row,
    trial,
    value,
    verdict_on,
)

NOT_REPRODUCED, REPRODUCED = Outcome.NOT_REPRODUCED, Outcome.REPRODUCED
INCOMPLETE, NOT_RUN = Outcome.INCOMPLETE, Outcome.NOT_RUN
INCONCLUSIVE = Outcome.INCONCLUSIVE

RISE = [0.0, 0.0, 1.0, 2.0, 2.5, 2.75, 2.9, 3.0]
"""A curve that crosses 0.5 at epoch 2.5."""
LISTED = {epoch: RISE[epoch - 1] for epoch in (1, 2, 3, 4, 5)}


DEAD = trial([0.0] * 8)


def later(by: int, length: int = 8) -> list[float]:
    """RISE after a plateau that is longer by so many epochs."""
    return ([0.0] * by + RISE)[:length]


@pytest.mark.parametrize(
    ("entropies", "outcome", "note"),
    [
        (([1.99912, 1.99907], [1.99914, 1.99905001]), REPRODUCED, ""),
        (([1.99912, 1.99907], [1.9992, 1.9991]), NOT_REPRODUCED, "seed 1 off"),
        # A mean of the seeds would be exact here; every seed has to be.
        (([1.9990, 1.9991], [1.9992, 1.9991]), NOT_REPRODUCED, "seeds 0-1 off"),
    ],
)
def test_exact_values_agree_to_the_last_decimal_in_every_seed(
    entropies: Sequence[list[float]], outcome: Outcome, note: str
) -> None:
    asked = experiment(exact({1: 1.9991, 2: 1.9991}), epochs=2)
    seeds = {seed: trial([0, 0], true=true) for seed, true in enumerate(entropies)}
    found = row(verdict_on(asked, seeds), "true values @ 1")
    assert (found.verdict, found.note) == (outcome, note)


def test_a_negative_zero_is_a_zero() -> None:
    verdict = verdict_on(experiment(exact({1: -0.0}), epochs=1), {0: trial([0], true=[0.00004])})
    assert verdict.verdict is REPRODUCED


@pytest.mark.parametrize(
    ("seeds", "outcome"),
    [
        ((0.98, 1.0, 1.02), REPRODUCED),
        # Off by more than chance, and by less than matters.
        ((1.050, 1.051, 1.052), Outcome.IMMATERIAL_DIFFERENCE),
        ((1.300, 1.301, 1.302), NOT_REPRODUCED),
        # The mean is near enough, and so uncertain that it may as well not be.
        ((0.5, 1.1, 1.5), Outcome.INCONCLUSIVE),
    ],
)
def test_a_value_is_judged_by_nearness_and_by_chance(
    seeds: Sequence[float], outcome: Outcome
) -> None:
    asked = experiment(value(1.0, 0.125, name="test"), epochs=1)
    verdict = verdict_on(asked, {n: trial([0], test=test) for n, test in enumerate(seeds)})
    found = row(verdict, "test")
    assert found.verdict is outcome
    assert found.by_seed == dict(enumerate(seeds))
    assert found.measured == pytest.approx(sum(seeds) / 3)
    assert (
        found.method
        == "equivalence: two one-sided t-tests; consistency: t-test with Holm correction"
    )


def test_one_seed_has_no_spread_and_makes_no_statistical_claim() -> None:
    verdict = verdict_on(experiment(value({1: 1.0}), epochs=1), {0: trial([1.0])})
    assert verdict.results[0].spread is None
    assert "one seed: no statistical claim is made" in verdict.notes


@given(shifts=st.lists(st.integers(0, 3), min_size=1, max_size=4))
def test_curves_are_compared_as_if_all_had_taken_off_where_the_reported_one_did(
    shifts: list[int],
) -> None:
    asked = experiment(curve(LISTED, 0.01, threshold=0.5), epochs=8)
    verdict = verdict_on(asked, {n: trial(later(by)) for n, by in enumerate(shifts)})
    assert verdict.verdict is REPRODUCED
    for result in verdict.results:
        assert result.measured == pytest.approx(result.reported)


GROWTH = [0.05, 0.12, 0.3, 0.7, 1.2, 1.6, 1.8, 1.9, 1.95, 1.97]


@pytest.mark.parametrize(
    ("listed", "why"),
    [
        ((3, 4, 5, 10), "the paper's first row is past 0.1 already"),
        (
            (1, 5, 10),
            "the paper's rows around 0.1 are 4 epochs apart, the records of seeds 0-4 are",
        ),
    ],
)
@pytest.mark.parametrize("late", [0, 3])
def test_curves_whose_take_off_the_rows_do_not_show_are_not_lined_up_and_none_is_accused(
    listed: Sequence[int], why: str, late: int
) -> None:
    """Rows past the threshold, or sparse ones: equal curves would be shifted and fail."""
    claim = curve({epoch: GROWTH[epoch - 1] for epoch in listed}, 0.1, threshold=0.1)
    curves = {seed: [0.0] * late + [at + 0.0005 * seed for at in GROWTH] for seed in range(5)}
    verdict = verdict_on(
        experiment(claim, epochs=10), {n: trial(c[:10]) for n, c in curves.items()}
    )
    assert verdict.verdict is (Outcome.INCONCLUSIVE if late else REPRODUCED)
    (said,) = (note for note in verdict.notes if "take-off" in note)
    assert said.startswith(f"early rows: not lined up at take-off, since {why}")
    notes = [result.note for result in verdict.results if not result.verdict.holds]
    assert all("cannot be lined up" in note for note in notes)


def test_seeds_that_took_off_before_their_first_record_cannot_be_lined_up() -> None:
    asked = experiment(curve(LISTED, 0.01, threshold=0.5), epochs=8)
    early = {seed: trial([0.9 + seed / 1e3, 1.9, 2.6, 2.8, 3, 3, 3, 3]) for seed in range(3)}
    verdict = verdict_on(asked, early)
    assert verdict.verdict is Outcome.INCONCLUSIVE
    assert any("seeds 0-2 passed 0.5 before the first record" in note for note in verdict.notes)
    most = verdict_on(asked, {**early, **{n: trial(RISE) for n in range(3, 8)}})
    (said,) = (note for note in most.notes if "take-off" in note)
    assert said.endswith("seeds 0-2 passed 0.5 before the first record, so lined up there")


@pytest.mark.parametrize(
    ("shifts", "said"), [((2, 2), "-2.00"), ((0, 3), "-3.00 to +0.00"), ((1,), "-1.00")]
)
def test_a_verdict_says_by_how_much_curves_were_shifted(shifts: Sequence[int], said: str) -> None:
    asked = experiment(curve(LISTED, 0.01, threshold=0.5), epochs=8)
    verdict = verdict_on(asked, {n: trial(later(by)) for n, by in enumerate(shifts)})
    seeds = "seed 0" if len(shifts) == 1 else "seeds 0-1"
    note = f"early rows: lined up at take-off: {seeds} moved by {said} epochs"
    assert note in verdict.notes


def test_a_curve_is_read_between_its_epochs_where_its_take_off_lies_between_them() -> None:
    late = [0.0, 0.0, 0.0, 0.75, 1.75, 2.25, 2.6, 2.8]  # crosses 0.5 at 3 + 2/3
    asked = experiment(curve(LISTED, 0.01, threshold=0.5), epochs=8)
    shift = 3 + 2 / 3 - 2.5
    found = row(verdict_on(asked, {0: trial(late)}), "early rows @ 4")
    assert found.measured == pytest.approx(1.75 + (4 + shift - 5) * 0.5)


def test_another_shape_after_take_off_is_seen_through_the_lining_up() -> None:
    slow = [0.0, 0.0, 0.0, 0.6, 0.9, 1.1, 1.2, 1.3]
    asked = experiment(curve(LISTED, 0.3, threshold=0.5), epochs=8)
    verdict = verdict_on(asked, {0: trial(slow)})
    assert row(verdict, "early rows @ 1").verdict is REPRODUCED
    assert row(verdict, "early rows @ 4").verdict is Outcome.INCONCLUSIVE  # of one seed
    three = verdict_on(asked, {0: trial(slow), 1: trial(slow), 2: trial(slow)})
    assert row(three, "early rows @ 4").verdict is NOT_REPRODUCED


def test_rows_that_lining_up_puts_outside_the_records_are_not_run_and_say_so() -> None:
    early, late = RISE[1:7], later(2, 6)
    asked = experiment(curve(LISTED | {6: 2.75}, 0.6, threshold=0.5), epochs=6)
    verdict = verdict_on(asked, {0: trial(early), 1: trial(late)})
    first, last = row(verdict, "early rows @ 1"), row(verdict, "early rows @ 6")
    assert (first.n, last.n) == (1, 1)
    assert "seed 0 recorded nothing here" in first.note
    assert "seed 1 recorded nothing here" in last.note
    alone = row(verdict_on(asked, {0: trial(early)}), "early rows @ 1")
    assert (alone.verdict, alone.measured, alone.n) == (NOT_RUN, None, 0)


TAKE_OFF = [curve(LISTED, 3, threshold=0.5), onset(2.5, 0.5, 3)]


@pytest.mark.parametrize("claim", TAKE_OFF)
@pytest.mark.parametrize(("count", "outcome"), [(1, INCONCLUSIVE), (3, NOT_REPRODUCED)])
def test_seeds_none_of_which_takes_off_fail_a_full_run_unless_there_is_only_one(
    claim: object, count: int, outcome: Outcome
) -> None:
    verdict = verdict_on(experiment(claim, epochs=8), dict.fromkeys(range(count), DEAD))
    assert {result.verdict for result in verdict.results} == {outcome}
    assert all("never took off" in result.note for result in verdict.results)


@pytest.mark.parametrize("claim", TAKE_OFF)
def test_where_some_seeds_never_take_off_a_full_run_is_open(claim: object) -> None:
    seeds = {0: trial(RISE), 1: trial(later(1)), 3: DEAD}
    verdict = verdict_on(experiment(claim, epochs=8), seeds)
    assert {result.verdict for result in verdict.results} == {Outcome.INCONCLUSIVE}
    assert all("seed 3 never took off" in result.note for result in verdict.results)


@pytest.mark.parametrize(("count", "outcome"), [(1, NOT_RUN), (3, NOT_REPRODUCED)])
def test_first_epochs_in_which_every_seed_is_later_than_the_tolerance_allows_fail(
    count: int, outcome: Outcome
) -> None:
    asked = experiment(onset(2.5, 0.5, 1), value({2: 0.0}), epochs=8)
    seeds = dict.fromkeys(range(count), trial([0.0] * 8))
    still = row(verdict_on(asked, seeds, epochs=3), "take-off")
    assert still.verdict is NOT_RUN
    late = row(verdict_on(asked, seeds, epochs=4), "take-off")
    assert late.verdict is outcome
    assert "had not taken off by epoch 4" in late.note


def test_an_onset_that_is_censored_has_no_mean_and_no_interval() -> None:
    seeds = {0: trial(RISE), 1: trial(later(1)), 3: DEAD}
    found = row(verdict_on(experiment(onset(2.5, 0.5, 3), epochs=8), seeds), "take-off")
    assert (found.measured, found.interval, found.p_equivalence) == (None, None, None)
    assert found.n == 2
    assert "rank among 4 runs" in found.method


def test_a_seed_that_has_not_taken_off_in_the_first_epochs_is_censored_not_failed() -> None:
    asked = experiment(curve(LISTED, threshold=0.5), onset(2.5, 0.5), value({2: 0.0}), epochs=8)
    seeds = {0: trial(RISE), 3: trial([0.0] * 8)}
    verdict = verdict_on(asked, seeds, epochs=4)
    early, start = row(verdict, "early rows @ 3"), row(verdict, "take-off")
    said = "seed 3 had not taken off by epoch 4"
    assert (early.verdict, early.n, early.note) == (REPRODUCED, 1, said)
    # The mean of those that took off would come out too early, so none is shown.
    assert (start.verdict, start.measured, start.note) == (NOT_RUN, None, said)
    assert row(verdict, "early rows @ 5").note == "beyond the first 4 epochs"
    assert verdict.verdict is REPRODUCED


@pytest.mark.parametrize(
    ("shifts", "outcome"),
    [((0, 0, 0), REPRODUCED), ((3, 3, 3), NOT_REPRODUCED), ((0, 1, 4), Outcome.INCONCLUSIVE),
     ((0,), REPRODUCED), ((2,), Outcome.INCONCLUSIVE)],
)  # fmt: skip
def test_an_onset_is_compared_with_the_seeds_onsets(
    shifts: Sequence[int], outcome: Outcome
) -> None:
    asked = experiment(onset(2.5, 0.5, tolerance=1.0), epochs=8)
    verdict = verdict_on(asked, {n: trial(later(by)) for n, by in enumerate(shifts)})
    found = row(verdict, "take-off")
    assert (found.verdict, found.unit) == (outcome, "epochs")
    assert found.measured == pytest.approx(2.5 + sum(shifts) / len(shifts))


@pytest.mark.parametrize(
    ("wander", "rows", "every"),
    [
        ([0.0, 0.05, -0.05, 0.0], REPRODUCED, REPRODUCED),
        ([0.0, 0.05, -0.15, 0.0], REPRODUCED, NOT_REPRODUCED),
        ([0.0, 0.15, 0.0, 0.0], NOT_REPRODUCED, NOT_REPRODUCED),
    ],
)
def test_a_control_stays_in_its_band_at_every_epoch_of_every_seed(
    wander: list[float], rows: Outcome, every: Outcome
) -> None:
    asked = experiment(band({1: 0.0, 2: 0.0, 4: 0.0}), control=True)
    # Seed 0 goes as far the other way, so that a mean would see nothing.
    verdict = verdict_on(asked, {0: trial([0.0] * 4), 1: trial(wander)})
    found = row(verdict, "stays at zero @ every epoch")
    assert row(verdict, "stays at zero @ 2").verdict is rows
    assert found.verdict is every
    assert found.measured == max(wander, key=abs)
    if every is NOT_REPRODUCED:
        epoch = wander.index(found.measured) + 1
        assert f"farthest off: seed 1, epoch {epoch}" in found.note


def test_a_band_around_a_final_estimate_holds_for_every_seed() -> None:
    seeds = {0: trial([0.0], test=-0.2), 1: trial([0.0], test=0.2)}
    verdict = verdict_on(experiment(band(0.0, name="test"), epochs=1), seeds)
    assert row(verdict, "test").note == "seeds 0-1 off"


def test_a_final_estimate_belongs_to_the_whole_run() -> None:
    asked = experiment(value({1: 0.0}), value(1.0, name="test"), epochs=4)
    # Finished at two epochs, with an estimate that would fail.
    verdict = verdict_on(asked, {0: trial([0.0, 0.0], test=9.0)}, epochs=2)
    found = row(verdict, "test")
    assert (found.verdict, found.measured, found.n) == (NOT_RUN, None, 0)
    assert (verdict.verdict, verdict.as_expected) == (REPRODUCED, True)
    assert "first 2 epochs" in verdict.notes


@pytest.mark.parametrize(
    ("other", "note"),
    [
        (None, "seed 1: no records to judge by"),
        (trial([0.0] * 3, unfinished=True), "seed 1: not finished"),
        (
            trial([0.0] * 3, failure=failed(3, FailureKind.INFRASTRUCTURE)),
            "seed 1 was lost after epoch 3: ValueError: the estimate is NaN",
        ),
    ],
)
def test_a_mean_waits_for_seeds_that_are_missing(other: object, note: str) -> None:
    asked = experiment(value({4: 1.0}))
    verdict = verdict_on(asked, {0: trial([0.0] * 4), 1: other})
    assert (verdict.results[0].verdict, verdict.results[0].note) == (INCOMPLETE, "seed 1 missing")
    assert (verdict.verdict, verdict.as_expected, verdict.missing) == (INCOMPLETE, None, (1,))
    assert note in verdict.notes


def test_a_control_that_left_its_band_needs_no_further_seed() -> None:
    asked = experiment(band({1: 0.0, 2: 0.0}), epochs=2, control=True)
    verdict = verdict_on(asked, {0: trial([0.0, 1.0]), 1: None})
    assert verdict.verdict is NOT_REPRODUCED
    assert row(verdict, "stays at zero @ 1").verdict is INCOMPLETE
    assert verdict.incomplete


def test_a_control_that_stopped_early_has_not_stayed_in_its_band_at_every_epoch() -> None:
    asked = experiment(band({1: 0.0}), control=True)
    verdict = verdict_on(asked, {0: trial([0.0] * 4), 1: trial([0.0] * 3, unfinished=True)})
    assert row(verdict, "stays at zero @ 1").verdict is REPRODUCED
    assert row(verdict, "stays at zero @ every epoch").verdict is INCOMPLETE


def test_a_seed_that_broke_before_it_took_off_did_not_stay_on_its_plateau() -> None:
    asked = experiment(curve(LISTED, threshold=0.5), onset(2.5, 0.5), epochs=8)
    verdict = verdict_on(asked, {0: trial(RISE), 1: trial([0.0] * 3, unfinished=True)})
    assert {result.verdict for result in verdict.results} == {INCOMPLETE}
    assert all("seed 1 missing" in result.note for result in verdict.results)


def test_a_lined_up_seed_owes_the_rows_after_the_epoch_at_which_it_failed() -> None:
    asked = experiment(curve(LISTED, threshold=0.5), epochs=8)
    verdict = verdict_on(asked, {0: trial(RISE), 1: trial(later(1, 5), failure=failed(5))})
    assert row(verdict, "early rows @ 4").n == 2
    found = row(verdict, "early rows @ 5")
    assert (found.verdict, found.note) == (NOT_REPRODUCED, "seed 1 failed")


def test_a_metric_that_a_finished_trial_never_recorded_is_no_pass_and_is_named() -> None:
    verdict = verdict_on(experiment(exact({1: 0.0}), epochs=1), {0: trial([0.0])})
    assert verdict.verdict is INCONCLUSIVE
    (only,) = verdict.results
    assert only.note == (
        "seed 0 ran, but recorded no true_mi_bits here; no trial gave this metric: check its name, "
        "and what the workload prints"
    )
    assert exit_code([verdict]) is Exit.INCONCLUSIVE


def sparse(values: Mapping[int, float], done: int) -> StoredTrial:
    """A trial that ran to `done`, with a row at some epochs only."""
    rows = tuple(EpochRecord(epoch, {"mi_bits": each}, 0, 1.0) for epoch, each in values.items())
    return replace(trial([]), epochs=rows, done=done)


RARE = {epoch: each for epoch, each in enumerate(RISE, start=1) if epoch % 2 == 0}


def test_rows_that_come_every_second_epoch_are_judged_where_they_are() -> None:
    asked = experiment(
        value({2: RARE[2], 8: RARE[8]}),
        curve({2: RARE[2], 4: RARE[4], 6: RARE[6]}, threshold=0.5),
        onset(2.5, threshold=0.5),
        band({2: 0.0, 4: 2.0, 8: 3.0}, tolerance=0.5, name="inside"),
        epochs=8,
    )
    verdict = verdict_on(asked, dict.fromkeys(range(3), sparse(RARE, done=9)))
    assert {result.verdict for result in verdict.results} == {REPRODUCED}


def test_a_row_that_no_trial_has_is_no_pass_and_a_trial_that_still_runs_is_missing() -> None:
    asked = experiment(value({3: 0.0}), epochs=8)
    verdict = verdict_on(asked, dict.fromkeys(range(3), sparse(RARE, done=8)))
    assert verdict.verdict is INCONCLUSIVE
    assert row(verdict, "late rows @ 3").note == "seeds 0-2 ran, but recorded no mi_bits here"
    running = verdict_on(asked, dict.fromkeys(range(3), sparse({2: 1.0}, done=0)))
    assert running.verdict is INCOMPLETE


def test_records_of_other_data_are_missing_and_named() -> None:
    """The digest of what was read is not the one that the trial is defined by."""
    asked = experiment(value({4: 1.0}))
    sound = trial([0.0, 0.5, 0.9, 1.0])
    environment = replace(sound.provenance[0].environment, data={"mnist": "b" * 64})
    other = replace(
        sound,
        spec=replace(sound.spec, data={"mnist": "a" * 64}),
        provenance=(replace(sound.provenance[0], environment=environment),),
    )
    verdict = verdict_on(asked, {0: sound, 1: other, 2: sound})
    assert verdict.verdict is Outcome.INCOMPLETE
    assert verdict.missing == (1,)
    (said,) = (note for note in verdict.notes if "seed 1" in note)
    assert "read other data than its digest names: mnist" in said


def test_no_row_hides_another_that_is_printed_under_the_same_name() -> None:
    """A manifest file with such names is refused; a manifest made in memory may have them."""
    asked = experiment(value({4: 5.0}), value(1.0, name="late rows @ 4"))
    seeds = {seed: trial([0.0] * 3 + [1.0 + seed / 100], test=1 + seed / 100) for seed in range(4)}
    listed, final = verdict_on(asked, seeds).results
    assert listed.name == final.name
    assert (listed.verdict, final.verdict) == (NOT_REPRODUCED, REPRODUCED)
    assert listed.p_consistency != final.p_consistency
