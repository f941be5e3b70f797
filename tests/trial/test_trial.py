"""A trial in this process: what it sends, how it resumes, how it fails."""

import subprocess
import sys
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.errors import DataError, StoreError
from harness.plan import Job
from harness.record import (
    Checkpoint,
    EpochRecord,
    Failure,
    FailureKind,
    FinalRecord,
    Finished,
    Message,
    Source,
    Started,
)
from harness.trial import attempt
from harness.workload import Context
from tests.toy import DATA, Toy, Walk, job

SOURCE = Source("commit", dirty=False, digest="digest")


def messages(a_job: Job, workload: Any = None, **options: Any) -> list[Message]:
    options = {"data": {}, "source": SOURCE, **options}
    return list(attempt(a_job, workload or Toy(), **options))


def results(sent: list[Message]) -> list[tuple[str, int, Mapping[str, float]]]:
    """What must not depend on when or where a trial ran."""
    records = [each for each in sent if isinstance(each, EpochRecord | FinalRecord)]
    return [(type(each).__name__, each.epoch, each.metrics) for each in records]


def only_failure(sent: list[Message]) -> Failure:
    (failure,) = [each for each in sent if isinstance(each, Failure)]
    assert sent[-1] is failure
    return failure


def test_the_peak_of_memory_begins_with_the_trial() -> None:
    class Hungry(Toy):
        def start(self, parameters: Any, context: Context) -> Walk:
            bytearray(200 << 20)
            return super().start(parameters, context)

    def peak(workload: Toy) -> int | None:
        (final,) = (
            each for each in messages(job(epochs=1), workload) if isinstance(each, FinalRecord)
        )
        return final.peak_memory_bytes

    before, hungry, after = peak(Toy()), peak(Hungry()), peak(Toy())
    if before is None:
        pytest.skip("this kernel does not tell")
    assert hungry is not None
    assert after is not None
    assert hungry - before > 150 << 20
    assert hungry - after > 150 << 20


def test_the_cpu_time_is_that_of_the_trial_and_its_children(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    class Forking(Walk):
        def epoch(self) -> Mapping[str, float]:
            words = "import time\nwhile time.process_time() < 0.3: pass"
            subprocess.run([sys.executable, "-c", words], check=True)
            return super().epoch()

    class ForkingToy(Toy):
        def start(self, parameters: Any, context: Context) -> Walk:
            return Forking(**vars(super().start(parameters, context)))

    gpu = SimpleNamespace(
        is_initialized=lambda: True,
        max_memory_allocated=lambda: 5 << 20,
        reset_peak_memory_stats=lambda: None,
    )
    monkeypatch.setitem(sys.modules, "torch", SimpleNamespace(cuda=gpu, Tensor=Walk))
    by_itself = messages(job(epochs=1), ForkingToy())[-2]
    assert isinstance(by_itself, FinalRecord)
    assert by_itself.cpu_seconds is not None
    assert by_itself.cpu_seconds >= 0.26  # four counters with ticks of 0.01 s each
    assert by_itself.peak_gpu_memory_bytes == 5 << 20


def test_the_cpu_time_of_a_resumed_trial_is_unknown() -> None:
    """Another process ran its first epochs."""
    first = messages(job(epochs=2))
    (checkpoint,) = [each for each in first if isinstance(each, Checkpoint)]
    (whole,) = [each for each in first if isinstance(each, FinalRecord)]
    assert whole.cpu_seconds is not None
    rest = messages(job(epochs=3), checkpoint=checkpoint)
    (resumed,) = [each for each in rest if isinstance(each, FinalRecord)]
    assert resumed.cpu_seconds is None


def test_a_trial_says_what_happens_in_the_order_in_which_it_happens() -> None:
    kinds = [type(each) for each in messages(job(epochs=3))]
    assert kinds == [Started, *[EpochRecord] * 3, Checkpoint, FinalRecord, Finished]


def test_without_an_interval_a_checkpoint_follows_every_epoch() -> None:
    sent = messages(job(epochs=4), checkpoint_interval_s=0)
    assert [each.epoch for each in sent if isinstance(each, Checkpoint)] == [1, 2, 3, 4]


@given(seed=st.integers(0, 2**31), epochs=st.integers(1, 12), data=st.data())
def test_a_trial_resumed_anywhere_gives_the_records_of_one_left_alone(
    seed: int, epochs: int, data: st.DataObject
) -> None:
    whole = messages(job(seed, epochs=epochs), checkpoint_interval_s=0)
    at = data.draw(st.integers(1, epochs))
    (checkpoint,) = [each for each in whole if isinstance(each, Checkpoint) and each.epoch == at]
    resumed = messages(job(seed, epochs=epochs), checkpoint=checkpoint)
    assert isinstance(resumed[0], Started)
    assert resumed[0].resumed_from == at
    assert results(whole)[:at] + results(resumed) == results(whole)


class Refusing(Walk):
    def load(self, payload: bytes) -> None:
        raise StoreError("a checkpoint of other code")


class RefusingToy(Toy):
    def start(self, parameters: Any, context: Any) -> Walk:
        return Refusing(**vars(super().start(parameters, context)))


def test_a_checkpoint_that_the_workload_refuses_is_passed_over() -> None:
    whole = messages(job(epochs=3))
    checkpoint = next(each for each in whole if isinstance(each, Checkpoint))
    again = messages(job(epochs=3), RefusingToy(), checkpoint=checkpoint)
    assert isinstance(again[0], Started)
    assert again[0].resumed_from == 0
    assert results(again) == results(whole)


class UnfetchedToy(Toy):
    def start(self, parameters: Any, context: Any) -> Walk:
        raise DataError("no source answers")


def test_what_the_user_can_mend_is_no_result_of_the_paper() -> None:
    assert only_failure(messages(job(), UnfetchedToy())).kind is FailureKind.INFRASTRUCTURE


def test_a_trial_that_already_stands_at_its_epochs_still_gives_its_finals() -> None:
    whole = messages(job(epochs=3))
    checkpoint = next(each for each in whole if isinstance(each, Checkpoint))
    resumed = messages(job(epochs=3), checkpoint=checkpoint)
    assert [type(each) for each in resumed] == [Started, FinalRecord, Finished]
    assert results(resumed) == results(whole)[-1:]


def test_a_trial_that_stands_beyond_what_is_asked_ends_where_it_stands() -> None:
    checkpoint = next(each for each in messages(job(epochs=5)) if isinstance(each, Checkpoint))
    assert messages(job(epochs=2), checkpoint=checkpoint)[-1] == Finished(5)


def test_a_checkpoint_of_another_form_is_never_resumed() -> None:
    whole = messages(job(epochs=5))
    checkpoint = next(each for each in whole if isinstance(each, Checkpoint))
    afresh = messages(job(epochs=5), Toy(form="other"), checkpoint=checkpoint)
    assert isinstance(afresh[0], Started)
    assert afresh[0].resumed_from == 0
    assert results(afresh) == results(whole)


def test_a_nan_is_a_scientific_failure_that_names_metric_and_epoch() -> None:
    sent = messages(job(epochs=5, fault="nan", at=3))
    failure = only_failure(sent)
    assert failure.kind is FailureKind.SCIENTIFIC
    assert failure.message == "epoch 3: place is nan"
    assert failure.epoch == 2
    assert [epoch for _, epoch, _ in results(sent)] == [1, 2]


@pytest.mark.parametrize(("fault", "error"), [("raise", "RuntimeError"), ("exit", "SystemExit")])
def test_whatever_a_workload_raises_is_a_scientific_failure(fault: str, error: str) -> None:
    failure = only_failure(messages(job(epochs=5, fault=fault, at=4)))
    assert (failure.kind, failure.error, failure.epoch) == (FailureKind.SCIENTIFIC, error, 3)
    assert "_strike" in failure.traceback


def test_a_missing_resource_says_nothing_of_the_paper() -> None:
    failure = only_failure(messages(job(fault="resource", at=2)))
    assert (failure.kind, failure.epoch) == (FailureKind.INFRASTRUCTURE, 1)


def test_parameters_that_do_not_fit_are_a_failure_and_no_crash() -> None:
    wrong = job()
    wrong = replace(wrong, spec=replace(wrong.spec, parameters={"scale": "wide"}))
    assert only_failure(messages(wrong)).kind is FailureKind.SCIENTIFIC


class _Liar(Toy):
    """Declares one thing and sends another."""

    def start(self, parameters: Any, context: Any) -> Walk:
        run = super().start(parameters, context)
        run.final = lambda: {"place": 1.0}  # type: ignore[method-assign]
        return run


def test_a_metric_that_is_not_as_declared_is_named() -> None:
    failure = only_failure(messages(job(epochs=2), _Liar()))
    assert failure.message == (
        "final, after epoch 2: metrics.end: missing; metrics.place: not declared"
    )


def test_an_abandoned_trial_ends_without_a_word() -> None:
    stream = attempt(job(), Toy(), data={}, source=SOURCE)
    assert isinstance(next(stream), Started)
    stream.close()  # type: ignore[attr-defined]
    assert list(stream) == []


def test_data_reach_the_workload_by_name() -> None:
    arrays = Toy().load_data(DATA, Path())
    halved = messages(job(epochs=1, data={DATA: "digest"}), data={DATA: arrays})
    plain = messages(job(epochs=1, scale=0.5))
    assert results(halved) == results(plain)


def test_walks_differ_by_seed() -> None:
    assert results(messages(job(0))) != results(messages(job(1)))


class Scheduled(Toy):
    """A workload with a schedule: keeps the number of epochs that it was told."""

    told: list[int | None]

    def start(self, parameters: Any, context: Any) -> Walk:
        self.told.append(context.epochs)
        return super().start(parameters, context)


def test_only_a_workload_that_is_no_prefix_learns_how_many_epochs_the_run_has() -> None:
    """A longer run continues a shorter one, so a trial must not depend on what it cannot know."""
    workload = Scheduled()
    workload.told = []
    whole = job(epochs=3)
    messages(whole, workload)
    messages(replace(whole, spec=replace(whole.spec, length=3)), workload)
    assert workload.told == [None, 3]
