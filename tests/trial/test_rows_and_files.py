"""Trials that skip epochs, and trials that save their state as a file."""

import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from harness.record import (
    PART_BYTES,
    Checkpoint,
    CheckpointPart,
    EpochRecord,
    FailureKind,
    FileSlice,
    FinalRecord,
    Finished,
    Message,
    Started,
)
from harness.store import Store, archive
from harness.trial import attempt
from harness.workload import Context, Metric, Row
from tests.store.trials import SOURCE
from tests.toy import Toy, Walk, job
from tests.trial.test_trial import messages, only_failure, results

Returned = Mapping[str, float] | Row | None


class Scripted(Walk):
    """Returns what its workload says, one value for each call of `epoch`."""

    values: Iterator[Returned]
    last = 0

    def epoch(self) -> Returned:  # type: ignore[override]
        return next(self.values)

    def final(self) -> Mapping[str, float]:
        return {}

    def save(self) -> bytes:
        return b"state"


@dataclass(frozen=True)
class Sparse(Toy):
    """A workload without a metric that every epoch has."""

    values: Sequence[Returned] = ()
    metrics: Mapping[str, Metric] = field(
        default_factory=lambda: {
            "loss": Metric("nats", "the loss", sparse=True),
            "accuracy": Metric("%", "the accuracy", sparse=True),
            "end": Metric("steps", "the end", final=True, sparse=True),
        }
    )

    def start(self, parameters: Any, context: Context) -> Walk:
        run = Scripted(**vars(super().start(parameters, context)))
        run.values = iter(self.values)
        return run


ROWS = (Row(100, {"loss": 2.0}), Row(250, {"accuracy": 0.5, "loss": 1.0}), Row(900, {}), None)


def recorded(sent: list[Message]) -> list[tuple[int, Mapping[str, float]]]:
    return [(each.epoch, each.metrics) for each in sent if isinstance(each, EpochRecord)]


def test_rows_are_recorded_at_the_steps_that_they_name_and_with_what_they_have() -> None:
    sent = messages(job(epochs=1000), Sparse(values=ROWS))
    assert recorded(sent) == [
        (100, {"loss": 2.0}),
        (250, {"loss": 1.0, "accuracy": 0.5}),
        (900, {}),
    ]
    assert [type(each) for each in sent[-3:]] == [Checkpoint, FinalRecord, Finished]
    assert sent[-1] == Finished(1000)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ([Row(3, {"place": 1.0})], "epoch 1: metrics.place: missing"),
        ([{"place": 1.0}, None], "epoch 2: metrics: must be a mapping, got None"),
    ],
)
def test_a_metric_that_is_not_sparse_is_in_every_epoch(
    values: Sequence[Returned], message: str
) -> None:
    dense = Sparse(values=values, metrics=Toy().metrics)
    assert only_failure(messages(job(epochs=5), dense)).message == message


@pytest.mark.parametrize("second", [Row(3, {}), Row(2, {}), Row(6, {}), Row(True, {})])
def test_steps_rise_and_end_with_the_run(second: Row) -> None:
    failure = only_failure(messages(job(epochs=5), Sparse(values=[Row(3, {}), second])))
    assert failure.kind is FailureKind.SCIENTIFIC
    assert "the epoch of the row after 3 must be an integer from 4 to 5, got" in failure.message


def test_rows_that_skip_epochs_come_back_from_store_and_archive(tmp_path: Path) -> None:
    a_job = job(epochs=1000)
    sent = messages(a_job, Sparse(values=ROWS), checkpoint_interval_s=0)
    store = Store(tmp_path / "results")
    with store.lock():
        store.append([(a_job.spec, message) for message in sent])
    trial = store.read(a_job.spec.id)
    assert trial is not None
    assert [(each.epoch, each.metrics) for each in trial.epochs] == recorded(sent)
    assert (trial.done, trial.reached) == (1000, 1000)
    kept = archive.Kept(archive.Declaration(), (trial,))
    assert archive.decoded(archive.encoded(kept), "a") == {"a": kept}
    other = Store(tmp_path / "other")
    with other.lock():
        other.adopt(trial)
    assert other.read(a_job.spec.id) == trial


def test_a_trial_with_final_metrics_alone_comes_back_from_store_and_archive(tmp_path: Path) -> None:
    a_job = job(epochs=1)
    store = Store(tmp_path / "results")
    with store.lock():
        for message in messages(a_job, Sparse(values=[None])):
            store.append([(a_job.spec, message)])
    trial = store.read(a_job.spec.id)
    assert trial is not None
    assert (trial.epochs, trial.done, trial.reached) == ((), 1, 1)
    kept = archive.Kept(archive.Declaration(), (trial,))
    assert archive.decoded(archive.encoded(kept), "a") == {"a": kept}


class Filed(Walk):
    """A walk whose state is a file of some size."""

    padding: int = 0

    def save(self) -> Path:  # type: ignore[override]
        path = self.context.folder / "model.pt"
        path.write_bytes(super().save() + b" " * self.padding)
        return path

    def load(self, payload: Path) -> None:  # type: ignore[override]
        assert isinstance(payload, Path)
        super().load(payload.read_bytes())


@dataclass(frozen=True)
class FiledToy(Toy):
    padding: int = 0
    made: Callable[[Path], object] = lambda folder: None

    def start(self, parameters: Any, context: Context) -> Walk:
        run = Filed(**vars(super().start(parameters, context)))
        run.padding = self.padding
        self.made(context.folder)
        return run


def shipped(sent: Iterator[Message]) -> Iterator[Message]:
    """Add the parts of checkpoints, as a worker does."""
    for message in sent:
        yield message
        if isinstance(message, Checkpoint):
            assert isinstance(message.payload, FileSlice)
            yield from map(CheckpointPart, message.payload.parts())


def attempted(store: Store, a_job: Any, workload: Toy, stop_at: int = 0) -> list[Message]:
    """Run an attempt on what the store holds, until the checkpoint of one epoch is written."""
    sent: list[Message] = []
    stream = attempt(
        a_job,
        workload,
        data={},
        source=SOURCE,
        checkpoint=store.resume_point(a_job.spec.id),
        checkpoint_interval_s=0,
    )
    with store.lock():
        for message in shipped(stream):
            sent.append(message)
            store.append([(a_job.spec, message)])
            durable = store.resume_point(a_job.spec.id)
            if stop_at and durable and durable.epoch == stop_at:
                break
    return sent


@pytest.mark.parametrize("padding", [0, 3 * PART_BYTES])
def test_a_state_that_is_a_file_is_stored_in_parts_and_resumed_from(
    tmp_path: Path, padding: int
) -> None:
    folders: list[Path] = []
    workload = FiledToy(padding=padding, made=folders.append)
    a_job, store = job(epochs=4), Store(tmp_path / "results")
    attempted(store, a_job, workload, stop_at=2)
    checkpoint = store.resume_point(a_job.spec.id)
    assert checkpoint is not None
    assert isinstance(checkpoint.payload, FileSlice)
    assert checkpoint.payload.length > padding
    resumed = attempted(store, a_job, workload)
    assert isinstance(resumed[0], Started)
    assert resumed[0].resumed_from == 2
    whole = messages(a_job)
    stored = store.read(a_job.spec.id)
    assert stored is not None
    assert [each.metrics for each in stored.epochs] == [
        metrics for name, _, metrics in results(whole) if name == "EpochRecord"
    ]
    assert not [folder for folder in folders if folder.exists()]


def test_a_checkpoint_of_which_parts_are_missing_does_not_count(tmp_path: Path) -> None:
    a_job, store = job(epochs=3), Store(tmp_path / "results")
    attempted(store, a_job, FiledToy(), stop_at=1)
    rest = messages(a_job, FiledToy(), checkpoint=store.resume_point(a_job.spec.id))
    with store.lock():
        store.append([(a_job.spec, each) for each in rest if not isinstance(each, Finished)])
    checkpoint = store.resume_point(a_job.spec.id)
    assert checkpoint is not None
    assert checkpoint.epoch == 1
    attempted(store, a_job, FiledToy())
    assert store.done(a_job.spec.id) == 3
    assert {each.name for each in (store.root / "trials" / a_job.spec.id).iterdir()} == {
        "checkpoint.pt",
        "records.jsonl",
        "result.json",
        "spec.json",
    }


def test_a_flipped_bit_in_a_checkpoint_that_is_a_file_is_noticed(tmp_path: Path) -> None:
    a_job, store = job(epochs=2), Store(tmp_path / "results")
    attempted(store, a_job, FiledToy(), stop_at=1)
    file = store.root / "trials" / a_job.spec.id / "checkpoint.pt"
    data = bytearray(file.read_bytes())
    data[-random.Random(0).randrange(1, 50)] ^= 1
    file.write_bytes(data)
    assert store.resume_point(a_job.spec.id) is None


def test_a_path_that_is_no_file_is_refused_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Walk, "save", lambda self: self.context.folder / "nothing")
    failure = only_failure(messages(job(epochs=1)))
    assert failure.message.startswith("checkpoint: must be the path of a file, got ")
