"""Store what trials send, then show it and pass it on to MLflow."""

from collections.abc import Callable, Sequence

from harness.plan import Job
from harness.record import (
    Checkpoint,
    EpochRecord,
    Failure,
    Finished,
    Message,
    PastFailure,
    Started,
)
from harness.session.progress import TrialView
from harness.store import Store


class Recorder:
    """The engine's sink. It makes every message durable before it shows or tracks it."""

    def __init__(self, store: Store, view: TrialView, track: Callable[[str], None]) -> None:
        self._store = store
        self._view = view
        self._track = track

    def resume_point(self, job: Job) -> Checkpoint | None:
        """The last durable checkpoint of the trial."""
        return self._store.resume_point(job.spec.id)

    def receive(self, batch: Sequence[tuple[Job, Message]]) -> None:
        """Make a batch durable, show it, and tell MLflow about trials with new durable epochs."""
        self._store.append([(job.spec, message) for job, message in batch])
        for job, message in batch:
            self._show(job, message)
            if isinstance(message, Started | Checkpoint | Finished | Failure):
                self._track(job.spec.id)

    def retrying(self, job: Job, failure: Failure, *, attempt: int, wait_s: float) -> None:
        """Show that an attempt failed."""
        self._view.retrying(job, failure, attempt=attempt, wait_s=wait_s)

    def remember(self, job: Job, past: PastFailure) -> None:
        """Put a failure that is not the trial's outcome into its history."""
        self._store.remember(job.spec, past)

    def _show(self, job: Job, message: Message) -> None:
        match message:
            case Started():
                self._view.started(job, message.resumed_from)
            case EpochRecord():
                self._view.progressed(job, message)
            case Finished():
                self._view.ended(job, None)
            case Failure():
                self._view.ended(job, message)
