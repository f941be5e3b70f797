"""Run a command as a child of this process, and read what it prints as it prints it.

Standard output and error are pipes, not a terminal: the output is then what `command > file` would
hold, without colours and progress bars, and the two streams stay apart. A program that fills a
buffer before it writes to a pipe must be told not to. Python is told (PYTHONUNBUFFERED), node.js
writes at once, and a program in C takes `stdbuf -oL` before its name.
"""

import builtins
import os
import re
import selectors
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from shutil import which

from harness.errors import InfrastructureError, ResourceError
from harness.workloads.command import supervisor
from harness.workloads.command.output import Lines

_TAIL_LINES = 20
"""Lines of standard error that a failure's message ends with."""
_TAIL_CHARACTERS = 4000

_PIECE = 1 << 16

_MACHINE = (OSError, ImportError, MemoryError, EOFError)
"""Exceptions of Python that `harness.outcome` counts as the machine's."""

_NAMES = "|".join(
    sorted(
        name
        for name, kind in vars(builtins).items()
        if isinstance(kind, type) and issubclass(kind, _MACHINE)
    )
)
_PYTHON_ERROR = re.compile(rf"(?:[\w.]+\.)?(?:{_NAMES}|OutOfMemoryError)\b")
"""The last line of Python's traceback, if it means a failure of the machine."""

_SYSTEM_ERROR = re.compile(
    r"""
    \b(?:ENOSPC|EMFILE|ENFILE|ENOMEM|EIO|EDQUOT|EROFS|ECONNRESET|ECONNREFUSED|ETIMEDOUT
          |ENOTFOUND|EAI_AGAIN|EPIPE|MODULE_NOT_FOUND)\b
    | [Nn]o\ space\ left\ on\ device | [Dd]isk\ quota\ exceeded
    """,
    re.VERBOSE,
)
"""What the last lines of standard error have in any language if the system failed."""


class CommandFailedError(RuntimeError):
    """The command ended with an exit code other than 0. `harness.outcome` reads the message too."""


class Child:
    """A running command.

    Args:
        words: the program and its arguments.
        folder: the working directory.
        environment: the environment variables.
        heard: is called with each complete line of standard output.
        infrastructure: a line of standard error that matches means that the machine has failed.
        secrets: texts that no message may hold.

    Raises:
        ResourceError: this node has no such program.
    """

    def __init__(
        self,
        words: Sequence[str],
        *,
        folder: Path,
        environment: Mapping[str, str],
        heard: Callable[[str], None],
        infrastructure: str | None,
        secrets: Sequence[str] = (),
    ) -> None:
        program = which(words[0], path=environment.get("PATH"))
        if "/" in words[0]:  # relative to the folder, as a shell reads it
            program = which(str(folder / words[0]))
        if program is None:
            raise ResourceError(f"cannot run {words[0]}: no such program on this node")
        self.program = program
        self._heard = heard
        self._infrastructure = re.compile(infrastructure) if infrastructure else None
        self._machine = ""
        """The line of standard error that says that the machine has failed."""
        self._tail: list[str] = []
        self._secrets = [text for text in secrets if text]
        self._peak, told = os.pipe()
        # The pipe to its standard input closes when this process ends, however it ends.
        self._process = subprocess.Popen(  # noqa: S603 - the user has allowed this command
            [sys.executable, "-I", "-S", supervisor.__file__, str(told), program, *words[1:]],
            pass_fds=[told],
            cwd=folder,
            env=dict(environment),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,
        )
        os.close(told)
        self._selector = selectors.DefaultSelector()
        for stream, lines, hear in (
            (self._process.stdout, Lines(), heard),
            (self._process.stderr, Lines(), self._heard_error),
        ):
            self._selector.register(stream, selectors.EVENT_READ, (lines, hear))  # type: ignore[arg-type]

    def wait(self, timeout_s: float | None = None) -> bool:
        """Read what has been printed; wait for some of it. Returns False once the command ended."""
        for key, _ in self._selector.select(timeout_s):
            lines, hear = key.data
            data = os.read(key.fd, _PIECE)
            to = 1 if key.fileobj is self._process.stdout else 2
            if not self._secrets:
                _write(to, data)
            for line in lines.add(data) if data else lines.end():
                if self._secrets:  # by lines, since a piece of output may end within a secret
                    _write(to, f"{self._masked(line)}\n".encode())
                hear(line)
            if not data:
                self._selector.unregister(key.fileobj)
        if self._selector.get_map():
            return True
        self._process.wait()
        return False

    def end(self) -> int | None:
        """End the command and every process that it started, if they are running.

        Returns:
            The largest resident memory that one of them had, in bytes; None if it is unknown.
        """
        for stream in (self._process.stdin, self._process.stdout, self._process.stderr):
            if stream is not None:
                stream.close()  # of these, standard input is what the supervisor waits for
        self._selector.close()
        self._process.wait()
        with open(self._peak, "rb") as file:
            told = file.read(32)
        return int(told) if told else None

    def require_success(self) -> None:
        """Check how the command has ended.

        Raises:
            InfrastructureError: the machine has failed.
            CommandFailedError: the command has failed.
        """
        code = self._process.returncode
        if code == 0:
            return
        if code < 0:
            ended = f"was killed by {signal.Signals(-code).name}"
        else:
            ended = f"ended with exit code {code}"
        tail = self._masked("\n".join(self._tail))[-_TAIL_CHARACTERS:]
        message = f"{os.path.basename(self.program)} {ended}" + (f":\n{tail}" if tail else "")
        python = self._tail and _PYTHON_ERROR.match(self._tail[-1])
        if self._machine:
            raise InfrastructureError(
                f"{message}\n(a failure of the machine: {self._masked(self._machine)})"
            )
        if code < 0 or python or _SYSTEM_ERROR.search(tail):
            raise InfrastructureError(message)
        # A shell reports the signal of its own child in its exit code; `kind_of` knows these codes.
        raise CommandFailedError(message) from subprocess.CalledProcessError(code, self.program)

    def _masked(self, text: str) -> str:
        for secret in self._secrets:
            text = text.replace(secret, "***")
        return text

    def _heard_error(self, line: str) -> None:
        if self._infrastructure and self._infrastructure.search(line):
            self._machine = line.strip()
        if line.strip():
            self._tail = [*self._tail[1 - _TAIL_LINES :], line.rstrip()]


def _write(descriptor: int, data: bytes) -> None:
    """Write all of the data, however little the system takes at once."""
    while data:
        data = data[os.write(descriptor, data) :]
