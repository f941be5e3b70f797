"""Track trials live in a background thread, or replay them. Tracking never fails a trial."""

import logging
import re
import sqlite3
import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Self

import mlflow
from mlflow.exceptions import MlflowException
from sqlalchemy.exc import SQLAlchemyError  # MLflow uses SQLAlchemy and does not catch its errors

from harness.errors import HarnessError, number_of, without_secrets
from harness.tracking.projector import (
    Conclusion,
    Kept,
    Projector,
    Read,
    Tracked,
    nothing_kept,
)

_log = logging.getLogger(__name__)

TROUBLE = (MlflowException, SQLAlchemyError, sqlite3.Error, OSError, HarnessError, ImportError)
"""The errors of a server, a database, a missing database driver, a disk or the store.

Any other error is a bug in this program.
"""

_REFUSALS = {"INVALID_PARAMETER_VALUE", "INVALID_STATE", "RESOURCE_DOES_NOT_EXIST"}
"""MLflow's error codes for a request on a run or an experiment that was deleted."""

_SCHEMA = re.compile(
    r"found version (\w+), but expected|Can't locate revision identified by '(\w+)'"
)

_FIRST_PAUSE_S = 1.0
_LONGEST_PAUSE_S = 60.0

Job = Callable[[], object]


@dataclass(frozen=True)
class Summary:
    """How the tracking ended."""

    uri: str
    """The server or database, without passwords."""
    points: int
    """Number of points sent."""
    left: int
    """Number of steps that remain. `replay_store` does them."""
    trouble: str | None
    """The first problem, or None. If it is solved by now, `left` is 0."""
    deleted: tuple[str, ...] = ()
    """How to restore each experiment that was deleted in MLflow. It is not tracked until then."""


class Tracker:
    """Sends trials to MLflow while they run. Only `close` blocks. No method raises.

    If a trial is notified several times before its turn comes, it is sent once: the thread reads
    what the store holds at that time.
    """

    def __init__(
        self,
        uri: str,
        *,
        workspace: Path,
        read: Read,
        tracked: Iterable[Tracked],
        kept: Kept = nothing_kept,
    ) -> None:
        """Start the thread, which at once opens the experiments and sends the paper's runs.

        Args:
            uri: MLflow's server or database.
            workspace: the folder of the local database and of the workspace's name in MLflow.
            read: reads the durable part of a trial. The thread calls it.
            tracked: the experiments and their trials.
            kept: finds what a trial printed and left. The thread calls it once a trial has ended.
        """
        self._projector = Projector(uri, workspace=workspace, read=read, tracked=tracked, kept=kept)
        self._attempts = _Attempts(uri, self._projector)
        self._jobs: dict[tuple[str, str], Job] = {}
        self._failed = 0
        self._deadline: float | None = None
        self._closed: Summary | None = None
        self._changed = threading.Condition()
        # A daemon thread, so that a call that hangs cannot stop the process from ending.
        self._thread = threading.Thread(target=self._serve, name="tracking", daemon=True)
        self._put(("begin", ""), self._projector.begin)
        self._thread.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def notify(self, trial_id: str) -> None:
        """Tell the thread that the store holds new data of a trial."""
        self._put(("trial", trial_id), partial(self._projector.project, trial_id, live=True))

    def conclude(self, conclusions: Iterable[Conclusion]) -> None:
        """Show the verdicts in the runs and attach the reports."""
        for item in conclusions:
            self._put(("verdict", item.experiment), partial(self._projector.conclude, item))
            for trial_id in self._projector.trials_of(item.experiment):
                # Not `notify`: a job that waits already would run before the verdict is set.
                job = partial(self._projector.project, trial_id, live=True)
                self._put(("told", trial_id), job)

    def close(self, timeout_s: float = 30) -> Summary:
        """Send the rest within `timeout_s` seconds, and end all runs.

        A second call changes nothing and returns the same summary.
        """
        if self._closed is None:
            self._closed = self._close(timeout_s)
        return self._closed

    def _close(self, timeout_s: float) -> Summary:
        self._put(("settle", ""), self._projector.settle)
        with self._changed:
            if self._deadline is None:
                self._deadline = time.monotonic() + timeout_s
            self._changed.notify()
        self._thread.join(max(0, self._deadline - time.monotonic()))
        left = len(self._jobs) + self._failed + self._thread.is_alive()
        if left and self._attempts.answered:
            self._attempts.tell_behind(left, timeout_s)
        elif left:
            self._attempts.tell(f"no answer within {timeout_s:g} s")
        return self._attempts.summary(left)

    def _put(self, key: tuple[str, str], job: Job) -> None:
        with self._changed:
            self._jobs[key] = job
            self._changed.notify()

    def _serve(self) -> None:
        pause_s = _FIRST_PAUSE_S
        while (item := self._take()) is not None:
            key, job = item
            if self._attempts.make(job):
                pause_s = _FIRST_PAUSE_S
            else:
                self._keep(key, job)
                self._rest(pause_s)
                pause_s = min(2 * pause_s, _LONGEST_PAUSE_S)

    def _take(self) -> tuple[tuple[str, str], Job] | None:
        """Take the oldest job. Return None after the deadline, or if closing with no job left."""
        with self._changed:
            self._changed.wait_for(lambda: self._jobs or self._deadline is not None)
            if self._deadline is not None and time.monotonic() > self._deadline:
                return None
            key = next(iter(self._jobs), None)
            return None if key is None else (key, self._jobs.pop(key))

    def _keep(self, key: tuple[str, str], job: Job) -> None:
        """Keep a failed job for a retry. While closing, do not retry: count the failure."""
        with self._changed:
            if self._deadline is None:
                self._jobs.setdefault(key, job)
            else:
                self._failed += 1

    def _rest(self, pause_s: float) -> None:
        with self._changed:
            self._changed.wait_for(lambda: self._deadline is not None, timeout=pause_s)


def replay_store(
    uri: str,
    *,
    workspace: Path,
    read: Read,
    tracked: Iterable[Tracked],
    conclusions: Iterable[Conclusion] = (),
    kept: Kept = nothing_kept,
) -> Summary:
    """Replay the store: send everything that MLflow lacks."""
    projector = Projector(uri, workspace=workspace, read=read, tracked=tracked, kept=kept)
    attempts = _Attempts(uri, projector)
    jobs: list[Job] = [partial(projector.conclude, item) for item in conclusions]
    jobs += [partial(projector.project, trial_id, live=False) for trial_id in projector.trials]
    if not attempts.make(projector.begin):
        return attempts.summary(1 + len(jobs))
    return attempts.summary(sum(not attempts.make(job) for job in jobs))


class _Attempts:
    """Runs jobs that may fail. Logs the first problem and each deleted experiment once."""

    def __init__(self, uri: str, projector: Projector) -> None:
        self._uri = without_secrets(uri)
        self._projector = projector
        self._trouble: str | None = None
        self._told: set[str] = set()
        self.answered = False
        """Whether any job succeeded."""

    def make(self, job: Job) -> bool:
        """Run a job. Return whether it succeeded.

        If MLflow refuses the job because our cached state is stale (for example, a user deleted
        a run), read the state again and retry the job once, immediately.
        """
        done = self._try(job)
        self.answered |= done
        for message in self._projector.deleted.values():
            if message not in self._told:
                self._told.add(message)
                _log.warning("%s", message)
        return done

    def _try(self, job: Job, *, again: bool = True) -> bool:
        try:
            job()
        except TROUBLE as error:
            self._projector.forget()
            if again and _was_refused(error):
                return self._try(job, again=False)
            self.tell(cause(error))
            return False
        return True

    def tell(self, trouble: str) -> None:
        """Log the first problem as a warning. Later ones would tell the reader nothing new."""
        if self._trouble is None:
            self._trouble = without_secrets(trouble)[:300]
            _log.warning(
                "tracking at %s does not work for now (%s); trials are not affected, and "
                "`harness sync` sends later what it misses",
                self._uri,
                self._trouble,
            )

    def tell_behind(self, left: int, waited_s: float) -> None:
        """Log how far MLflow is behind, unless there was a problem, which explains it."""
        if self._trouble is None:
            self._trouble = f"{number_of(left, 'step')} behind after {waited_s:g} s"
            _log.warning(
                "tracking at %s is %s; trials are not affected, and `harness sync` sends the rest",
                self._uri,
                self._trouble,
            )

    def summary(self, left: int) -> Summary:
        """Summarise all jobs. `left` is the number of steps that remain."""
        deleted = tuple(self._projector.deleted.values())
        return Summary(self._uri, self._projector.sent, left, self._trouble, deleted)


def _was_refused(error: BaseException) -> bool:
    """Whether MLflow refused a request on a run or an experiment, instead of failing."""
    return isinstance(error, MlflowException) and error.error_code in _REFUSALS


def cause(error: BaseException) -> str:
    """Describe the innermost error in one line: MLflow wraps it in three others."""
    if schema := _SCHEMA.search(str(error)):
        return _of_another_version(schema[1] or schema[2])
    while cause := error.__cause__ or (None if error.__suppress_context__ else error.__context__):
        error = cause
    return f"{type(error).__name__}: {(str(error).splitlines() or [''])[0]}"


def _of_another_version(revision: str) -> str:
    """Say what to do about a database whose tables another version of MLflow created."""
    scripts = Path(mlflow.__file__).parent / "store" / "db_migrations" / "versions"
    if any(scripts.glob(f"{revision}_*.py")):
        return "the database's tables are of an older MLflow; back it up, then `mlflow db upgrade`"
    return (
        f"the database's tables are of another MLflow than {mlflow.__version__}, which is "
        f"installed: probably a newer one (schema {revision}); install that one, or name another "
        "database by --tracking-uri"
    )
