"""Types that the engine shares with its caller, and that its parts share with one another."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from harness.plan import Job
from harness.record import Checkpoint, Failure, Message, PastFailure

Stream = Any
"""A started attempt. It is hashable, and only the tasks know what it is."""

Request = tuple[float, float]
"""CPUs and GPUs that one trial needs on one node."""


def request(job: Job) -> Request:
    """Return the CPUs and GPUs that a trial needs."""
    return job.resources.cpus, job.resources.gpus


class Sink(Protocol):
    """Stores the messages of trials, and returns the checkpoints to resume from."""

    def resume_point(self, job: Job) -> Checkpoint | None:
        """Return the last durable checkpoint of the trial."""

    def receive(self, batch: Sequence[tuple[Job, Message]]) -> None:
        """Store messages, in order for each trial. They are durable on return."""

    def retrying(self, job: Job, failure: Failure, *, attempt: int, wait_s: float) -> None:
        """Learn that an attempt ended with `failure` and that another one follows.

        Args:
            job: the trial.
            failure: its kind is SCIENTIFIC if the next attempt shows whether it happens again.
            attempt: the number of the next attempt, counted from 1.
            wait_s: seconds until it begins.
        """

    def remember(self, job: Job, past: PastFailure) -> None:
        """Store a failure of the method that is not the trial's outcome; durable on return."""


@dataclass(frozen=True)
class Placed:
    """The first message of an attempt: a worker has started it."""

    node: str
    """Ray's id of the worker's node."""
    host: str
    """The node's host name."""


@dataclass(frozen=True)
class OfTrial:
    """A message of one trial of a pack."""

    index: int | None
    """The trial's place among the pack's jobs; None for the failure of the pack as a whole, and for
    what it prints."""
    message: Message


@dataclass(frozen=True)
class Refused:
    """The last message of an attempt that did not begin, because its node can run no trial."""

    why: str
    node: str = ""
    """Ray's id of the node; empty if Placed has already given it."""


@dataclass(frozen=True)
class Lost:
    """The last message of an attempt whose worker stopped sending."""

    error: str
    message: str


Sent = Message | OfTrial | Placed | Refused | Lost
"""What a stream gives. Messages of a single trial need no `OfTrial`."""


class AttemptTasks(Protocol):
    """Starts attempts on workers and reads what they send."""

    def start(
        self,
        jobs: Sequence[Job],
        checkpoints: Sequence[Checkpoint | None],
        *,
        pack: int,
        fresh: bool,
        avoided: Collection[str],
    ) -> Stream:
        """Queue one attempt at one trial, or at the trials of a pack.

        Args:
            jobs: the trials. Those of a pack differ in their seeds only.
            checkpoints: where each trial resumes; None if it starts at the beginning.
            pack: the pack's size, at least as many as there are jobs; 0 for a trial by itself.
            fresh: whether it needs a process in which no trial has run.
            avoided: Ray's ids of the nodes on which it must not run.
        """

    def ready(self, streams: Sequence[Stream], *, timeout_s: float) -> Sequence[Stream]:
        """Wait until a stream can be read, and return all streams that can be read.

        With a timeout of 0 it does not wait, and returns nothing after a large message, so that
        large ones do not gather in memory.
        """

    def read(self, stream: Stream, *, placed: bool) -> Sequence[Sent]:
        """Return the next messages of a ready stream. `placed`: it has already sent Placed."""

    def cancel(self, streams: Sequence[Stream], *, wait_s: float = 0.0) -> None:
        """End these attempts by force. Wait up to `wait_s` seconds until they have ended."""


class ClusterNodes(Protocol):
    """The interface through which the driver asks about the cluster's nodes."""

    def unfit(self) -> Mapping[str, str]:
        """Return the nodes that were found unfit before the run: Ray's id and the reason."""

    def can_meet(self, request: Request, *, without: Collection[str] = ()) -> bool:
        """Return whether a node outside `without` could meet the request if it were empty."""

    def has(self, node: str) -> bool:
        """Return whether the node is alive and takes new work."""

    def name(self, node: str) -> str:
        """Return the node's address and host name, for messages."""

    def may_grow(self) -> bool:
        """Return whether the cluster autoscales."""

    def slots(self, request: Request) -> int:
        """Return how many trials with this request run at once."""

    def ahead(self) -> int:
        """Return how many trials with one request may wait, so that no worker is idle."""
