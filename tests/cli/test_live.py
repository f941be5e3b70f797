"""What is shown while trials run."""

import io
from pathlib import Path
from types import SimpleNamespace

import pytest
from rich.console import Console

from harness import workloads
from harness.cli.console import STARTING, Headline, PlainView, TimeLeft, watching
from harness.manifest import load
from harness.plan import Job, Selection, jobs
from harness.record import EpochRecord, Failure, FailureKind
from tests.cli.conftest import TINY
from tests.conftest import FIRST_PAPER

EXPERIMENTS = {experiment.id: experiment for experiment in load(FIRST_PAPER, workloads.registry())}


def test_where_every_estimate_is_final_no_curve_is_watched() -> None:
    assert Headline.of(EXPERIMENTS["gaussian-2d-rho-50"]) is None


@pytest.mark.parametrize("name", [name for name in EXPERIMENTS if "pair" in name])
def test_the_estimate_is_watched_and_not_the_truth_beside_it(name: str) -> None:
    headline = Headline.of(EXPERIMENTS[name])
    assert headline is not None
    assert headline.metric == "mi_bits"
    assert headline.reported[1] == pytest.approx(0.5, abs=0.6)


def test_an_estimate_stands_beside_the_latest_reported_row_that_it_has_reached() -> None:
    headline = Headline("mi_bits", {1: 0.5, 10: 1.5})
    at = {epoch: headline.text(EpochRecord(epoch, {"mi_bits": 1.0}, 0, 0)) for epoch in (1, 9, 12)}
    assert at[1] == at[9] == "1.0000 (paper 0.5000 @ 1)"
    assert at[12] == "1.0000 (paper 1.5000 @ 10)"


def _watched(terminal: bool) -> str:
    """All that is written of a trial that is retried and one that fails."""
    registry = workloads.registry()
    experiments = load([TINY], registry)
    queue: list[Job] = list(jobs(experiments, registry, Selection()))
    console = Console(file=io.StringIO(), force_terminal=terminal, width=120)
    lost = Failure(FailureKind.INFRASTRUCTURE, "WorkerCrashedError", "the worker died", 1)
    wrong = Failure(FailureKind.SCIENTIFIC, "NonFiniteEstimate", "mi_bits is nan [at] epoch 2", 1)
    with watching(console, experiments, queue, quiet=False) as view:
        for job in queue:
            view.started(job, 0)
            view.progressed(job, EpochRecord(1, {"mi_bits": 0.25}, 0, 0.1))
        view.retrying(queue[0], lost, attempt=2, wait_s=1)
        view.started(queue[0], 1)
        view.ended(queue[0], None)
        view.ended(queue[1], wrong)
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


@pytest.mark.parametrize("terminal", [False, True])
def test_a_failure_is_named_in_full_on_a_terminal_and_in_a_log(terminal: bool) -> None:
    assert "tiny seed 1: FAILED (NonFiniteEstimate: mi_bits is nan [at] epoch 2)" in _watched(
        terminal
    )


def test_a_log_gets_plain_lines_with_what_was_lost_and_what_is_left() -> None:
    lines = _watched(terminal=False).splitlines()
    assert "tiny seed 0: the worker died; attempt 2 follows in 1 s" in lines
    assert "tiny seed 0: started, from epoch 2" in lines
    assert "tiny seed 0: done; 1 done, 0 failed, 1 left" in lines
    assert not any("\x1b" in line for line in lines)


def test_a_terminal_gets_bars_with_the_estimate_beside_the_paper() -> None:
    assert "0.2500 (paper 0.0000 @ 1)" in _watched(terminal=True)


def test_before_the_first_trial_a_terminal_says_what_it_waits_for() -> None:
    registry = workloads.registry()
    experiments = load([TINY], registry)
    queue: list[Job] = list(jobs(experiments, registry, Selection()))
    console = Console(file=io.StringIO(), force_terminal=True, width=120)
    with watching(console, experiments, queue, quiet=False) as view:
        assert isinstance(console.file, io.StringIO)
        waiting = console.file.getvalue()
        view.started(queue[0], 0)
    assert STARTING in waiting
    assert "0 done, 0 failed, 2 left" in console.file.getvalue()[len(waiting) :]


def test_the_time_left_is_steady_when_epochs_differ_and_come_in_bursts() -> None:
    """A fast experiment and a slow one run side by side; records arrive in bursts of five."""
    fast, slow = (
        SimpleNamespace(experiment=name, epochs=50, spec=SimpleNamespace(id=name))
        for name in ("fast", "slow")
    )
    left = TimeLeft([fast, slow])  # type: ignore[list-item]
    assert left.seconds(0.0) is None
    for job in (fast, slow):
        left.started(job, 0)  # type: ignore[arg-type]
    for burst in range(1, 11):
        for job, seconds in ((fast, 0.1), (slow, 2.0)):
            for epoch in range(5 * burst - 4, 5 * burst + 1):
                record = EpochRecord(epoch, {}, 0, seconds)
                left.progressed(job, record, 10.0 * burst)  # type: ignore[arg-type]
        estimate = left.seconds(10.0 * burst)
        assert estimate == pytest.approx(100 - 10 * burst, abs=0.01)
        if burst < 10:
            assert left.seconds(10.0 * burst + 5) == pytest.approx(95 - 10 * burst, abs=0.01)


def test_resumed_epochs_count_neither_as_work_nor_as_speed() -> None:
    job = SimpleNamespace(experiment="one", epochs=100, spec=SimpleNamespace(id="one"))
    left = TimeLeft([job])  # type: ignore[list-item]
    left.started(job, 90)  # type: ignore[arg-type]
    left.progressed(job, EpochRecord(91, {}, 0, 3.0), 0.0)  # type: ignore[arg-type]
    assert left.seconds(0.0) == pytest.approx(27)


def test_a_log_is_not_flooded_by_fast_epochs() -> None:
    out = io.StringIO()
    registry = workloads.registry()
    (job, *_) = jobs(load([TINY], registry), registry, Selection())
    view = PlainView(Console(file=out), 1, {})
    view.started(job, 0)
    for epoch in range(1, 1000):
        view.progressed(job, EpochRecord(epoch, {"mi_bits": 0.0}, 0, 0))
    assert len(out.getvalue().splitlines()) == 1


def test_quiet_says_nothing(tmp_path: Path) -> None:
    console = Console(file=io.StringIO())
    with watching(console, [], [], quiet=True) as view:
        (job, *_) = jobs(load([TINY], workloads.registry()), workloads.registry(), Selection())
        view.started(job, 0)
        view.ended(job, None)
    assert console.file.getvalue() == ""  # type: ignore[attr-defined]
