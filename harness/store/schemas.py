"""Define the contents of the store's files. A digest in each line reveals any damage."""

import hashlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from pydantic import TypeAdapter, ValidationError

from harness.plan import Request
from harness.record import Declaration, EpochRecord, Failure, FinalRecord, PastFailure, Provenance

T = TypeVar("T")


class CorruptError(ValueError):
    """The bytes of a file are not those that were written."""


@dataclass(frozen=True)
class Covered:
    """The first part of records.jsonl that a result or a checkpoint covers."""

    epochs: int = 0
    """The last recorded epoch."""
    length: int = 0
    """Length of the part, in bytes."""
    sha256: str = hashlib.sha256().hexdigest()

    def holds(self, records: bytes) -> bool:
        """Whether the records still begin with exactly this part."""
        part = memoryview(records)[: self.length]
        return len(part) == self.length and hashlib.sha256(part).hexdigest() == self.sha256


@dataclass(frozen=True)
class Result:
    """How a trial has ended so far. A finished trial may later continue to more epochs."""

    trial: str
    covered: Covered
    done: int = 0
    """The epoch up to which the trial is finished."""
    finals: Mapping[int, FinalRecord] = field(default_factory=dict)
    failure: Failure | None = None
    """The failure of the last attempt, if it failed."""
    provenance: tuple[Provenance, ...] = ()


@dataclass(frozen=True)
class CheckpointHeader:
    """The first line of checkpoint.pt. The payload follows it."""

    trial: str
    epoch: int
    form: str
    length: int
    """Length of the payload, in bytes."""
    sha256: str
    """Digest of the payload."""
    covered: Covered
    provenance: tuple[Provenance, ...]
    file: bool = False
    """Whether the workload saved a file, and so expects one."""


class Sealed(Generic[T]):
    """Writes and reads one line of JSON that carries the digest of its content."""

    _FORM = re.compile(rb'\{"sha256":"([0-9a-f]{64})","body":(.*)\}\n')

    def __init__(self, form: type[T]) -> None:
        self._adapter = TypeAdapter(form)

    def write(self, body: T) -> bytes:
        """Encode a value as a line that `read` decodes."""
        text = self._adapter.dump_json(body)
        return b'{"sha256":"%s","body":%s}\n' % (hashlib.sha256(text).hexdigest().encode(), text)

    def read(self, line: bytes) -> T:
        """Decode a line that `write` made.

        Raises:
            CorruptError: the line differs from the written one by at least one byte.
        """
        match = self._FORM.fullmatch(line)
        if match is None or hashlib.sha256(match[2]).hexdigest().encode() != match[1]:
            raise CorruptError("truncated or damaged")
        try:
            return self._adapter.validate_json(match[2])
        except ValidationError:  # the digest is right, but the content is of another type
            raise CorruptError("not what belongs there") from None


RESULT = Sealed(Result)
CHECKPOINT = Sealed(CheckpointHeader)
DECLARATION = Sealed(Declaration)
HISTORY = Sealed(PastFailure)
REQUEST = Sealed(Request)

_RECORD = TypeAdapter(EpochRecord)
_RECORDS = TypeAdapter(tuple[EpochRecord, ...])


def record_line(record: EpochRecord) -> bytes:
    """Encode one epoch as a line of records.jsonl."""
    return _RECORD.dump_json(record) + b"\n"


def records(lines: Sequence[bytes]) -> tuple[EpochRecord, ...]:
    """Decode the lines that `record_line` made.

    Raises:
        CorruptError: a line is not a valid record.
    """
    try:
        return _RECORDS.validate_json(b"[" + b",".join(lines) + b"]")
    except ValidationError:
        raise CorruptError("not records") from None
