"""What the engine asks of its caller, and what it can be told."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from harness.plan import Job
from harness.record import Checkpoint, Failure, Json, Message


class Sink(Protocol):
    """Where the messages go, and where a trial goes on from."""

    def resume_point(self, job: Job) -> Checkpoint | None:
        """The last durable checkpoint of the trial."""

    def receive(self, batch: Sequence[tuple[Job, Message]]) -> None:
        """Take messages, in each trial's own order; they are durable on return."""

    def retrying(self, job: Job, failure: Failure, *, attempt: int, wait_s: float) -> None:
        """The trial was lost to `failure`; `attempt`, counted from 1, begins after `wait_s`."""


@dataclass(frozen=True)
class Options:
    """How trials are run; none of it changes what they find."""

    retries: int = 3
    """Further attempts at a trial that was lost to infrastructure."""
    backoff_s: float = 1.0
    """Seconds before the first of them; each next one waits twice as long, up to a minute."""
    silence_s: float = 600.0
    """Seconds without a message after which a trial that has begun is given up as lost."""
    node_wait_s: float = 600.0
    """Seconds that a cluster which autoscales may take to bring a node that a trial needs."""
    checkpoint_interval_s: float = 30.0
    isolate: bool = False
    """Give every trial a fresh process, which pays for every import anew."""
    stop_s: float = 10.0
    """Seconds to wait for cancelled trials to end."""
    workload: Mapping[str, Json] = field(default_factory=dict)
    """Handed to the workload: choices that change speed and not results."""
