"""Guard standard output and standard error, so that no write to them can end a command.

A command's exit code says what it found, so the work goes on even if its output is lost:

* The reader went away (`harness check … | head -1`): the rest of the output is dropped, and the
  exit code stays as it is.
* The output cannot be written (a full disk): the rest is dropped as well. Standard output is what
  the user asked for, so its loss is reported and counts as incomplete (exit 4).
* The encoding lacks a character: an escape such as `\\xb1` stands in its place.
"""

import errno
import io
import os
import select
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, TextIO

from harness.errors import Exit

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer

_READER_GONE = {errno.EPIPE, errno.ECONNRESET, errno.ESHUTDOWN, errno.ENOTCONN}


class _Descriptor(io.FileIO):
    """Writes to a file descriptor until a write fails, and drops everything after that."""

    def __init__(self, descriptor: int) -> None:
        super().__init__(descriptor, "w", closefd=False)
        self.fault: OSError | None = None
        """The error that ended the output; None while it works, or if only the reader went away."""
        self._ended = False

    def write(self, data: "ReadableBuffer", /) -> int:
        """Write some or all bytes; returns how many of them are dealt with."""
        size = memoryview(data).nbytes
        if self._ended:
            return size
        try:
            while (written := super().write(data)) is None:  # a non-blocking pipe is full
                select.select([], [self], [])
        except OSError as error:
            self._ended = True
            self.fault = None if self._reader_gone(error) else error
            return size
        return written

    def _reader_gone(self, error: OSError) -> bool:
        return error.errno in _READER_GONE or (error.errno == errno.EIO and self.isatty())


@dataclass(frozen=True)
class _Stream:
    text: io.TextIOWrapper
    descriptor: _Descriptor

    @classmethod
    def guard(cls, stream: TextIO | None) -> "_Stream | None":
        """Guard a stream; None if it is not a file, as in a test or a notebook."""
        if not isinstance(stream, io.TextIOWrapper):
            return None
        try:
            descriptor = _Descriptor(stream.fileno())
        except OSError:
            return None
        stream.flush()
        text = io.TextIOWrapper(
            io.BufferedWriter(descriptor),
            encoding=stream.encoding,
            errors="backslashreplace",
            line_buffering=stream.line_buffering,
            write_through=stream.write_through,
        )
        return cls(text, descriptor)

    def finish(self) -> OSError | None:
        """Write what is buffered, and return the error that ended the output, if any."""
        self.text.flush()
        return self.descriptor.fault


class Output:
    """The guarded streams of one command."""

    def __init__(self) -> None:
        # Python sets a stream to None if its descriptor is closed, but libraries print to it.
        sys.stdout = sys.stdout or open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115
        sys.stderr = sys.stderr or open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115
        self._unguarded = sys.stdout, sys.stderr  # kept open for as long as the guards write
        self._stdout = _Stream.guard(sys.stdout)
        self._stderr = _Stream.guard(sys.stderr)
        if self._stdout:
            sys.stdout = self._stdout.text
        if self._stderr:
            sys.stderr = self._stderr.text

    def exit_code(self, code: int) -> int:
        """Write what is buffered, and return the exit code: `code`, or 4 if output was lost.

        A negative verdict or wrong usage outranks lost output.
        """
        fault = self._stdout.finish() if self._stdout else None
        if fault is not None:
            lost = "the command did its work, but some of its output is lost"
            print(f"standard output: {fault.strerror}: {lost}", file=sys.stderr)
        if self._stderr:
            self._stderr.finish()  # losing it changes no exit code
        counts = fault is not None and code in (Exit.AS_EXPECTED, Exit.INCONCLUSIVE)
        return Exit.INCOMPLETE if counts else code


@contextmanager
def guarded() -> Iterator[Output]:
    """Guard both streams for as long as the context lasts."""
    _open_missing_descriptors()
    before = sys.stdout, sys.stderr
    try:
        yield Output()
    finally:
        sys.stdout, sys.stderr = before


def _open_missing_descriptors() -> None:
    """Open the null device for each standard descriptor that is closed (`>&-`).

    Otherwise the next file to be opened, such as a trial's records, becomes standard output.
    """
    for descriptor in (0, 1, 2):
        try:
            os.fstat(descriptor)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # takes the lowest free number, which is this one
