"""What the driver does with failures and with nodes, on a cluster in memory."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import pytest

from harness.engine.interface import Lost, OfTrial, Refused
from harness.engine.retries import backoff_s
from harness.plan import Job
from harness.record import Failure, FailureKind, Finished, Overruled, Started
from tests.engine.fakes import PROVENANCE, Attempt, FakeCluster, Step, epochs, fails, succeeds
from tests.toy import job

CRASH = Lost("WorkerCrashedError", "the worker died")
OTHER_TORCH = Refused("torch 1.13.1 there and 2.14.1 here")


def failure(cluster: FakeCluster, seed: int = 0) -> Failure:
    end = cluster.outcome(seed)
    assert isinstance(end, Failure)
    return end


def in_turn(*scripts: str) -> FakeCluster:
    """A trial whose attempts go as told: 'RuntimeError@3', 'crash' or 'fine'."""

    def script(attempt: Attempt) -> Sequence[Step]:
        told = scripts[attempt.number - 1]
        if told == "fine":
            return succeeds(attempt)
        if told == "crash":
            return [CRASH]
        error, epoch = told.split("@")
        return fails(attempt, int(epoch), error)

    return FakeCluster(script)


@pytest.mark.parametrize("epoch", [0, 3, 5])
def test_the_same_failure_twice_is_the_method_s(epoch: int) -> None:
    cluster = in_turn(*[f"RuntimeError@{epoch}"] * 2)
    cluster.run([job()], retries=0)
    found = failure(cluster)
    assert (found.kind, found.error, found.epoch) == (
        FailureKind.SCIENTIFIC,
        "RuntimeError",
        epoch,
    )
    first, second = cluster.of()
    assert (first.fresh, second.fresh) == (False, True)
    assert first.node != second.node
    assert cluster.history == []


def of_pack(attempt: Attempt, steps: Sequence[Step]) -> list[Step]:
    """The steps of every trial of a pack."""
    members = range(attempt.together)
    return [OfTrial(n, step) for step in steps for n in members]  # type: ignore[arg-type]


def starts(cluster: FakeCluster) -> list[tuple[int, int]]:
    """How many trials each attempt ran together, and in a pack of what size."""
    return [(attempt.together, attempt.pack) for attempt in cluster.starts if attempt.node]


def test_of_a_pack_that_fails_only_the_trials_that_fail_alone_are_blamed() -> None:
    def script(attempt: Attempt) -> Sequence[Step]:
        if not attempt.pack:
            return fails(attempt, 0, "ValueError")
        if attempt.together > 1 or attempt.job.spec.seed == 1:
            poison = Failure(FailureKind.SCIENTIFIC, "ValueError", "one seed is poison", 0)
            return [OfTrial(None, poison)]
        return of_pack(attempt, succeeds(attempt))

    cluster = FakeCluster(script, packs={job().experiment: 3})
    driver = cluster.run([job(seed) for seed in range(3)], retries=0)
    assert [cluster.outcome(seed) for seed in (0, 2)] == [Finished(5)] * 2
    found = failure(cluster, 1)
    assert (found.kind, found.error, found.epoch) == (FailureKind.SCIENTIFIC, "ValueError", 0)
    assert cluster.history == []
    assert driver.notes == ()
    assert starts(cluster) == [(3, 3), *[(1, 3)] * 3, *[(1, 0)] * 2]


BROKEN = Failure(FailureKind.SCIENTIFIC, "TypingError", "cannot compile the pack", 0)
TOO_LARGE = Failure(FailureKind.INFRASTRUCTURE, "OutOfMemoryError", "no memory is left", 0)


@pytest.mark.parametrize("why", [OfTrial(None, BROKEN), OfTrial(None, TOO_LARGE)])
def test_trials_whose_packs_always_fail_run_without_a_pack(why: Step) -> None:
    """No option may decide a trial's outcome. A pack of one trial computes every lane too."""

    def script(attempt: Attempt) -> Sequence[Step]:
        return [why] if attempt.pack else succeeds(attempt)

    cluster = FakeCluster(script, packs={job().experiment: 3})
    cluster.run([job(seed) for seed in range(3)])
    assert [cluster.outcome(seed) for seed in range(3)] == [Finished(5)] * 3
    assert sorted(starts(cluster), reverse=True) == [(3, 3), *[(1, 3)] * 3, *[(1, 0)] * 3]


def test_a_pack_that_never_makes_progress_ends_as_single_trials() -> None:
    """Its epochs may take longer than the timeout, whoever is in it."""

    def script(attempt: Attempt) -> Sequence[Step]:
        if attempt.pack:
            return [*of_pack(attempt, [Started(0, PROVENANCE)]), None]
        return succeeds(attempt)

    cluster = FakeCluster(script, packs={job().experiment: 2})
    cluster.run([job(seed) for seed in range(2)], deadline_s=5.0)
    assert [cluster.outcome(seed) for seed in range(2)] == [Finished(5)] * 2
    assert sorted(starts(cluster), reverse=True) == [*[(2, 2)] * 2, *[(1, 2)] * 2, *[(1, 0)] * 2]


@dataclass
class SlowSink(FakeCluster):
    """A cluster on which time passes, and whose sink takes its time."""

    def answers(self) -> bool:
        self.now_s += 0.03
        return True

    def retrying(self, job: Job, failure: Failure, *, attempt: int, wait_s: float) -> None:
        super().retrying(job, failure, attempt=attempt, wait_s=wait_s)
        self.now_s += 0.01


def test_the_trials_of_a_lost_pack_wait_together() -> None:
    def script(attempt: Attempt) -> Sequence[Step]:
        return [DIED] if attempt.number == 1 else of_pack(attempt, succeeds(attempt))

    cluster = SlowSink(script, packs={job().experiment: 3})
    cluster.run([job(seed) for seed in range(3)], backoff_s=0.05)
    assert [attempt.together for attempt in cluster.starts] == [3, 3]


def test_a_pack_that_runs_out_of_memory_is_tried_one_by_one() -> None:
    def script(attempt: Attempt) -> Sequence[Step]:
        full = Failure(FailureKind.INFRASTRUCTURE, "MemoryError", "no memory is left", 0)
        if attempt.together > 1:
            return [OfTrial(None, full)]
        return of_pack(attempt, succeeds(attempt))

    cluster = FakeCluster(script, packs={job().experiment: 3})
    cluster.run([job(seed) for seed in range(3)], retries=1)
    assert [cluster.outcome(seed) for seed in range(3)] == [Finished(5)] * 3


def lost_packs(*losses: Step | tuple[int, Step]) -> FakeCluster:
    """A cluster that loses the first packs, each at its epoch, and no trial by itself."""

    def script(attempt: Attempt) -> Sequence[Step]:
        packs = [each for each in cluster.starts if each.together > 1 and each.node]
        if attempt.together == 1 or len(packs) > len(losses):
            return of_pack(attempt, succeeds(attempt))
        found = losses[len(packs) - 1]
        last, loss = found if isinstance(found, tuple) else (0, found)
        steps = [Started(0, PROVENANCE), *epochs(1, last)]
        return [*of_pack(attempt, steps), loss]

    cluster = FakeCluster(script, packs={job().experiment: 3})
    cluster.run([job(seed) for seed in range(3)], retries=3)
    assert [cluster.outcome(seed) for seed in range(3)] == [Finished(5)] * 3
    return cluster


FULL = OfTrial(None, Failure(FailureKind.INFRASTRUCTURE, "OSError", "No space left", 0))
DIED = Lost("WorkerCrashedError", "the worker died")
KILLED = Lost("OutOfMemoryError", "Ray killed the worker")


@pytest.mark.parametrize("loss", [FULL, DIED])
def test_a_pack_that_the_machine_loses_runs_as_a_pack_again(loss: Step) -> None:
    cluster = lost_packs(loss)
    assert [attempt.together for attempt in cluster.starts] == [3, 3]


@pytest.mark.parametrize("loss", [FULL, DIED])
def test_a_pack_that_gets_further_between_its_losses_stays_a_pack(loss: Step) -> None:
    cluster = lost_packs((1, loss), (2, loss), (3, loss))
    assert [attempt.together for attempt in cluster.starts] == [3, 3, 3, 3]


@pytest.mark.parametrize("loss", [FULL, DIED])
def test_of_a_pack_that_is_lost_twice_before_the_same_epoch_each_trial_runs_alone(
    loss: Step,
) -> None:
    cluster = lost_packs((2, loss), (2, loss), (2, loss))
    assert [attempt.together for attempt in cluster.starts] == [3, 3, 1, 1, 1]


def test_a_pack_that_is_killed_for_its_memory_is_not_tried_again() -> None:
    cluster = lost_packs(KILLED)
    assert [attempt.together for attempt in cluster.starts] == [3, 1, 1, 1]


def test_on_a_single_node_the_second_attempt_runs_there() -> None:
    cluster = in_turn("RuntimeError@3", "RuntimeError@3")
    cluster.names = ("a",)
    assert cluster.run([job()]).notes == ()
    assert failure(cluster).kind is FailureKind.SCIENTIFIC
    assert [attempt.node for attempt in cluster.of()] == ["a", "a"]


@pytest.mark.parametrize("epoch", [0, 3, 5])
def test_a_failure_that_the_next_attempt_gets_past_is_the_machine_s(epoch: int) -> None:
    cluster = in_turn(f"RuntimeError@{epoch}", "fine")
    cluster.run([job()], retries=0)
    assert cluster.outcome() == Finished(5)
    ((_, past),) = cluster.history
    assert (past.overruled, past.attempt, past.host) == (Overruled.PASSED, 1, "a")
    assert past.failure.epoch == epoch


@pytest.mark.parametrize(
    ("attempts", "error"),
    [
        (["A@3", "B@3", "B@3"], "B"),
        (["A@3", "B@2", "A@3"], "A"),
        (["A@3", "crash", "A@3"], "A"),
        (["A@2", "A@3", "A@3"], "A"),  # the second got past the first
    ],
)
def test_two_equal_failures_of_several_are_the_method_s(attempts: list[str], error: str) -> None:
    cluster = in_turn(*attempts)
    cluster.run([job()])
    found = failure(cluster)
    assert (found.kind, found.error) == (FailureKind.SCIENTIFIC, error)
    assert len(cluster.of()) == len(attempts)


def test_failures_of_which_no_two_agree_are_no_outcome_of_the_method() -> None:
    cluster = in_turn("A@3", "B@3", "C@3")
    cluster.run([job()])
    found = failure(cluster)
    assert (found.kind, found.error) == (FailureKind.INFRASTRUCTURE, "NotRepeatable")
    for told in (f"attempt {n} failed after epoch 3 with {e}:" for n, e in enumerate("ABC", 1)):
        assert told in found.message
    assert [past.overruled for _, past in cluster.history] == [Overruled.UNREPEATED] * 3


def test_a_trial_that_fails_at_ever_later_epochs_is_given_up_in_the_end() -> None:
    cluster = in_turn("A@1", "A@2", "A@3", "A@4")
    cluster.run([job()], retries=2)
    assert failure(cluster).error == "NotRepeatable"
    kinds = [past.overruled for _, past in cluster.history]
    assert kinds == [Overruled.PASSED] * 3 + [Overruled.UNREPEATED]


def test_a_loss_before_a_failure_is_confirmed_decides_nothing() -> None:
    cluster = in_turn("RuntimeError@3", "crash")
    cluster.run([job()], retries=0)
    found = failure(cluster)
    assert (found.kind, found.error) == (FailureKind.INFRASTRUCTURE, "WorkerCrashedError")
    assert "attempt 1 failed after epoch 3 with RuntimeError" in found.message
    assert [past.overruled for _, past in cluster.history] == [Overruled.UNREPEATED]


def test_losses_are_retried_so_often_and_no_more() -> None:
    cluster = in_turn(*["crash"] * 4)
    cluster.run([job()], retries=3)
    assert failure(cluster).error == "WorkerCrashedError"
    assert len(cluster.of()) == 4


def test_a_trial_avoids_a_node_on_which_it_was_lost_twice() -> None:
    cluster = FakeCluster(lambda attempt: [CRASH] if attempt.node == "a" else succeeds(attempt))
    cluster.run([job()])
    assert [attempt.node for attempt in cluster.of()] == ["a", "a", "b"]
    assert cluster.outcome() == Finished(5)


def test_a_node_on_which_nothing_was_heard_is_avoided_at_once() -> None:
    cluster = FakeCluster(lambda attempt: [None] if attempt.node == "a" else succeeds(attempt))
    cluster.run([job()], deadline_s=20.0)
    assert [attempt.node for attempt in cluster.of()] == ["a", "b"]
    assert cluster.retries == [(0, "NoProgress")]


MANY = [job(seed) for seed in range(12)]


@pytest.mark.parametrize("how", ["crashes", "raises"])
def test_a_node_that_fails_fast_takes_few_attempts_and_is_named_once(
    how: str, caplog: pytest.LogCaptureFixture
) -> None:
    def script(attempt: Attempt) -> Sequence[Step]:
        if attempt.node == "b":
            return succeeds(attempt)
        return [CRASH] if how == "crashes" else fails(attempt, 0)

    cluster = FakeCluster(script)
    (note,) = cluster.run(MANY).notes
    assert note.startswith("node a: lost attempts in a row")
    assert caplog.messages == [note]
    assert all(cluster.outcome(seed) == Finished(5) for seed in range(12))
    on_bad = [attempt for attempt in cluster.starts if attempt.node == "a"]
    assert len(on_bad) <= 4
    assert all(past.overruled is Overruled.PASSED for _, past in cluster.history)
    assert len(cluster.history) == (len(on_bad) if how == "raises" else 0)


def test_a_method_that_always_fails_makes_no_node_a_bad_one() -> None:
    cluster = FakeCluster(lambda attempt: fails(attempt, 2))
    assert cluster.run(MANY).notes == ()
    for seed in range(12):
        assert failure(cluster, seed).kind is FailureKind.SCIENTIFIC
        assert len(cluster.of(seed)) == 2


def test_a_trial_that_kills_its_workers_makes_no_node_a_bad_one() -> None:
    cluster = FakeCluster(
        lambda attempt: [CRASH] if attempt.job.spec.seed == 0 else succeeds(attempt)
    )
    assert cluster.run(MANY).notes == ()
    assert failure(cluster).error == "WorkerCrashedError"


def test_the_only_node_is_used_and_not_named_whatever_it_loses() -> None:
    cluster = FakeCluster(
        lambda attempt: [CRASH] if attempt.number < 3 else succeeds(attempt), names=("a",)
    )
    assert cluster.run(MANY).notes == ()
    assert all(cluster.outcome(seed) == Finished(5) for seed in range(12))


def test_a_node_with_other_software_costs_no_attempt_and_is_named_once() -> None:
    cluster = FakeCluster(
        lambda attempt: [OTHER_TORCH] if attempt.node == "a" else succeeds(attempt)
    )
    (note,) = cluster.run(MANY, retries=0).notes
    assert note.startswith("node a: torch 1.13.1 there")
    assert cluster.retries == []
    assert all(cluster.outcome(seed) == Finished(5) for seed in range(12))
    assert [attempt.node for attempt in cluster.starts].count("a") == 1


def test_where_only_nodes_with_other_software_are_left_every_trial_says_so() -> None:
    cluster = FakeCluster(lambda attempt: [OTHER_TORCH])
    notes = cluster.run(MANY).notes
    assert [note[:6] for note in notes] == ["node a", "node b"]
    for seed in range(12):
        found = failure(cluster, seed)
        assert (found.kind, found.error) == (FailureKind.INFRASTRUCTURE, "ResourceError")
        assert "no node is left that can run it; node a: torch 1.13.1 there" in found.message


def test_trials_wait_for_a_node_that_left_but_not_for_ever() -> None:
    cluster = FakeCluster(succeeds)
    cluster.names = ()
    cluster.run(MANY[:2])
    assert "none has come within 60 s" in failure(cluster).message
    assert 60.0 <= cluster.now_s < 90.0


def test_a_node_that_was_unfit_before_the_run_gets_no_trial() -> None:
    cluster = FakeCluster(succeeds, bad={"a": "torch 1.13.1 there"})
    assert len(cluster.run(MANY).notes) == 1
    assert {attempt.node for attempt in cluster.starts} == {"b"}


def test_waits_double_up_to_a_minute() -> None:
    assert [backoff_s(number, 1.0) for number in (1, 2, 3, 6, 7, 50)] == [1, 2, 4, 32, 60, 60]


def test_the_sink_hears_of_a_retry_after_what_came_before_it() -> None:
    told: list[str] = []

    class Ordered(FakeCluster):
        def receive(self, batch: Any) -> None:
            told.extend(type(message).__name__ for _, message in batch)
            super().receive(batch)

        def retrying(self, *arguments: Any, **named: Any) -> None:
            told.append("retry")
            super().retrying(*arguments, **named)

    def script(attempt: Attempt) -> Sequence[Step]:
        return [*succeeds(attempt)[:3], CRASH] if attempt.number == 1 else succeeds(attempt)

    Ordered(script).run([job(epochs=2)])
    assert told[:4] == ["Started", "EpochRecord", "EpochRecord", "retry"]


def test_nothing_that_was_read_is_lost_when_reading_fails() -> None:
    class Broken(FakeCluster):
        def read(self, stream: Attempt, *, placed: bool) -> Sequence[Any]:
            if len(stream.steps) == 1:
                raise RuntimeError("a fault of ours")
            return super().read(stream, placed=placed)

    cluster = Broken(succeeds)
    with pytest.raises(RuntimeError, match="a fault of ours"):
        cluster.run([job(epochs=5)])
    assert len(cluster.received) == 7


def test_what_a_worker_has_sent_is_read_without_a_wait_in_between() -> None:
    """If the worker is lost, Ray loses what it has sent and nobody has read."""
    waits: list[float] = []

    class Waiting(FakeCluster):
        def ready(self, streams: Sequence[Attempt], *, timeout_s: float) -> Sequence[Attempt]:
            waits.append(timeout_s)
            return super().ready(streams, timeout_s=timeout_s)

    Waiting(succeeds).run([job(epochs=5)])
    assert sum(wait > 0 for wait in waits) == 1
