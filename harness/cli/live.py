"""What a person sees while trials run: bars on a terminal, plain lines elsewhere."""

import logging
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass

from rich.console import Console
from rich.logging import RichHandler
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

from harness.manifest import Experiment
from harness.plan import Job
from harness.record import EpochRecord, Failure
from harness.session.progress import SilentView, TrialView

PLAIN_INTERVAL_S = 20.0
"""A line a trial this often, where there is no terminal: enough to see that it is alive."""


@dataclass(frozen=True)
class Headline:
    """The one curve of an experiment to watch, and what the paper printed of it."""

    metric: str
    reported: Mapping[int, float]

    @classmethod
    def of(cls, experiment: Experiment) -> "Headline | None":
        """The curve that a reader looks at first; None if every estimate is final."""
        manifest = experiment.manifest
        if manifest.headline is None or not manifest.headline.estimate:
            return None
        metric = manifest.headline.metric
        rows = {
            epoch: value
            for claim in manifest.claims
            if claim.metric == metric
            for epoch, value in claim.values.items()
            if epoch is not None
        }
        return cls(metric, rows)

    def text(self, record: EpochRecord) -> str:
        """The current estimate beside the latest reported row that it has reached."""
        value = f"{record.metrics[self.metric]:.4f}"
        reached = max((epoch for epoch in self.reported if epoch <= record.epoch), default=None)
        if reached is None:
            return value
        return f"{value} (paper {self.reported[reached]:.4f} @ {reached})"


@dataclass
class Tally:
    """How many trials stand where."""

    total: int
    done: int = 0
    failed: int = 0

    @property
    def left(self) -> int:
        """Trials that have not ended."""
        return self.total - self.done - self.failed

    def end(self, failure: Failure | None) -> None:
        """Count one more trial as ended."""
        if failure is None:
            self.done += 1
        else:
            self.failed += 1

    def __str__(self) -> str:
        return f"{self.done} done, {self.failed} failed, {self.left} left"


def _name(job: Job) -> str:
    return f"{job.experiment} seed {job.spec.seed}"


class PlainView:
    """Lines for a log: a trial's start, its end, and now and then where it stands."""

    def __init__(self, console: Console, total: int, headlines: Mapping[str, Headline]) -> None:
        self._console = console
        self._tally = Tally(total)
        self._headlines = headlines
        self._said: dict[str, float] = {}

    def _print(self, text: str) -> None:
        self._console.print(text, highlight=False, markup=False, soft_wrap=True)

    def started(self, job: Job, epoch: int) -> None:
        """Say that it runs, and from where."""
        whence = f", from epoch {epoch + 1}" if epoch else ""
        self._print(f"{_name(job)}: started{whence}")
        self._said[job.spec.id] = time.monotonic()

    def progressed(self, job: Job, record: EpochRecord) -> None:
        """Say where it stands, unless that was said a moment ago."""
        now = time.monotonic()
        if now - self._said.get(job.spec.id, now) < PLAIN_INTERVAL_S:
            return
        self._said[job.spec.id] = now
        headline = self._headlines.get(job.experiment)
        value = f": {headline.text(record)}" if headline else ""
        self._print(f"{_name(job)}: epoch {record.epoch}/{job.epochs}{value}")

    def retrying(self, job: Job, failure: Failure, *, attempt: int, wait_s: float) -> None:
        """Say what was lost and what comes."""
        self._print(f"{_name(job)}: {failure.message}; attempt {attempt} follows in {wait_s:.0f} s")

    def ended(self, job: Job, failure: Failure | None) -> None:
        """Say how it ended and how many are left."""
        self._tally.end(failure)
        how = "done" if failure is None else f"FAILED ({failure.error}: {failure.message})"
        self._print(f"{_name(job)}: {how}; {self._tally}")


class LiveView:
    """A bar for each running trial and one for all, on a terminal."""

    def __init__(
        self, progress: Progress, total: int, headlines: Mapping[str, Headline], epochs: int
    ) -> None:
        self._progress = progress
        self._tally = Tally(total)
        self._headlines = headlines
        # Epochs, not trials, are what the time remaining can be reckoned from.
        self._all = progress.add_task("all trials", total=epochs, estimate=str(self._tally))
        self._bars: dict[str, TaskID] = {}
        self._at: dict[str, int] = {}

    def started(self, job: Job, epoch: int) -> None:
        """Show its bar, at the epoch from which it goes on."""
        self._move(job, epoch)
        if job.spec.id not in self._bars:
            bar = self._progress.add_task(_name(job), total=job.epochs, estimate="")
            self._bars[job.spec.id] = bar
        self._progress.update(self._bars[job.spec.id], completed=epoch)

    def progressed(self, job: Job, record: EpochRecord) -> None:
        """Move its bar and show the estimate beside what the paper printed."""
        self._move(job, record.epoch)
        headline = self._headlines.get(job.experiment)
        self._progress.update(
            self._bars[job.spec.id],
            completed=record.epoch,
            estimate=headline.text(record) if headline else "",
        )

    def retrying(self, job: Job, failure: Failure, *, attempt: int, wait_s: float) -> None:
        """Say beside its bar what was lost."""
        bar = self._bars.get(job.spec.id)
        if bar is not None:
            self._progress.update(
                bar, estimate=f"{failure.message}; attempt {attempt} follows in {wait_s:.0f} s"
            )

    def ended(self, job: Job, failure: Failure | None) -> None:
        """Take its bar away and count it."""
        self._tally.end(failure)
        self._move(job, job.epochs)
        bar = self._bars.pop(job.spec.id, None)
        if bar is not None:
            self._progress.remove_task(bar)
        if failure is not None:
            self._progress.console.print(
                f"{_name(job)}: FAILED ({failure.error}: {failure.message})",
                markup=False,
                highlight=False,
                soft_wrap=True,
            )
        self._progress.update(self._all, estimate=str(self._tally))

    def _move(self, job: Job, epoch: int) -> None:
        """Advance the bar of all by what this trial has gained (or lost, on a new attempt)."""
        self._progress.advance(self._all, epoch - self._at.get(job.spec.id, 0))
        self._at[job.spec.id] = epoch


@contextmanager
def watching(
    console: Console, experiments: Sequence[Experiment], jobs: Sequence[Job], *, quiet: bool
) -> Iterator[TrialView]:
    """The view that fits where the output goes; warnings are shown above its bars."""
    pairs = ((experiment.id, Headline.of(experiment)) for experiment in experiments)
    headlines = {name: headline for name, headline in pairs if headline}
    if quiet:
        yield SilentView()
    elif not console.is_terminal:
        yield PlainView(console, len(jobs), headlines)
    else:
        columns = (
            TextColumn("{task.description}", markup=False),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
            TextColumn("{task.fields[estimate]}", markup=False),
        )
        with Progress(*columns, console=console, transient=True) as progress:
            yield LiveView(progress, len(jobs), headlines, sum(job.epochs for job in jobs))


class ConsoleObserver:
    """Shows a run on a rich console, and nothing on a quiet one."""

    def __init__(self, console: Console) -> None:
        self._console = console

    def note(self, text: str) -> None:
        """Print one line."""
        self._console.print(text, highlight=False, soft_wrap=True)

    def watch(
        self, experiments: Sequence[Experiment], jobs: Sequence[Job]
    ) -> AbstractContextManager[TrialView]:
        """Show the trials as bars or lines."""
        return watching(self._console, experiments, jobs, quiet=self._console.quiet)


def log_to(console: Console) -> None:
    """Send warnings of our own modules to the console, in one line each."""
    handler = RichHandler(console=console, show_time=False, show_path=False, markup=False)
    logger = logging.getLogger("harness")
    logger.handlers = [handler]
    logger.setLevel(logging.WARNING)
