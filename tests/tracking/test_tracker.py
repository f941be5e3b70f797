"""Live tracking: what it leaves, and that no trouble of MLflow's reaches a trial."""

import logging
import sqlite3
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from mlflow import MlflowClient

from harness.record import Failure, FailureKind, StoredTrial
from harness.tracking import Conclusion, Summary, Tracker, replay_store
from tests.tracking.conftest import (
    REFERENCES,
    Database,
    Shelf,
    fresh_database,
    make_experiment,
    make_trial,
)
from tests.waiting import wait_until

EXPERIMENT = make_experiment()


def start(database: Database, shelf: Shelf) -> Tracker:
    return Tracker(
        database.uri,
        workspace=database.workspace,
        read=shelf.read,
        tracked=shelf.tracked(EXPERIMENT),
    )


def replay(database: Database, shelf: Shelf) -> Summary:
    return replay_store(
        database.uri,
        workspace=database.workspace,
        read=shelf.read,
        tracked=shelf.tracked(EXPERIMENT),
    )


def test_nothing_is_running_after_close(database: Database) -> None:
    shelf = Shelf(make_trial(0, 3), make_trial(1, 3))
    with start(database, shelf) as tracker:
        for trial_id in shelf.trials:
            tracker.notify(trial_id)
        wait_until(
            lambda: list(database.statuses().values()).count("RUNNING") == 2, "two running runs"
        )
        tracker.notify(shelf.put(make_trial(1, 5, done=5)))
        summary = tracker.close()
    assert database.statuses() == {
        **dict.fromkeys(REFERENCES, "FINISHED"),
        "seed 0": "KILLED",
        "seed 1": "FINISHED",
    }
    assert (summary.left, summary.trouble) == (0, None)


def test_a_trial_that_goes_on_is_running_again(database: Database) -> None:
    shelf = Shelf(make_trial(0, 3))
    replay(database, shelf)
    assert database.statuses()["seed 0"] == "KILLED"
    with start(database, shelf) as tracker:
        tracker.notify(shelf.put(make_trial(0, 4)))
        wait_until(lambda: database.statuses()["seed 0"] == "RUNNING", "seed 0 running")
        tracker.notify(shelf.put(make_trial(0, 5, done=5)))
    assert database.statuses()["seed 0"] == "FINISHED"


def test_runs_that_a_killed_driver_left_running_are_closed_when_they_last_recorded(
    database: Database,
) -> None:
    shelf = Shelf(make_trial(0, 3))
    replay(database, shelf)
    run_id = database.run_id("seed 0")
    MlflowClient(database.uri).update_run(run_id, status="RUNNING")
    stranger = MlflowClient(database.uri).create_run("0", run_name="a stranger's")
    with Tracker(database.uri, workspace=database.workspace, read=shelf.read, tracked=[]) as it:
        assert it.close().trouble is None
    assert database.statuses()["seed 0"] == "KILLED"
    [(end_ms,)] = database.rows("SELECT end_time FROM runs WHERE run_uuid = ?", run_id)
    assert end_ms == shelf.trials[make_trial(0).spec.id].epochs[-1].ended_ms
    assert database.statuses()[stranger.info.run_name] == "RUNNING"


def test_a_trial_notified_many_times_while_a_call_is_slow_is_projected_once(
    database: Database,
) -> None:
    gate = threading.Event()
    shelf = Shelf(make_trial(0, 3), make_trial(1, 3))
    slow, quick = shelf.trials

    def read(trial_id: str) -> StoredTrial | None:
        if trial_id == slow:
            gate.wait(30)
        return shelf.read(trial_id)

    tracked = shelf.tracked(EXPERIMENT)
    with Tracker(database.uri, workspace=database.workspace, read=read, tracked=tracked) as tracker:
        tracker.notify(slow)
        for _ in range(1000):
            tracker.notify(quick)
        gate.set()
    # Once live, and once more to end a run that was not finished.
    assert shelf.reads[quick] == 2


@settings(
    max_examples=8, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(data=st.data())
def test_live_and_replay_leave_the_same(migrated: Path, data: st.DataObject) -> None:
    lengths = data.draw(st.lists(st.integers(0, 9), min_size=1, max_size=3), label="lengths")
    ends = [data.draw(st.sampled_from(["done", "cut off", "failed"])) for _ in lengths]
    steps = data.draw(st.lists(st.sampled_from(range(len(lengths))), max_size=12), label="steps")
    final = [_ended(seed, *how) for seed, how in enumerate(zip(lengths, ends, strict=True))]
    with tempfile.TemporaryDirectory() as folder:
        live = fresh_database(Path(folder) / "live", migrated)
        replayed = fresh_database(Path(folder) / "replayed", migrated)
        shelf = Shelf(*(make_trial(seed, 0) for seed in range(len(lengths))))
        with start(live, shelf) as tracker:
            grown = [0] * len(lengths)
            for seed in steps:
                grown[seed] = min(lengths[seed], grown[seed] + data.draw(st.integers(1, 4)))
                tracker.notify(shelf.put(make_trial(seed, grown[seed])))
            for trial in final:
                tracker.notify(shelf.put(trial))
        replay(replayed, Shelf(*final))
        assert _comparable(live) == _comparable(replayed)
        counts = live.counts()
        assert replay(live, shelf).points == 0
        assert live.counts() == counts


def _ended(seed: int, length: int, how: str) -> StoredTrial:
    if how == "failed":
        nan = Failure(FailureKind.SCIENTIFIC, "NotFinite", "mi_bits is nan", length)
        return make_trial(seed, length, failure=nan)
    done = length if how == "done" else 0
    return make_trial(seed, length, done=done, finals=(length,) if done else ())


def _comparable(database: Database) -> dict[str, object]:
    """All that is seen of the seeds but whose they are, and times that no record bears."""
    seen: dict[str, object] = {}
    for name, (points, params, tags, times) in database.dump().items():
        del tags["harness.workspace"]
        seen[name] = (points, params, tags, times if points else None)
    return seen


def test_a_verdict_follows_the_trials_it_is_about(database: Database) -> None:
    shelf = Shelf(make_trial(0, 3))
    with start(database, shelf) as tracker:
        tracker.notify(shelf.put(make_trial(0, 5, done=5)))
        tracker.conclude([Conclusion("toy-4", "REPRODUCED", True, {})])
    assert database.tags("seed 0")["verdict"] == "REPRODUCED"
    assert database.tags("paper")["verdict"] == "REPRODUCED"


def test_the_database_lets_readers_read_while_it_is_written(database: Database) -> None:
    with start(database, Shelf(make_trial(0, 1))) as tracker:
        assert tracker.close().trouble is None
    assert database.rows("PRAGMA journal_mode") == [("wal",)]


def test_a_locked_database_holds_up_nobody(
    database: Database, caplog: pytest.LogCaptureFixture
) -> None:
    shelf = Shelf(make_trial(0, 3, done=3))
    replay(database, shelf)
    with locked(database), start(database, shelf) as tracker, caplog.at_level(logging.WARNING):
        tracker.notify(shelf.put(make_trial(0, 5, done=5)))
        assert tracker.close(timeout_s=0.5).left > 0
    assert len(caplog.records) == 1
    # The call that was given up on may still get there; either way each point is there once.
    replay(database, shelf)
    assert len(database.points("seed 0")) == 5 * 4
    assert replay(database, shelf).points == 0


def test_the_end_says_how_far_mlflow_is_behind(
    database: Database, caplog: pytest.LogCaptureFixture
) -> None:
    shelf = Shelf(*(make_trial(seed, 3, done=3) for seed in range(3)))
    first, second, third = shelf.trials
    reached, gate = threading.Event(), threading.Event()

    def read(trial_id: str) -> StoredTrial | None:
        if trial_id == second:
            reached.set()
            gate.wait(60)
        return shelf.read(trial_id)

    tracked = shelf.tracked(EXPERIMENT)
    tracker = Tracker(database.uri, workspace=database.workspace, read=read, tracked=tracked)
    for trial_id in (first, second, third):
        tracker.notify(trial_id)
    assert reached.wait(60)
    assert tracker.close(timeout_s=0.1).left == 3  # two trials, and the end of all runs
    gate.set()
    assert "is 3 steps behind after 0.1 s" in caplog.text


def test_a_database_that_is_locked_for_a_while_is_waited_for(database: Database) -> None:
    shelf = Shelf(make_trial(0, 3, done=3))
    replay(database, shelf)
    with start(database, shelf) as tracker:
        with locked(database):
            tracker.notify(shelf.put(make_trial(0, 5, done=5)))
            time.sleep(0.5)
        assert tracker.close().left == 0
    assert len(database.points("seed 0")) == 5 * 4


@contextmanager
def locked(database: Database) -> Iterator[None]:
    with closing(sqlite3.connect(database.path, isolation_level=None)) as other:
        other.execute("BEGIN EXCLUSIVE")
        yield
        other.execute("ROLLBACK")


def test_a_store_that_cannot_be_read_is_told_like_any_trouble(database: Database) -> None:
    def read(trial_id: str) -> StoredTrial | None:
        raise OSError(f"{trial_id}: disk on fire")

    tracked = Shelf(make_trial(0, 3)).tracked(EXPERIMENT)
    with Tracker(database.uri, workspace=database.workspace, read=read, tracked=tracked) as tracker:
        tracker.notify(make_trial(0).spec.id)
        summary = tracker.close()
    assert "disk on fire" in str(summary.trouble)
    assert summary.left == 1
