"""Capture what a trial prints, and send the files that it leaves in its folder of artifacts.

It captures this process, its threads, its C libraries and its children. Standard output and error
lead into files without a name while a trial runs. A thread empties files that grow fast, so that a
trial that prints without end fills no disk.
"""

import ctypes
import fcntl
import os
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path

from harness.record import Artifact, ArtifactPart, FileSlice, Message, Output, Printed
from harness.workload import ARTIFACTS, MOST_ARTIFACT_BYTES

HALF = 32 << 10
"""Size of the beginning and of the end that are kept of what is printed between two batches of
messages, in bytes."""

_LARGE = 1 << 20
"""A file that is larger is emptied, in bytes."""

_LOOK_S = 0.2
"""How often the thread looks for large files, in seconds."""

_DESCRIPTORS = {Printed.STDOUT: 1, Printed.STDERR: 2}


class _Stream:
    """One of the two streams: its file, and what was read and not sent yet."""

    def __init__(self, printed: Printed, folder: Path) -> None:
        self.printed = printed
        self.file = tempfile.TemporaryFile(dir=folder, buffering=0)  # noqa: SIM115 - kept open
        number = self.file.fileno()  # append, so that an emptied file is written from its start
        fcntl.fcntl(number, fcntl.F_SETFL, fcntl.fcntl(number, fcntl.F_GETFL) | os.O_APPEND)
        self._read = 0
        """Up to where the file has been read, in bytes."""
        self._head = b""
        self._skipped = 0
        self._tail = b""

    def begin(self) -> None:
        """Forget what an earlier trial printed."""
        self.file.truncate(0)
        self._read = 0
        self._clear()

    def drain(self, *, at_least: int = 1) -> None:
        """Read what is new, if it is so many bytes, and empty the file if it is large."""
        number = self.file.fileno()
        size = os.fstat(number).st_size
        if size - self._read < at_least:
            return
        head = os.pread(number, min(HALF - len(self._head), size - self._read), self._read)
        rest = size - self._read - len(head)
        tail = os.pread(number, min(HALF, rest), size - min(HALF, rest))
        kept = (self._tail + tail)[-HALF:]
        self._head += head
        self._skipped += len(self._tail) + rest - len(kept)
        self._tail = kept
        self._read = size
        if size >= _LARGE:  # what is printed at this very moment is lost too
            os.ftruncate(number, 0)
            self._read = 0

    def taken(self) -> Output | None:
        """Return what was printed since the last time, without its middle if it is long."""
        self.drain()
        output = Output(self.printed, self._head, self._skipped, self._tail)
        self._clear()
        return output if output.head else None

    def _clear(self) -> None:
        self._head, self._skipped, self._tail = b"", 0, b""


class _Capture:
    """The capture of this process. Files and thread stay from one trial to the next."""

    def __init__(self, folder: Path) -> None:
        self._streams = [_Stream(printed, folder) for printed in Printed]
        self._lock = threading.Lock()
        self._never = threading.Event()
        threading.Thread(target=self._watch, name="capture", daemon=True).start()

    @contextmanager
    def on(self) -> Iterator[Callable[[], Sequence[Output]]]:
        """Capture until the context ends, and yield a function that returns what is new."""
        with self._lock:
            for stream in self._streams:
                stream.begin()
        _flush()
        saved = [os.dup(_DESCRIPTORS[stream.printed]) for stream in self._streams]
        for stream in self._streams:
            os.dup2(stream.file.fileno(), _DESCRIPTORS[stream.printed])
        try:
            yield self._taken
        finally:
            _flush()
            for stream, number in zip(self._streams, saved, strict=True):
                os.dup2(number, _DESCRIPTORS[stream.printed])
                os.close(number)

    def _taken(self) -> list[Output]:
        _flush()
        with self._lock:
            return list(filter(None, [stream.taken() for stream in self._streams]))

    def _watch(self) -> None:
        """Look between trials too: to wake this thread for each trial costs a short one more."""
        while not self._never.wait(_LOOK_S):  # a trial may have replaced `time.sleep`
            with self._lock:
                for stream in self._streams:
                    stream.drain(at_least=_LARGE)


def capture(folder: Path) -> _Capture:
    """Return the capture of this process.

    Args:
        folder: where the files are, which have no name.

    Raises:
        OSError: the files cannot be made, as when the disk is full.
    """
    return _capture(folder, os.getpid())


@cache
def _capture(folder: Path, pid: int) -> _Capture:
    return _Capture(folder)


def _flush() -> None:
    """Write what Python and C libraries hold back. A trial may have closed or replaced streams."""
    for stream in (sys.stdout, sys.stderr):
        with suppress(Exception):
            stream.flush()
    # Only this stream of C: a thread that reads another one may hold that one's lock for ever.
    with suppress(Exception):
        _libc().fflush(ctypes.c_void_p.in_dll(_libc(), "stdout"))


@cache
def _libc() -> ctypes.CDLL:
    return ctypes.CDLL(None)


MOST_FILES = 1000
"""Largest number of artifacts of a trial."""


def artifacts(folder: Path) -> Iterator[Message]:
    """Yield the artifacts in the order of their names, each with its parts.

    What is left out is named on the trial's standard error. It never fails the trial.
    """
    left, count = MOST_ARTIFACT_BYTES, 0
    for path in _files(folder):
        name = path.relative_to(folder).as_posix()
        try:
            why = _refused(path, left, count)
            if not why:
                file = FileSlice.of(path)
                yield Artifact(name, file.length, file.sha256)
                yield from map(ArtifactPart, file.parts())
                left, count = left - file.length, count + 1
        except (OSError, EOFError, UnicodeError) as error:
            why = str(error)
        if why:
            note = f"harness: {ARTIFACTS}/{name} is not kept: {why}\n"
            yield Output(Printed.STDERR, note.encode(errors="backslashreplace"))


def _files(folder: Path) -> Iterator[Path]:
    """Yield all that is below the folder and is no folder. Links are not followed."""
    if folder.is_symlink():
        return
    for parent, folders, names in os.walk(folder):
        folders.sort()
        yield from (Path(parent, name) for name in sorted(names))


def _refused(path: Path, left: int, count: int) -> str:
    """Return why a file is not kept; empty if it is."""
    if path.is_symlink() or not path.is_file():
        return "it is no regular file"
    if count >= MOST_FILES:
        return f"a trial keeps at most {MOST_FILES} files"
    path.as_posix().encode()  # raises if the name is no Unicode
    size = path.stat().st_size
    if size > left:
        return f"it has {size} bytes, and a trial keeps at most {MOST_ARTIFACT_BYTES} in all"
    return ""
