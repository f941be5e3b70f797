"""Run the trials of a session, judge them, write the report, and send the verdicts to MLflow.

What trials send is stored first, then shown to an observer and passed on to MLflow. SIGINT, SIGTERM
and SIGHUP stop a run in order; a second signal ends the process at once.
"""

import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Protocol

from harness import cluster_address, workloads
from harness.cluster_address import ClusterAddress
from harness.errors import Exit, StoppedError, number_of
from harness.manifest import Experiment
from harness.options import Again, RunOptions, data_folder
from harness.plan import Job, named
from harness.record import (
    Checkpoint,
    EpochRecord,
    Failure,
    Finished,
    Message,
    PastFailure,
    Started,
)
from harness.session.permission import remember_permission, require_permission
from harness.session.reports import Reports
from harness.session.session import Session
from harness.session.tracking import OFF, Tracking, Untracked, open_tracking, refuse_unusable
from harness.store import Store
from harness.variables import carried
from harness.verdict import ExperimentVerdict, exit_code
from harness.workload import Packing


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


_CODES = {
    signal.SIGINT: Exit.INTERRUPTED,
    signal.SIGTERM: Exit.TERMINATED,
    # The terminal or the ssh session closed. Scripts treat it as SIGTERM.
    signal.SIGHUP: Exit.TERMINATED,
}


class Stop(threading.Event):
    """An event that the first signal sets; `exit_code` says which signal it was."""

    exit_code: Exit = Exit.AS_EXPECTED


@contextmanager
def stop_on_signals() -> Iterator[Stop]:
    """Provide an event that SIGINT, SIGTERM or SIGHUP sets, for as long as the context lasts.

    A signal that the caller ignores stays ignored: `nohup` ignores SIGHUP so that a study goes on.
    Python lets only the main thread handle signals; in any other thread the event is never set.
    """
    stop = Stop()
    if threading.current_thread() is not threading.main_thread():
        yield stop
        return
    before = {number: signal.getsignal(number) for number in _CODES}
    handled = [number for number, handler in before.items() if handler is not signal.SIG_IGN]

    def ask(number: int, _frame: FrameType | None) -> None:
        stop.exit_code = _CODES[signal.Signals(number)]
        stop.set()
        # The default handlers are back, so a second signal ends the process at once.
        for handled_signal in handled:
            signal.signal(handled_signal, signal.SIG_DFL)

    for number in handled:
        signal.signal(number, ask)
    try:
        yield stop
    finally:
        for number in handled:
            signal.signal(number, before[number])


@dataclass(frozen=True)
class RunResult:
    """The verdicts of a run, and the files that report them."""

    verdicts: tuple[ExperimentVerdict, ...]
    reports: Reports

    @property
    def exit_code(self) -> Exit:
        """The exit code that the command line ends with after this run."""
        return exit_code(self.verdicts)


def run_session(
    session: Session,
    options: RunOptions,
    observer: Observer | None = None,
    *,
    report: Path | None = None,
) -> RunResult:
    """Run every trial that is not done, judge all of them, and send the verdicts to MLflow.

    Args:
        session: the experiments, the selection and the workspace.
        options: how trials are run.
        observer: receives the progress; by default nothing is shown.
        report: folder for the report; by default `report` in the workspace.

    Raises:
        StoppedError: a signal stopped the run; the next run resumes from the store.
        HarnessError: no cluster, no data, a full disk. Durable records stay.
    """
    observer = observer or SilentObserver()
    store = session.store
    # Check everything that can be refused before anything is written.
    total = len(session.jobs())
    if options.tracking_uri != OFF:
        refuse_unusable(options.tracking_uri, store.root)
    address = cluster_address.choose(options.address, named_by=options.address_named_by)
    carried(session.readers())
    _require_permission(session, options)
    with (
        store.lock(),
        stop_on_signals() as stop,
        open_tracking(options.tracking_uri, session) as tracking,
    ):
        if options.allow_commands:
            remember_permission(session.executions, session.allowed_in or store.root)
        if options.from_records:
            for line in session.take_over():
                observer.note(line)
        session.declare()
        session.record_requests()
        if options.again is Again.FAILED:
            observer.note(f"{number_of(session.reopen_failed(), 'failed trial')} to run again")
        for line in session.selection.without_effect(session.experiments):
            observer.note(line)
        left = session.left()
        observer.note(f"{number_of(total, 'trial')}, {total - len(left)} of them done")
        if left:
            run_on_ray(
                left, session, options, observer, address=address, tracking=tracking, stop=stop
            )
        if stop.exit_code is not Exit.AS_EXPECTED:
            raise StoppedError(stop.exit_code)
        verdicts = session.verdicts()
        reports = Reports.write(verdicts, report or store.root / "report")
        tracking.conclude(verdicts, reports)
    return RunResult(verdicts, reports)


def run_on_ray(
    left: Sequence[Job],
    session: Session,
    options: RunOptions,
    observer: Observer,
    *,
    address: ClusterAddress | None,
    tracking: Tracking,
    stop: Stop,
) -> None:
    """Run these trials on Ray, under the store's lock, until all have ended or `stop` is set.

    Raises:
        HarnessError: as in `run_session`.
    """
    with Trials(options, observer, address=address, stop=stop) as trials:
        trials.run(left, session, tracking)


class Trials:
    """Runs trials on one Ray cluster, which starts with the first of them.

    Args:
        options: how trials are run. The time limit holds for all of them together.
        observer: receives the progress.
        address: of the cluster to join; None starts one.
        stop: once it is set, nothing more starts.
    """

    def __init__(
        self,
        options: RunOptions,
        observer: Observer,
        *,
        address: ClusterAddress | None,
        stop: Stop,
    ) -> None:
        self._options = options
        self._observer = observer
        self._address = address
        self._stop = stop
        self._opened = ExitStack()
        self._started = False

    def __enter__(self) -> "Trials":
        return self

    def __exit__(self, *exception: object) -> None:
        self._opened.close()

    def run(self, left: Sequence[Job], session: Session, tracking: Tracking | None = None) -> None:
        """Run these trials, under the store's lock, until all have ended or `stop` is set.

        Raises:
            HarnessError: as in `run_session`.
        """
        _require_permission(session, self._options)
        from harness import engine  # noqa: PLC0415 - Ray takes seconds to import; only runs need it

        # Report a missing folder before Ray starts. Without data sets no folder is needed.
        needed = any(job.spec.data for job in left)
        folder = data_folder(self._options.data) if needed else Path()
        if not self._started:
            for line in _without_packs(left, session, self._options):
                self._observer.note(line)
        self._start()
        with self._observer.watch(session.experiments, left) as view:
            avoided = engine.run(
                left,
                Recorder(session.store, view, (tracking or Untracked()).notify),
                workloads=session.programs,
                load_data=lambda workload, name: workload.load_data(name, folder),
                options=self._options,
                stop=self._stop,
            )
        for node in avoided:
            self._observer.note(node)

    def _start(self) -> None:
        """Start or join the cluster, unless that was done."""
        if self._started:
            return
        from harness import engine  # noqa: PLC0415 - as above

        # This takes up to a minute, in which no trial moves.
        at = "starting Ray" if self._address is None else f"joining Ray at {self._address.text}"
        self._observer.note(f"{at} ...")
        self._opened.enter_context(engine.cluster(self._address, packages=workloads.packages()))
        self._opened.enter_context(_limited(self._stop, self._options.time_limit_min))
        self._started = True


def _require_permission(session: Session, options: RunOptions) -> None:
    folder = session.allowed_in or session.store.root
    require_permission(session.executions, folder, given=options.allow_commands)


def _without_packs(left: Sequence[Job], session: Session, options: RunOptions) -> Iterator[str]:
    """Say which experiments' trials run alone although packs of a given size were asked for."""
    if options.pack in ("1", "auto"):  # one trial alone, or whatever is faster
        return
    alone = (job for job in left if not isinstance(session.programs[job.spec.program], Packing))
    if names := list(dict.fromkeys(job.experiment for job in alone)):
        why = "cannot run several seeds as one program"
        yield f"--pack {options.pack} has no effect on {named(names)}: the workload {why}"


@contextmanager
def _limited(stop: Stop, time_limit_min: float | None) -> Iterator[None]:
    """Set `stop` when the time is up. Its exit code stays 0, because no signal came."""
    if time_limit_min is None:
        yield
        return
    timer = threading.Timer(60 * time_limit_min, stop.set)
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()
