"""Faults in stored curves are caught, nulls let pass, and a checker that is broken is found out."""

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.console import Console
from typer.testing import CliRunner

from harness.cli import app
from harness.cli import selftest as command
from harness.errors import Exit
from harness.selftest import CaseResult, Detection, Subject, cases, kind_cases
from harness.selftest.drawn_runs import draw, margins, messages, write_records
from harness.session.selftest import choose_subject, run_stored
from harness.store import Store
from harness.verdict import Outcome
from harness.verdict.decision import Decision
from tests.conftest import REPOSITORY

SUBJECT = choose_subject([REPOSITORY / "experiments"])
KINDS = {case.name: case for case in kind_cases(SUBJECT)}
CASES = {case.name: case for case in cases(SUBJECT)} | KINDS
MEMORISED = "pairs not redrawn (as recorded)"


@pytest.mark.usefixtures("quiet")
@pytest.mark.parametrize("name", CASES)
def test_every_fault_is_caught_and_every_null_let_pass(
    subject: Subject, name: str, tmp_path: Path
) -> None:
    result = run_stored(subject, CASES[name], tmp_path / "workspace")
    assert result.passed, result
    if result.detection:
        assert result.detection.by
        assert result.detection.level


def test_the_default_is_the_experiment_whose_workload_brings_the_most_faults(
    subject: Subject,
) -> None:
    assert subject.experiment.id == "image-pair-4"
    assert subject.other is not None
    assert subject.other.id == "image-pair-8"
    assert list(subject.recorded) == ["pairs_not_redrawn"]


@pytest.mark.usefixtures("quiet")
@pytest.mark.parametrize("name", ["gaussian-2d-rho-90", "sequence-pair-16"])
def test_any_experiment_can_be_tested(name: str, tmp_path: Path) -> None:
    subject = choose_subject([REPOSITORY / "experiments" / f"{name}.yaml"])
    results = [
        run_stored(subject, case, tmp_path / str(number))
        for number, case in enumerate(cases(subject))
    ]
    assert len(results) >= 10
    assert [result for result in results if not result.passed] == []


@pytest.mark.parametrize(
    ("detected", "is_fault", "passed"),
    [(True, True, True), (False, True, False), (True, False, False), (False, False, True)],
)
def test_a_check_passes_where_what_was_planted_was_found_and_nothing_else(
    detected: bool, is_fault: bool, passed: bool
) -> None:
    detection = Detection("a claim", "p = 0.01") if detected else None
    assert CaseResult("made up", is_fault, "", detection).passed is passed


def test_the_last_line_counts_faults_and_sound_runs_apart() -> None:
    found = Detection("a claim", "p = 0.01")
    stored = [
        CaseResult("detected", True, "", found),
        CaseResult("missed", True, "", None),
        CaseResult("sound", False, "", None),
        CaseResult("also sound", False, "", None),
    ]
    trained = [
        CaseResult("detected in training", True, "", found),
        CaseResult("a second one", True, "", found),
        CaseResult("a false alarm", False, "", found),
    ]
    printed = io.StringIO()
    command._show({"stored": stored, "trained": trained}, Console(file=printed, width=200))
    *table, last = printed.getvalue().splitlines()
    assert last == "3 of 4 planted faults detected, 2 of 3 sound runs passed"
    wrong = [line for line in table if " NO " in line]
    assert [name for line in wrong for name in ("missed", "a false alarm") if name in line] == [
        "missed",
        "a false alarm",
    ]
    assert len(wrong) == 2


def always(outcome: Outcome) -> Callable[..., Decision]:
    """A checker that has made up its mind."""

    def decide(*_: Any, **__: Any) -> Decision:
        return Decision(outcome=outcome, p_consistency=0.5)

    return decide


@pytest.mark.parametrize("name", ["variance inflated", "mean shifted", MEMORISED])
def test_a_checker_that_passes_everything_is_found_out(
    subject: Subject, name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("harness.verdict.decision.four_way", always(Outcome.REPRODUCED))
    assert not run_stored(subject, CASES[name], tmp_path / "workspace").passed


@pytest.mark.parametrize("name", [case.name for case in CASES.values() if not case.is_fault])
def test_a_checker_that_cries_wolf_is_found_out(
    subject: Subject, name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("harness.verdict.judgement._decide", always(Outcome.NOT_REPRODUCED))
    assert not run_stored(subject, CASES[name], tmp_path / "workspace").passed


def test_the_command_exits_1_as_soon_as_one_gets_through(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without training: tests/cli runs the whole, and sees that it exits 0 when all is caught."""
    monkeypatch.setattr(command, "run_training", lambda *_, **__: [])
    monkeypatch.setattr("harness.verdict.decision.four_way", always(Outcome.REPRODUCED))
    folder = str(REPOSITORY / "experiments")
    done = CliRunner().invoke(app, ["selftest", folder], env={"COLUMNS": "200"})
    assert done.exit_code == Exit.NOT_AS_EXPECTED, done.output
    assert " NO " in done.output
    assert (
        f"of {sum(case.is_fault for case in CASES.values())} planted faults detected" in done.output
    )


@given(st.integers(0, 10_000), st.integers(0, 10_000))
@settings(max_examples=20)
def test_a_draw_is_its_seeds_and_the_exact_values_are_the_papers(
    subject: Subject, one: int, other: int
) -> None:
    first, second = draw(subject.experiment, one), draw(subject.experiment, other)
    assert (first.finals == second.finals) == (one == other)
    for claim in subject.experiment.manifest.claims:
        if claim.kind == "exact" and isinstance(claim.reported, dict):
            curve = first.curves[claim.metric]
            assert all(curve[epoch - 1] == value for epoch, value in claim.reported.items())


def test_draws_lie_around_the_reported_values_by_the_spread_that_they_are_said_to_have(
    subject: Subject,
) -> None:
    draws = [draw(subject.experiment, seed).finals for seed in range(400)]
    ((metric, reported),) = (
        (claim.metric, claim.reported)
        for claim in subject.experiment.manifest.claims
        if claim.name == "test estimate"
    )
    values = np.array([each[metric] for each in draws])
    spread = 0.2 * margins(subject.experiment)[metric]
    assert values.mean() == pytest.approx(reported, abs=4 * spread / np.sqrt(400))
    assert values.std(ddof=1) == pytest.approx(spread, rel=0.15)


def test_what_was_put_down_is_read_back(subject: Subject, tmp_path: Path) -> None:
    spec = subject.specs()[0]
    run = draw(subject.experiment, 0)
    store = Store(tmp_path / "workspace")
    write_records(store, subject.experiment, [(spec, messages(run, spec))])
    found = store.read(spec.id)
    assert found is not None
    for metric, curve in run.curves.items():
        assert [record.metrics[metric] for record in found.epochs] == curve.tolist()
    assert found.finals[len(found.epochs)].metrics == run.finals


def test_the_records_of_pairs_drawn_once_are_real_and_finished(subject: Subject) -> None:
    trials = subject.recorded["pairs_not_redrawn"]
    assert len(trials) >= 3
    for trial in trials:
        assert trial.done == subject.experiment.manifest.epochs.value
        assert trial.spec.parameters == {
            **subject.experiment.parameters.model_dump(mode="json"),
            "redraw": False,
        }
        assert trial.provenance[-1].environment.versions["torch"]
