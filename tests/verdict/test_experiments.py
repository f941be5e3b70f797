"""From rows to the verdict on an experiment, what is expected of it, and the exit code."""

from collections.abc import Sequence
from dataclasses import replace

import pytest

from harness.errors import Exit
from harness.manifest import Basis
from harness.record import FailureKind, Overruled, PastFailure
from harness.verdict import Outcome, exit_code
from tests.verdict.builders import (
    band,
    experiment,
    failed,
    row,
    trial,
    value,
    verdict_on,
    verdicts_on,
)

SEEDS = {seed: trial([1.0, 1.0], test=1.0) for seed in range(3)}
HOLDS, FAILS = {2: 1.0}, {2: 2.0}


@pytest.mark.parametrize(
    ("reported", "listed", "verdict", "expected", "as_expected"),
    [
        ((HOLDS, HOLDS), (), Outcome.REPRODUCED, Outcome.REPRODUCED, True),
        ((HOLDS, FAILS), (), Outcome.NOT_REPRODUCED, Outcome.REPRODUCED, False),
        ((HOLDS, FAILS), ("b",), Outcome.NOT_REPRODUCED, Outcome.NOT_REPRODUCED, True),
        ((FAILS, FAILS), ("b",), Outcome.NOT_REPRODUCED, Outcome.NOT_REPRODUCED, False),
        # An unexpected pass, alone and beside an expected failure.
        ((HOLDS, HOLDS), ("b",), Outcome.REPRODUCED, Outcome.NOT_REPRODUCED, False),
        ((FAILS, HOLDS), ("a", "b"), Outcome.NOT_REPRODUCED, Outcome.NOT_REPRODUCED, False),
        # A claim known not to hold needs no more than one row that does not.
        ((HOLDS, HOLDS | FAILS | {1: 5.0}), ("b",), Outcome.NOT_REPRODUCED,
         Outcome.NOT_REPRODUCED, True),
    ],
)  # fmt: skip
def test_what_is_expected_is_green_and_any_deviation_red(
    reported: Sequence[dict[int, float]],
    listed: Sequence[str],
    verdict: Outcome,
    expected: Outcome,
    as_expected: bool,
) -> None:
    claims = [value(rows, name=name) for name, rows in zip("ab", reported, strict=True)]
    found = verdict_on(experiment(*claims, epochs=2, not_reproduced=listed), SEEDS)
    assert (found.verdict, found.expected, found.as_expected) == (verdict, expected, as_expected)
    code = Exit.AS_EXPECTED if as_expected else Exit.NOT_AS_EXPECTED
    assert exit_code([found]) is code


def test_first_epochs_in_which_a_known_failure_cannot_show_yet_are_no_unexpected_pass() -> None:
    asked = experiment(value({1: 1.0, 2: 9.0}), epochs=2, not_reproduced=["late rows"])
    found = verdict_on(asked, SEEDS, epochs=1)
    assert (found.verdict, found.expected) == (Outcome.REPRODUCED, Outcome.REPRODUCED)
    assert found.as_expected


def test_an_experiment_of_which_nothing_ran_is_incomplete() -> None:
    found = verdict_on(experiment(value(1.0, name="test"), epochs=2), SEEDS, epochs=1)
    assert (found.verdict, found.as_expected) == (Outcome.INCOMPLETE, None)
    assert exit_code([found]) is Exit.INCOMPLETE


@pytest.mark.parametrize("recorded", [1, 2])
def test_rows_that_hold_make_no_verdict_of_a_trial_that_is_not_finished(recorded: int) -> None:
    # With all epochs recorded it may still lack its final estimate.
    asked = experiment(value({1: 1.0}), epochs=2)
    found = verdict_on(asked, {0: SEEDS[0], 1: trial([1.0] * recorded, unfinished=True)})
    assert row(found, "late rows @ 1").verdict is Outcome.REPRODUCED
    assert (found.verdict, found.missing) == (Outcome.INCOMPLETE, (1,))


def test_a_failure_of_which_no_row_tells_still_fails_the_experiment() -> None:
    asked = experiment(value({1: 1.0}), epochs=2)
    found = verdict_on(asked, {0: trial([1.0], failure=failed(1)), 1: SEEDS[1]})
    assert row(found, "late rows @ 1").verdict is Outcome.REPRODUCED
    assert (found.verdict, found.as_expected) == (Outcome.NOT_REPRODUCED, False)


def test_a_failure_after_the_epochs_asked_for_is_told_and_decides_nothing() -> None:
    asked = experiment(value({1: 1.0}), epochs=4)
    found = verdict_on(asked, {0: trial([1.0, 1.0], failure=failed(2))}, epochs=1)
    assert (found.verdict, found.failures) == (Outcome.REPRODUCED, {})
    assert "seed 0 failed later, after the epochs that are judged here" in found.notes


@pytest.mark.parametrize("kind", FailureKind)
def test_only_a_scientific_failure_says_anything_about_the_paper(kind: FailureKind) -> None:
    asked = experiment(value({2: 1.0}), epochs=2)
    found = verdict_on(asked, {0: trial([1.0], failure=failed(1, kind)), 1: SEEDS[1]})
    scientific = kind is FailureKind.SCIENTIFIC
    assert found.verdict is (Outcome.NOT_REPRODUCED if scientific else Outcome.INCOMPLETE)
    assert found.missing == (() if scientific else (0,))
    assert exit_code([found]) is (Exit.NOT_AS_EXPECTED if scientific else Exit.INCOMPLETE)


def past(overruled: Overruled, *, attempt: int = 0) -> PastFailure:
    return PastFailure(failed(1), overruled, at_ms=1_795_651_200_000, host="a", attempt=attempt)


@pytest.mark.parametrize(
    ("item", "note"),
    [
        (
            past(Overruled.PASSED, attempt=1),
            "seed 0: attempt 1 failed after epoch 1 with ValueError: the estimate is NaN; "
            "the epoch passed in a fresh process: the machine's failure",
        ),
        (
            past(Overruled.UNREPEATED, attempt=2),
            "seed 0: attempt 2 failed after epoch 1 with ValueError: the estimate is NaN; "
            "no other attempt failed like it: not counted",
        ),
        (
            past(Overruled.REQUEST),
            "seed 0 failed before, after epoch 1 (ValueError: the estimate is NaN); "
            "run again on request on 2026-11-26",
        ),
    ],
)
def test_a_failure_that_was_overruled_is_told_and_decides_nothing(
    item: PastFailure, note: str
) -> None:
    asked = experiment(value(HOLDS), epochs=2)
    plain = verdict_on(asked, SEEDS)
    found = verdict_on(asked, {**SEEDS, 0: replace(SEEDS[0], history=(item,))})
    assert note in found.notes
    assert (found.verdict, found.as_expected) == (plain.verdict, plain.as_expected)


def test_an_expected_failure_with_a_seed_missing_is_not_yet_as_expected() -> None:
    asked = experiment(band({2: 0.0}), epochs=2, not_reproduced=["stays at zero"])
    found = verdict_on(asked, {0: SEEDS[0], 1: None})
    assert (found.verdict, found.as_expected) == (Outcome.NOT_REPRODUCED, None)
    assert exit_code([found]) is Exit.INCOMPLETE


CONTROL = experiment(band({2: 0.0}), id="control", epochs=2, control=True)
ZEROS = {seed: trial([0.0, 0.0]) for seed in range(3)}
GOOD, BAD = (experiment(value(rows), id=name, epochs=2) for name, rows in
             (("good", HOLDS), ("bad", FAILS)))  # fmt: skip
ELSEWHERE = experiment(value(HOLDS), id="elsewhere", epochs=2, paper="Another Paper")


def test_where_a_control_fails_nothing_of_its_paper_is_reproduced() -> None:
    control, good, bad, elsewhere = verdicts_on(
        [(CONTROL, SEEDS), (GOOD, SEEDS), (BAD, SEEDS), (ELSEWHERE, SEEDS)]
    )
    assert control.verdict is Outcome.NOT_REPRODUCED
    assert (good.verdict, good.as_expected) == (Outcome.INCONCLUSIVE, None)
    assert bad.verdict is Outcome.NOT_REPRODUCED
    assert elsewhere.verdict is Outcome.REPRODUCED
    for gated in (good, bad):
        assert "control control failed" in gated.notes
    assert not any("control" in note for note in (*control.notes, *elsewhere.notes))


@pytest.mark.parametrize("trials", [ZEROS, ZEROS | {1: None}])
def test_a_control_that_has_not_failed_gates_nothing(trials: object) -> None:
    _, good = verdicts_on([(CONTROL, trials), (GOOD, SEEDS)])
    assert good.verdict is Outcome.REPRODUCED


def _gated() -> object:
    known = experiment(band({2: 0.0}), id="control", epochs=2, control=True,
                       not_reproduced=["stays at zero"])  # fmt: skip
    return verdicts_on([(known, SEEDS), (GOOD, SEEDS)])[1]


@pytest.mark.parametrize(
    ("kinds", "code"),
    [
        ("", Exit.AS_EXPECTED),
        ("good", Exit.AS_EXPECTED),
        ("good gated", Exit.INCONCLUSIVE),
        ("gated lost", Exit.INCOMPLETE),
        ("good gated lost bad", Exit.NOT_AS_EXPECTED),
        ("bad good", Exit.NOT_AS_EXPECTED),
    ],
)
def test_the_exit_code_is_that_of_the_gravest(kinds: str, code: Exit) -> None:
    made = {
        "good": verdict_on(GOOD, SEEDS),
        "bad": verdict_on(BAD, SEEDS),
        "lost": verdict_on(GOOD, SEEDS | {1: None}),
        "gated": _gated(),
    }
    assert exit_code([made[kind] for kind in kinds.split()]) is code


@pytest.mark.parametrize(
    ("seeds", "note"),
    [
        ((0, 1, 2), None),
        ((0, 1), "1 of the manifest's 3 seeds were not asked for"),
        ((0, 1, 2, 7, 8), "exploratory: seeds 7-8 not in the manifest"),
    ],
)
def test_seeds_other_than_the_manifests_mark_the_verdict(
    seeds: Sequence[int], note: str | None
) -> None:
    found = verdict_on(experiment(value(HOLDS), epochs=2), dict.fromkeys(seeds, SEEDS[0]))
    assert found.notes == (() if note is None else (note,))


def test_seeds_that_ran_with_different_versions_are_told() -> None:
    seeds = {n: trial([1.0, 1.0], versions={"torch": f"2.{n}"}) for n in (1, 2)}
    found = verdict_on(experiment(value(HOLDS), epochs=2, seeds=(1, 2)), seeds)
    assert found.notes == ("the records come from 2 versions of torch: 2.1 / 2.2",)


def test_the_verdict_counts_how_its_parameters_are_known() -> None:
    found = verdict_on(GOOD, SEEDS)
    assert found.bases == {Basis.STATED: 2, Basis.INFERRED: 0, Basis.ASSUMED: 1}
