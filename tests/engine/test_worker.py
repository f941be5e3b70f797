"""How a worker sends its messages."""

import pickle
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from socket import gethostname
from typing import Any, ClassVar
from unittest.mock import Mock

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.engine import worker
from harness.engine.interface import Placed, Refused
from harness.engine.nodes import software
from harness.engine.tasks import placed_stream
from harness.engine.worker import EVERY_S, SHORT_S, Call, batches, stream
from harness.plan import Job
from harness.record import Checkpoint, EpochRecord, Message
from harness.variables import Variables
from harness.workload import Arrays, Context
from tests.store.trials import SOURCE, sent
from tests.toy import DATA, Toy, Walk, job


@given(epochs=st.integers(1, 30), often=st.booleans(), ticks=st.lists(st.floats(0, 1)))
def test_batches_lose_nothing_and_keep_the_order(
    epochs: int, often: bool, ticks: list[float]
) -> None:
    times = iter([*ticks, *[0.0] * 1000])
    now = [0.0]

    def clock() -> float:
        now[0] += next(times)
        return now[0]

    messages = list(sent(job(epochs=epochs), checkpoint_interval_s=0 if often else 1000))
    together = list(batches(messages, clock))
    assert [message for batch in together for message in batch] == messages
    assert all(together)
    for batch in together:
        assert not any(isinstance(message, Checkpoint) for message in batch[:-1])


def timed(
    job: Job, took_s: Mapping[type[Message], float]
) -> tuple[Iterator[Message], Callable[[], float]]:
    """Return the messages of a trial, and a clock on which those of each kind take their time."""
    now = [0.0]

    def messages() -> Iterator[Message]:
        for message in sent(job):
            now[0] += took_s.get(type(message), 0)
            yield message

    return messages(), lambda: now[0]


def test_started_leaves_at_once_and_fast_epochs_leave_together() -> None:
    messages = list(sent(job(epochs=100)))
    sizes = [len(batch) for batch in batches(messages, lambda: 0.0)]
    assert sizes == [1, 101, 2]


@pytest.mark.parametrize(("took_s", "sizes"), [(0.01, [1, 5]), (SHORT_S, [1, 3, 2])])
def test_the_last_checkpoint_of_a_short_trial_leaves_with_its_end(
    took_s: float, sizes: list[int]
) -> None:
    """Each batch costs as much as a short trial, and the loss of one costs what it took."""
    messages, clock = timed(job(epochs=2), {Checkpoint: took_s})
    assert [len(batch) for batch in batches(messages, clock, epochs=2)] == sizes


def test_the_last_checkpoint_of_a_long_trial_does_not_wait_for_the_test_estimate() -> None:
    """It leaves at once, even right after its epoch's record: a worker may die in the test."""
    messages, clock = timed(job(epochs=2), {EpochRecord: EVERY_S})
    assert [len(batch) for batch in batches(messages, clock, epochs=2)] == [1, 1, 1, 1, 2]


@pytest.mark.parametrize(("took_s", "sizes"), [(0.001, [6]), (SHORT_S, [2, 2, 2])])
def test_the_start_of_a_trial_that_should_be_short_leaves_with_what_comes_next(
    took_s: float, sizes: list[int]
) -> None:
    """If it is not short after all, the start is no later than its first epoch."""
    messages, clock = timed(job(epochs=2), {EpochRecord: took_s, Checkpoint: took_s})
    assert [len(batch) for batch in batches(messages, clock, epochs=2, short=True)] == sizes


def test_a_trial_is_expected_to_be_short_after_a_short_one_of_its_experiment(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def sizes(experiment: str, *, short_s: float) -> list[int]:
        monkeypatch.setattr(worker, "SHORT_S", short_s)
        call = Call(
            (replace(job(epochs=1), experiment=experiment),),
            *(SOURCE, software(), "cpu", {}, (None,), 1000.0),
        )
        return [len(batch) for batch in stream(call, pickle.dumps(Toy()), folder=tmp_path)]

    assert sizes("a", short_s=60.0) == [1, 4]
    assert sizes("a", short_s=60.0) == [5]
    assert sizes("b", short_s=60.0) == [1, 4]
    assert sizes("b", short_s=0.0)[0] == 1
    assert sizes("b", short_s=60.0) == [1, 4]


def test_a_checkpoint_between_epochs_leaves_at_once_however_short_they_are() -> None:
    messages = sent(job(epochs=3), checkpoint_interval_s=0)
    assert [len(batch) for batch in batches(messages, lambda: 0.0, epochs=3)] == [1, 2, 2, 4]


def test_a_slow_epoch_waits_for_no_other() -> None:
    messages, clock = timed(job(epochs=3), {EpochRecord: EVERY_S})
    assert [len(batch) for batch in batches(messages, clock)] == [1, 1, 1, 1, 1, 2]


class Watched(Toy):
    """Keeps the data of each trial that it starts."""

    seen: ClassVar[list[Arrays]] = []

    def start(self, parameters: Any, context: Context) -> Walk:
        self.seen.append(context.data[DATA])
        return super().start(parameters, context)


def test_a_process_is_given_the_same_arrays_for_the_same_digest(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(Watched, "seen", [])
    workload = Watched()
    for digest in ("one", "one", "other"):
        call = Call((job(data={DATA: digest}),), SOURCE, software(), "cpu", {}, (None,), 1000.0)
        list(
            stream(call, pickle.dumps(workload), workload.load_data(DATA, Path()), folder=tmp_path)
        )
    first, second, other = Watched.seen
    assert first is second
    assert first is not other


def test_a_node_that_joined_late_with_other_software_runs_nothing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("ray.get_runtime_context", lambda: Mock(get_node_id=lambda: "a"))
    other = replace(software(), torch="1.13.1")
    call = Call((job(),), SOURCE, other, "cpu", {}, (None,), 1000.0)
    ((placed,), (refused,)) = list(placed_stream(call, "", Variables(), b""))
    assert placed == Placed("a", gethostname())
    assert isinstance(refused, Refused)
    assert f"torch {software().torch} there and 1.13.1 here" in refused.why
