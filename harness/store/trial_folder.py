"""Read and write one trial's folder so that an interrupted write never yields wrong records.

Records are appended to `records.jsonl`. `checkpoint.pt` and `result.json` hold the number of bytes
that they cover and the digest of these bytes. Both are written after the records that they cover.
In this module, a seal is a result or the first line of a checkpoint.
"""

import hashlib
import json
import logging
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeVar

from pydantic_core import from_json

from harness.errors import StoreError
from harness.record import (
    Checkpoint,
    CheckpointPart,
    EpochRecord,
    Failure,
    FailureKind,
    FileSlice,
    FinalRecord,
    Finished,
    Message,
    Overruled,
    PastFailure,
    Started,
    StoredTrial,
    TrialSpec,
)
from harness.store import files
from harness.store.files import CheckpointHeader, CorruptError, Covered, Ending, Sealed, TrialResult

log = logging.getLogger(__name__)

S = TypeVar("S", TrialResult, Ending, CheckpointHeader)
Covering = TypeVar("Covering", TrialResult, CheckpointHeader)

_MOST_READS = 20
"""Most reads of a trial that another process is writing. More than two are rarely needed: only an
attempt that starts again from the first epoch changes the covered part."""

_PAUSE_S = 0.002

_PARTS = "parts"
"""Ending of the file that holds the parts of a checkpoint before the last one has come."""


@dataclass(frozen=True)
class _Bytes:
    """The contents of a trial's files at one read."""

    result: bytes | None
    checkpoint: bytes | None
    """The first line of checkpoint.pt."""
    records: bytes


@dataclass(frozen=True)
class TrialState:
    """The durable and undamaged part of a trial."""

    records: bytes
    """The whole of records.jsonl. Only the covered part is valid."""
    result: TrialResult | None
    checkpoint: CheckpointHeader | None

    @property
    def latest(self) -> TrialResult | CheckpointHeader | None:
        """The result or the checkpoint, whichever covers more; the result if both are equal."""
        present = [seal for seal in (self.result, self.checkpoint) if seal is not None]
        return max(present, key=lambda seal: seal.covered.length, default=None)

    @property
    def covered(self) -> Covered:
        """The valid part of the records."""
        return self.latest.covered if self.latest else Covered()


@dataclass(frozen=True)
class TrialFolder:
    """A trial's folder, which need not exist. Its methods only read."""

    path: Path

    @property
    def spec_file(self) -> Path:
        """The file of everything that determines the trial's result."""
        return self.path / "spec.json"

    @property
    def records_file(self) -> Path:
        """The file of records, one line per epoch."""
        return self.path / "records.jsonl"

    @property
    def checkpoint_file(self) -> Path:
        """The file of the state to resume from."""
        return self.path / "checkpoint.pt"

    @property
    def result_file(self) -> Path:
        """The file that says how the trial ended."""
        return self.path / "result.json"

    @property
    def history_file(self) -> Path:
        """The file of failures that are not the outcome, one per line. Most trials have none."""
        return self.path / "history.jsonl"

    def spec(self) -> TrialSpec | None:
        """Read the trial's spec. Return None unless its digest is the folder's name."""
        text = files.read_file(self.spec_file)
        if text is None:
            return None
        try:
            spec = TrialSpec.from_json(from_json(text))
            if spec.id == self.path.name:
                return spec
        except (ValueError, TypeError):  # not JSON, or not a spec
            pass
        _warn(self.spec_file, "damaged, or another trial's")
        return None

    def state(self) -> TrialState:
        """Read the result and the checkpoint, and leave out one whose covered records changed."""
        return self._state()

    def result(self) -> TrialResult | None:
        """Read the result and check it against the records."""
        return self._state(with_checkpoint=False).result

    def unchecked_ending(self) -> Ending | None:
        """Read how the trial ended from result.json only: fast, and good enough to show progress.

        The file's own digest is checked. Whether the records still match is not checked.
        """
        file = self.result_file
        line = files.read_file(file)
        if line is None:
            return None
        faults: list[str] = []
        ending = self._sealed(file, line, files.ENDING, faults)
        for fault in faults:
            log.warning("%s", fault)
        return ending

    def stored(self) -> StoredTrial | None:
        """Read the durable part of the trial. Return None if there is no valid spec.

        Raises:
            StoreError: the digest matches, but the records are invalid. No version of this program
                wrote them.
        """
        spec = self.spec()
        if spec is None:
            return None
        state = self._latest_state()
        result = state.result
        return StoredTrial(
            spec=spec,
            epochs=self._epochs(state),
            finals=result.finals if result else {},
            done=result.done if result else 0,
            failure=result.failure if result else None,
            provenance=state.latest.provenance if state.latest else (),
            history=self.history(),
        )

    def history(self) -> tuple[PastFailure, ...]:
        """Read the failures that are not the trial's outcome, in order. Skip damaged lines."""
        found = list[PastFailure]()
        for line in (files.read_file(self.history_file) or b"").splitlines(keepends=True):
            try:
                found.append(files.HISTORY.read(line))
            except CorruptError as error:
                log.warning("%s: %s; a line of the history is lost", self.history_file, error)
        return tuple(found)

    def checkpoint(self) -> Checkpoint | None:
        """Read the state to resume from. Return None if there is no undamaged one."""
        before: CheckpointHeader | None = None
        while (header := self.state().checkpoint) is not None:
            try:
                with files.faults_named(self.checkpoint_file):
                    return self._checkpoint(header)
            except CorruptError as error:
                if header == before:  # no other process has replaced the file in between
                    _warn(self.checkpoint_file, str(error))
                    return None
            before = header
        return None

    def _checkpoint(self, header: CheckpointHeader) -> Checkpoint:
        """Read the payload that follows a header.

        Raises:
            CorruptError: another payload is there.
        """
        try:
            with self.checkpoint_file.open("rb") as file:
                same = files.CHECKPOINT.read(file.readline()) == header
                offset = file.tell()
                content = b"" if header.file else file.read()
                sha256 = hashlib.sha256(content) if content else hashlib.file_digest(file, "sha256")
                length = file.tell() - offset
        except FileNotFoundError:
            raise CorruptError("gone") from None
        if not same or length != header.length or sha256.hexdigest() != header.sha256:
            raise CorruptError("truncated or damaged")
        stored = FileSlice(self.checkpoint_file, offset, length, header.sha256)
        return Checkpoint(header.epoch, header.form, stored if header.file else content)

    def _epochs(self, state: TrialState) -> tuple[EpochRecord, ...]:
        try:
            return files.decode_records(state.records[: state.covered.length].splitlines())
        except CorruptError as error:
            raise StoreError(f"{self.records_file}: {error}") from None

    def _latest_state(self) -> TrialState:
        """Read the state for its `latest` only, and no checkpoint if the result covers all records.

        That is true of every finished trial, and no checkpoint covers more.
        """
        raw = self._read(with_checkpoint=False)
        faults: list[str] = []
        result = self._checked(self.result_file, raw.result, files.RESULT, raw.records, faults)
        if result is not None and result.covered.length == len(raw.records):
            return TrialState(raw.records, result, None)
        return self._state()

    def _state(self, *, with_checkpoint: bool = True) -> TrialState:
        """Read the files until they match, or until two reads in a row give the same mismatch.

        Another process may be writing. Records are read last, so everything that a result or
        a checkpoint covers is already in the file. But a new attempt may remove records after we
        have read a result or a checkpoint that covers them. So a mismatch means damage only if
        a second read returns exactly the same bytes.
        """
        before: _Bytes | None = None
        for _ in range(_MOST_READS):
            raw = self._read(with_checkpoint=with_checkpoint)
            faults: list[str] = []
            state = TrialState(
                raw.records,
                self._checked(self.result_file, raw.result, files.RESULT, raw.records, faults),
                self._checked(
                    self.checkpoint_file,
                    raw.checkpoint,
                    files.CHECKPOINT,
                    raw.records,
                    faults,
                ),
            )
            if not faults or raw == before:
                break
            before = raw
            time.sleep(_PAUSE_S)
        for fault in faults:
            log.warning("%s", fault)
        return state

    def _read(self, *, with_checkpoint: bool) -> _Bytes:
        """Read the seals first and the records last. Skip the records if no seal can cover them.

        The checkpoint comes before the result: it may be removed once the result is there.
        """
        checkpoint = None
        if with_checkpoint:
            checkpoint = files.read_file(self.checkpoint_file, first_line=True)
        result = files.read_file(self.result_file)
        if result is None and checkpoint is None and not with_checkpoint:
            return _Bytes(None, None, b"")  # true of most trials when a study begins
        return _Bytes(result, checkpoint, files.read_file(self.records_file) or b"")

    def _checked(
        self,
        file: Path,
        line: bytes | None,
        schema: Sealed[Covering],
        records: bytes,
        faults: list[str],
    ) -> Covering | None:
        """Read a seal. Return None unless it is intact, of this trial, and matches the records."""
        if line is None:
            return None
        seal = self._sealed(file, line, schema, faults)
        if seal is not None and not seal.covered.holds(records):
            faults.append(_fault(self.records_file, "truncated or damaged"))
            return None
        return seal

    def _sealed(self, file: Path, line: bytes, schema: Sealed[S], faults: list[str]) -> S | None:
        try:
            seal = schema.read(line)
        except CorruptError as error:
            faults.append(_fault(file, str(error)))
            return None
        if seal.trial != self.path.name:
            faults.append(_fault(file, f"belongs to trial {seal.trial}"))
            return None
        return seal


class _Incoming:
    """A checkpoint that is a file, and that arrives in parts."""

    def __init__(self, folder: TrialFolder, header: CheckpointHeader, length: int) -> None:
        self.header = header
        self.file = files.Replacement(folder.checkpoint_file, _PARTS)
        self.file.write(files.CHECKPOINT.write(header))
        self._left = length

    def add(self, part: bytes) -> bool:
        """Write the next part. Return whether it was the last."""
        self.file.write(part)
        self._left -= len(part)
        return self._left <= 0


class TrialWriter:
    """Writes the messages of one attempt. Reads what earlier attempts left from the folder.

    Args:
        folder: the trial's folder, which need not exist yet.
        spec: the trial's spec.
        started: the attempt's first message. None means that the attempt failed before it could
            send one; then only the failure is recorded.

    Raises:
        StoreError: the attempt resumed from a checkpoint that the folder does not hold.
    """

    def __init__(self, folder: TrialFolder, spec: TrialSpec, started: Started | None) -> None:
        state = folder.state()
        self._folder = folder
        self._durable = _kept(folder, state, started)
        self._result = _result(spec, state, self._durable)
        self._provenance = state.latest.provenance if state.latest else ()
        if started is not None:
            checkpoint = state.checkpoint if started.resumed_from else None
            before = checkpoint.provenance if checkpoint else ()
            self._provenance = (*before, started.provenance)
        self._digest = hashlib.sha256(state.records[: self._durable.length])
        self._covered = self._durable
        """All records received. `_durable` is the part that remains if the attempt is lost."""
        self._written = self._durable.length
        """Length of the records on disk, in bytes."""
        self._lines: list[bytes] = []
        """Records that are not on disk yet."""
        self._finals: dict[int, FinalRecord] = {}
        self._incoming: _Incoming | None = None
        """A checkpoint of which parts are still to come."""
        self._make_room(spec, state, fresh=started is not None and not started.resumed_from)

    def write(self, messages: Sequence[Message]) -> None:
        """Write the messages durably. The caller must sync the folder for the file names."""
        checkpoint: tuple[bytes, bytes] | None = None
        result: TrialResult | None = None
        for message in messages:
            match message:
                case EpochRecord():
                    self._lines.append(self._line(message))
                case Checkpoint(payload=FileSlice(length=length)):
                    self._incoming = _Incoming(self._folder, self._header(message), length)
                case Checkpoint(payload=bytes(payload)):
                    header = self._header(message)
                    self._durable = header.covered
                    checkpoint = files.CHECKPOINT.write(header), payload
                case CheckpointPart():
                    self._add(message.data)
                case FinalRecord():
                    self._finals[message.epoch] = message
                case Finished() | Failure():
                    result = self._ended(message)
        # The order matters: a checkpoint or a result must not cover records that are not on disk.
        self._flush()
        if checkpoint:
            files.replace(self._folder.checkpoint_file, *checkpoint)
        if result:
            files.replace(self._folder.result_file, files.RESULT.write(result))

    def _flush(self) -> None:
        """Write the records that have arrived."""
        if self._lines:
            files.write_from(self._folder.records_file, self._written, b"".join(self._lines))
            self._lines.clear()
            self._written = self._covered.length

    def _add(self, part: bytes) -> None:
        """Add a part of a checkpoint that is a file, which counts once the last part has come."""
        if self._incoming and self._incoming.add(part):
            self._flush()
            self._incoming.file.commit()
            self._durable = self._incoming.header.covered
            self._incoming = None

    def _make_room(self, spec: TrialSpec, state: TrialState, *, fresh: bool) -> None:
        """Remove the records and files that the attempt will write again."""
        folder = self._folder
        if self._result is not state.result:
            files.remove(folder.result_file)
        if fresh:
            files.remove(folder.checkpoint_file)
        files.Replacement.remove(folder.checkpoint_file, _PARTS)
        if len(state.records) > self._durable.length:
            files.write_from(folder.records_file, self._durable.length, b"")
        if folder.spec() is None:
            _write_spec(folder, spec)

    def _line(self, record: EpochRecord) -> bytes:
        if record.epoch <= self._covered.epochs:
            raise ValueError(f"epoch {record.epoch} came after epoch {self._covered.epochs}")
        line = files.record_line(record)
        self._digest.update(line)
        length = self._covered.length + len(line)
        self._covered = Covered(record.epoch, length, self._digest.hexdigest())
        return line

    def _header(self, checkpoint: Checkpoint) -> CheckpointHeader:
        if checkpoint.epoch < self._covered.epochs:
            raise ValueError(f"checkpoint {checkpoint.epoch} at epoch {self._covered.epochs}")
        payload = checkpoint.payload
        if isinstance(payload, FileSlice):
            length, sha256 = payload.length, payload.sha256
        else:
            length, sha256 = len(payload), hashlib.sha256(payload).hexdigest()
        return CheckpointHeader(
            trial=self._folder.path.name,
            epoch=checkpoint.epoch,
            form=checkpoint.form,
            length=length,
            sha256=sha256,
            covered=self._covered,
            provenance=self._provenance,
            file=isinstance(payload, FileSlice),
        )

    def _ended(self, end: Finished | Failure) -> TrialResult:
        result = replace(self._result, provenance=self._provenance)
        if isinstance(end, Finished):
            finals = {**self._result.finals, **self._finals}
            return replace(
                result, covered=self._covered, done=end.epoch, finals=finals, failure=None
            )
        # A retry resumes from the checkpoint, so the result must not cover records beyond it.
        lost = end.kind is FailureKind.INFRASTRUCTURE
        return replace(result, covered=self._durable if lost else self._covered, failure=end)


def adopt(folder: TrialFolder, trial: StoredTrial) -> None:
    """Write a whole trial that was recorded elsewhere. Its result is written last.

    Raises:
        StoreError: the trial cannot be written. Then no part of it counts, because no result
            covers it.
    """
    if folder.state().latest is not None:
        raise ValueError(f"{folder.path}: records are there already")
    records = b"".join(map(files.record_line, trial.epochs))
    last = trial.epochs[-1].epoch if trial.epochs else 0
    result = TrialResult(
        trial=trial.spec.id,
        covered=Covered(last, len(records), hashlib.sha256(records).hexdigest()),
        done=trial.done,
        finals=trial.finals,
        failure=trial.failure,
        provenance=trial.provenance,
    )
    _write_spec(folder, trial.spec)
    if trial.history:
        files.replace(folder.history_file, *map(files.HISTORY.write, trial.history))
    files.write_from(folder.records_file, 0, records)
    files.replace(folder.result_file, files.RESULT.write(result))
    files.sync_folder(folder.path)


def remember(folder: TrialFolder, spec: TrialSpec, past: PastFailure) -> None:
    """Add a failure that is not the trial's outcome to its history. It is durable on return."""
    if folder.spec() is None:
        _write_spec(folder, spec)
    before = files.read_file(folder.history_file) or b""
    files.replace(folder.history_file, before, files.HISTORY.write(past))
    files.sync_folder(folder.path)


def reopen(folder: TrialFolder, *, at_ms: int) -> bool:
    """Move the trial's scientific failure into its history, so that the trial can run again.

    The epochs that the trial finished before the failure are kept.

    Returns:
        Whether the trial had such a failure.
    """
    state, spec = folder.state(), folder.spec()
    result = state.result
    if spec is None or result is None or result.failure is None:
        return False
    if result.failure.kind is not FailureKind.SCIENTIFIC:
        return False
    host = result.provenance[-1].host if result.provenance else ""
    # Write the history first: a failure that is recorded twice is better than one that is lost.
    remember(folder, spec, PastFailure(result.failure, Overruled.REQUEST, at_ms, host))
    if result.done == 0:
        files.remove(folder.result_file)
    else:
        # The new attempt starts at the checkpoint and records the later epochs again.
        result = replace(result, failure=None)
        if state.checkpoint is not None and state.checkpoint.epoch >= result.done:
            result = replace(result, covered=state.checkpoint.covered)
        files.replace(folder.result_file, files.RESULT.write(result))
    files.sync_folder(folder.path)
    return True


def attempts(messages: Sequence[Message]) -> Iterator[list[Message]]:
    """Split a trial's messages into attempts. Each Started message begins a new attempt."""
    part: list[Message] = []
    for message in messages:
        if isinstance(message, Started) and part:
            yield part
            part = []
        part.append(message)
    if part:
        yield part


def _write_spec(folder: TrialFolder, spec: TrialSpec) -> None:
    with files.faults_named(folder.path):
        folder.path.mkdir(parents=True, exist_ok=True)
    files.replace(folder.spec_file, json.dumps(spec.to_json(), indent=1).encode() + b"\n")


def _kept(folder: TrialFolder, state: TrialState, started: Started | None) -> Covered:
    """Return the part of the records that an attempt keeps."""
    if started is None:
        return state.covered
    if started.resumed_from == 0:
        return Covered()
    if state.checkpoint is None or state.checkpoint.epoch != started.resumed_from:
        raise StoreError(
            f"{folder.checkpoint_file}: not the checkpoint that the trial went on from"
        )
    return state.checkpoint.covered


def _result(spec: TrialSpec, state: TrialState, kept: Covered) -> TrialResult:
    """Return the result so far, or an empty one if it covers records to be recorded again."""
    result = state.result
    if result is not None and result.covered.length <= kept.length:
        return result
    return TrialResult(spec.id, Covered())


def _fault(file: Path, why: str) -> str:
    return f"{file}: {why}; the trial is taken up from its last sound state"


def _warn(file: Path, why: str) -> None:
    log.warning("%s", _fault(file, why))
