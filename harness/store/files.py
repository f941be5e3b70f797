"""Files that are either there in full or not at all, and are there after the power fails."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from harness.errors import StoreError


@contextmanager
def faults_named(path: Path) -> Iterator[None]:
    """Turn what the operating system refuses into a fault that names the file.

    Raises:
        StoreError: the disk is full, the folder is read-only, and the like.
    """
    try:
        yield
    except OSError as error:
        raise StoreError(f"{path}: {error.strerror or error}") from error


def read(path: Path, *, first_line: bool = False) -> bytes | None:
    """The file's bytes, or its first line's alone; None if it is not there."""
    with faults_named(path):
        try:
            with path.open("rb") as file:
                return file.readline() if first_line else file.read()
        except FileNotFoundError:
            return None


def replace(path: Path, *parts: bytes) -> None:
    """Write a whole file in place of the old one, which stands until the new one is on disk.

    The new name itself is durable only after `sync_folder`.
    """
    new = path.with_name(f".{path.name}.new")
    with faults_named(path):
        try:
            with new.open("wb") as file:
                file.writelines(parts)
                os.fsync(file.fileno())
            new.replace(path)
        except OSError:
            new.unlink(missing_ok=True)  # on a full disk it would only take room
            raise


def write_from(path: Path, offset: int, data: bytes) -> None:
    """Put `data` at `offset` and drop whatever stood from there on."""
    with faults_named(path), os.fdopen(os.open(path, os.O_RDWR | os.O_CREAT, 0o666), "wb") as file:
        file.truncate(offset)
        file.seek(offset)
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


def remove(path: Path) -> None:
    """Remove a file, if it is there."""
    with faults_named(path):
        path.unlink(missing_ok=True)


def sync_folder(path: Path) -> None:
    """Make the names in a folder durable."""
    with faults_named(path):
        descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
