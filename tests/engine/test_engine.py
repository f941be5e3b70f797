"""Toy trials on a real cluster: what comes back, what is retried, what is not."""

import os
import signal
import threading
from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import ray

from harness import engine
from harness.engine import nodes
from harness.engine.interface import Refused
from harness.engine.tasks import UNREAD, Tasks
from harness.engine.worker_process import settings
from harness.errors import ResourceError, UsageError
from harness.manifest import Resources
from harness.plan import Job
from harness.record import (
    PART_BYTES,
    EpochRecord,
    FailureKind,
    FileSlice,
    Finished,
    Message,
    Overruled,
    Started,
)
from harness.source import forget_peak_memory, peak_memory_bytes
from harness.store import Store
from harness.workload import Arrays, Context, Workload
from tests.engine.sinks import StoreSink, epochs, is_epoch, load, run
from tests.store.trials import curve, final, quiet
from tests.toy import DATA, Toy, Walk, job
from tests.trial.test_rows_and_files import FiledToy
from tests.waiting import eventually

pytestmark = pytest.mark.usefixtures("cluster")


def test_trials_on_workers_equal_trials_in_this_process_bit_for_bit(tmp_path: Path) -> None:
    jobs = [job(seed, epochs=7) for seed in range(12)]
    sink = run(tmp_path, jobs)
    for each in jobs:
        stored = sink.store.read(each.spec.id)
        assert stored is not None
        assert stored.done == 7
        assert curve(stored) == quiet(each)
        assert dict(stored.finals[7].metrics) == final(each)


@pytest.mark.parametrize("error", [ModuleNotFoundError("no pydantic"), RuntimeError("no torch")])
def test_a_node_that_cannot_load_a_trial_is_named_and_costs_it_no_attempt(error: Exception) -> None:
    """Ray raises what is a RayTaskError and, too, an error of the type that the worker raised."""

    def load_fails() -> Iterator[None]:
        raise error
        yield

    task: Any = ray.remote(num_returns="streaming")(load_fails)
    tasks = Tasks({}, load, engine.Options())
    (sent,) = tasks.read(task.remote(), placed=False)
    assert sent == Refused(f"cannot load the trial: {error}", nodes.alive()[0]["NodeID"])


def test_workers_are_warm_unless_isolation_is_asked_for(tmp_path: Path) -> None:
    def processes(folder: str, *, isolate: bool, gpus: float) -> int:
        jobs = [job(seed, gpus=gpus) for seed in range(4)]
        sink = run(tmp_path / folder, jobs, isolate=isolate)
        started = [sink.started(each)[0] for each in jobs]
        return len({each.provenance.environment.hardware["pid"] for each in started})

    assert processes("warm", isolate=False, gpus=0) < 4
    assert processes("warm-gpu", isolate=False, gpus=1) < 4
    assert processes("fresh", isolate=True, gpus=0) == 4


def test_data_are_loaded_once_and_shared(tmp_path: Path) -> None:
    shared = [job(seed, epochs=2, data={DATA: "digest"}) for seed in range(3)]
    sink = run(tmp_path, shared)
    for each in shared:
        same = job(each.spec.seed, epochs=2, scale=0.5)
        assert curve(sink.store.read(each.spec.id)) == quiet(same)


def test_two_workloads_that_read_the_same_data_load_it_once(tmp_path: Path) -> None:
    loads: list[str] = []

    def load(workload: Workload, name: str) -> Arrays:
        loads.append(workload.name)
        return workload.load_data(name, Path())

    def read_by(name: str, digest: str) -> Job:
        a_job = job(epochs=1, data={DATA: digest})
        return replace(a_job, spec=replace(a_job.spec, workload=name))

    store = Store(tmp_path / "results")
    jobs = [read_by("one", "first"), read_by("two", "first"), read_by("two", "second")]
    toys = {name: Toy(name=name) for name in ("one", "two")}
    with store.lock():
        engine.run(jobs, StoreSink(store), workloads=toys, load_data=load)
    assert loads == ["one", "two"]
    assert all(store.done(each.spec.id) for each in jobs)


def test_a_checkpoint_that_is_a_file_goes_from_worker_to_store_and_to_the_next_worker(
    tmp_path: Path,
) -> None:
    """The file has several parts, and the first worker is killed after its second checkpoint."""
    a_job = job(epochs=4, fault="kill", at=3, marker=str(tmp_path / "marker"))
    folders = tmp_path / "folders"
    workload = FiledToy(padding=(UNREAD + 2) * PART_BYTES, made=partial(_note, folders))
    store = Store(tmp_path / "results")
    sink = StoreSink(store)
    chosen = engine.Options(backoff_s=0.01, checkpoint_interval_s=0.0)
    with store.lock():
        engine.run([a_job], sink, workloads={"toy": workload}, load_data=load, options=chosen)
    first, second = sink.started(a_job)
    assert first.resumed_from == 0
    # The worker is ahead by fewer parts than one checkpoint has, so the first one has arrived.
    assert second.resumed_from in (1, 2)
    assert curve(store.read(a_job.spec.id)) == quiet(a_job)
    checkpoint = store.resume_point(a_job.spec.id)
    assert checkpoint is not None
    assert isinstance(checkpoint.payload, FileSlice)
    assert checkpoint.payload.length > (UNREAD + 2) * PART_BYTES
    _, last = map(Path, folders.read_text().splitlines())
    assert eventually(lambda: not last.exists())  # the worker removes it after its last message


def _note(file: Path, folder: Path) -> None:
    with file.open("a") as opened:
        opened.write(f"{folder}\n")


LARGE = 200 << 20


class Large(Walk):
    """A walk whose state is a large file. Nearly all of it is a hole, which costs no writing."""

    def save(self) -> Path:  # type: ignore[override]
        path = self.context.folder / "model.pt"
        path.write_bytes(super().save() + b"\n")
        os.truncate(path, LARGE)
        return path

    def load(self, payload: Path) -> None:  # type: ignore[override]
        with payload.open("rb") as file:
            super().load(file.readline())


class LargeToy(Toy):
    def start(self, parameters: Any, context: Context) -> Walk:
        return Large(**vars(super().start(parameters, context)))


class Forgetting(StoreSink):
    """Keeps nothing of the messages in memory."""

    def receive(self, batch: Sequence[tuple[Job, Message]]) -> None:
        self.store.append([(job.spec, message) for job, message in batch])


def test_a_large_checkpoint_does_not_pass_through_the_drivers_memory(tmp_path: Path) -> None:
    """It goes to the store, and from there to the worker that resumes."""
    store = Store(tmp_path / "results")
    if not forget_peak_memory():
        pytest.skip("this system keeps the earlier peak, which would hide the growth")
    before = peak_memory_bytes()
    for number in (1, 2):
        with store.lock():
            engine.run(
                [job(epochs=number)],
                Forgetting(store),
                workloads={"toy": LargeToy()},
                load_data=load,
                options=engine.Options(backoff_s=0.01),
            )
    after = peak_memory_bytes()
    assert store.done(job().spec.id) == 2
    assert before is not None
    assert after is not None
    assert after - before < LARGE / 2


class Particular(Toy):
    """A workload that fails if it gets its data as a copy of its own."""

    def start(self, parameters: Any, context: Context) -> Walk:
        if any(array.flags.writeable for array in context.data[DATA].values()):
            raise ValueError("a copy")
        return super().start(parameters, context)


def test_a_data_set_mapped_from_a_file_is_read_where_it_lies(tmp_path: Path) -> None:
    np.full(1000, 0.5).tofile(tmp_path / "scale")

    def load(workload: Workload, name: str) -> Arrays:
        return {"scale": np.memmap(tmp_path / "scale", np.float64, "r")}

    store = Store(tmp_path / "results")
    one = job(epochs=1, data={DATA: "digest"})
    with store.lock():
        engine.run([one], StoreSink(store), workloads={"toy": Particular()}, load_data=load)
    assert store.done(one.spec.id)


def test_threads_and_allocator_are_set_before_a_worker_starts(tmp_path: Path) -> None:
    jobs = [replace(job(n), resources=Resources(cpus=1, threads=n)) for n in (1, 2)]
    sink = run(tmp_path, jobs)
    for each in jobs:
        found = dict(sink.started(each)[0].provenance.environment.settings)
        wanted = settings(each.resources.threads)
        # Some versions of glibc put an end into the variable where they have read it.
        allocator = str(found.pop("GLIBC_TUNABLES"))
        assert allocator
        assert wanted.pop("GLIBC_TUNABLES").startswith(allocator)
        assert found == wanted


def test_records_stream_while_a_trial_runs(tmp_path: Path) -> None:
    """The first epoch arrives before the last one has been run: the trial waits for it."""
    marker = tmp_path / "marker"
    lost = job(epochs=3, fault="hang", at=3, marker=str(marker))
    stop = threading.Event()

    def watch(_: Job, message: Message) -> None:
        if is_epoch(message, 2):
            stop.set()

    sink = run(tmp_path, [lost], watch=watch, stop=stop)
    assert [n for n, _ in epochs(sink.store.read(lost.spec.id))] == [1, 2]


def test_finished_trials_are_skipped_and_longer_ones_continued(tmp_path: Path) -> None:
    run(tmp_path, [job(0, epochs=3), job(1, epochs=6)])
    sink = run(tmp_path, [job(0, epochs=6), job(1, epochs=6)])
    assert {each.spec.seed for each, _ in sink.seen} == {0}
    assert sink.started(job(0))[0].resumed_from == 3
    stored = sink.store.read(job(0).spec.id)
    assert curve(stored) == quiet(job(0, epochs=6))


def test_a_killed_worker_costs_no_epoch_and_doubles_none(tmp_path: Path) -> None:
    victim = job(5, epochs=20, sleep_s=0.02)
    others = [job(seed, epochs=20, sleep_s=0.02) for seed in range(2)]
    pids: dict[str, int] = {}
    killed: list[int] = []

    def kill_at_seven(a_job: Job, message: Message) -> None:
        if isinstance(message, Started):
            pids[a_job.spec.id] = int(message.provenance.environment.hardware["pid"])
        if a_job is victim and is_epoch(message, 7) and not killed:
            killed.append(pids[victim.spec.id])
            os.kill(killed[0], signal.SIGKILL)

    sink = run(tmp_path, [victim, *others], watch=kill_at_seven)
    assert len(killed) == 1
    assert (victim.spec.id, "WorkerCrashedError", 2) in sink.retries
    assert sink.started(victim)[1].resumed_from >= 7
    for each in (victim, *others):
        stored = sink.store.read(each.spec.id)
        assert stored is not None
        assert curve(stored) == quiet(each)
        assert dict(stored.finals[20].metrics) == final(each)


def test_a_failure_of_the_method_is_recorded_once_it_has_happened_twice(tmp_path: Path) -> None:
    faulty = [job(seed, fault=fault, at=3) for seed, fault in enumerate(["raise", "nan", "exit"])]
    sound = job(9)
    sink = run(tmp_path, [*faulty, sound])
    assert sorted(sink.retries) == sorted(
        (each.spec.id, error, 2)
        for each, error in zip(
            faulty, ("RuntimeError", "ArithmeticError", "SystemExit"), strict=True
        )
    )
    for each in faulty:
        first, second = (
            started.provenance.environment.hardware["pid"] for started in sink.started(each)
        )
        assert first != second
        stored = sink.store.read(each.spec.id)
        assert stored is not None
        assert stored.failure is not None
        assert (stored.failure.kind, stored.failure.epoch) == (FailureKind.SCIENTIFIC, 2)
        assert stored.history == ()
        assert curve(stored) == quiet(each)
    assert sink.store.done(sound.spec.id) == 5
    assert run(tmp_path, [*faulty, sound]).seen == []


def test_a_failure_that_a_fresh_process_gets_past_is_the_machine_s(tmp_path: Path) -> None:
    struck = job(epochs=5, fault="raise", at=3, marker=str(tmp_path / "marker"))
    sink = run(tmp_path, [struck], retries=0)
    assert sink.retries == [(struck.spec.id, "RuntimeError", 2)]
    stored = sink.store.read(struck.spec.id)
    assert stored is not None
    assert (stored.done, stored.failure) == (5, None)
    assert curve(stored) == quiet(job(epochs=5))
    (past,) = stored.history
    assert (past.overruled, past.attempt) == (Overruled.PASSED, 1)
    assert (past.failure.error, past.failure.epoch) == ("RuntimeError", 2)
    assert past.host == stored.provenance[0].host


def test_a_failure_that_was_reopened_runs_again(tmp_path: Path) -> None:
    struck = job(epochs=5, fault="raise", at=3)
    sink = run(tmp_path, [struck])
    assert sink.store.settled(struck.spec.id, 5)
    with sink.store.lock():
        assert sink.store.reopen(struck.spec.id, at_ms=0)
    sink = run(tmp_path, [struck])
    assert len(sink.started(struck)) == 2
    stored = sink.store.read(struck.spec.id)
    assert stored is not None
    assert stored.failure is not None
    assert [past.overruled for past in stored.history] == [Overruled.REQUEST]


def test_a_trial_lost_again_and_again_is_given_up_as_infrastructure(tmp_path: Path) -> None:
    doomed = job(epochs=5, fault="kill", at=3)
    sink = run(tmp_path, [doomed], retries=2)
    assert [attempt for _, _, attempt in sink.retries] == [2, 3]
    stored = sink.store.read(doomed.spec.id)
    assert stored is not None
    assert stored.failure is not None
    assert stored.failure.kind is FailureKind.INFRASTRUCTURE
    assert stored.failure.error == "WorkerCrashedError"
    assert [n for n, _ in epochs(stored)] == [1, 2]
    assert not sink.store.settled(doomed.spec.id, 5)


def test_a_missing_resource_is_retried_and_then_given_up(tmp_path: Path) -> None:
    sink = run(tmp_path, [job(fault="resource", at=2)], retries=1)
    assert [(error, attempt) for _, error, attempt in sink.retries] == [("ResourceError", 2)]


@pytest.mark.parametrize(("fault", "at"), [("hang", 4), ("start", 0)])
def test_a_trial_that_falls_silent_is_tried_again(tmp_path: Path, fault: str, at: int) -> None:
    marker = tmp_path / "marker"
    silent = job(epochs=6, fault=fault, at=at, marker=str(marker))
    sink = run(tmp_path, [silent], deadline_s=8.0)
    # On a machine that is busy enough a sound attempt misses the deadline too.
    assert [attempt for _, _, attempt in sink.retries] == [*range(2, 2 + len(sink.retries))]
    assert {error for _, error, _ in sink.retries} == {"NoProgress"}
    assert curve(sink.store.read(silent.spec.id)) == quiet(silent)
    assert not alive(int(marker.read_text()))


def test_a_stopped_run_leaves_a_store_that_resumes(tmp_path: Path) -> None:
    jobs = [job(seed, epochs=30, sleep_s=0.02) for seed in range(8)]
    stop = threading.Event()

    def watch(_: Job, message: Message) -> None:
        if is_epoch(message, 5):
            stop.set()

    sink = run(tmp_path, jobs, watch=watch, stop=stop)
    assert sum(bool(sink.started(each)) for each in jobs) < len(jobs)
    assert not any(isinstance(message, Finished) for _, message in sink.seen)
    again = run(tmp_path, jobs)
    assert max(each.resumed_from for a_job in jobs for each in again.started(a_job)) >= 5
    for each in jobs:
        assert curve(again.store.read(each.spec.id)) == quiet(each)


def test_shares_of_a_gpu_land_on_distinct_devices_and_fill_them(tmp_path: Path) -> None:
    jobs = [job(seed, gpus=1, cpus=0.5, epochs=5, sleep_s=0.1) for seed in range(2)]
    sink = run(tmp_path, jobs)
    devices = [sink.started(each)[0].provenance.environment.device for each in jobs]
    assert sorted(devices) == ["0", "1"]


@pytest.mark.parametrize(
    ("wanted", "message"),
    [
        ({"cpus": 64}, "(?s)toy-walk: a trial wants 64 CPUs and 0 GPUs.* have 2 CPUs and 2 GPUs"),
        ({"gpus": 3}, "have 2 CPUs and 2 GPUs"),
        ({"gpus": 1.5, "cpus": 1}, "a share of one, or whole ones"),
    ],
)
def test_what_no_node_has_is_refused_before_anything_begins(
    tmp_path: Path, wanted: dict[str, float], message: str
) -> None:
    """However late in the queue it stands."""
    greedy = replace(job(9), resources=Resources().model_copy(update=wanted))
    with pytest.raises(ResourceError, match=message):
        run(tmp_path, [*(job(seed) for seed in range(8)), greedy])
    assert list(Store(tmp_path / "results").trials()) == []


def test_trials_that_wait_for_a_gpu_hold_up_none_that_need_none(tmp_path: Path) -> None:
    """As many as fill both GPUs and every place in Ray's queue stand before it, and hang."""
    stop = threading.Event()
    hanging = [job(seed, gpus=1, cpus=0.1, fault="hang", at=1) for seed in range(12)]
    small = job(99, cpus=0.1)

    def watch(a_job: Job, message: Message) -> None:
        if a_job is small and isinstance(message, Finished):
            stop.set()

    sink = run(tmp_path, [*hanging, small], watch=watch, stop=stop)
    assert sink.store.done(small.spec.id) == 5


def test_a_fault_of_our_own_is_raised_and_not_retried(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("harness.engine.tasks.source", lambda: "no source")
    with pytest.raises(TypeError, match="replace"):
        run(tmp_path, [job()])


def test_ray_does_not_keep_the_signal_that_ends_the_driver() -> None:
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL


def test_ray_client_is_refused_with_the_way_to_go() -> None:
    with pytest.raises(UsageError, match="ray job submit"), engine.cluster("ray://head:10001"):
        pass


def alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def test_every_epoch_reaches_the_sink_in_order(tmp_path: Path) -> None:
    sink = run(tmp_path, [job(epochs=200)], checkpoint_interval_s=1000.0)
    assert [m.epoch for _, m in sink.seen if isinstance(m, EpochRecord)] == list(range(1, 201))
