"""Observers: the interface that receives a session's progress, and one that shows nothing."""

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from typing import Protocol

from harness.manifest import Experiment
from harness.plan import Job
from harness.record import EpochRecord, Failure


class TrialView(Protocol):
    """Follows the trials of one run. Every call comes after the record is durable."""

    def started(self, job: Job, epoch: int) -> None:
        """An attempt started; `epoch` is the last epoch that is recorded already."""

    def progressed(self, job: Job, record: EpochRecord) -> None:
        """An epoch was recorded."""

    def retrying(self, job: Job, failure: Failure, *, attempt: int, wait_s: float) -> None:
        """An attempt failed, and another one follows."""

    def ended(self, job: Job, failure: Failure | None) -> None:
        """The trial is finished, or has failed for good."""


class Observer(Protocol):
    """Receives the progress of a run."""

    def note(self, text: str) -> None:
        """Show one line about the run as a whole."""

    def watch(
        self, experiments: Sequence[Experiment], jobs: Sequence[Job]
    ) -> AbstractContextManager[TrialView]:
        """Follow these trials for as long as the context lasts."""


class SilentView:
    """Shows no trials. Failures appear in the verdict."""

    def started(self, job: Job, epoch: int) -> None:
        """Do nothing."""

    def progressed(self, job: Job, record: EpochRecord) -> None:
        """Do nothing."""

    def retrying(self, job: Job, failure: Failure, *, attempt: int, wait_s: float) -> None:
        """Do nothing."""

    def ended(self, job: Job, failure: Failure | None) -> None:
        """Do nothing."""


class SilentObserver:
    """Shows nothing of a run."""

    def note(self, text: str) -> None:
        """Do nothing."""

    @contextmanager
    def watch(self, experiments: Sequence[Experiment], jobs: Sequence[Job]) -> Iterator[TrialView]:
        """Follow the trials without showing them."""
        yield SilentView()
