"""Replace files atomically and make writes durable, so that they survive a power failure."""

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from harness.errors import StoreError


@contextmanager
def faults_named(path: Path) -> Iterator[None]:
    """Turn an error of the operating system into a StoreError that names the file.

    Raises:
        StoreError: for example, the disk is full or the folder is read-only.
    """
    try:
        yield
    except OSError as error:
        raise StoreError(f"{path}: {error.strerror or error}") from error


def read(path: Path, *, first_line: bool = False) -> bytes | None:
    """Read the file's bytes, or only its first line. Return None if the file does not exist."""
    with faults_named(path):
        try:
            # A buffer helps only to find the end of a line.
            with path.open("rb", buffering=-1 if first_line else 0) as file:
                return file.readline() if first_line else file.read()
        except FileNotFoundError:
            return None


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
