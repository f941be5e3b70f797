"""Guard standard output and standard error, so that no write to them can end a command.

A command's exit code tells what it found. So whatever becomes of its output, the work goes on:

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
        """Write some or all bytes; returns how many of them need no second attempt."""
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
        """The same stream, guarded; None where it is no file, as in a test or a notebook."""
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
        """Write out what is buffered; the error that ended the output, if one did."""
        self.text.flush()
        return self.descriptor.fault


class Output:
    """The guarded streams of one command."""

    def __init__(self) -> None:
        # Python has no stream where a descriptor was closed; what prints expects one.
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
        """Write out what is buffered; the command's exit code, or 4 if its output was lost.

        The order of the contract holds: a verdict, or a fault of usage, outranks lost output.
        """
        fault = self._stdout.finish() if self._stdout else None
        if fault is not None:
            lost = "the work is done, but some of what it prints is lost"
            print(f"standard output: {fault.strerror}: {lost}", file=sys.stderr)
        if self._stderr:
            self._stderr.finish()  # its loss changes nothing
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
    """Put the null device where a standard descriptor is closed (`>&-`).

    Otherwise the next file that is opened, a trial's records perhaps, becomes standard output.
    """
    for descriptor in (0, 1, 2):
        try:
            os.fstat(descriptor)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # takes the lowest free number, which is this one
