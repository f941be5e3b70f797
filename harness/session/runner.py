"""Run what is left of some experiments, then judge all of it: what `run` and `nightly` share."""

import os
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import typer
from rich.console import Console

from harness import workloads
from harness.cli.driver import Recorder
from harness.cli.evidence import Evidence
from harness.cli.live import watching
from harness.cli.reports import Reports
from harness.cli.signals import Stop, stop_on_signals
from harness.cli.tracking import Tracking, open_tracking
from harness.errors import Exit
from harness.plan import Job
from harness.verdict import ExperimentVerdict


@dataclass(frozen=True, kw_only=True)
class How:
    """How trials are run; none of it changes what they find."""

    data: Path
    address: str | None = None
    tracking_uri: str | None = None
    retries: int = 3
    deadline_s: float = 600
    """Without progress for so long, a trial counts as lost."""
    isolate: bool = False
    quiet: bool = False
    from_records: bool = False
    """Whether trials that are finished in the committed records are taken over, not run."""
    time_limit_s: float | None = None
    """For all trials together; what is not done by then is left, and counts as missing."""

    @property
    def joined(self) -> str | None:
        """The cluster to join; inside a submitted job Ray names in the environment whose it is."""
        return self.address or os.environ.get("RAY_ADDRESS")


@dataclass(frozen=True)
class Conducted:
    """What was found, and where it is told."""

    verdicts: tuple[ExperimentVerdict, ...]
    reports: Reports


def conduct(
    evidence: Evidence, how: How, console: Console, *, report: Path | None = None
) -> Conducted:
    """Run every trial that is not done, judge all of them, and tell MLflow.

    Args:
        evidence: what is asked for, and the store.
        how: how trials are run.
        console: for whoever watches.
        report: the folder of the report; by default the workspace's own.

    Raises:
        typer.Exit: a signal asked to stop; the store resumes.
        HarnessError: no cluster, no data, no room: whatever is durable stays.
    """
    store = evidence.store
    # What cannot be asked for is refused before anything is made.
    total = len(evidence.jobs())
    if how.joined:
        _refuse_if_wrong(how.joined)
    with (
        store.lock(),
        stop_on_signals() as stop,
        open_tracking(how.tracking_uri, evidence) as tracking,
    ):
        if how.from_records:
            console.print("\n".join(evidence.take_over()), highlight=False, soft_wrap=True)
        evidence.declare()
        left = evidence.left()
        console.print(f"{total} trials, {total - len(left)} of them done")
        if left:
            run_trials(left, evidence, how, console, tracking=tracking, stop=stop)
        if stop.exit_code is not Exit.AS_EXPECTED:
            console.print("stopped; the same command goes on from here")
            raise typer.Exit(stop.exit_code)
        verdicts = evidence.verdicts()
        reports = Reports.write(verdicts, report or store.root / "report")
        tracking.conclude(verdicts, reports)
    return Conducted(verdicts, reports)


def _refuse_if_wrong(address: str) -> None:
    from harness import engine  # noqa: PLC0415 - Ray takes seconds to import; only runs need it

    engine.check(address)


def run_trials(
    left: Sequence[Job],
    evidence: Evidence,
    how: How,
    console: Console,
    *,
    tracking: Tracking,
    stop: Stop,
) -> None:
    """Run these trials on Ray, under the store's lock, until all have ended or `stop` is set.

    Raises:
        HarnessError: as of `conduct`.
    """
    from harness import engine  # noqa: PLC0415 - Ray takes seconds to import; only runs need it

    with (
        watching(console, evidence.experiments, left, quiet=how.quiet) as view,
        engine.cluster(how.joined, packages=workloads.packages()),
        _limited(stop, how.time_limit_s),
    ):
        engine.run(
            left,
            Recorder(evidence.store, view, tracking.notify),
            workloads=evidence.registry,
            load_data=lambda workload, name: workload.load_data(name, how.data),
            options=engine.Options(
                retries=how.retries, silence_s=how.deadline_s, isolate=how.isolate
            ),
            stop=stop,
        )


@contextmanager
def _limited(stop: Stop, time_limit_s: float | None) -> Iterator[None]:
    """Set `stop` once the time is up; its exit code then still says that no signal came."""
    if time_limit_s is None:
        yield
        return
    timer = threading.Timer(time_limit_s, stop.set)
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()
