"""Commands around MLflow: replay the store into it, and look at it."""

import logging
import os
import signal
import socket
import subprocess
import threading
import time
import urllib.error
import urllib.request
import webbrowser
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Annotated, Protocol

import typer

from harness.cli import options
from harness.cli.evidence import Evidence
from harness.cli.inspect import load
from harness.cli.reports import Reports
from harness.cli.signals import stop_on_signals
from harness.errors import Exit, HarnessError, UsageError
from harness.report.story import columns, story
from harness.store import Store
from harness.verdict import ExperimentVerdict

if TYPE_CHECKING:
    from harness.tracking import Conclusion, ServerCommand, Tracked, Tracker

log = logging.getLogger(__name__)

OFF = "none"
"""In place of an address: no tracking."""

LOCAL = "127.0.0.1"
POLL_S = 0.2

UI_START_S = 120
"""MLflow's server imports for seconds, and for longer on a busy machine."""


class TrackingError(HarnessError):
    """MLflow is not there, or does not hold what was to be sent."""

    exit_code = Exit.INCOMPLETE


class Tracking(Protocol):
    """What a run tells MLflow, if it is there."""

    def notify(self, trial_id: str) -> None:
        """More of a trial is durable."""

    def conclude(self, verdicts: Sequence[ExperimentVerdict], reports: Reports) -> None:
        """The verdicts are known."""


class Untracked:
    """In MLflow's place where tracking is off, or MLflow is not installed."""

    def notify(self, trial_id: str) -> None:
        """Nothing."""

    def conclude(self, verdicts: Sequence[ExperimentVerdict], reports: Reports) -> None:
        """Nothing."""


class MlflowTracking:
    """MLflow's tracker, told of verdicts in its own terms."""

    def __init__(self, tracker: "Tracker", evidence: Evidence) -> None:
        self.notify = tracker.notify
        self._tracker = tracker
        self._evidence = evidence

    def conclude(self, verdicts: Sequence[ExperimentVerdict], reports: Reports) -> None:
        """Let the runs tell the verdicts, and attach report and figures."""
        self._tracker.conclude(conclusions(verdicts, reports, self._evidence))


@contextmanager
def open_tracking(uri: str | None, evidence: Evidence) -> Iterator[Tracking]:
    """MLflow for as long as the context lasts; whatever befalls it, trials are not affected."""
    if uri == OFF:
        yield Untracked()
        return
    try:
        from harness import tracking  # noqa: PLC0415 - MLflow takes seconds to import
    except ImportError as error:
        log.warning("not tracked, since MLflow cannot be imported: %s", error)
        yield Untracked()
        return
    workspace = evidence.store.root
    with tracking.Tracker(
        uri or tracking.default_uri(workspace),
        workspace=workspace,
        read=evidence.store.read,
        tracked=tracked(evidence),
    ) as tracker:
        yield MlflowTracking(tracker, evidence)


def tracked(evidence: Evidence) -> "list[Tracked]":
    """The experiments, and which trials are whose."""
    from harness.tracking import Tracked  # noqa: PLC0415 - as above

    return [
        Tracked(experiment, tuple(evidence.trials[experiment.id].values()))
        for experiment in evidence.experiments
    ]


def conclusions(
    verdicts: Sequence[ExperimentVerdict], reports: Reports, evidence: Evidence
) -> "list[Conclusion]":
    """The verdicts as MLflow's runs are to tell them."""
    from harness.tracking import Conclusion, Telling  # noqa: PLC0415 - as above

    return [
        Conclusion(
            experiment=verdict.id,
            verdict=verdict.verdict,
            as_expected=bool(verdict.as_expected),
            pages=reports.pages([verdict]),
            files=reports.files(verdict),
            whole=Telling(story(verdict), columns(verdict)),
            trials={
                trial_id: Telling(story(verdict, seed), columns(verdict, seed))
                for seed, trial_id in evidence.trials[verdict.id].items()
            },
        )
        for verdict in verdicts
    ]


def sync(
    paths: options.Paths,
    seeds: options.Seeds = None,
    epochs: options.Epochs = None,
    workspace: options.Workspace = options.DEFAULT_WORKSPACE,
    tracking_uri: options.TrackingUri = None,
) -> None:
    """Send MLflow whatever it does not have yet of the stored trials; twice does nothing more.

    Example: harness sync experiments --tracking-uri http://127.0.0.1:5000
    """
    from harness import tracking  # noqa: PLC0415 - as above

    store = Store(workspace)
    evidence = Evidence(load(paths), options.selection(seeds, epochs), store)
    with store.lock():
        verdicts = evidence.verdicts()
        summary = tracking.sync(
            tracking_uri or tracking.default_uri(workspace),
            workspace=workspace,
            read=store.read,
            tracked=tracked(evidence),
            conclusions=conclusions(
                verdicts, Reports.write(verdicts, workspace / "report"), evidence
            ),
        )
    if summary.left:
        raise TrackingError(f"{summary.uri}: {summary.left} steps not done: {summary.trouble}")
    typer.echo(f"{summary.uri}: {summary.points} points sent, nothing left")


def ui(
    workspace: options.Workspace = options.DEFAULT_WORKSPACE,
    port: Annotated[int, typer.Option(min=1, max=65535, help="Port to listen on.")] = 5000,
    host: Annotated[
        str, typer.Option(help="Address to listen on; any other lets other machines in.")
    ] = LOCAL,
    open_: Annotated[bool, typer.Option("--open", help="Open a browser at the charts.")] = False,
) -> None:
    """Serve the workspace's MLflow on this machine, and print where each experiment is drawn.

    It serves until Ctrl-C or SIGTERM, which is its orderly end: exit 0.

    Example: harness ui --workspace results --open
    """
    from harness import tracking  # noqa: PLC0415 - as above

    database = workspace / "mlflow" / "mlflow.db"
    if not database.exists():
        raise TrackingError(f"{database}: not there; `harness run` or `harness sync` makes it")
    _refuse_port_in_use(host, port)
    base = f"http://{host}:{port}"
    command = tracking.ui_command(workspace, port, host)
    urls = tracking.chart_urls(tracking.default_uri(workspace), base)
    with stop_on_signals() as stop, _serving(command) as server:
        if not _answers(server, base, stop):
            return
        for name, url in urls.items():
            typer.echo(f"{name}: {url}")
        typer.echo("Ctrl-C ends it")
        if open_:
            webbrowser.open(next(iter(urls.values()), base))
        while not stop.wait(POLL_S):
            _refuse_ended(server)


def _refuse_port_in_use(host: str, port: int) -> None:
    """MLflow would say so after seconds, in a traceback."""
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # as the server itself does
        try:
            probe.bind((host, port))
        except OSError as error:
            raise UsageError(f"--port {port} on {host}: {error.strerror}; try another") from None


@contextmanager
def _serving(command: "ServerCommand") -> "Iterator[subprocess.Popen[bytes]]":
    """The server, in a group of its own: Ctrl-C reaches only us, and we end all of it."""
    server = subprocess.Popen(  # noqa: S603 - our own words only
        command.argv, env=command.env, start_new_session=True
    )
    try:
        yield server
    finally:
        with suppress(ProcessLookupError):  # it ended by itself
            os.killpg(server.pid, signal.SIGTERM)
        server.wait()


def _answers(server: "subprocess.Popen[bytes]", base: str, stop: threading.Event) -> bool:
    """Wait until MLflow answers; False where we are told to stop first.

    Raises:
        TrackingError: it ended, or does not answer in time.
    """
    until = time.monotonic() + UI_START_S
    while time.monotonic() < until:
        _refuse_ended(server)
        with suppress(urllib.error.URLError, TimeoutError):
            urllib.request.urlopen(f"{base}/health", timeout=1).close()  # noqa: S310 - http
            return True
        if stop.wait(POLL_S):
            return False
    raise TrackingError(f"{base}: MLflow's server did not answer within {UI_START_S} s")


def _refuse_ended(server: "subprocess.Popen[bytes]") -> None:
    if server.poll() is not None:
        raise TrackingError(f"MLflow's server ended with exit code {server.returncode}")
