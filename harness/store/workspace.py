"""Manage a workspace: check its format, lock it, and read and write its trials."""

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
from harness.output import make_folder
from harness.plan import Request
from harness.record import (
    FORMAT,
    Artifact,
    ArtifactPart,
    Checkpoint,
    Declaration,
    Failure,
    FileSlice,
    Finished,
    Message,
    Output,
    PastFailure,
    Printed,
    Record,
    Started,
    StoredTrial,
    TrialSpec,
    settled,
)
from harness.store import files
from harness.store.files import Ending
from harness.store.trial_folder import TrialFolder, TrialWriter, adopt, attempts, remember, reopen
from harness.store.trial_output import TrialOutput

_BESIDE = (Output, Artifact, ArtifactPart)
"""Messages about what a trial prints and leaves, which are no records."""

_ID = re.compile(r"[0-9a-f]{20}")


class Store:
    """A results folder. Reading it writes nothing and does not need the lock.

    Args:
        root: the workspace. If the folder does not exist, it reads as empty.

    Raises:
        StoreError: the workspace has another format, or the folder is not a workspace.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self._trials = root / "trials"
        self._writers: dict[str, TrialWriter] = {}
        self._outputs: dict[str, TrialOutput] = {}
        self._held = False
        self._check_format()

    @property
    def exists(self) -> bool:
        """Whether the workspace exists. A run creates it when it begins."""
        return (self.root / "workspace.json").exists()

    def trials(self) -> Iterator[str]:
        """The ids of all trials that have any stored data, sorted."""
        with files.faults_named(self._trials):
            names = os.listdir(self._trials) if self._trials.is_dir() else []
        return iter(sorted(name for name in names if _ID.fullmatch(name)))

    def read(self, trial_id: str) -> StoredTrial | None:
        """Read the durable part of a trial, without records that a resumed trial would repeat."""
        return self._folder(trial_id).stored()

    def spec(self, trial_id: str) -> TrialSpec | None:
        """Read a trial's spec; None if it is damaged or belongs to another trial."""
        return self._folder(trial_id).spec()

    def done(self, trial_id: str) -> int:
        """The epoch up to which the trial is finished; 0 if it has not finished."""
        folder = self._folder(trial_id)
        result = folder.result()
        return result.done if result and folder.spec() else 0

    def settled(self, trial_id: str, epochs: int) -> bool:
        """Whether no epoch is left to run. Reads only the spec, result.json and the records."""
        folder = self._folder(trial_id)
        result = folder.result()
        if result is None or folder.spec() is None:
            return False
        return settled(result.done, result.failure, epochs)

    def unchecked_ending(self, trial_id: str) -> Ending | None:
        """Read how a trial ended from its result.json only, without a check of the records.

        Use it to show the progress of many trials: it reads one small file per trial.
        """
        return self._folder(trial_id).unchecked_ending()

    def written_ms(self, trial_id: str) -> int:
        """When a file of the trial was last replaced, in Unix milliseconds; 0 if never."""
        folder = self._folder(trial_id).path
        with files.faults_named(folder):
            try:
                return folder.stat().st_mtime_ns // 1_000_000
            except FileNotFoundError:
                return 0

    def resume_point(self, trial_id: str) -> Checkpoint | None:
        """Read the state to resume the trial from. Return None if there is no undamaged one."""
        return self._folder(trial_id).checkpoint()

    def printed(self, trial_id: str, stream: Printed) -> bytes:
        """Return what a trial printed on a stream, without the middle if it is long."""
        return self._output(trial_id).printed(stream)

    def artifacts(self, trial_id: str) -> Mapping[str, Path]:
        """Return the paths of the files that a trial left, by name."""
        return self._output(trial_id).artifacts()

    def kept(self, trial_id: str) -> Mapping[str, FileSlice]:
        """Return what a trial printed and left: `stdout.txt`, `stderr.txt`, `artifacts/NAME`."""
        return self._output(trial_id).kept()

    def append(self, batch: Sequence[tuple[TrialSpec, Message]]) -> None:
        """Write the trials' messages in order. All of them are durable on return.

        Call it only under `lock`. An attempt begins with Started, which drops the records that no
        checkpoint covers. A Failure without Started means that the attempt never started.
        If a trial has finished that no longer run can continue, its checkpoint is removed.

        Raises:
            StoreError: a message cannot be written. Everything that was durable before still is.
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
        """Copy a trial that was recorded elsewhere into this workspace. It is durable on return.

        Call it only under `lock`, and only if nothing of the trial is stored here. The copy has no
        checkpoint, so a longer run of the trial begins at the first epoch.
        """
        self._need_lock("adopt")
        adopt(self._folder(trial.spec.id), trial)
        files.sync_folder(self._trials)

    def remember(self, spec: TrialSpec, past: PastFailure) -> None:
        """Add a failure that is not the trial's outcome to its history. Call only under `lock`."""
        self._need_lock("remember")
        new = not self._folder(spec.id).path.exists()
        remember(self._folder(spec.id), spec, past)
        if new:
            files.sync_folder(self._trials)

    def reopen(self, trial_id: str, *, at_ms: int) -> bool:
        """Move the trial's scientific failure into its history, so that the trial can run again.

        Call it only under `lock`.

        Args:
            trial_id: the trial to reopen.
            at_ms: when the user asked for it, in Unix milliseconds.

        Returns:
            Whether the trial had such a failure.
        """
        self._need_lock("reopen")
        return reopen(self._folder(trial_id), at_ms=at_ms)

    def declared(self, experiment_id: str) -> Declaration:
        """Read what was declared before the experiment's records were made; empty if unknown.

        Raises:
            StoreError: the file is damaged.
        """
        file = self.declaration_file(experiment_id)
        text = files.read_file(file)
        try:
            return Declaration() if text is None else files.DECLARATION.read(text)
        except files.CorruptError as error:
            raise StoreError(f"{file}: {error}; what was declared is not known") from None

    def declare(self, experiment_id: str, declaration: Declaration) -> None:
        """Write what a manifest declares before records are made. Call only under `lock`."""
        self._need_lock("declare")
        file = self.declaration_file(experiment_id)
        with files.faults_named(file.parent):
            file.parent.mkdir(exist_ok=True)
        files.replace(file, files.DECLARATION.write(declaration))
        files.sync_folder(file.parent)

    def request(self, experiment_id: str) -> Request | None:
        """Read the seeds and epochs that the last run of an experiment requested, or None.

        Raises:
            StoreError: the file of the request is damaged.
        """
        file = self._request_file(experiment_id)
        text = files.read_file(file)
        try:
            return None if text is None else files.REQUEST.read(text)
        except files.CorruptError as error:
            instead = "give --seeds or --epochs, or remove this file"
            raise StoreError(f"{file}: {error}; {instead}") from None

    def record_requests(self, requests: Mapping[str, Request]) -> None:
        """Write the seeds and epochs that a run requests, by experiment. Call only under `lock`."""
        self._need_lock("record_requests")
        folder = self.root / "requests"
        with files.faults_named(folder):
            folder.mkdir(exist_ok=True)
        for experiment_id, request in requests.items():
            file, line = self._request_file(experiment_id), files.REQUEST.write(request)
            if files.read_file(file) != line:
                files.replace(file, line)
        files.sync_folder(folder)

    @contextmanager
    def lock(self) -> Iterator[None]:
        """Lock the workspace for one driver. Create the folder if it does not exist.

        Raises:
            OutputError: the folder cannot be made.
            StoreError: another driver holds the lock (the message names it), or the folder cannot
                be written.
        """
        make_folder(self.root)
        with files.faults_named(self.root):
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
            self._outputs.clear()
            lock.release()

    def _append(self, spec: TrialSpec, messages: Sequence[Message]) -> None:
        """Write one trial's messages: its records, then what it printed and left."""
        records = [each for each in messages if not isinstance(each, _BESIDE)]
        beside = [each for each in messages if isinstance(each, (Started, *_BESIDE))]
        if records:
            self._record(spec, records)
        if beside and self._folder(spec.id).path.exists():
            self._outputs.setdefault(spec.id, self._output(spec.id)).write(beside)
        if isinstance(messages[-1], Finished | Failure):
            self._outputs.pop(spec.id, None)

    def _record(self, spec: TrialSpec, messages: Sequence[Record]) -> None:
        """Write one trial's records. Discard a writer that failed: the next one reads the disk."""
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
        last = messages[-1]
        # The length is part of such a trial's identity, so that no run continues it. The result is
        # durable by now, and covers every record.
        if isinstance(last, Finished) and spec.length is not None and last.epoch >= spec.length:
            files.remove(folder.checkpoint_file)
        if writer is not None and not isinstance(messages[-1], Finished | Failure):
            self._writers[spec.id] = writer

    def _output(self, trial_id: str) -> TrialOutput:
        return TrialOutput(self._folder(trial_id).path, self.root / "artifacts")

    def _need_lock(self, what: str) -> None:
        if not self._held:
            raise ValueError(f"{self.root}: {what} needs the lock")

    def declaration_file(self, experiment_id: str) -> Path:
        """The file of what was declared before an experiment's records were made."""
        return self.root / "declared" / f"{experiment_id}.json"

    def _request_file(self, experiment_id: str) -> Path:
        return self.root / "requests" / f"{experiment_id}.json"

    def _folder(self, trial_id: str) -> TrialFolder:
        """Return the trial's folder. Refuse an id that could be a path out of the workspace."""
        if not _ID.fullmatch(trial_id):
            raise StoreError(f"{self._trials}: {trial_id!r} is no trial's id")
        return TrialFolder(self._trials / trial_id)

    def _check_format(self) -> None:
        """Refuse a workspace that this version would misread."""
        file = self.root / "workspace.json"
        trials = self._trials.exists()  # check first: a new workspace gets this folder last
        text = files.read_file(file)
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
        """Record who holds the workspace, and create its files if it is new."""
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
        """Describe the driver that holds the workspace."""
        try:
            holder = from_json(files.read_file(self.root / "driver.json") or b"")
            return "the driver with pid {pid} on {host}, since {since}".format(**holder)
        except (ValueError, KeyError, TypeError):
            return "another driver"  # it has just begun and has not written driver.json yet
