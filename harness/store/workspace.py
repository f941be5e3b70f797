"""The workspace as a whole: its format, its lock, its trials."""

import json
import os
import re
import socket
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

from filelock import FileLock, Timeout
from pydantic_core import from_json

from harness.errors import StoreError
from harness.plan import Request
from harness.record import (
    FORMAT,
    Checkpoint,
    Failure,
    Finished,
    Message,
    PastFailure,
    Started,
    StoredTrial,
    TrialSpec,
    settled,
)
from harness.store import files, schemas
from harness.store.schemas import Result
from harness.store.trial_folder import TrialFolder, TrialWriter, adopt, attempts, remember, reopen

_ID = re.compile(r"[0-9a-f]{20}")


class Store:
    """A results folder. Reading writes nothing, and needs neither the lock nor the folder.

    Args:
        root: the workspace; one that is not there reads as empty.

    Raises:
        StoreError: it is of another format, or is no workspace.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self._trials = root / "trials"
        self._writers: dict[str, TrialWriter] = {}
        self._held = False
        self._check_format()

    @property
    def exists(self) -> bool:
        """Whether there is a workspace: a run that has only begun makes one."""
        return (self.root / "workspace.json").exists()

    def trials(self) -> Iterator[str]:
        """The ids of all trials of which anything is stored, in order."""
        with files.faults_named(self._trials):
            names = os.listdir(self._trials) if self._trials.is_dir() else []
        return iter(sorted(name for name in names if _ID.fullmatch(name)))

    def read(self, trial_id: str) -> StoredTrial | None:
        """The durable part of a trial; never a record that a resumed trial would record again."""
        return self._folder(trial_id).stored()

    def done(self, trial_id: str) -> int:
        """The epoch up to which the trial is finished; 0 if it is not."""
        folder = self._folder(trial_id)
        result = folder.result()
        return result.done if result and folder.spec() else 0

    def settled(self, trial_id: str, epochs: int) -> bool:
        """Whether nothing of the trial is left to run. Reads result.json and the records only."""
        folder = self._folder(trial_id)
        result = folder.result()
        if result is None or folder.spec() is None:
            return False
        return settled(result.done, result.failure, epochs)

    def unchecked_result(self, trial_id: str) -> Result | None:
        """How a trial ended, by its result.json alone; its records are not checked.

        For showing the progress of many trials: one small file is read per trial.
        """
        return self._folder(trial_id).unchecked_result()

    def written_ms(self, trial_id: str) -> int:
        """When a file of the trial was last replaced, in Unix milliseconds; 0 if never."""
        folder = self._folder(trial_id).path
        with files.faults_named(folder):
            try:
                return folder.stat().st_mtime_ns // 1_000_000
            except FileNotFoundError:
                return 0

    def resume_point(self, trial_id: str) -> Checkpoint | None:
        """The state from which the trial goes on, if there is a sound one."""
        return self._folder(trial_id).checkpoint()

    def append(self, batch: Sequence[tuple[TrialSpec, Message]]) -> None:
        """Write what the trials sent, in order; all of it is durable on return.

        Only under `lock`. An attempt begins with Started, which drops the records that no
        checkpoint covers; a Failure alone stands for an attempt that never started.

        Raises:
            StoreError: it cannot be written; whatever was durable before still is.
        """
        self._need_lock("append")
        by_trial: dict[str, tuple[TrialSpec, list[Message]]] = {}
        for spec, message in batch:
            by_trial.setdefault(spec.id, (spec, []))[1].append(message)
        new = [trial_id for trial_id in by_trial if not self._folder(trial_id).path.exists()]
        for spec, messages in by_trial.values():
            self._append(spec, messages)
        if new:
            files.sync_folder(self._trials)

    def adopt(self, trial: StoredTrial) -> None:
        """Take over a trial that was recorded elsewhere, as it is; durable on return.

        Only under `lock`, and only where nothing is stored of the trial. It has no checkpoint, so
        a longer run of it begins at the first epoch.
        """
        self._need_lock("adopt")
        adopt(self._folder(trial.spec.id), trial)
        files.sync_folder(self._trials)

    def remember(self, spec: TrialSpec, past: PastFailure) -> None:
        """Add a failure that is not the trial's outcome to its history. Only under `lock`."""
        self._need_lock("remember")
        new = not self._folder(spec.id).path.exists()
        remember(self._folder(spec.id), spec, past)
        if new:
            files.sync_folder(self._trials)

    def reopen(self, trial_id: str, *, at_ms: int) -> bool:
        """Move the trial's scientific failure into its history, so that the trial can run again.

        Only under `lock`.

        Args:
            trial_id: which trial.
            at_ms: when the user asked for it, in Unix milliseconds.

        Returns:
            Whether the trial had such a failure.
        """
        self._need_lock("reopen")
        return reopen(self._folder(trial_id), at_ms=at_ms)

    def declared(self, experiment_id: str) -> Mapping[str, float]:
        """Each claim's tolerance when the experiment's records were made; empty if not known.

        Raises:
            StoreError: the file that says so is damaged.
        """
        file = self._declaration(experiment_id)
        text = files.read(file)
        try:
            return {} if text is None else schemas.DECLARATION.read(text).tolerances
        except schemas.CorruptError as error:
            raise StoreError(f"{file}: {error}; what was declared is not known") from None

    def declare(self, experiment_id: str, tolerances: Mapping[str, float]) -> None:
        """Record the tolerances before an experiment's records are made. Only under `lock`."""
        self._need_lock("declare")
        file = self._declaration(experiment_id)
        with files.faults_named(file.parent):
            file.parent.mkdir(exist_ok=True)
        files.replace(file, schemas.DECLARATION.write(schemas.Declaration(tolerances)))
        files.sync_folder(file.parent)

    def request(self, experiment_id: str) -> Request | None:
        """What the last run asked for of an experiment; None if no run recorded it.

        Raises:
            StoreError: the file that says so is damaged.
        """
        file = self._request_file(experiment_id)
        text = files.read(file)
        try:
            return None if text is None else schemas.REQUEST.read(text)
        except schemas.CorruptError as error:
            instead = "give --seeds or --epochs, or remove this file"
            raise StoreError(f"{file}: {error}; {instead}") from None

    def record_requests(self, requests: Mapping[str, Request]) -> None:
        """Record what a run asks for, by experiment. Only under `lock`."""
        self._need_lock("record_requests")
        folder = self.root / "requests"
        with files.faults_named(folder):
            folder.mkdir(exist_ok=True)
        for experiment_id, request in requests.items():
            file, line = self._request_file(experiment_id), schemas.REQUEST.write(request)
            if files.read(file) != line:
                files.replace(file, line)
        files.sync_folder(folder)

    @contextmanager
    def lock(self) -> Iterator[None]:
        """Hold the workspace as its one driver; makes the folder if it is not there.

        Raises:
            StoreError: another driver holds it (named), or it cannot be written.
        """
        with files.faults_named(self.root):
            self.root.mkdir(parents=True, exist_ok=True)
            lock = FileLock(self.root / "driver.lock")
            try:
                lock.acquire(timeout=0)
            except Timeout:
                raise StoreError(f"{self.root}: in use by {self._holder()}") from None
        try:
            self._establish()
            self._held = True
            yield
        finally:
            self._held = False
            self._writers.clear()
            lock.release()

    def _append(self, spec: TrialSpec, messages: Sequence[Message]) -> None:
        """Write one trial's messages; a writer that failed is forgotten, the disk is the truth."""
        folder = self._folder(spec.id)
        writer = self._writers.pop(spec.id, None)
        for part in attempts(messages):
            first = part[0]
            if isinstance(first, Started):
                writer = TrialWriter(folder, spec, first)
            elif writer is None and isinstance(first, Failure):
                writer = TrialWriter(folder, spec, None)
            elif writer is None:
                raise ValueError(f"trial {spec.id}: {first} came before Started")
            writer.write(part)
        files.sync_folder(folder.path)
        if writer is not None and not isinstance(messages[-1], Finished | Failure):
            self._writers[spec.id] = writer

    def _need_lock(self, what: str) -> None:
        if not self._held:
            raise ValueError(f"{self.root}: {what} needs the lock")

    def _declaration(self, experiment_id: str) -> Path:
        return self.root / "declared" / f"{experiment_id}.json"

    def _request_file(self, experiment_id: str) -> Path:
        return self.root / "requests" / f"{experiment_id}.json"

    def _folder(self, trial_id: str) -> TrialFolder:
        """The trial's folder; an id is never a path out of the workspace."""
        if not _ID.fullmatch(trial_id):
            raise StoreError(f"{self._trials}: {trial_id!r} is no trial's id")
        return TrialFolder(self._trials / trial_id)

    def _check_format(self) -> None:
        """Refuse what this version would misread."""
        file = self.root / "workspace.json"
        trials = self._trials.exists()  # first: a driver that makes the workspace makes them last
        text = files.read(file)
        if text is None:
            if trials:
                raise StoreError(f"{file}: missing, though there are trials; no workspace of ours")
            return
        try:
            found = from_json(text)["format"]
        except (ValueError, TypeError, KeyError):
            found = None
        if type(found) is not int:
            raise StoreError(f"{file}: does not say which format the workspace has")
        if found != FORMAT:
            age = "an older" if found < FORMAT else "a newer"
            raise StoreError(
                f"{file}: format {found} is {age} one than {FORMAT}, which this version reads; "
                "choose another workspace or the version that wrote it"
            )

    def _establish(self) -> None:
        """Say who holds the workspace, and make it one if it is new."""
        since = datetime.now(UTC).isoformat(timespec="seconds")
        holder = {"pid": os.getpid(), "host": socket.gethostname(), "since": since}
        files.replace(self.root / "driver.json", json.dumps(holder).encode() + b"\n")
        self._check_format()
        if not (self.root / "workspace.json").exists():
            files.replace(self.root / "workspace.json", b'{"format": %d}\n' % FORMAT)
        with files.faults_named(self._trials):
            self._trials.mkdir(exist_ok=True)
        files.sync_folder(self.root)

    def _holder(self) -> str:
        """The driver that holds the workspace, in words."""
        try:
            holder = from_json(files.read(self.root / "driver.json") or b"")
            return "the driver with pid {pid} on {host}, since {since}".format(**holder)
        except (ValueError, KeyError, TypeError):
            return "another driver"  # which has only just begun
