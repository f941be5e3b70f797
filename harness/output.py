"""Write the files that the user asks for (`--json`, `--out`, report pages).

A file appears whole or not at all: the new file is written beside the old one and then replaces it.
Devices and pipes (`/dev/null`, a named pipe) are written to directly, and `-` is standard output.
Every failure is an `OutputError`: one line that names the path, and the option if one gave it.
"""

import os
import stat
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from harness.errors import Exit, HarnessError, UsageError

STDOUT = "-"
"""Stands for standard output when given instead of a file name."""


class OutputError(HarnessError):
    """A file cannot be written; the message names the path and the reason."""

    exit_code = Exit.INCOMPLETE


@contextmanager
def given_by(option: str) -> Iterator[None]:
    """Name the option that gave a path, in errors about it.

    Raises:
        OutputError: the same error, with the option before the path.
    """
    try:
        yield
    except OutputError as error:
        raise OutputError(f"{option}: {error}") from error


@contextmanager
def failures_named(path: Path) -> Iterator[None]:
    """Turn an error of the operating system into an `OutputError` that names the path.

    Raises:
        OutputError: the disk is full, the folder is read-only, a name is too long, and the like.
    """
    try:
        yield
    except BrokenPipeError:
        return  # the reader of a pipe wants no more
    except OSError as error:
        raise OutputError(f"{path}: cannot be written: {error.strerror or error}") from error


def write_output(target: str | Path, content: str | bytes) -> None:
    """Write a whole file, or print it where `target` is `-`.

    Args:
        target: a path or `-`. Its folder must exist: a misspelt path is an error.
        content: text is encoded as UTF-8, in which a lone surrogate becomes "?".

    Raises:
        OutputError: the file cannot be written; an older file of that name stays as it was.
    """
    data = content if isinstance(content, bytes) else content.encode("utf-8", "replace")
    if str(target) == STDOUT:
        sys.stdout.flush()
        sys.stdout.buffer.write(data)
        sys.stdout.buffer.flush()
        return
    with replacing(Path(target)) as new:
        new.write_bytes(data)


def create(path: Path, content: str) -> None:
    """Write a new file.

    Raises:
        UsageError: the file exists already; it is left as it is.
        OutputError: the file cannot be written.
    """
    if path.exists() or path.is_symlink():
        raise UsageError(f"{path} exists already; nothing was written")
    write_output(path, content)


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yield the path of a new file, which replaces `path` when the context ends.

    On an error the new file is removed and the old one stays. If `path` is a device or a pipe,
    it is yielded itself, because it must not be replaced.

    Raises:
        OutputError: the file cannot be written.
    """
    with failures_named(path):
        try:
            mode = path.stat().st_mode
        except FileNotFoundError:
            mode = None
        if mode is not None and stat.S_ISDIR(mode):
            raise OutputError(f"{path}: is a folder; a file's name is needed")
        if mode is not None and not stat.S_ISREG(mode):
            yield path
            return
        if not path.parent.is_dir():
            raise OutputError(f"{path}: cannot be written: there is no folder {path.parent}")
        place = path.resolve()  # replace what a link points to, not the link
        new = place.with_name(f".{place.name[:200]}.{os.getpid()}.new{place.suffix}")
        try:
            yield new
            if mode is not None:
                new.chmod(stat.S_IMODE(mode))
            new.replace(place)
        finally:
            with suppress(OSError):
                new.unlink(missing_ok=True)


def make_folder(folder: Path) -> None:
    """Make a folder and its parents. It may exist already.

    Raises:
        OutputError: the folder cannot be made, or is a file.
    """
    with failures_named(folder):
        folder.mkdir(parents=True, exist_ok=True)


def check_target(target: str | Path) -> None:
    """Check before a long command that a path can be written.

    Raises:
        OutputError: its folder does not exist or is read-only, or it is a folder itself.
    """
    path = Path(target)
    if str(target) == STDOUT:
        return
    if path.is_dir():
        raise OutputError(f"{path}: is a folder; a file's name is needed")
    if not path.parent.is_dir():
        raise OutputError(f"{path}: cannot be written: there is no folder {path.parent}")
    place = path if path.exists() and not path.is_file() else path.parent
    if not os.access(place, os.W_OK):
        raise OutputError(f"{path}: cannot be written: {place} is read-only")
