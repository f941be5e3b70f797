"""Replace files atomically and make writes durable, so that they survive a power failure."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
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
            with path.open("rb") as file:
                return file.readline() if first_line else file.read()
        except FileNotFoundError:
            return None


def replace(path: Path, *parts: bytes) -> None:
    """Replace a whole file. The old file remains until the new one is on disk.

    The new name is durable only after `sync_folder`.
    """
    new = path.with_name(f".{path.name}.new")
    with faults_named(path):
        try:
            with new.open("wb") as file:
                file.writelines(parts)
                os.fsync(file.fileno())
            new.replace(path)
        except OSError:
            new.unlink(missing_ok=True)  # it would only waste space on a full disk
            raise


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
