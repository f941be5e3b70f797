"""The workspace: what is read back, who may write, and which formats are refused."""

import json
import os
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.errors import StoreError
from harness.record import (
    Checkpoint,
    EpochRecord,
    Failure,
    FailureKind,
    FinalRecord,
    Finished,
    Message,
    Overruled,
    PastFailure,
    Started,
)
from harness.store import Store
from tests.store.trials import curve, final, quiet, run, sent
from tests.toy import Toy, job


def begun(store: Store, epochs: int, keep: int) -> None:
    """A trial cut off after `keep` messages."""
    a_job = job(epochs=epochs)
    messages = list(sent(a_job, store, checkpoint_interval_s=0))
    with store.lock():
        store.append([(a_job.spec, message) for message in messages[:keep]])


def contents(root: Path) -> dict[str, tuple[bytes, int]]:
    files = [path for path in root.rglob("*") if path.is_file()]
    return {str(path): (path.read_bytes(), path.stat().st_mtime_ns) for path in files}


def test_a_finished_trial_is_read_back_whole(store: Store) -> None:
    a_job = job(epochs=4)
    messages = list(sent(a_job))
    with store.lock():
        store.append([(a_job.spec, message) for message in messages])
    stored = Store(store.root).read(a_job.spec.id)
    assert stored is not None
    assert stored.spec == a_job.spec
    assert list(stored.epochs) == [each for each in messages if isinstance(each, EpochRecord)]
    assert list(stored.finals.values()) == [m for m in messages if isinstance(m, FinalRecord)]
    assert stored.provenance == tuple(m.provenance for m in messages if isinstance(m, Started))
    assert (stored.done, stored.failure) == (4, None)
    assert list(store.trials()) == [a_job.spec.id]


numbers = st.floats(allow_nan=False, allow_infinity=False)
metrics = st.dictionaries(st.text(min_size=1, max_size=8), numbers, max_size=4)


@given(rows=st.lists(metrics, min_size=1, max_size=5), ends=metrics)
@settings(max_examples=25, deadline=None)
def test_every_finite_number_comes_back_to_the_last_bit(
    tmp_path_factory: pytest.TempPathFactory,
    rows: list[dict[str, float]],
    ends: dict[str, float],
) -> None:
    store, a_job = Store(tmp_path_factory.mktemp("store")), job()
    start = next(iter(sent(a_job)))
    epochs = [EpochRecord(at, row, 1700000000000 + at, 0.1) for at, row in enumerate(rows, 1)]
    last = len(epochs)
    end = FinalRecord(last, ends, 1, 0.5)
    checkpoint = Checkpoint(last, "plain", b"\x00\n\xff")
    messages: list[Message] = [start, *epochs, checkpoint, end, Finished(last)]
    with store.lock():
        store.append([(a_job.spec, message) for message in messages])
    stored = store.read(a_job.spec.id)
    assert stored is not None
    assert repr(stored.epochs) == repr(tuple(epochs))
    assert repr(dict(stored.finals)) == repr({last: end})
    assert store.resume_point(a_job.spec.id) == checkpoint


def test_only_what_a_checkpoint_covers_is_read(store: Store) -> None:
    a_job = job(epochs=6)
    messages = list(sent(a_job, checkpoint_interval_s=0))
    dropped = [m for m in messages if not (isinstance(m, Checkpoint) and m.epoch > 2)]
    with store.lock():
        store.append([(a_job.spec, message) for message in dropped if not_an_end(message)])
    assert curve(store.read(a_job.spec.id)) == quiet(job(epochs=2))


def not_an_end(message: Message) -> bool:
    return not isinstance(message, FinalRecord | Finished)


def test_a_finished_trial_stays_finished_while_it_is_continued(store: Store) -> None:
    run(store, job(epochs=3))
    begun(store, epochs=8, keep=5)
    stored = store.read(job().spec.id)
    assert stored is not None
    assert (stored.done, sorted(stored.finals)) == (3, [3])
    assert curve(stored) == quiet(job(epochs=5))
    run(store, job(epochs=8))
    stored = store.read(job().spec.id)
    assert stored is not None
    assert (stored.done, sorted(stored.finals)) == (8, [3, 8])
    assert dict(stored.finals[3].metrics) == final(job(epochs=3))
    assert len(stored.provenance) == 3


@pytest.mark.parametrize("length", [None, 4])
def test_a_checkpoint_is_kept_only_where_a_longer_run_can_continue_it(
    store: Store, length: int | None
) -> None:
    a_job = job(epochs=4)
    a_job = replace(a_job, spec=replace(a_job.spec, length=length))
    file = store.root / "trials" / a_job.spec.id / "checkpoint.pt"
    messages = list(sent(a_job, checkpoint_interval_s=0))
    assert isinstance(messages[-1], Finished)
    with store.lock():
        for message in messages[:-1]:
            store.append([(a_job.spec, message)])
        assert file.exists()  # a lost worker costs no epoch
        store.append([(a_job.spec, messages[-1])])
    assert file.exists() == (length is None)
    stored = store.read(a_job.spec.id)
    assert stored is not None
    assert (curve(stored), stored.done) == (quiet(a_job), 4)
    assert stored.provenance
    assert store.settled(a_job.spec.id, 4)
    assert (store.resume_point(a_job.spec.id) is None) == (length is not None)


@pytest.mark.parametrize("kind", FailureKind)
def test_a_trial_that_failed_keeps_its_checkpoint(store: Store, kind: FailureKind) -> None:
    a_job = job(epochs=4)
    a_job = replace(a_job, spec=replace(a_job.spec, length=4))
    messages = list(sent(a_job, checkpoint_interval_s=0))[:-2]
    with store.lock():
        for message in (*messages, Failure(kind, "OSError", "gone", epoch=3)):
            store.append([(a_job.spec, message)])
    assert store.resume_point(a_job.spec.id) is not None


def test_a_trial_that_begins_afresh_leaves_nothing_of_the_old_one(store: Store) -> None:
    run(store, job(epochs=5))
    with store.lock():
        store.append([(job().spec, next(iter(sent(job()))))])
    assert store.done(job().spec.id) == 0
    assert store.resume_point(job().spec.id) is None
    stored = store.read(job().spec.id)
    assert stored is not None
    assert (stored.epochs, stored.finals) == ((), {})


@pytest.mark.parametrize("kind", FailureKind)
def test_a_scientific_failure_settles_a_trial_and_a_lost_worker_does_not(
    store: Store, kind: FailureKind
) -> None:
    begun(store, epochs=5, keep=6)  # Started, two epochs with their checkpoints, a third epoch
    failure = Failure(kind, "Error", "why", epoch=3, traceback="where")
    a_job = job(epochs=5)
    with store.lock():
        start = replace(next(iter(sent(a_job, store))), resumed_from=2)
        third = [m for m in sent(a_job) if isinstance(m, EpochRecord)][2]
        store.append([(a_job.spec, message) for message in (start, third, failure)])
    scientific = kind is FailureKind.SCIENTIFIC
    assert store.settled(a_job.spec.id, 5) is scientific
    stored = store.read(a_job.spec.id)
    assert stored is not None
    assert (stored.failure, stored.done) == (failure, 0)
    assert curve(stored) == quiet(job(epochs=3 if scientific else 2))
    run(store, a_job)
    stored = store.read(a_job.spec.id)
    assert stored is not None
    assert (stored.failure, stored.done) == (None, 5)
    assert curve(stored) == quiet(a_job)


def failing_after_two(store: Store, done: int = 0) -> Failure:
    """Record a trial that failed after epoch 2, with its checkpoint there."""
    failure = Failure(FailureKind.SCIENTIFIC, "RuntimeError", "tripped", epoch=2, traceback="where")
    if done:
        run(store, job(epochs=done), checkpoint_interval_s=0.0)
    messages = list(sent(job(epochs=3), store, checkpoint_interval_s=0.0))
    until = messages.index(next(m for m in messages if isinstance(m, EpochRecord) and m.epoch == 3))
    with store.lock():
        store.append([(job().spec, message) for message in (*messages[:until], failure)])
    return failure


@pytest.mark.parametrize("done", [0, 1])
def test_a_failed_trial_that_is_reopened_runs_again_and_keeps_its_failure(
    store: Store, done: int
) -> None:
    failure = failing_after_two(store, done)
    trial_id = job().spec.id
    assert store.settled(trial_id, 3)
    with store.lock():
        assert store.reopen(trial_id, at_ms=1_795_000_000_000)
        assert not store.reopen(trial_id, at_ms=1_795_000_000_001)
    assert not store.settled(trial_id, 3)
    assert store.done(trial_id) == done
    point = store.resume_point(trial_id)
    assert point is not None
    assert point.epoch == 2
    run(store, job(epochs=3))
    stored = store.read(trial_id)
    assert stored is not None
    assert (stored.done, stored.failure) == (3, None)
    assert curve(stored) == quiet(job(epochs=3))
    assert sorted(stored.finals) == ([done, 3] if done else [3])
    (past,) = stored.history
    assert past == PastFailure(
        failure, Overruled.REQUEST, 1_795_000_000_000, stored.provenance[0].host
    )


def test_only_a_scientific_failure_is_reopened(store: Store) -> None:
    run(store, job(epochs=3))
    lost = Failure(FailureKind.INFRASTRUCTURE, "WorkerCrashedError", "gone", epoch=0)
    with store.lock():
        store.append([(job(1).spec, lost)])
        assert not store.reopen(job().spec.id, at_ms=0)
        assert not store.reopen(job(1).spec.id, at_ms=0)
        assert not store.reopen(job(2).spec.id, at_ms=0)


def test_the_history_outlives_every_attempt_and_a_damaged_line_costs_no_other(
    store: Store, caplog: pytest.LogCaptureFixture
) -> None:
    failures = [
        PastFailure(
            Failure(FailureKind.SCIENTIFIC, "RuntimeError", f"n{at}", at), Overruled.PASSED, at
        )
        for at in range(3)
    ]
    with store.lock():
        for past in failures:
            store.remember(job().spec, past)
    run(store, job(epochs=3))
    stored = store.read(job().spec.id)
    assert stored is not None
    assert stored.history == tuple(failures)
    file = store.root / "trials" / job().spec.id / "history.jsonl"
    first, second, third = file.read_bytes().splitlines(keepends=True)
    file.write_bytes(first + second.replace(b"n1", b"n7") + third)
    stored = store.read(job().spec.id)
    assert stored is not None
    assert stored.history == (failures[0], failures[2])
    assert stored.done == 3
    assert "a line of the history is lost" in caplog.text


def test_a_trial_that_never_started_can_still_be_recorded_as_lost(store: Store) -> None:
    failure = Failure(FailureKind.INFRASTRUCTURE, "WorkerCrashedError", "gone", epoch=0)
    with store.lock():
        store.append([(job().spec, failure)])
    stored = store.read(job().spec.id)
    assert stored is not None
    assert (stored.failure, stored.epochs, stored.done) == (failure, (), 0)


def test_a_trial_is_settled_only_as_far_as_it_ran(store: Store) -> None:
    run(store, job(epochs=3))
    assert store.settled(job().spec.id, 2)
    assert store.settled(job().spec.id, 3)
    assert not store.settled(job().spec.id, 4)
    assert not store.settled(job(1).spec.id, 1)


def test_epochs_out_of_order_are_refused(store: Store) -> None:
    started, first, *_ = messages = list(sent(job(epochs=3)))
    with store.lock(), pytest.raises(ValueError, match="epoch 1 came after epoch 1"):
        store.append([(job().spec, started), (job().spec, first), (job().spec, first)])
    with store.lock(), pytest.raises(ValueError, match="before Started"):
        store.append([(job().spec, messages[1])])


def test_an_attempt_from_a_checkpoint_that_is_not_there_is_refused(store: Store) -> None:
    start = replace(next(iter(sent(job()))), resumed_from=3)
    with store.lock(), pytest.raises(StoreError, match="not the checkpoint"):
        store.append([(job().spec, start)])


def test_a_second_driver_is_refused_and_told_who_holds_the_workspace(store: Store) -> None:
    with store.lock():
        with pytest.raises(StoreError, match=f"pid {os.getpid()} on .+, since 20"):
            Store(store.root).lock().__enter__()
        with pytest.raises(StoreError):
            store.lock().__enter__()
    with Store(store.root).lock():
        pass


def test_nothing_is_written_without_the_lock(store: Store) -> None:
    with pytest.raises(ValueError, match="needs the lock"):
        store.append([(job().spec, message) for message in sent(job())])
    assert not store.root.exists()


def test_reading_writes_nothing(store: Store) -> None:
    run(store, job(epochs=3))
    begun(store, epochs=8, keep=4)
    before = contents(store.root)
    for path in [*store.root.rglob("*"), store.root]:
        path.chmod(0o555 if path.is_dir() else 0o444)
    reader = Store(store.root)
    for trial_id in reader.trials():
        reader.read(trial_id)
        reader.done(trial_id)
        reader.resume_point(trial_id)
    assert contents(store.root) == before
    assert sorted(before) == sorted(contents(store.root))


def test_a_workspace_that_is_not_there_reads_as_empty_and_is_not_made(tmp_path: Path) -> None:
    store = Store(tmp_path / "none")
    assert list(store.trials()) == []
    assert store.read(job().spec.id) is None
    assert store.done(job().spec.id) == 0
    assert not store.root.exists()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"format": 2}', "format 2 is a newer one than 1"),
        ('{"format": 0}', "format 0 is an older one than 1"),
        ("[]", "does not say which format"),
        ("{", "does not say which format"),
    ],
)
def test_another_format_is_refused_by_name(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "workspace.json").write_text(text)
    with pytest.raises(StoreError, match=message):
        Store(tmp_path)


def test_a_folder_of_trials_without_a_format_is_no_workspace(tmp_path: Path) -> None:
    (tmp_path / "trials").mkdir()
    with pytest.raises(StoreError, match="missing"):
        Store(tmp_path)


@pytest.mark.parametrize(
    "trial_id", ["../../etc", "", "ABC", "0" * 21, "0" * 19 + "/", "0" * 20 + "\n"]
)
def test_an_id_never_leads_out_of_the_workspace(store: Store, trial_id: str) -> None:
    with pytest.raises(StoreError, match="no trial's id"):
        store.read(trial_id)


def test_what_arrives_together_is_synced_once_a_file(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    trials = [job(seed, epochs=20) for seed in range(5)]
    batch = [(each.spec, m) for each in trials for m in sent(each, checkpoint_interval_s=0)]
    calls: list[int] = []
    with store.lock():
        monkeypatch.setattr(os, "fsync", calls.append)
        store.append(batch)
    # Spec, records, checkpoint, result and the folder of each, and the folder of them all.
    assert len(calls) == 5 * len(trials) + 1


def test_the_files_are_plain_json(store: Store) -> None:
    run(store, job(epochs=2))
    folder = store.root / "trials" / job().spec.id
    assert json.loads((folder / "spec.json").read_text())["workload"] == Toy().name
    assert json.loads((folder / "result.json").read_text())["body"]["done"] == 2
    assert len([json.loads(line) for line in (folder / "records.jsonl").open()]) == 2
