"""One trial's folder, read: only what its digests vouch for, and never a write."""

import hashlib
import logging
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from pydantic_core import from_json

from harness.errors import StoreError
from harness.record import Checkpoint, EpochRecord, StoredTrial, TrialSpec
from harness.store import files, forms
from harness.store.forms import CheckpointHeader, CorruptError, Covered, Result, Sealed

log = logging.getLogger(__name__)

S = TypeVar("S", Result, CheckpointHeader)


@dataclass(frozen=True)
class Standing:
    """What of a trial is durable and sound."""

    records: bytes
    """The whole of records.jsonl; only what is covered may be believed."""
    result: Result | None
    checkpoint: CheckpointHeader | None

    @property
    def latest(self) -> Result | CheckpointHeader | None:
        """Of result and checkpoint the one that covers more; the result, if they are level."""
        both = [each for each in (self.result, self.checkpoint) if each is not None]
        return max(both, key=lambda each: each.covered.length, default=None)

    @property
    def covered(self) -> Covered:
        """The part of the records that may be believed."""
        return self.latest.covered if self.latest else Covered()


@dataclass(frozen=True)
class Folder:
    """A trial's folder, which need not be there."""

    path: Path

    @property
    def spec_file(self) -> Path:
        """What determines the trial's result."""
        return self.path / "spec.json"

    @property
    def records_file(self) -> Path:
        """One line an epoch."""
        return self.path / "records.jsonl"

    @property
    def checkpoint_file(self) -> Path:
        """The state to resume from."""
        return self.path / "checkpoint.pt"

    @property
    def result_file(self) -> Path:
        """How the trial ended."""
        return self.path / "result.json"

    def spec(self) -> TrialSpec | None:
        """The trial's spec, if it is the one that gave the folder its name."""
        text = files.read(self.spec_file)
        if text is None:
            return None
        try:
            spec = TrialSpec.from_json(from_json(text))
            if spec.id == self.path.name:
                return spec
        except (ValueError, TypeError):  # no JSON, or not a spec's
            pass
        _distrust(self.spec_file, "damaged, or another trial's")
        return None

    def standing(self) -> Standing:
        """Result and checkpoint, each only if the records that it covers are as they were."""
        records = files.read(self.records_file) or b""
        return Standing(records, self.result(records), self._header(records))

    def result(self, records: bytes | None = None) -> Result | None:
        """The result, checked against the records."""
        text = files.read(self.result_file)
        if text is None:  # as of most trials when a study begins: nothing else need be read
            return None
        if records is None:
            records = files.read(self.records_file) or b""
        return self._checked(self.result_file, text, forms.RESULT, records)

    def stored(self) -> StoredTrial | None:
        """All of the trial that is durable.

        Raises:
            StoreError: a right digest vouches for records that no version of ours wrote.
        """
        spec = self.spec()
        if spec is None:
            return None
        standing = self.standing()
        result = standing.result
        return StoredTrial(
            spec=spec,
            epochs=self._epochs(standing),
            finals=result.finals if result else {},
            done=result.done if result else 0,
            failure=result.failure if result else None,
            provenance=standing.latest.provenance if standing.latest else (),
        )

    def _epochs(self, standing: Standing) -> tuple[EpochRecord, ...]:
        try:
            return forms.records(standing.records[: standing.covered.length].splitlines())
        except CorruptError as error:
            raise StoreError(f"{self.records_file}: {error}") from None

    def checkpoint(self) -> Checkpoint | None:
        """The state to resume from."""
        header = self.standing().checkpoint
        whole = files.read(self.checkpoint_file)
        if header is None or whole is None:
            return None
        payload = whole[whole.index(b"\n") + 1 :]
        if len(payload) != header.length or hashlib.sha256(payload).hexdigest() != header.sha256:
            _distrust(self.checkpoint_file, "truncated or damaged")
            return None
        return Checkpoint(header.epoch, header.form, payload)

    def _header(self, records: bytes) -> CheckpointHeader | None:
        line = files.read(self.checkpoint_file, first_line=True)
        return self._checked(self.checkpoint_file, line, forms.CHECKPOINT, records)

    def _checked(self, file: Path, line: bytes | None, form: Sealed[S], records: bytes) -> S | None:
        """What the line says, if it is sound, this trial's, and true of the records."""
        if line is None:
            return None
        try:
            said = form.read(line)
        except CorruptError as error:
            _distrust(file, str(error))
            return None
        if said.trial != self.path.name:
            _distrust(file, f"belongs to trial {said.trial}")
            return None
        if not said.covered.holds(records):
            _distrust(self.records_file, "truncated or damaged")
            return None
        return said


def _distrust(file: Path, why: str) -> None:
    """Say what is not believed."""
    log.warning("%s: %s; the trial is taken up from its last sound state", file, why)
