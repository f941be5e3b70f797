"""What a workload may do to its worker: its outcome is right, and no other trial suffers."""

import os
import signal
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from harness import engine
from harness.plan import Job
from harness.record import EpochRecord, FailureKind, StoredTrial
from harness.store import Store
from tests.engine.sinks import StoreSink, load
from tests.faults.workload import FORGOTTEN, RUDE
from tests.store.trials import curve, final, quiet
from tests.toy import job

pytestmark = pytest.mark.usefixtures("cluster")

EPOCHS = 6


def rude(folder: Path, fault: str, *, seed: int = 0, again: bool = False, **more: Any) -> Job:
    """A walk that is struck at epoch 4: once, or `again` at every attempt."""
    marker = "" if again else str(folder / fault.replace(" ", "-"))
    walk = job(seed, epochs=EPOCHS, fault=fault, at=4, marker=marker, **more)
    return replace(walk, spec=replace(walk.spec, workload=RUDE.name))


def run(folder: Path, jobs: list[Job]) -> StoreSink:
    sink = StoreSink(Store(folder / "results"))
    options = engine.Options(backoff_s=0.01, checkpoint_interval_s=0.0, retries=2)
    with sink.store.lock():
        engine.run(jobs, sink, workloads={RUDE.name: RUDE}, load_data=load, options=options)
    return sink


def found(sink: StoreSink, a_job: Job) -> StoredTrial:
    stored = sink.store.read(a_job.spec.id)
    assert stored is not None
    return stored


@pytest.mark.parametrize(
    ("fault", "error", "kept"),
    [
        ("memory", "MemoryError", 3),
        ("torch memory", "RuntimeError", 3),
        ("vanish", "WorkerCrashedError", 0),  # what was on its way may go with the worker
        ("abort", "WorkerCrashedError", 0),
    ],
)
def test_a_worker_that_dies_or_has_no_memory_is_lost_and_goes_on(
    tmp_path: Path, fault: str, error: str, kept: int
) -> None:
    struck, other = rude(tmp_path, fault), rude(tmp_path, "", seed=1)
    sink = run(tmp_path, [struck, other])
    ((trial_id, said, attempt),) = sink.retries
    assert (trial_id, attempt) == (struck.spec.id, 2)
    assert said.endswith(error)  # numpy has a kind of MemoryError of its own
    assert 3 >= sink.started(struck)[-1].resumed_from >= kept
    for each in (struck, other):
        assert curve(found(sink, each)) == quiet(each)
        assert dict(found(sink, each).finals[EPOCHS].metrics) == final(each)


def test_a_machine_that_never_has_the_memory_is_no_verdict_on_the_method(tmp_path: Path) -> None:
    sink = run(tmp_path, [hungry := rude(tmp_path, "torch memory", again=True)])
    failure = found(sink, hungry).failure
    assert failure is not None
    assert failure.kind is FailureKind.INFRASTRUCTURE
    assert "can't allocate memory" in failure.message
    assert len(sink.retries) == 2
    assert not sink.store.settled(hungry.spec.id, EPOCHS)


@pytest.mark.parametrize("fault", ["mute", "long", "surrogate", "cancelled"])
def test_whatever_an_exception_is_like_it_is_recorded_and_stops_no_other(
    tmp_path: Path, fault: str
) -> None:
    struck, other = rude(tmp_path, fault, again=True), rude(tmp_path, "", seed=1)
    sink = run(tmp_path, [struck, other])
    failure = found(sink, struck).failure
    assert failure is not None
    assert failure.kind is FailureKind.SCIENTIFIC
    assert failure.epoch == 3
    assert failure.message
    assert len(failure.message) < 20_000
    assert len(sink.retries) == 1
    assert curve(found(sink, other)) == quiet(other)


@pytest.mark.parametrize("fault", ["print", "fork", "clock"])
def test_megabytes_on_the_terminal_children_and_a_clock_that_jumps_change_nothing(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], fault: str
) -> None:
    struck = rude(tmp_path, fault, sleep_s=0.01)
    try:
        sink = run(tmp_path, [struck, rude(tmp_path, "", seed=1)])
    finally:
        with suppress(FileNotFoundError, ProcessLookupError):
            os.kill(int((tmp_path / f"{fault}.{FORGOTTEN}").read_text()), signal.SIGKILL)
    assert sink.retries == []
    assert curve(found(sink, struck)) == quiet(struck)
    assert capfd.readouterr() == ("", "")
    times = [m.ended_ms for _, m in sink.seen if isinstance(m, EpochRecord)]
    assert (max(times) - min(times) > 3_600_000) is (fault == "clock")
