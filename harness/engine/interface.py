"""What the engine asks of its caller, what it can be told, and what its parts tell one another."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from harness.plan import Job
from harness.record import Checkpoint, Failure, Message, PastFailure

Stream = Any
"""One attempt that was started: hashable, and opaque to everyone but the tasks."""

Request = tuple[float, float]
"""CPUs and GPUs that one trial wants on one node."""


def request(job: Job) -> Request:
    """What a trial asks Ray for."""
    return job.resources.cpus, job.resources.gpus


class Sink(Protocol):
    """Where the messages go, and where a trial resumes from."""

    def resume_point(self, job: Job) -> Checkpoint | None:
        """Return the last durable checkpoint of the trial."""

    def receive(self, batch: Sequence[tuple[Job, Message]]) -> None:
        """Take messages, in each trial's own order; they are durable on return."""

    def retrying(self, job: Job, failure: Failure, *, attempt: int, wait_s: float) -> None:
        """Hear that an attempt ended with `failure` and that another one follows.

        Args:
            job: the trial.
            failure: of kind SCIENTIFIC if the next attempt is to show whether it happens again.
            attempt: the number of the next attempt, counted from 1.
            wait_s: seconds until it begins.
        """

    def remember(self, job: Job, past: PastFailure) -> None:
        """Take a failure of the method that is not the trial's outcome; durable on return."""


@dataclass(frozen=True)
class Placed:
    """The first message of an attempt: its wait for a worker is over."""

    node: str
    """Ray's id of the node that the worker is on."""
    host: str
    """The node's own name for itself."""


@dataclass(frozen=True)
class Refused:
    """The last message of an attempt that did not begin, since its node is unfit for any trial."""

    why: str
    node: str = ""
    """Ray's id of the node; empty where Placed has told it."""


@dataclass(frozen=True)
class Lost:
    """The last message of an attempt whose worker said no more."""

    error: str
    message: str


class AttemptTasks(Protocol):
    """Starts attempts on workers and reads what they send."""

    def start(
        self, job: Job, checkpoint: Checkpoint | None, *, fresh: bool, avoided: Collection[str]
    ) -> Stream:
        """Queue one attempt.

        Args:
            job: the trial.
            checkpoint: where it resumes.
            fresh: whether it needs a process in which no trial has run.
            avoided: Ray's ids of the nodes on which it must not run.
        """

    def ready(self, streams: Sequence[Stream], *, timeout_s: float) -> Sequence[Stream]:
        """Wait until one of the streams can be read, and return all that can be."""

    def read(self, stream: Stream, *, placed: bool) -> Sequence[Message | Placed | Refused | Lost]:
        """Return the next messages of a stream that is ready; `placed` if it has said where."""

    def cancel(self, streams: Sequence[Stream], *, wait_s: float = 0.0) -> None:
        """End these attempts by force; wait for their ends no longer than told."""


class ClusterNodes(Protocol):
    """What the driver asks about the cluster's nodes."""

    def unfit(self) -> Mapping[str, str]:
        """Return the nodes that were found unfit before the run, by Ray's id, with the reason."""

    def can_meet(self, request: Request, *, without: Collection[str] = ()) -> bool:
        """Say whether an empty node could meet the request that is none of these."""

    def has(self, node: str) -> bool:
        """Say whether the node is alive and takes new work."""

    def name(self, node: str) -> str:
        """Return the node's address and host name, for people."""

    def may_grow(self) -> bool:
        """Say whether the cluster autoscales."""

    def ahead(self) -> int:
        """Return how many trials of one request may wait for a worker, so that none is idle."""
