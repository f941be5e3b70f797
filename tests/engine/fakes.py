"""A cluster in memory: nodes with a slot each, and attempts that follow a script, a step a time."""

import threading
from collections import deque
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field

from harness.engine.driver import Driver
from harness.engine.interface import Lost, OfTrial, Placed, Refused, Request, Sent
from harness.options import Options
from harness.plan import Job
from harness.record import (
    Checkpoint,
    Environment,
    EpochRecord,
    Failure,
    FailureKind,
    FinalRecord,
    Finished,
    Message,
    PastFailure,
    Provenance,
    Started,
)
from tests.store.trials import SOURCE

Step = Message | OfTrial | Refused | Lost | None
"""None says nothing, and the attempt never ends."""

PROVENANCE = Provenance("host", SOURCE, Environment("cpu", 1, "plain", {}, {}, {}, {}))


@dataclass(eq=False)
class Attempt:
    """What the driver started; `node` once it is placed."""

    job: Job
    number: int
    """Of the trial's starts, counted from 1."""
    fresh: bool
    avoided: frozenset[str]
    resumed_from: int
    together: int = 1
    """How many trials of a pack it runs."""
    pack: int = 0
    """The pack's size; 0 for a trial by itself."""
    node: str = ""
    steps: deque[Step] = field(default_factory=deque)
    over: bool = False


Script = Callable[[Attempt], Sequence[Step]]


def epochs(first: int, last: int) -> list[Step]:
    return [EpochRecord(epoch, {"place": 0.0}, 0, 0.0) for epoch in range(first, last + 1)]


def succeeds(attempt: Attempt) -> list[Step]:
    last = attempt.job.epochs
    records = epochs(attempt.resumed_from + 1, last)
    return [Started(attempt.resumed_from, PROVENANCE), *records, FinalRecord(last, {}, 0, 0.0),
            Finished(last)]  # fmt: skip


def fails(attempt: Attempt, epoch: int, error: str = "RuntimeError") -> list[Step]:
    """Raise after so many epochs."""
    failure = Failure(FailureKind.SCIENTIFIC, error, f"{error} on {attempt.node}", epoch)
    records = epochs(attempt.resumed_from + 1, epoch)
    return [Started(attempt.resumed_from, PROVENANCE), *records, failure]


@dataclass
class FakeCluster:
    """Tasks, nodes, head and sink of a driver, all in one."""

    script: Script
    names: Sequence[str] = ("a", "b")
    """Nodes; of several that are free, the first gets the next attempt."""
    bad: Mapping[str, str] = field(default_factory=dict)
    """Nodes that are unfit from the beginning."""
    starts: list[Attempt] = field(default_factory=list)
    received: list[tuple[int, Message]] = field(default_factory=list)
    """By seed."""
    retries: list[tuple[int, str]] = field(default_factory=list)
    history: list[tuple[int, PastFailure]] = field(default_factory=list)
    now_s: float = 0.0
    packs: Mapping[str, int] = field(default_factory=dict)

    def run(self, jobs: Sequence[Job], **options: object) -> Driver:
        chosen = Options(**{"backoff_s": 0.0, **options})  # type: ignore[arg-type]
        clock = lambda: self.now_s  # noqa: E731 - a method would be one more name
        driver = Driver(
            jobs, self, tasks=self, nodes=self, options=chosen, packs=self.packs, clock=clock
        )
        driver.run(self, threading.Event())
        return driver

    def outcome(self, seed: int = 0) -> Finished | Failure:
        """How the trial ended: once."""
        (end,) = [m for s, m in self.received if s == seed and isinstance(m, Finished | Failure)]
        assert isinstance(end, Finished | Failure)
        return end

    def of(self, seed: int = 0) -> list[Attempt]:
        """The trial's attempts that were placed."""
        return [each for each in self.starts if each.job.spec.seed == seed and each.node]

    # The tasks.

    def start(
        self,
        jobs: Sequence[Job],
        checkpoints: Sequence[Checkpoint | None],
        *,
        pack: int,
        fresh: bool,
        avoided: Collection[str],
    ) -> Attempt:
        job, checkpoint = jobs[0], checkpoints[0]
        number = 1 + len(self.of(job.spec.seed))
        resumed_from = checkpoint.epoch if checkpoint else 0
        attempt = Attempt(job, number, fresh, frozenset(avoided), resumed_from, len(jobs), pack)
        self.starts.append(attempt)
        return attempt

    def ready(self, streams: Sequence[Attempt], *, timeout_s: float) -> Sequence[Attempt]:
        self.now_s += 1.0 if timeout_s else 0.0
        self._place()
        return [each for each in streams if each.steps and each.steps[0] is not None]

    def _place(self) -> None:
        busy = {each.node for each in self.starts if each.node and not each.over}
        for attempt in self.starts:
            free = [n for n in self.names if n not in busy and n not in attempt.avoided]
            if free and not attempt.node and not attempt.over:
                attempt.node = free[0]
                busy.add(attempt.node)
                attempt.steps.extend(self.script(attempt))
                attempt.steps.appendleft(Placed(attempt.node, attempt.node))  # type: ignore[arg-type]

    def read(self, stream: Attempt, *, placed: bool) -> Sequence[Sent]:
        step = stream.steps.popleft()
        assert step is not None
        stream.over = not stream.steps
        return [step]

    def cancel(self, streams: Sequence[Attempt], *, wait_s: float = 0.0) -> None:
        for each in streams:
            each.over = True

    # The nodes.

    def unfit(self) -> Mapping[str, str]:
        return self.bad

    def can_meet(self, request: Request, *, without: Collection[str] = ()) -> bool:
        return bool(set(self.names) - set(without))

    def has(self, node: str) -> bool:
        return node in self.names

    def name(self, node: str) -> str:
        return f"node {node}"

    def may_grow(self) -> bool:
        return False

    def slots(self, request: Request) -> int:
        return len(self.names)

    def ahead(self) -> int:
        return 4

    # The head.

    def answers(self) -> bool:
        return True

    def gone(self) -> bool:
        return False

    # The sink.

    def resume_point(self, job: Job) -> Checkpoint | None:
        return None

    def receive(self, batch: Sequence[tuple[Job, Message]]) -> None:
        self.received += [(job.spec.seed, message) for job, message in batch]

    def retrying(self, job: Job, failure: Failure, *, attempt: int, wait_s: float) -> None:
        self.retries.append((job.spec.seed, failure.error))

    def remember(self, job: Job, past: PastFailure) -> None:
        self.history.append((job.spec.seed, past))
