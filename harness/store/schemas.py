"""What the store's files hold, sealed with digests so that no damaged one is ever believed."""

import hashlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from pydantic import TypeAdapter, ValidationError

from harness.plan import Request
from harness.record import EpochRecord, Failure, FinalRecord, PastFailure, Provenance

T = TypeVar("T")


class CorruptError(ValueError):
    """Bytes that are not what was written."""


@dataclass(frozen=True)
class Covered:
    """The first part of records.jsonl, as it was when something was said of it."""

    epochs: int = 0
    length: int = 0
    """In bytes."""
    sha256: str = hashlib.sha256().hexdigest()

    def holds(self, records: bytes) -> bool:
        """Whether the records still begin with that very part."""
        part = memoryview(records)[: self.length]
        return len(part) == self.length and hashlib.sha256(part).hexdigest() == self.sha256


@dataclass(frozen=True)
class Result:
    """How a trial ended, so far: a finished trial may be continued to more epochs."""

    trial: str
    covered: Covered
    done: int = 0
    """The epoch up to which the trial is finished."""
    finals: Mapping[int, FinalRecord] = field(default_factory=dict)
    failure: Failure | None = None
    """Of the last attempt, if that failed."""
    provenance: tuple[Provenance, ...] = ()


@dataclass(frozen=True)
class CheckpointHeader:
    """The first line of checkpoint.pt; the payload follows it."""

    trial: str
    epoch: int
    form: str
    length: int
    """Of the payload, in bytes."""
    sha256: str
    """Of the payload."""
    covered: Covered
    provenance: tuple[Provenance, ...]


@dataclass(frozen=True)
class Declaration:
    """What was declared before records were made."""

    tolerances: Mapping[str, float]
    """By claim."""


class Sealed(Generic[T]):
    """One line of JSON that carries the digest of its own bytes."""

    _FORM = re.compile(rb'\{"sha256":"([0-9a-f]{64})","body":(.*)\}\n')

    def __init__(self, form: type[T]) -> None:
        self._adapter = TypeAdapter(form)

    def write(self, body: T) -> bytes:
        """The line that `read` takes back."""
        text = self._adapter.dump_json(body)
        return b'{"sha256":"%s","body":%s}\n' % (hashlib.sha256(text).hexdigest().encode(), text)

    def read(self, line: bytes) -> T:
        """What was written.

        Raises:
            CorruptError: not one byte of it may differ from what was written.
        """
        match = self._FORM.fullmatch(line)
        if match is None or hashlib.sha256(match[2]).hexdigest().encode() != match[1]:
            raise CorruptError("truncated or damaged")
        try:
            return self._adapter.validate_json(match[2])
        except ValidationError:  # the seal is right, and on something else
            raise CorruptError("not what belongs there") from None


RESULT = Sealed(Result)
CHECKPOINT = Sealed(CheckpointHeader)
DECLARATION = Sealed(Declaration)
HISTORY = Sealed(PastFailure)
REQUEST = Sealed(Request)

_RECORD = TypeAdapter(EpochRecord)
_RECORDS = TypeAdapter(tuple[EpochRecord, ...])


def record_line(record: EpochRecord) -> bytes:
    """One epoch as a line of records.jsonl."""
    return _RECORD.dump_json(record) + b"\n"


def records(lines: Sequence[bytes]) -> tuple[EpochRecord, ...]:
    """The epochs that `record_line` wrote.

    Raises:
        CorruptError: they are something else.
    """
    try:
        return _RECORDS.validate_json(b"[" + b",".join(lines) + b"]")
    except ValidationError:
        raise CorruptError("not records") from None
