"""Send trials to MLflow while they run, and the verdicts once they are judged."""

import logging
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Protocol
from urllib.parse import urlsplit

from harness.errors import Exit, HarnessError, UsageError, without_secrets
from harness.report.text import columns, description, not_severe
from harness.session.reports import Reports
from harness.session.session import Session
from harness.verdict import ExperimentVerdict

if TYPE_CHECKING:
    from harness.tracking import Conclusion, Tracked, Tracker

log = logging.getLogger(__name__)

OFF = "none"
"""Turns tracking off when given instead of an address."""

LONGEST_DATABASE_PATH = 504
"""In bytes: SQLite's limit of 512 (`MAX_PATHNAME`) minus the ending of its journal's name."""


class TrackingError(HarnessError):
    """MLflow does not answer, or did not take everything."""

    exit_code = Exit.INCOMPLETE


def chart_links(url: str) -> dict[str, str]:
    """Return the address of each experiment's charts on a running MLflow server, by name.

    Raises:
        UsageError: `url` is not an http address.
        TrackingError: the server does not answer.
    """
    from harness import tracking  # noqa: PLC0415 - MLflow takes seconds to import

    refuse_malformed("--mlflow-url", url)
    if not url.startswith(("http://", "https://")):
        wanted = "must be an address such as http://127.0.0.1:5000"
        raise UsageError(f"--mlflow-url: {wanted}, got {without_secrets(url)}")
    try:
        # Others may read the page, so its links carry no password.
        return tracking.chart_urls(url, re.sub(r"://\S*@", "://", url))
    except tracking.TROUBLE as trouble:
        raise TrackingError(without_secrets(f"{url}: {tracking.cause(trouble)}")) from trouble


def refuse_malformed(option: str, uri: str) -> None:
    """Refuse a malformed address.

    Raises:
        UsageError: the address is malformed.
    """
    try:
        parts = urlsplit(uri)
        sound = parts.netloc.count("@") <= 1 and parts.port != 0
    except ValueError:  # its message may quote the password
        sound = False
    if not sound:
        hint = "in a password, write @ as %40, / as %2F and : as %3A"
        raise UsageError(f"{option}: {without_secrets(uri)} is no address; {hint}")


def refuse_unusable(uri: str | None, workspace: Path) -> None:
    """Refuse a malformed address, and a workspace whose path MLflow cannot use.

    MLflow needs a path in UTF-8 that is not too long. Every character works, since URIs are quoted.

    Raises:
        UsageError: the message says what to do instead.
    """
    if uri:
        refuse_malformed("--tracking-uri", uri)
        return
    path = os.fsencode(workspace.resolve() / "mlflow" / "mlflow.db")
    instead = "choose another folder, or give --tracking-uri (none turns tracking off)"
    try:
        path.decode("utf-8")
    except UnicodeDecodeError as error:
        byte = f"the byte 0x{path[error.start]:02x}, which is not UTF-8"
        why = "MLflow would keep its artifacts under another name"
        raise UsageError(f"--workspace {path!r}: holds {byte}; {why}; {instead}") from None
    if len(path) > LONGEST_DATABASE_PATH:
        length = f"{len(path)} bytes long, and SQLite takes {LONGEST_DATABASE_PATH}"
        raise UsageError(
            f"--workspace {workspace}: the path of its database is {length}; {instead}"
        )


class Tracking(Protocol):
    """Sends a run to MLflow."""

    def notify(self, trial_id: str) -> None:
        """Tell MLflow that a trial has new durable records."""

    def conclude(self, verdicts: Sequence[ExperimentVerdict], reports: Reports) -> None:
        """Send the verdicts and the report."""


class Untracked:
    """Does nothing, for runs without tracking."""

    def notify(self, trial_id: str) -> None:
        """Do nothing."""

    def conclude(self, verdicts: Sequence[ExperimentVerdict], reports: Reports) -> None:
        """Do nothing."""


class MlflowTracking:
    """Sends a run to MLflow, which it imports and opens in a thread of its own.

    MLflow takes seconds to import while Ray starts. Notifications wait until the tracker is open.
    """

    def __init__(self, uri: str | None, session: Session) -> None:
        self._session = session
        self._opener = ThreadPoolExecutor(1, "open MLflow")
        self._opened = self._opener.submit(_tracker, uri, session)

    def notify(self, trial_id: str) -> None:
        """Tell MLflow that a trial has new durable records."""
        self._opened.add_done_callback(lambda opened: _notify(opened, trial_id))

    def conclude(self, verdicts: Sequence[ExperimentVerdict], reports: Reports) -> None:
        """Write the verdicts, the report and the figures to the runs."""
        if tracker := self._ready():
            tracker.conclude(conclusions(verdicts, reports, self._session))

    def close(self) -> None:
        """Send the rest, within a bounded time."""
        if tracker := self._ready():
            tracker.close()

    def _ready(self) -> "Tracker | None":
        """Wait for the tracker until it has every earlier notification."""
        self._opener.shutdown()
        return self._opened.result()


def _tracker(uri: str | None, session: Session) -> "Tracker | None":
    try:
        from harness import tracking  # noqa: PLC0415 - MLflow takes seconds to import
    except ImportError as error:
        log.warning("not tracked, since MLflow cannot be imported: %s", error)
        return None
    workspace = session.store.root
    return tracking.Tracker(
        uri or tracking.default_uri(workspace),
        workspace=workspace,
        read=session.store.read,
        kept=session.store.kept,
        tracked=tracked(session),
    )


def _notify(opened: "Future[Tracker | None]", trial_id: str) -> None:
    """Notify the tracker if it could be opened. If not, `close` raises the reason."""
    if opened.exception() is None and (tracker := opened.result()):
        tracker.notify(trial_id)


@contextmanager
def open_tracking(uri: str | None, session: Session) -> Iterator[Tracking]:
    """Open MLflow for as long as the context lasts. Trials do not depend on it.

    Raises:
        UsageError: the address is malformed.
    """
    if uri == OFF:
        yield Untracked()
        return
    refuse_unusable(uri, session.store.root)
    with closing(MlflowTracking(uri, session)) as tracking:
        yield tracking


def tracked(session: Session) -> "list[Tracked]":
    """List the experiments with the ids of their trials, for the tracker."""
    from harness.tracking import Tracked  # noqa: PLC0415 - as above

    return [
        Tracked(experiment, tuple(session.trials[experiment.id].values()))
        for experiment in session.experiments
    ]


def _tags(verdict: ExperimentVerdict, seed: int | None = None) -> Mapping[str, str]:
    """The tags of a run: how its values compare, and whether the verdict could exclude rivals."""
    if verdict.severity is None:
        return columns(verdict, seed)
    weak = "; ".join(not_severe(verdict.severity))
    return {**columns(verdict, seed), "severity": weak or "severe"}


def conclusions(
    verdicts: Sequence[ExperimentVerdict], reports: Reports, session: Session
) -> "list[Conclusion]":
    """Turn verdicts into the tags, descriptions and files of MLflow's runs."""
    from harness.tracking import Conclusion, Telling  # noqa: PLC0415 - as above

    groups: dict[str, list[ExperimentVerdict]] = {}
    for verdict in verdicts:
        groups.setdefault(verdict.experiment.group, []).append(verdict)
    # A grid's pages are about all of its cells. They go to one run: the last, on what is between
    # cells, if there is one.
    about = {group[-1].id: group for group in groups.values()}
    return [
        Conclusion(
            experiment=verdict.id,
            verdict=verdict.badge,
            as_expected=bool(verdict.as_expected),
            pages=reports.pages(about[verdict.id]) if verdict.id in about else {},
            files=reports.files(verdict) if verdict.id in about else (),
            whole=Telling(description(verdict), _tags(verdict)),
            trials={
                trial_id: Telling(description(verdict, seed), _tags(verdict, seed))
                for seed, trial_id in session.trials[verdict.id].items()
            },
        )
        for verdict in verdicts
    ]
