"""The store's files: how they are replaced atomically and made durable, and what they contain.

A write survives a power failure, and a digest in each line reveals any damage.
"""

import hashlib
import json
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from io import BufferedReader, FileIO
from pathlib import Path
from typing import Generic, TypeVar

from pydantic import TypeAdapter, ValidationError

from harness.errors import StoreError
from harness.plan import Request
from harness.record import (
    Declaration,
    EpochRecord,
    Failure,
    FinalRecord,
    PastFailure,
    Provenance,
    canonical_json,
)


@contextmanager
def faults_named(path: Path) -> Iterator[None]:
    """Turn an error of the operating system into a StoreError that names the file.

    Raises:
        StoreError: for example, the disk is full or the folder is read-only.
    """
    try:
        yield
    except OSError as error:
        raise _named(path, error) from error


def read_file(path: Path, *, first_line: bool = False) -> bytes | None:
    """Read the file's bytes, or only its first line. Return None if the file does not exist."""
    try:
        # Not `path.open`, which takes as long as the reading: a study has a million of these files.
        with FileIO(path) as file:
            # A buffer helps only to find the end of a line.
            return BufferedReader(file).readline() if first_line else file.read()
    except FileNotFoundError:
        return None
    except OSError as error:
        raise _named(path, error) from error


def _named(path: Path, error: OSError) -> StoreError:
    return StoreError(f"{path}: {error.strerror or error}")


def replace(path: Path, *parts: bytes) -> None:
    """Replace a whole file. The old file remains until the new one is on disk.

    The new name is durable only after `sync_folder`.
    """
    new = Replacement(path)
    for part in parts:
        new.write(part)
    new.commit()


class Replacement:
    """Replaces a whole file by one that is written in parts. The old file remains until `commit`.

    Raises:
        StoreError: from any method, as when the disk is full. Then nothing is left of the new file.
    """

    def __init__(self, path: Path, ending: str = "new") -> None:
        self._path = path
        self._new = _new(path, ending)
        with faults_named(path):
            self._file = self._new.open("wb")

    @staticmethod
    def remove(path: Path, ending: str = "new") -> None:
        """Remove what a killed process has left of a new file."""
        remove(_new(path, ending))

    def write(self, part: bytes) -> None:
        """Add the next part."""
        with faults_named(self._path), self._or_nothing():
            self._file.write(part)

    def commit(self) -> None:
        """Replace the old file, once the new one is on disk."""
        with faults_named(self._path), self._or_nothing():
            self._file.flush()
            os.fsync(self._file.fileno())
            self._file.close()
            self._new.replace(self._path)

    def discard(self) -> None:
        """Drop what was written, and keep the old file."""
        with suppress(OSError):  # a buffer that a full disk does not take
            self._file.close()
        self._new.unlink(missing_ok=True)

    @contextmanager
    def _or_nothing(self) -> Iterator[None]:
        try:
            yield
        except OSError:
            self.discard()  # it would only waste space on a full disk
            raise


def _new(path: Path, ending: str) -> Path:
    return path.with_name(f".{path.name}.{ending}")


def write_from(path: Path, offset: int, data: bytes) -> None:
    """Cut the file off at `offset`, then write `data` there."""
    with faults_named(path), os.fdopen(os.open(path, os.O_RDWR | os.O_CREAT, 0o666), "wb") as file:
        file.truncate(offset)
        file.seek(offset)
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


def remove(path: Path) -> None:
    """Remove a file if it exists."""
    with faults_named(path):
        path.unlink(missing_ok=True)


def sync_folder(path: Path) -> None:
    """Make the file names in a folder durable."""
    with faults_named(path):
        descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


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
class TrialResult:
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
class Ending:
    """The part of a `TrialResult` that says whether the trial ended, which is faster to decode."""

    trial: str
    done: int = 0
    failure: Failure | None = None


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

    _INFINITE = re.compile(rb"[:,\[]\s*-?(?:NaN|Infinity|[0-9.]+[eE]\+?[0-9]{3}|[0-9][0-9.]{299})")
    """A number that JSON does not have, and that the parser reads all the same, or a text that
    looks like one. It takes less time than to parse each line a second time."""

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
            value = self._adapter.validate_json(match[2])
            if self._INFINITE.search(match[2]):
                canonical_json(json.loads(match[2]))
        except ValueError:  # the digest is right, but the content is of another type, or no JSON
            raise CorruptError("not what belongs there") from None
        return value


RESULT = Sealed(TrialResult)
ENDING = Sealed(Ending)
CHECKPOINT = Sealed(CheckpointHeader)
DECLARATION = Sealed(Declaration)
HISTORY = Sealed(PastFailure)
REQUEST = Sealed(Request)

_RECORD = TypeAdapter(EpochRecord)
_RECORDS = TypeAdapter(tuple[EpochRecord, ...])


def record_line(record: EpochRecord) -> bytes:
    """Encode one epoch as a line of records.jsonl."""
    return _RECORD.dump_json(record) + b"\n"


def decode_records(lines: Sequence[bytes]) -> tuple[EpochRecord, ...]:
    """Decode the lines that `record_line` made.

    Raises:
        CorruptError: a line is not a valid record.
    """
    try:
        return _RECORDS.validate_json(b"[" + b",".join(lines) + b"]")
    except ValidationError:
        raise CorruptError("not records") from None
