"""What the engine asks of its caller, and what it can be told."""

from collections.abc import Sequence
from typing import Protocol

from harness.plan import Job
from harness.record import Checkpoint, Failure, Message


class Sink(Protocol):
    """Where the messages go, and where a trial goes on from."""

    def resume_point(self, job: Job) -> Checkpoint | None:
        """The last durable checkpoint of the trial."""

    def receive(self, batch: Sequence[tuple[Job, Message]]) -> None:
        """Take messages, in each trial's own order; they are durable on return."""

    def retrying(self, job: Job, failure: Failure, *, attempt: int, wait_s: float) -> None:
        """The trial was lost to `failure`; `attempt`, counted from 1, begins after `wait_s`."""
