"""Run the trials of a session, judge them, write the report, and send the verdicts to MLflow."""

import threading
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from harness import cluster_address, workloads
from harness.cluster_address import ClusterAddress
from harness.errors import Exit, StoppedError, number_of
from harness.options import Again, RunOptions, data_folder
from harness.plan import Job
from harness.session.permission import remember_permission, require_permission
from harness.session.progress import Observer, SilentObserver
from harness.session.recorder import Recorder
from harness.session.reports import Reports
from harness.session.session import Session
from harness.session.signals import Stop, stop_on_signals
from harness.session.tracking import OFF, Tracking, Untracked, open_tracking, refuse_unusable
from harness.variables import carried
from harness.verdict import ExperimentVerdict, exit_code


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
        left = session.left()
        observer.note(f"{number_of(total, 'trial')}, {total - len(left)} of them done")
        if left:
            run_trials(
                left, session, options, observer, address=address, tracking=tracking, stop=stop
            )
        if stop.exit_code is not Exit.AS_EXPECTED:
            raise StoppedError(stop.exit_code)
        verdicts = session.verdicts()
        reports = Reports.write(verdicts, report or store.root / "report")
        tracking.conclude(verdicts, reports)
    return RunResult(verdicts, reports)


def run_trials(
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
