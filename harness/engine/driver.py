"""The driver's loop: hand out trials, take in what they send, try again what was lost."""

import threading
import time
from collections import Counter, defaultdict, deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import ray
from ray.exceptions import RayError, RayTaskError

from harness.engine.head_watch import watching_head
from harness.engine.interface import Sink
from harness.engine.resources import Request, ahead, elsewhere, request, require
from harness.engine.tasks import Placed, Stream, Tasks
from harness.options import Options
from harness.plan import Job
from harness.record import (
    EpochRecord,
    Failure,
    FailureKind,
    Finished,
    Message,
    Started,
)
from harness.workload import Arrays, Workload

_POLL_S = 0.2
_BACKOFF_MAX_S = 60.0


def run(
    jobs: Sequence[Job],
    sink: Sink,
    *,
    workloads: Mapping[str, Workload],
    load_data: Callable[[Workload, str], Arrays],
    options: Options | None = None,
    stop: threading.Event | None = None,
) -> None:
    """Run every job to its end on the cluster that this process is connected to.

    Args:
        jobs: what to run; handed out in order as the cluster has room, a few ahead.
        sink: where the messages go.
        workloads: by name; pickled once, so that workers must be able to import their modules.
        load_data: a workload's data set by name; called once each, the arrays are shared.
        options: how to run them.
        stop: once set, nothing more is handed out, what runs is cancelled, and `run` returns.

    Raises:
        ResourceError: one of the jobs asks for what no node has, and then none is begun; or the
            cluster's head is gone, and then the sink has what was heard until then.
    """
    options = options or Options()
    require(jobs, wait_s=options.node_wait_s)
    driver = _Driver(jobs, sink, workloads, load_data, options)
    driver.run(stop or threading.Event())


@dataclass(eq=False)
class _Attempt:
    """One attempt at one trial, somewhere on the cluster."""

    job: Job
    number: int
    stream: Stream
    epoch: int
    """The last epoch that was heard of."""
    node: str = ""
    """Where it runs, once that is known."""
    heard_s: float | None = None
    """When the last message came; None while it waits for a worker."""


class _Driver:
    """The state of one call of `run`."""

    def __init__(
        self,
        jobs: Sequence[Job],
        sink: Sink,
        workloads: Mapping[str, Workload],
        load_data: Callable[[Workload, str], Arrays],
        options: Options,
    ) -> None:
        self._sink = sink
        self._options = options
        self._tasks = Tasks(workloads, load_data, options)
        self._queues: defaultdict[Request, deque[Job]] = defaultdict(deque)
        """Not yet begun, by what they ask for: those that wait for a GPU hold up no others."""
        for job in jobs:
            self._queues[request(job)].append(job)
        self._running: dict[Stream, _Attempt] = {}
        """By stream."""
        self._again: list[tuple[float, Job, int]] = []
        """What is to be tried again: when, what, and which attempt it will be."""
        self._shunned: defaultdict[str, set[str]] = defaultdict(set)
        """The nodes on which a trial fell silent, by the trial's id."""
        self._ahead = ahead()

    def run(self, stop: threading.Event) -> None:
        """Until nothing is left, or `stop` is set."""
        with watching_head(ray.get_runtime_context().gcs_address) as head:
            try:
                while not stop.is_set():
                    if head.answers():
                        self._hand_out()
                    if self._running:
                        self._take_in()
                        self._give_up_the_silent()
                    elif self._again or any(self._queues.values()):
                        stop.wait(_POLL_S)
                    else:
                        return
            finally:
                if not head.gone():
                    self._cancel_all()

    def _hand_out(self) -> None:
        """Keep a few attempts waiting for a worker; what was lost before comes first."""
        for job, number in self._due():
            self._start(job, number)
        waiting = Counter(request(each.job) for each in self._running.values() if not each.node)
        for asked, queue in self._queues.items():
            while queue and waiting[asked] < self._ahead:
                self._start(queue.popleft(), 1)
                waiting[asked] += 1

    def _due(self) -> list[tuple[Job, int]]:
        """The lost trials whose time has come."""
        now_s = time.monotonic()
        due = [entry for entry in self._again if entry[0] <= now_s]
        self._again = [entry for entry in self._again if entry[0] > now_s]
        return [entry[1:] for entry in due]

    def _start(self, job: Job, number: int) -> None:
        checkpoint = self._sink.resume_point(job)
        shunned = self._shunned.get(job.spec.id, ())
        if shunned and not elsewhere(request(job), shunned):
            shunned = ()  # better where it fell silent than nowhere
        stream = self._tasks.start(job, checkpoint, shunned=shunned)
        epoch = checkpoint.epoch if checkpoint else 0
        self._running[stream] = _Attempt(job, number, stream, epoch)

    def _take_in(self) -> None:
        """Wait for a message, and hand the sink all that have come, so that it writes once."""
        streams = list(self._running)
        ready, _ = ray.wait(streams, num_returns=1, timeout=_POLL_S)
        if ready:
            ready, _ = ray.wait(streams, num_returns=len(streams), timeout=0)
        batch: list[tuple[Job, Message]] = []
        for each in ready:
            attempt = self._running[each]
            batch.extend((attempt.job, message) for message in self._next(attempt))
        if batch:
            self._sink.receive(batch)

    def _next(self, attempt: _Attempt) -> list[Message]:
        """The attempt's next messages; none after its end, or after the loss of its worker."""
        try:
            messages: list[Message | Placed] = ray.get(next(attempt.stream))
        except StopIteration:
            return self._lost(attempt, "StreamEnded", "the worker ended without a last word")
        except RayError as error:
            if isinstance(error, RayTaskError) and not isinstance(error.cause, RayError):
                raise  # the workload's exceptions are messages: this is a fault of our own
            return self._lost(attempt, type(error).__name__, str(error))
        attempt.heard_s = time.monotonic()
        kept: list[Message] = []
        for message in messages:
            match message:
                case Placed():
                    attempt.node = message.node
                    continue
                case EpochRecord() | Started():
                    attempt.epoch = _epoch(message)
                case Failure(kind=FailureKind.INFRASTRUCTURE):
                    return kept + self._lost(attempt, message.error, message.message)
                case Failure() | Finished():
                    del self._running[attempt.stream]
            kept.append(message)
        return kept

    def _lost(self, attempt: _Attempt, error: str, message: str) -> list[Message]:
        """Have the trial tried again, or give it up: then the failure is its last message."""
        del self._running[attempt.stream]
        failure = Failure(FailureKind.INFRASTRUCTURE, error, message, attempt.epoch)
        if attempt.number > self._options.retries:
            return [failure]
        wait_s = self._backoff_s(attempt.number)
        number = attempt.number + 1
        self._again.append((time.monotonic() + wait_s, attempt.job, number))
        self._sink.retrying(attempt.job, failure, attempt=number, wait_s=wait_s)
        return []

    def _backoff_s(self, number: int) -> float:
        """How long to wait after the attempt of this number, counted from 1, was lost."""
        return float(min(_BACKOFF_MAX_S, self._options.backoff_s * 2 ** (number - 1)))

    def _give_up_the_silent(self) -> None:
        """A cut-off node may go on training: it is no longer listened to, so it harms nothing."""
        limit_s = self._options.deadline_s
        now_s = time.monotonic()
        for attempt in list(self._running.values()):
            if attempt.heard_s is not None and now_s - attempt.heard_s > limit_s:
                ray.cancel(attempt.stream, force=True)
                # Cut off, it looks free to Ray for a minute more.
                self._shunned[attempt.job.spec.id].add(attempt.node)
                last = self._lost(attempt, "NoProgress", f"nothing was heard for {limit_s:g} s")
                if last:
                    self._sink.receive([(attempt.job, message) for message in last])

    def _cancel_all(self) -> None:
        """Cancel what runs, and wait a while for it to end."""
        streams = list(self._running)
        for each in streams:
            ray.cancel(each, force=True)
        if streams:
            ends = [each.completed() for each in streams]
            ray.wait(ends, num_returns=len(ends), timeout=self._options.stop_s)


def _epoch(message: EpochRecord | Started) -> int:
    """How far the trial has come."""
    return message.epoch if isinstance(message, EpochRecord) else message.resumed_from
