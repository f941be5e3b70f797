"""Packs on a real cluster: K trials in one task, each with its own records and outcome."""

import os
import signal
import threading
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar

import pytest

from harness import engine
from harness.plan import Job
from harness.record import (
    Checkpoint,
    EpochRecord,
    Failure,
    FailureKind,
    Finished,
    Message,
    Printed,
)
from harness.source import source
from harness.store import Store
from harness.trial import attempt, attempt_pack
from harness.workload import Context, Packing, Run
from tests.engine.sinks import StoreSink, load
from tests.store.trials import curve, final, quiet
from tests.toy import Toy, Walk, job
from tests.waiting import HANG_S, eventually

pytestmark = pytest.mark.usefixtures("cluster")


@dataclass
class Walks:
    """Walks that go together. A walk that fails does not stop the others."""

    runs: Sequence[Run]

    def epoch(self, members: Sequence[int]) -> Sequence[Mapping[str, float] | Exception]:
        return [self._step(member) for member in members]

    def _step(self, member: int) -> Mapping[str, float] | Exception:
        walk = self.runs[member]
        assert isinstance(walk, Walk)
        try:
            return walk.epoch()
        except RuntimeError as error:
            return error


class PackedToy(Toy):
    """The toy, in packs. The walk of seed 1 alone can be told to fail."""

    def start_pack(self, parameters: Any, contexts: Sequence[Context], size: int) -> Walks:
        runs = []
        for context in contexts:
            told = parameters
            if parameters.fault in ("nan", "raise") and context.seed != 1:
                told = parameters.model_copy(update={"fault": ""})
            walk = self.start(told, context)
            walk.environment = replace(walk.environment, form=f"pack of {size}")
            runs.append(walk)
        return Walks(runs)


def run(folder: Path, jobs: Sequence[Job], *, pack: str = "3", **options: Any) -> StoreSink:
    store = Store(folder / "results")
    sink = StoreSink(store)
    if "watch" in options:
        sink.watch = options.pop("watch")
    stop = options.pop("stop", None)
    workload = options.pop("workload", PackedToy())
    left = [each for each in jobs if not store.settled(each.spec.id, each.epochs)]
    settings = {"backoff_s": 0.01, "checkpoint_interval_s": 0.0, "pack": pack} | options
    chosen = engine.Options(**settings)
    with store.lock():
        engine.run(
            left, sink, workloads={"toy": workload}, load_data=load, options=chosen, stop=stop
        )
    return sink


def pids(sink: StoreSink, jobs: Sequence[Job], attempt: int = 0) -> list[str]:
    """The process of each trial's attempt."""
    return [sink.started(each)[attempt].provenance.environment.hardware["pid"] for each in jobs]


def assert_quiet(sink: StoreSink, jobs: Sequence[Job]) -> None:
    """Every trial is done, and equals the trial alone."""
    for each in jobs:
        stored = sink.store.read(each.spec.id)
        assert stored is not None
        assert stored.done == each.epochs
        assert [record.epoch for record in stored.epochs] == [*range(1, each.epochs + 1)]
        assert curve(stored) == quiet(each)
        assert dict(stored.finals[each.epochs].metrics) == final(each)


def test_a_pack_runs_in_one_process_and_each_trial_is_the_trial_alone(tmp_path: Path) -> None:
    jobs = [job(seed) for seed in range(5)]
    sink = run(tmp_path, jobs)
    assert_quiet(sink, jobs)
    processes = pids(sink, jobs)
    assert len(set(processes[:3])) == len(set(processes[3:])) == 1
    forms = {sink.started(each)[0].provenance.environment.form for each in jobs}
    assert forms == {"pack of 3"}


@pytest.mark.parametrize("fault", ["raise", "nan"])
def test_a_seed_that_fails_ends_alone(fault: str, tmp_path: Path) -> None:
    jobs = [job(seed, fault=fault, at=3) for seed in range(3)]
    sink = run(tmp_path, jobs)
    stored = sink.store.read(jobs[1].spec.id)
    assert stored is not None
    assert stored.failure is not None
    assert (stored.failure.kind, stored.failure.epoch) == (FailureKind.SCIENTIFIC, 2)
    for each in (jobs[0], jobs[2]):
        assert sink.store.done(each.spec.id) == 5
        assert len(sink.started(each)) == 1
    first, second = sink.started(jobs[1])
    assert second.resumed_from == 2  # the second attempt had the pack's form
    assert first.provenance.environment.form == second.provenance.environment.form


class Poisoned(PackedToy):
    """A pack that ends with the first error of a seed."""

    def start_pack(self, parameters: Any, contexts: Sequence[Context], size: int) -> Walks:
        class Failing(Walks):
            def epoch(self, members: Sequence[int]) -> Sequence[Mapping[str, float] | Exception]:
                results = super().epoch(members)
                for result in results:
                    if isinstance(result, Exception):
                        raise result
                return results

        return Failing(super().start_pack(parameters, contexts, size).runs)


def test_a_seed_that_makes_its_pack_fail_is_blamed_alone(tmp_path: Path) -> None:
    jobs = [job(seed, fault="raise", at=3) for seed in range(3)]
    sink = run(tmp_path, jobs, workload=Poisoned())
    for each in (jobs[0], jobs[2]):
        stored = sink.store.read(each.spec.id)
        assert stored is not None
        assert (stored.done, stored.history) == (5, ())
    poison = sink.store.read(jobs[1].spec.id)
    assert poison is not None
    assert poison.failure is not None
    assert (poison.failure.kind, poison.failure.error) == (FailureKind.SCIENTIFIC, "RuntimeError")
    forms = [started.provenance.environment.form for started in sink.started(jobs[1])]
    assert forms == ["pack of 3", "pack of 3", "plain", "plain"]  # the method fails without it too


class Talking(PackedToy):
    """A pack that prints, and whose trials leave files."""

    def start_pack(self, parameters: Any, contexts: Sequence[Context], size: int) -> Walks:
        print("starting")  # noqa: T201 - what is tested
        walks = super().start_pack(parameters, contexts, size)
        for context in contexts:
            (context.folder / "artifacts").mkdir()
            (context.folder / "artifacts" / "seed").write_text(f"{context.seed}")

        class Saying(Walks):
            def epoch(self, members: Sequence[int]) -> Sequence[Mapping[str, float] | Exception]:
                os.write(2, b"step\n")
                return super().epoch(members)

        return Saying(walks.runs)


def test_each_trial_of_a_pack_keeps_what_the_pack_prints_and_its_own_files(tmp_path: Path) -> None:
    jobs = [job(seed, epochs=2 + seed, fault="raise", at=2) for seed in range(3)]
    store = run(tmp_path, jobs, workload=Talking()).store
    line = "[seeds 0, 1, 2 run in one process, so this is what they all print]\n"
    for each in jobs:
        (kept,) = store.artifacts(each.spec.id).items()
        assert (kept[0], kept[1].read_text()) == ("seed", f"{each.spec.seed}")
        printed = [store.printed(each.spec.id, stream).decode() for stream in Printed]
        # Seed 1 fails, and fails again by itself.
        first, *again = zip(*(text.split("[another attempt on ") for text in printed), strict=True)
        assert first[0] == f"{line}starting\n"
        assert first[1].startswith(f"{line}step\nstep\n")
        assert [[text.partition("\n")[2] for text in texts] for texts in again] == [
            ["starting\n", "step\n"]
        ] * (each.spec.seed == 1)


def test_a_file_as_checkpoint_is_refused_in_a_pack(tmp_path: Path) -> None:
    class Filing(PackedToy):
        def start_pack(self, parameters: Any, contexts: Sequence[Context], size: int) -> Walks:
            walks = super().start_pack(parameters, contexts, size)
            for walk, context in zip(walks.runs, contexts, strict=True):
                file = context.folder / "state"
                file.write_bytes(b"")
                walk.save = lambda file=file: file  # type: ignore[method-assign, misc]
            return walks

    messages = attempt_pack(
        [job()],
        Filing(),
        size=1,
        data={},
        source=source(),
        checkpoints=[None],
        checkpoint_interval_s=0.0,
        folder=tmp_path,
    )
    *_, (index, last) = messages
    assert index == 0
    assert isinstance(last, Failure)
    assert "must be bytes in a pack, got a Path" in last.message


def test_a_trial_that_cannot_resume_fails_at_the_epoch_of_its_checkpoint(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As it does alone, and the other trials of its pack go on."""

    def load_checkpoint(_walk: Walk, _payload: bytes) -> None:
        raise TypeError("an older state")

    monkeypatch.setattr(Walk, "load", load_checkpoint)
    alone = attempt(
        job(), Toy(), data={}, source=source(), checkpoint=Checkpoint(3, "plain", b"state")
    )
    packed = attempt_pack(
        [job(0), job(1)],
        PackedToy(),
        size=2,
        data={},
        source=source(),
        checkpoints=[Checkpoint(3, "pack of 2", b"state"), None],
        folder=tmp_path,
    )
    *_, expected = alone
    ends = dict(packed)
    assert isinstance(expected, Failure)
    found = ends[0]
    assert isinstance(found, Failure)
    assert (found.error, found.epoch) == (expected.error, expected.epoch) == ("TypeError", 3)
    assert ends[1] == Finished(5)


def test_a_killed_pack_goes_on_from_its_checkpoints(tmp_path: Path) -> None:
    jobs = [job(seed, epochs=20, sleep_s=0.02) for seed in range(3)]
    killed: list[int] = []

    def kill(each: Job, message: Message) -> None:
        if isinstance(message, EpochRecord) and message.epoch == 5 and not killed:
            (started,) = sink_of[0].started(each)
            killed.append(int(started.provenance.environment.hardware["pid"]))
            os.kill(killed[0], signal.SIGKILL)

    sink_of: list[StoreSink] = []
    original = StoreSink.receive

    class Keeping(StoreSink):
        def receive(self, batch: Sequence[tuple[Job, Message]]) -> None:
            sink_of.append(self)
            original(self, batch)

    store = Store(tmp_path / "results")
    sink = Keeping(store, kill)
    chosen = engine.Options(backoff_s=0.01, checkpoint_interval_s=0.0, pack="3")
    with store.lock():
        engine.run(jobs, sink, workloads={"toy": PackedToy()}, load_data=load, options=chosen)
    assert killed
    assert_quiet(sink, jobs)
    for each in jobs:
        assert sink.started(each)[-1].resumed_from >= 4
    assert len(set(pids(sink, jobs, -1))) == 1  # as one pack again


def test_a_stopped_run_goes_on_as_a_pack_of_the_same_size(tmp_path: Path) -> None:
    jobs = [job(seed, epochs=15, sleep_s=0.02) for seed in range(3)]
    stop = threading.Event()

    def watch(each: Job, message: Message) -> None:
        if isinstance(message, EpochRecord) and message.epoch == 4:
            stop.set()

    run(tmp_path, jobs, watch=watch, stop=stop, stop_s=1.0)
    sink = run(tmp_path, jobs)
    assert_quiet(sink, jobs)
    assert all(sink.started(each)[0].resumed_from >= 3 for each in jobs)


def test_a_pack_that_hangs_is_lost_as_one_and_retried(tmp_path: Path) -> None:
    marker = str(tmp_path / "struck")
    jobs = [job(seed, fault="hang", at=3, marker=marker) for seed in range(2)]
    sink = run(tmp_path, jobs, deadline_s=8.0)
    assert_quiet(sink, jobs)
    # On a machine that is busy enough a sound attempt misses the deadline too, all of it.
    lost = Counter(trial for trial, error, _ in sink.retries if error == "NoProgress")
    assert lost.total() == len(sink.retries)
    assert lost.keys() == {each.spec.id for each in jobs}
    assert len(set(lost.values())) == 1


def test_a_workload_says_whether_it_can_run_packs() -> None:
    assert isinstance(PackedToy(), Packing)
    assert not isinstance(Toy(), Packing)


class Slow(PackedToy):
    """Each walk takes its time alone, and in a pack the time of one walk or of all."""

    shared: ClassVar[bool] = True

    def start_pack(self, parameters: Any, contexts: Sequence[Context], size: int) -> Walks:
        quick = parameters.model_copy(update={"sleep_s": 0.0})
        shared = self.shared

        class Sleepy(Walks):
            def epoch(self, members: Sequence[int]) -> Sequence[Mapping[str, float] | Exception]:
                time.sleep(parameters.sleep_s * (1 if shared else len(members)))
                return super().epoch(members)

        return Sleepy(super().start_pack(quick, contexts, size).runs)


class Unshared(Slow):
    shared = False


@pytest.mark.parametrize(("workload", "form"), [(Slow(), "pack of 4"), (Unshared(), "plain")])
def test_auto_chooses_packs_where_they_help_and_only_there(
    workload: Toy, form: str, tmp_path: Path
) -> None:
    jobs = [job(seed, epochs=2, sleep_s=0.2) for seed in range(8)]  # for two CPUs
    sink = StoreSink(Store(tmp_path / "results"))
    chosen = engine.Options(backoff_s=0.01, pack="auto")
    with sink.store.lock():
        (note,) = engine.run(
            jobs, sink, workloads={"toy": workload}, load_data=load, options=chosen
        )
    assert_quiet(sink, jobs)
    assert {sink.started(each)[0].provenance.environment.form for each in jobs} == {form}
    assert ("packs of 4" in note) == (form == "pack of 4")


class Hanging(PackedToy):
    """A pack that writes a marker and never ends an epoch."""

    def start_pack(self, parameters: Any, contexts: Sequence[Context], size: int) -> Walks:
        class Sleeping(Walks):
            def epoch(self, members: Sequence[int]) -> Sequence[Mapping[str, float] | Exception]:
                Path(parameters.marker).touch()
                time.sleep(3600)
                raise AssertionError

        return Sleeping(super().start_pack(parameters, contexts, size).runs)


def test_packs_that_hang_while_they_are_measured_are_not_chosen(tmp_path: Path) -> None:
    jobs = [job(seed, marker=str(tmp_path / "hangs")) for seed in range(4)]
    sink = StoreSink(Store(tmp_path / "results"))
    chosen = engine.Options(backoff_s=0.01, pack="auto", deadline_s=8.0)
    with sink.store.lock():
        (note,) = engine.run(
            jobs, sink, workloads={"toy": Hanging()}, load_data=load, options=chosen
        )
    assert "nothing was heard for 8 s" in note
    assert_quiet(sink, jobs)


def test_a_run_stops_while_packs_are_measured(tmp_path: Path) -> None:
    marker = tmp_path / "hangs"
    jobs = [job(seed, marker=str(marker)) for seed in range(4)]
    stop = threading.Event()
    thread = threading.Thread(target=lambda: (eventually(marker.exists, HANG_S), stop.set()))
    thread.start()
    sink = run(tmp_path, jobs, workload=Hanging(), pack="auto", stop=stop)
    thread.join()
    assert marker.exists()
    assert sink.seen == []


def test_auto_keeps_the_size_that_checkpoints_have(tmp_path: Path) -> None:
    jobs = [job(seed, epochs=15, sleep_s=0.02) for seed in range(3)]
    stop = threading.Event()

    def watch(each: Job, message: Message) -> None:
        if isinstance(message, EpochRecord) and message.epoch == 4:
            stop.set()

    run(tmp_path, jobs, watch=watch, stop=stop, stop_s=1.0)
    sink = run(tmp_path, jobs, pack="auto")
    assert_quiet(sink, jobs)
    assert all(sink.started(each)[0].resumed_from >= 3 for each in jobs)


@pytest.mark.parametrize("pack", ["0", "-1", "many", "1.5"])
def test_a_pack_s_size_is_a_number_or_auto(pack: str) -> None:
    with pytest.raises(ValueError, match="pack"):
        engine.Options(pack=pack)
    assert engine.Options(pack=7).pack == "7"  # type: ignore[arg-type]
