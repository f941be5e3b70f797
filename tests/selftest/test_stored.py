"""Faults in stored curves are caught, nulls let pass, and a checker that is broken is found out."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

from harness.cli import selftest as command
from harness.cli.app import app
from harness.cli.selftest import on_stored
from harness.errors import Exit
from harness.manifest import Experiment
from harness.selftest import STORED, Bench, Catch, Check, Plant
from harness.selftest.bench import draw, margins, messages, put
from harness.selftest.stored import MEMORISED
from harness.store import Store
from harness.verdict import Outcome
from harness.verdict.decision import Decision
from tests.conftest import REPOSITORY

EVERY = (*STORED, MEMORISED)
BY_NAME = {plant.name: plant for plant in EVERY}


@pytest.mark.usefixtures("quiet")
@pytest.mark.parametrize("plant", EVERY, ids=lambda plant: plant.name)
def test_every_fault_is_caught_and_every_null_let_pass(
    bench: Bench, plant: Plant, tmp_path: Path
) -> None:
    found = on_stored(bench, plant, tmp_path / "workspace")
    assert found.passed, found
    if found.catch:
        assert found.catch.by
        assert found.catch.level


@pytest.mark.parametrize(
    ("caught", "planted", "passed"),
    [(True, True, True), (False, True, False), (True, False, False), (False, False, True)],
)
def test_a_check_passes_where_what_was_planted_was_found_and_nothing_else(
    caught: bool, planted: bool, passed: bool
) -> None:
    catch = Catch("a claim", "p = 0.01") if caught else None
    assert Check("made up", planted, "", catch).passed is passed


def always(outcome: Outcome) -> Callable[..., Decision]:
    """A checker that has made up its mind."""

    def decide(*_: Any, **__: Any) -> Decision:
        return Decision(outcome=outcome, p_consistency=0.5)

    return decide


@pytest.mark.parametrize("name", ["variance inflated", "mean shifted", MEMORISED.name])
def test_a_checker_that_passes_everything_is_found_out(
    bench: Bench, name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("harness.verdict.decision.four_way", always(Outcome.REPRODUCED))
    assert not on_stored(bench, BY_NAME[name], tmp_path / "workspace").passed


@pytest.mark.parametrize("plant", [plant for plant in STORED if not plant.planted])
def test_a_checker_that_cries_wolf_is_found_out(
    bench: Bench, plant: Plant, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("harness.verdict.decision.four_way", always(Outcome.NOT_REPRODUCED))
    assert not on_stored(bench, plant, tmp_path / "workspace").passed


@pytest.mark.parametrize(("outcome", "code"), [(None, Exit.AS_EXPECTED), (Outcome.REPRODUCED, 1)])
def test_the_command_exits_1_as_soon_as_one_gets_through(
    outcome: Outcome | None, code: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The training is left out: tests/cli runs the whole."""
    monkeypatch.setattr(command, "on_training", lambda *_, **__: [])
    if outcome:
        monkeypatch.setattr("harness.verdict.decision.four_way", always(outcome))
    folder = str(REPOSITORY / command.DEFAULT_EXPERIMENTS)
    done = CliRunner().invoke(app, ["selftest", folder], env={"COLUMNS": "200"})
    assert done.exit_code == code, done.output
    assert (" NO " in done.output) == bool(outcome)
    assert f"of {sum(plant.planted for plant in EVERY)} faults caught" in done.output


@given(st.integers(0, 10_000), st.integers(0, 10_000))
@settings(max_examples=20)
def test_a_draw_is_its_seeds_and_the_exact_values_are_the_papers(
    bench: Bench, one: int, other: int
) -> None:
    first, second = draw(bench.experiment, one), draw(bench.experiment, other)
    assert (first.finals == second.finals) == (one == other)
    for claim in bench.experiment.manifest.claims:
        if claim.kind == "exact" and isinstance(claim.reported, dict):
            curve = first.curves[claim.metric]
            assert all(curve[epoch - 1] == value for epoch, value in claim.reported.items())


def test_draws_lie_around_the_reported_values_by_the_spread_that_they_are_said_to_have(
    bench: Bench,
) -> None:
    draws = [draw(bench.experiment, seed).finals for seed in range(400)]
    ((metric, reported),) = (
        (claim.metric, claim.reported)
        for claim in bench.experiment.manifest.claims
        if claim.name == "test estimate"
    )
    values = np.array([each[metric] for each in draws])
    spread = 0.2 * margins(bench.experiment)[metric]
    assert values.mean() == pytest.approx(reported, abs=4 * spread / np.sqrt(400))
    assert values.std(ddof=1) == pytest.approx(spread, rel=0.15)


def test_what_was_put_down_is_read_back(bench: Bench, tmp_path: Path) -> None:
    spec = bench.specs()[0]
    run = draw(bench.experiment, 0)
    store = Store(tmp_path / "workspace")
    put(store, bench.experiment, [(spec, messages(run, spec))])
    found = store.read(spec.id)
    assert found is not None
    for metric, curve in run.curves.items():
        assert [record.metrics[metric] for record in found.epochs] == curve.tolist()
    assert found.finals[len(found.epochs)].metrics == run.finals


def test_the_records_of_pairs_drawn_once_are_real_and_finished(bench: Bench) -> None:
    asked: Experiment = bench.experiment
    assert len(bench.memorised) >= 3
    for trial in bench.memorised:
        assert trial.done == asked.manifest.epochs.value
        assert trial.spec.parameters == {
            **asked.parameters.model_dump(mode="json"),
            "redraw": False,
        }
        assert trial.provenance[-1].environment.versions["torch"]
