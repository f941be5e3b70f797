"""Two sides of stored trials: unchanged, moved, untested, or nothing to compare."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.compare import (
    Comparison,
    Side,
    Standing,
    compare_experiments,
    results_digest,
    sentence,
)
from harness.errors import UsageError
from harness.manifest import Experiment
from harness.record import FailureKind, StoredTrial
from harness.report import arrow_tables
from harness.report.documents import comparisons_document
from tests.verdict.builders import curve, experiment, failed, trial, value

RISE = [0.0, 0.2, 1.0, 1.5]
ASKED = experiment(curve({1: 0.0, 3: 1.0}), value(1.6, name="test"), id="made-up")


def side(shifts: list[float], asked: Experiment = ASKED, **how: object) -> Side:
    """A seed for each shift of the usual curve."""
    return Side(
        {
            (asked.id, seed): trial([at + by for at in RISE], test=1.6 + by, **how)  # type: ignore[arg-type]
            for seed, by in enumerate(shifts)
        }
    )


def compared(base: Side, new: Side, asked: Experiment = ASKED) -> Comparison:
    (found,) = compare_experiments([asked], base, new)
    return found


def test_equal_records_are_unchanged_and_nothing_is_tested() -> None:
    found = compared(side([0.0, 0.1, 0.2]), side([0.0, 0.1, 0.2]))
    assert found.standing is Standing.UNCHANGED
    assert found.identical == found.seeds == (0, 1, 2)
    assert found.changes == ()


def test_when_a_record_was_made_is_no_part_of_its_digest() -> None:
    one = trial(RISE, test=1.6)
    later = replace(
        one, epochs=tuple(replace(each, ended_ms=9, seconds=9.0) for each in one.epochs)
    )
    assert results_digest(one, 4) == results_digest(later, 4)


@given(st.integers(0, 3), st.sampled_from([1e-12, -1e-12]))
def test_the_last_bit_of_any_epoch_is_a_difference(epoch: int, by: float) -> None:
    other = [at + by * (place == epoch) for place, at in enumerate(RISE)]
    one = trial(RISE)
    assert results_digest(one, 4) != results_digest(trial(other), 4)
    assert results_digest(one, epoch) == results_digest(trial(other), epoch)


def test_a_step_well_above_its_spread_has_moved_within_tolerance() -> None:
    base = side([0.0, 0.02, -0.02, 0.01, -0.01])
    new = side([0.03, 0.051, 0.009, 0.041, 0.02], versions={"torch": "2.2"})
    found = compared(base, new)
    assert found.standing is Standing.MOVED
    assert {change.claim for change in found.changes if change.moved} == {"early rows", "test"}
    said = sentence(found)
    assert "moved, still within tolerance" in said
    assert "torch 2.1 → 2.2" in said
    assert found.changes[0].share == pytest.approx(0.302)
    assert found.changes[0].tests == 3  # rows


def test_seeds_are_paired_so_that_their_own_spread_hides_nothing() -> None:
    """A step of a twentieth of the seeds' spread is found, for each seed took it."""
    spread = [-0.4, -0.2, 0.0, 0.2, 0.4]
    step = [0.0149, 0.0151, 0.015, 0.0152, 0.0148]
    found = compared(side(spread), side([a + b for a, b in zip(spread, step, strict=True)]))
    assert found.standing is Standing.MOVED


@pytest.mark.parametrize("seeds", [4, 6, 10])
def test_rows_that_move_in_opposite_directions_do_not_cancel(seeds: int) -> None:
    """Five tolerances up in one row, and as many down in another."""
    rng = np.random.default_rng(0)
    asked = experiment(curve({2: 0.2, 4: 1.5}, 0.06), id="made-up")
    base, new = (
        Side(
            {
                ("made-up", seed): trial([0.0, 0.2 + by + noise, 1.0, 1.5 - by - noise])
                for seed, noise in enumerate(rng.normal(0.0, 0.01, size=seeds).tolist())
            }
        )
        for by in (0.0, 0.3)
    )
    found = compared(base, new, asked)
    assert found.standing is Standing.MOVED
    assert abs(found.changes[0].share) > 4
    assert "tolerance" in sentence(found)


@pytest.mark.parametrize("seeds", [3, 6, 10])
def test_one_unit_in_the_last_place_is_no_move(seeds: int) -> None:
    shifts = [seed / 64 for seed in range(seeds)]  # equal seeds would count as one
    new = {
        (ASKED.id, seed): trial(
            [float(np.nextafter(at + by, 9)) for at in RISE], test=float(np.nextafter(1.6 + by, 9))
        )
        for seed, by in enumerate(shifts)
    }
    found = compared(side(shifts), Side(new))
    assert found.standing is Standing.NOT_SHOWN
    assert all(change.p_holm == 1.0 for change in found.changes)


def test_noise_alone_is_not_said_to_have_moved() -> None:
    found = compared(side([0.0] * 5), side([0.01, -0.012, 0.004, -0.003, 0.002]))
    assert found.standing is Standing.NOT_SHOWN
    assert all(change.detectable > abs(change.difference) for change in found.changes)  # type: ignore[operator]
    assert "would have shown" in sentence(found)


def test_one_seed_carries_no_test() -> None:
    found = compared(side([0.0]), side([0.05]))
    assert found.standing is Standing.UNTESTED
    assert all(change.p is None and change.p_holm is None for change in found.changes)
    assert "0.50 of the tolerance" in sentence(found)


def test_no_common_seed_is_nothing_to_compare() -> None:
    base = side([0.0])
    new = Side({(ASKED.id, 5): trial(RISE, test=1.6)})
    found = compared(base, new)
    assert found.standing is Standing.NOTHING
    assert (found.only_base, found.only_new) == ((0,), (5,))


def test_a_seed_that_broke_off_is_named_and_shortens_nothing() -> None:
    base, new = side([0.0, 0.0]), side([0.0, 0.0])
    broken = trial(RISE[:2], failure=failed(2, FailureKind.SCIENTIFIC))
    found = compared(base, Side({**new.trials, (ASKED.id, 1): broken}))
    assert found.epochs == 4
    assert found.cut_short == (1,)
    assert found.identical == (0,)
    assert "seed 1 ended early" in sentence(found)


def test_all_experiments_are_one_family_of_tests() -> None:
    other = experiment(value(1.6, name="test"), id="other")
    shifts = [0.01, 0.011, 0.009]
    base = Side({**side([0.0] * 3).trials, **side([0.0] * 3, other).trials})
    new = Side({**side(shifts).trials, **side(shifts, other).trials})
    found = compare_experiments([ASKED, other], base, new)
    assert [change.tests for each in found for change in each.changes] == [4, 4, 4]


def test_false_alarms_over_many_claims_stay_at_five_in_a_hundred() -> None:
    """No step at all, five seeds, two claims with noise of their own: at most 5 % of nights."""
    rng = np.random.default_rng(0)
    alarms = 0
    for _ in range(200):
        sides = []
        for _ in range(2):
            noise = rng.normal(0.0, 0.01, size=(5, 2))
            sides.append(
                Side(
                    {
                        (ASKED.id, seed): trial([at + a for at in RISE], test=1.6 + b)
                        for seed, (a, b) in enumerate(noise.tolist())
                    }
                )
            )
        alarms += compared(*sides).standing is Standing.MOVED
    assert alarms <= 20  # of 200; 10 are expected, more than 20 come once in a thousand


def test_an_exported_table_compares_as_its_workspace_does(tmp_path: Path) -> None:
    base, new = side([0.0, 0.1, 0.2]), side([0.01, 0.12, 0.2])
    for name in ("records.csv", "records.parquet"):
        arrow_tables.write_trials(tmp_path / name, _named(base))
        found = compared(Side(arrow_tables.read_trials(tmp_path / name)), new)
        assert found.changes == compared(base, new).changes
        assert found.conditions is None
        assert "did not record" in sentence(found)


def _named(some: Side) -> list[tuple[str, StoredTrial]]:
    return [
        (name, replace(found, spec=replace(found.spec, seed=seed)))
        for (name, seed), found in some.trials.items()
    ]


@pytest.mark.parametrize("content", ["", "a,b\n1,2\n", "experiment,trial\n"])
def test_a_table_of_something_else_is_refused(tmp_path: Path, content: str) -> None:
    path = tmp_path / "records.csv"
    path.write_text(content)
    with pytest.raises(UsageError, match=r"records\.csv: not an exported table"):
        arrow_tables.read_trials(path)


def test_the_document_holds_what_json_can(tmp_path: Path) -> None:
    for new in (side([0.0] * 3), side([0.1] * 3), side([0.1, 0.2, 0.1])):
        text = comparisons_document([compared(side([0.0] * 3), new)]).text()
        assert '"standing"' in text
