"""One attempt at one trial, as it is written down."""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import replace

from harness.errors import StoreError
from harness.record import (
    Checkpoint,
    EpochRecord,
    Failure,
    FailureKind,
    FinalRecord,
    Finished,
    Message,
    Started,
    StoredTrial,
    TrialSpec,
)
from harness.store import files, forms
from harness.store.folder import Folder, Standing
from harness.store.forms import CheckpointHeader, Covered, Result


class TrialWriter:
    """Writes what one attempt sends; whatever went before it is read from the folder.

    Args:
        folder: the trial's, which need not be there yet.
        spec: the trial.
        started: the attempt's first message; None records only the failure of an attempt that
            never came to send one.

    Raises:
        StoreError: the attempt went on from a checkpoint that the folder does not hold.
    """

    def __init__(self, folder: Folder, spec: TrialSpec, started: Started | None) -> None:
        standing = folder.standing()
        self._folder = folder
        self._durable = _kept(folder, standing, started)
        self._result = _result(spec, standing, self._durable)
        self._provenance = standing.latest.provenance if standing.latest else ()
        if started is not None:
            checkpoint = standing.checkpoint if started.resumed_from else None
            before = checkpoint.provenance if checkpoint else ()
            self._provenance = (*before, started.provenance)
        self._digest = hashlib.sha256(standing.records[: self._durable.length])
        self._covered = self._durable
        """Everything received, of which `_durable` is the part that outlives a lost attempt."""
        self._finals: dict[int, FinalRecord] = {}
        self._make_room(spec, standing, fresh=started is not None and not started.resumed_from)

    def write(self, messages: Sequence[Message]) -> None:
        """Write down what has come, durably; the names in the folder are not yet synced."""
        written, lines = self._covered.length, list[bytes]()
        checkpoint: tuple[bytes, bytes] | None = None
        result: Result | None = None
        for message in messages:
            match message:
                case EpochRecord():
                    lines.append(self._line(message))
                case Checkpoint():
                    checkpoint = self._checkpoint(message), message.payload
                case FinalRecord():
                    self._finals[message.epoch] = message
                case Finished() | Failure():
                    result = self._ended(message)
        # In this order: neither checkpoint nor result may speak of records that are not on disk.
        if lines:
            files.write_from(self._folder.records_file, written, b"".join(lines))
        if checkpoint:
            files.replace(self._folder.checkpoint_file, *checkpoint)
        if result:
            files.replace(self._folder.result_file, forms.RESULT.write(result))

    def _make_room(self, spec: TrialSpec, standing: Standing, *, fresh: bool) -> None:
        """Drop what the attempt will record afresh."""
        folder = self._folder
        if self._result is not standing.result:
            files.remove(folder.result_file)
        if fresh:
            files.remove(folder.checkpoint_file)
        if len(standing.records) > self._durable.length:
            files.write_from(folder.records_file, self._durable.length, b"")
        if folder.spec() is None:
            _write_spec(folder, spec)

    def _line(self, record: EpochRecord) -> bytes:
        if record.epoch != self._covered.epochs + 1:
            raise ValueError(f"epoch {record.epoch} came after epoch {self._covered.epochs}")
        line = forms.record_line(record)
        self._digest.update(line)
        length = self._covered.length + len(line)
        self._covered = Covered(record.epoch, length, self._digest.hexdigest())
        return line

    def _checkpoint(self, checkpoint: Checkpoint) -> bytes:
        if checkpoint.epoch != self._covered.epochs:
            raise ValueError(f"checkpoint {checkpoint.epoch} at epoch {self._covered.epochs}")
        self._durable = self._covered
        header = CheckpointHeader(
            trial=self._folder.path.name,
            epoch=checkpoint.epoch,
            form=checkpoint.form,
            length=len(checkpoint.payload),
            sha256=hashlib.sha256(checkpoint.payload).hexdigest(),
            covered=self._covered,
            provenance=self._provenance,
        )
        return forms.CHECKPOINT.write(header)

    def _ended(self, end: Finished | Failure) -> Result:
        result = replace(self._result, provenance=self._provenance)
        if isinstance(end, Finished):
            finals = {**self._result.finals, **self._finals}
            return replace(
                result, covered=self._covered, done=end.epoch, finals=finals, failure=None
            )
        # A retry would go on from the checkpoint: records beyond it must not be spoken of.
        lost = end.kind is FailureKind.INFRASTRUCTURE
        return replace(result, covered=self._durable if lost else self._covered, failure=end)


def adopt(folder: Folder, trial: StoredTrial) -> None:
    """Write down a whole trial that was recorded elsewhere; the result last, which vouches for it.

    Raises:
        StoreError: it cannot be written; then nothing of it is believed.
    """
    if folder.standing().latest is not None:
        raise ValueError(f"{folder.path}: records are there already")
    records = b"".join(map(forms.record_line, trial.epochs))
    result = Result(
        trial=trial.spec.id,
        covered=Covered(len(trial.epochs), len(records), hashlib.sha256(records).hexdigest()),
        done=trial.done,
        finals=trial.finals,
        failure=trial.failure,
        provenance=trial.provenance,
    )
    _write_spec(folder, trial.spec)
    files.write_from(folder.records_file, 0, records)
    files.replace(folder.result_file, forms.RESULT.write(result))
    files.sync_folder(folder.path)


def _write_spec(folder: Folder, spec: TrialSpec) -> None:
    with files.faults_named(folder.path):
        folder.path.mkdir(parents=True, exist_ok=True)
    files.replace(folder.spec_file, json.dumps(spec.to_json(), indent=1).encode() + b"\n")


def _kept(folder: Folder, standing: Standing, started: Started | None) -> Covered:
    """The part of the records that stays."""
    if started is None:
        return standing.covered
    if started.resumed_from == 0:
        return Covered()
    if standing.checkpoint is None or standing.checkpoint.epoch != started.resumed_from:
        raise StoreError(
            f"{folder.checkpoint_file}: not the checkpoint that the trial went on from"
        )
    return standing.checkpoint.covered


def _result(spec: TrialSpec, standing: Standing, kept: Covered) -> Result:
    """The result so far, unless it speaks of records that are to be recorded afresh."""
    result = standing.result
    if result is not None and result.covered.length <= kept.length:
        return result
    return Result(spec.id, Covered())
