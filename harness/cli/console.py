"""What commands write to: guarded streams, the tables that they share, and trials while they run.

A command's exit code says what it found, so no write to standard output or standard error can end
it, and the work goes on even if its output is lost:

* The reader went away (`harness check … | head -1`): the rest of the output is dropped, and the
  exit code stays as it is.
* The output cannot be written (a full disk): the rest is dropped as well. Standard output is what
  the user asked for, so its loss is reported and counts as incomplete (exit 4).
* The encoding lacks a character: an escape such as `\\xb1` stands in its place.

Trials are shown as bars on a terminal, and as plain lines elsewhere.
"""

import errno
import io
import logging
import os
import select
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from datetime import timedelta
from math import ceil
from statistics import mean
from typing import TYPE_CHECKING, TextIO

from rich.console import Console
from rich.logging import RichHandler
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    Task,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
)
from rich.text import Text

from harness.errors import Exit
from harness.manifest import Experiment
from harness.plan import Job
from harness.record import EpochRecord, Failure, FailureKind
from harness.report import terminal
from harness.report.terminal import Column, FittedTable
from harness.session.runner import SilentView, TrialView
from harness.verdict import ExperimentVerdict

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer

_READER_GONE = {errno.EPIPE, errno.ECONNRESET, errno.ESHUTDOWN, errno.ENOTCONN}


class _Descriptor(io.FileIO):
    """Writes to a file descriptor until a write fails, and drops everything after that."""

    def __init__(self, descriptor: int) -> None:
        super().__init__(descriptor, "w", closefd=False)
        self.fault: OSError | None = None
        """The error that ended the output; None while it works, or if only the reader went away."""
        self._ended = False

    def write(self, data: "ReadableBuffer", /) -> int:
        """Write some or all bytes; returns how many of them are dealt with."""
        size = memoryview(data).nbytes
        if self._ended:
            return size
        try:
            while (written := super().write(data)) is None:  # a non-blocking pipe is full
                select.select([], [self], [])
        except OSError as error:
            self._ended = True
            self.fault = None if self._reader_gone(error) else error
            return size
        return written

    def _reader_gone(self, error: OSError) -> bool:
        return error.errno in _READER_GONE or (error.errno == errno.EIO and self.isatty())


@dataclass(frozen=True)
class _Stream:
    text: io.TextIOWrapper
    descriptor: _Descriptor

    @classmethod
    def guard(cls, stream: TextIO | None) -> "_Stream | None":
        """Guard a stream; None if it is not a file, as in a test or a notebook."""
        if not isinstance(stream, io.TextIOWrapper):
            return None
        try:
            descriptor = _Descriptor(stream.fileno())
        except OSError:
            return None
        stream.flush()
        text = io.TextIOWrapper(
            io.BufferedWriter(descriptor),
            encoding=stream.encoding,
            errors="backslashreplace",
            line_buffering=stream.line_buffering,
            write_through=stream.write_through,
        )
        return cls(text, descriptor)

    def finish(self) -> OSError | None:
        """Write what is buffered, and return the error that ended the output, if any."""
        self.text.flush()
        return self.descriptor.fault


class GuardedStreams:
    """The guarded streams of one command."""

    def __init__(self) -> None:
        # Python sets a stream to None if its descriptor is closed, but libraries print to it.
        sys.stdout = sys.stdout or open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115
        sys.stderr = sys.stderr or open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115
        self._unguarded = sys.stdout, sys.stderr  # kept open for as long as the guards write
        self._stdout = _Stream.guard(sys.stdout)
        self._stderr = _Stream.guard(sys.stderr)
        if self._stdout:
            sys.stdout = self._stdout.text
        if self._stderr:
            sys.stderr = self._stderr.text

    def exit_code(self, code: int) -> int:
        """Write what is buffered, and return the exit code: `code`, or 4 if output was lost.

        A negative verdict or wrong usage outranks lost output.
        """
        fault = self._stdout.finish() if self._stdout else None
        if fault is not None:
            lost = "the command did its work, but some of its output is lost"
            print(f"standard output: {fault.strerror}: {lost}", file=sys.stderr)
        if self._stderr:
            self._stderr.finish()  # losing it changes no exit code
        counts = fault is not None and code in (Exit.AS_EXPECTED, Exit.INCONCLUSIVE)
        return Exit.INCOMPLETE if counts else code


@contextmanager
def guarded() -> Iterator[GuardedStreams]:
    """Guard both streams for as long as the context lasts."""
    _open_missing_descriptors()
    before = sys.stdout, sys.stderr
    try:
        yield GuardedStreams()
    finally:
        sys.stdout, sys.stderr = before


def _open_missing_descriptors() -> None:
    """Open the null device for each standard descriptor that is closed (`>&-`).

    Otherwise the next file to be opened, such as a trial's records, becomes standard output.
    """
    for descriptor in (0, 1, 2):
        try:
            os.fstat(descriptor)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # takes the lowest free number, which is this one


def table(name: str, *columns: str) -> FittedTable:
    """A table whose first column stays whole, because people copy it."""
    return FittedTable((Column(name, whole=True), *map(Column, columns)))


def show_verdicts(
    verdicts: Sequence[ExperimentVerdict], console: Console, *, every_row: bool, more: str
) -> None:
    """Print the verdicts: in short, or every row first and then the summary.

    Args:
        verdicts: on the experiments that were asked for.
        console: where to print.
        every_row: whether to print every row, as `--all` asks.
        more: how to see every row, for the last line of the short form.
    """
    if every_row:
        for verdict in verdicts:
            console.print(terminal.claims(verdict, width=console.width))
        console.print(terminal.summary(verdicts))
    else:
        console.print(terminal.summary(verdicts))
        console.print(terminal.unsettled(verdicts))
        console.print(f"every row: {more}", highlight=False, markup=False, soft_wrap=True)


PLAIN_INTERVAL_S = 20.0
"""Least number of seconds between two progress lines of one trial in a log."""


@dataclass(frozen=True)
class Headline:
    """The metric that is shown while an experiment runs, and its reported values."""

    metric: str
    reported: Mapping[int, float]

    @classmethod
    def of(cls, experiment: Experiment) -> "Headline | None":
        """Choose the most interesting metric; None if no estimate is recorded every epoch."""
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
        """The current estimate, and the latest reported value that it has reached.

        It is empty if the row lacks the metric.
        """
        if self.metric not in record.metrics:
            return ""
        value = f"{record.metrics[self.metric]:.4f}"
        reached = max((epoch for epoch in self.reported if epoch <= record.epoch), default=None)
        if reached is None:
            return value
        return f"{value} (paper {self.reported[reached]:.4f} @ {reached})"


@dataclass
class Tally:
    """Counts of the trials that are done, failed and left."""

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


def _retry(failure: Failure, attempt: int, wait_s: float) -> str:
    follows = f"attempt {attempt} follows in {wait_s:.0f} s"
    if failure.kind is FailureKind.SCIENTIFIC:
        failed = f"failed after epoch {failure.epoch} ({failure.error}: {failure.message})"
        return f"{failed}; {follows} in a fresh process, to see whether it happens again"
    return f"{failure.message}; {follows}"


class PlainView:
    """Prints lines for a log: a trial's start, its end, and its epoch from time to time."""

    def __init__(self, console: Console, total: int, headlines: Mapping[str, Headline]) -> None:
        self._console = console
        self._tally = Tally(total)
        self._headlines = headlines
        self._printed_at: dict[str, float] = {}

    def _print(self, text: str) -> None:
        self._console.print(text, highlight=False, markup=False, soft_wrap=True)

    def started(self, job: Job, epoch: int) -> None:
        """Print that the trial starts, and from which epoch."""
        origin = f", from epoch {epoch + 1}" if epoch else ""
        self._print(f"{_name(job)}: started{origin}")
        self._printed_at[job.spec.id] = time.monotonic()

    def progressed(self, job: Job, record: EpochRecord) -> None:
        """Print the epoch, at most every `PLAIN_INTERVAL_S` seconds."""
        now = time.monotonic()
        if now - self._printed_at.get(job.spec.id, now) < PLAIN_INTERVAL_S:
            return
        self._printed_at[job.spec.id] = now
        headline = self._headlines.get(job.experiment)
        value = f": {headline.text(record)}" if headline else ""
        self._print(f"{_name(job)}: epoch {record.epoch}/{job.epochs}{value}")

    def retrying(self, job: Job, failure: Failure, *, attempt: int, wait_s: float) -> None:
        """Print why the attempt ended and when the next one starts."""
        self._print(f"{_name(job)}: {_retry(failure, attempt, wait_s)}")

    def ended(self, job: Job, failure: Failure | None) -> None:
        """Print how the trial ended and how many are left."""
        self._tally.end(failure)
        how = "done" if failure is None else f"FAILED ({failure.error}: {failure.message})"
        self._print(f"{_name(job)}: {how}; {self._tally}")


class TimeLeft:
    """Estimates when the trials end, from the mean duration of each experiment's epochs.

    Experiments are kept apart, because an epoch of one may take a hundred times as long as an
    epoch of another.
    """

    def __init__(self, jobs: Sequence[Job]) -> None:
        self._left = {job.spec.id: (job.experiment, job.epochs) for job in jobs}
        self._seconds: dict[str, list[float]] = {}
        self._running: set[str] = set()
        self._ends_at: float | None = None

    def started(self, job: Job, epoch: int) -> None:
        """Count the trial as running, from an epoch that is recorded already."""
        self._running.add(job.spec.id)
        self._left[job.spec.id] = job.experiment, job.epochs - epoch

    def progressed(self, job: Job, record: EpochRecord, now: float) -> None:
        """Count an epoch, and estimate again; `now` is a monotonic time in seconds."""
        self._seconds.setdefault(job.experiment, []).append(record.seconds)
        self._left[job.spec.id] = job.experiment, job.epochs - record.epoch
        self._ends_at = now + self._estimate()

    def ended(self, job: Job) -> None:
        """Count the trial as ended, whatever epoch it reached."""
        self._left.pop(job.spec.id, None)
        self._running.discard(job.spec.id)

    def seconds(self, now: float) -> float | None:
        """The time left in seconds; None before the first epoch."""
        return None if self._ends_at is None else max(0.0, self._ends_at - now)

    def _estimate(self) -> float:
        """Work left in seconds, shared by the running trials, but at least the longest trial."""
        means = {name: mean(seconds) for name, seconds in self._seconds.items()}
        other = mean(means.values())
        work = [epochs * means.get(name, other) for name, epochs in self._left.values()]
        return max(sum(work) / max(1, len(self._running)), max(work, default=0.0))


class TimeLeftColumn(ProgressColumn):
    """Shows the time left for all trials, and nothing beside a single trial."""

    def __init__(self, left: TimeLeft) -> None:
        super().__init__()
        self._left = left

    def render(self, task: Task) -> Text:
        """Show hours, minutes and seconds, rounded more coarsely the more time is left."""
        if "all" not in task.fields:
            return Text()
        seconds = self._left.seconds(time.monotonic())
        if seconds is None:
            return Text()
        step = 60 if seconds > 600 else 10 if seconds > 60 else 1
        rounded = timedelta(seconds=step * ceil(seconds / step))
        return Text(f"{rounded} left", style="progress.remaining")


STARTING = "starting the first worker ..."
"""Shown before any trial runs: workers import their libraries first."""


class LiveView:
    """Shows a bar for each running trial and one for all of them, on a terminal."""

    def __init__(
        self,
        progress: Progress,
        jobs: Sequence[Job],
        headlines: Mapping[str, Headline],
        left: TimeLeft,
    ) -> None:
        self._progress = progress
        self._tally = Tally(len(jobs))
        self._headlines = headlines
        self._left = left
        # The bar counts epochs, because trials end too rarely to show that something moves.
        epochs = sum(job.epochs for job in jobs)
        self._all = progress.add_task("all trials", total=epochs, estimate=STARTING, all=True)
        self._bars: dict[str, TaskID] = {}
        self._at: dict[str, int] = {}

    def started(self, job: Job, epoch: int) -> None:
        """Show the trial's bar, at the epoch from which it resumes."""
        self._progress.update(self._all, estimate=str(self._tally))
        self._left.started(job, epoch)
        self._move(job, epoch)
        if job.spec.id not in self._bars:
            bar = self._progress.add_task(_name(job), total=job.epochs, estimate="")
            self._bars[job.spec.id] = bar
        self._progress.update(self._bars[job.spec.id], completed=epoch)

    def progressed(self, job: Job, record: EpochRecord) -> None:
        """Move the trial's bar and show the estimate beside the reported value."""
        self._move(job, record.epoch)
        self._left.progressed(job, record, time.monotonic())
        headline = self._headlines.get(job.experiment)
        self._progress.update(
            self._bars[job.spec.id],
            completed=record.epoch,
            estimate=headline.text(record) if headline else "",
        )

    def retrying(self, job: Job, failure: Failure, *, attempt: int, wait_s: float) -> None:
        """Show beside the trial's bar why the attempt was lost."""
        bar = self._bars.get(job.spec.id)
        if bar is not None:
            self._progress.update(bar, estimate=_retry(failure, attempt, wait_s))

    def ended(self, job: Job, failure: Failure | None) -> None:
        """Remove the trial's bar and count the trial."""
        self._tally.end(failure)
        self._left.ended(job)
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
        """Move the bar of all trials by the epochs that this one gained, or lost to a retry."""
        self._progress.advance(self._all, epoch - self._at.get(job.spec.id, 0))
        self._at[job.spec.id] = epoch


@contextmanager
def watching(
    console: Console, experiments: Sequence[Experiment], jobs: Sequence[Job], *, quiet: bool
) -> Iterator[TrialView]:
    """Choose the view that fits the output: bars, lines or nothing."""
    pairs = ((experiment.id, Headline.of(experiment)) for experiment in experiments)
    headlines = {name: headline for name, headline in pairs if headline}
    if quiet:
        yield SilentView()
    elif not console.is_terminal:
        yield PlainView(console, len(jobs), headlines)
    else:
        left = TimeLeft(jobs)
        columns = (
            TextColumn("{task.description}", markup=False),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TimeLeftColumn(left),
            TextColumn("{task.fields[estimate]}", markup=False),
        )
        with Progress(*columns, console=console, transient=True) as progress:
            yield LiveView(progress, jobs, headlines, left)


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
    """Print warnings of the harness on the console, one line each."""
    handler = RichHandler(console=console, show_time=False, show_path=False, markup=False)
    logger = logging.getLogger("harness")
    logger.handlers = [handler]
    logger.setLevel(logging.WARNING)
