"""A sink that keeps everything in a store, and remembers what it saw."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from harness import engine
from harness.plan import Job
from harness.record import (
    Checkpoint,
    EpochRecord,
    Failure,
    Message,
    PastFailure,
    Started,
    StoredTrial,
)
from harness.store import Store
from harness.workload import Arrays, Workload
from tests.toy import Toy

Watch = Callable[[Job, Message], None]


@dataclass
class StoreSink:
    """What the command line does with messages, less the view."""

    store: Store
    watch: Watch = lambda job, message: None
    seen: list[tuple[Job, Message]] = field(default_factory=list)
    retries: list[tuple[str, str, int]] = field(default_factory=list)
    """Trial, error and number of each new attempt."""

    def resume_point(self, job: Job) -> Checkpoint | None:
        return self.store.resume_point(job.spec.id)

    def receive(self, batch: Sequence[tuple[Job, Message]]) -> None:
        self.store.append([(job.spec, message) for job, message in batch])
        self.seen.extend(batch)
        for job, message in batch:
            self.watch(job, message)

    def retrying(self, job: Job, failure: Failure, *, attempt: int, wait_s: float) -> None:
        self.retries.append((job.spec.id, failure.error, attempt))

    def remember(self, job: Job, past: PastFailure) -> None:
        self.store.remember(job.spec, past)

    def started(self, job: Job) -> list[Started]:
        """The attempts at a trial that began."""
        return [m for j, m in self.seen if j.spec.id == job.spec.id and isinstance(m, Started)]


def load(workload: Workload, name: str) -> Arrays:
    return workload.load_data(name, Path())


def run(
    folder: Path,
    jobs: Iterable[Job],
    *,
    watch: Watch | None = None,
    stop: Any = None,
    **options: Any,
) -> StoreSink:
    """Run what is not settled, as the command line would, with short waits."""
    store = Store(folder / "results")
    sink = StoreSink(store, *([watch] if watch else []))
    workloads: Mapping[str, Workload] = {"toy": Toy()}
    left = [job for job in jobs if not store.settled(job.spec.id, job.epochs)]
    chosen = engine.Options(**{"backoff_s": 0.01, "checkpoint_interval_s": 0.0, **options})
    with store.lock():
        engine.run(left, sink, workloads=workloads, load_data=load, options=chosen, stop=stop)
    return sink


def epochs(trial: StoredTrial | None) -> list[tuple[int, Mapping[str, float]]]:
    """The curve, without what differs between two runs."""
    return [(each.epoch, each.metrics) for each in trial.epochs] if trial else []


def is_epoch(message: Message, number: int) -> bool:
    return isinstance(message, EpochRecord) and message.epoch == number
