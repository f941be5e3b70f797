"""One trial of a command: run it as a child, and turn what it prints into records.

Standard output and error are pipes, not a terminal: the output is then what `command > file` would
hold, without colours and progress bars, and the two streams stay apart. A program that fills a
buffer before it writes to a pipe must be told not to. Python is told (PYTHONUNBUFFERED), node.js
writes at once, and a program in C takes `stdbuf -oL` before its name.
"""

import builtins
import json
import os
import platform
import re
import selectors
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from shutil import which
from typing import Any

from harness.errors import HarnessError, InfrastructureError, ResourceError, StoreError
from harness.record import Environment, Json
from harness.source import cpu_name, gpu_names
from harness.workload import Context, Metric, Row
from harness.workloads.command import code, supervisor
from harness.workloads.command.rows import (
    Epochs,
    Events,
    FileRows,
    JsonFile,
    JsonLines,
    Lines,
    Output,
    Parser,
    Patterns,
    RowSource,
    Table,
)
from harness.workloads.command.section import (
    CHECKPOINT,
    DEVICE,
    EPOCHS,
    SEED,
    THREADS,
    CheckpointSection,
    Where,
    fill,
    placeholders,
)

_TAIL_LINES = 20
"""Lines of standard error that a failure's message ends with."""
_TAIL_CHARACTERS = 4000

_PIECE = 1 << 16

_MACHINE = (OSError, ImportError, MemoryError, EOFError)
"""Exceptions of Python that `harness.trial` counts as the machine's."""

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
    """The command ended with an exit code other than 0. `harness.trial` reads the message too."""


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


_COPY = ".checkpoint"
"""Name of the copy of the command's checkpoint in the trial's folder."""

_THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")

_CHECK = "check the metric's name, and how the manifest reads the output"

_POLL_S = 0.2
"""How often files are looked at while the command runs, in seconds."""


@dataclass(frozen=True)
class Program:
    """A command, its code and how to read its output, as one manifest gives them."""

    argv: tuple[str, ...]
    files: tuple[code.File, ...] = field(repr=False)
    code_digest: str
    rows: Where
    final: Where
    keys: Mapping[str, str]
    """The names of metrics in the output, where they differ."""
    first_epoch: int
    seeded: bool
    infrastructure: str | None
    environment: tuple[str, ...]
    checkpoint: CheckpointSection | None
    epochs: int
    """The manifest's number of epochs: how many the command runs unless it is told otherwise."""

    def settings(self, metrics: Mapping[str, Metric]) -> dict[str, Json]:
        """Return what of this determines a trial's records."""
        return {
            "argv": list(self.argv),
            "code": self.code_digest,
            "rows": self.rows.to_json(),
            "final": self.final.to_json(),
            "metrics": {
                name: {"final": metric.final, "key": self.keys.get(name, name)}
                for name, metric in metrics.items()
            },
            "first_epoch": self.first_epoch,
        }


class CommandRun:
    """A trial of a command; see `harness.workload.Run`.

    A command cannot go on from a state of the harness. So without `checkpoint` in the manifest a
    trial that lost its worker starts again at its first epoch. With it, the trial goes on only if
    the command does: with the epoch that follows.
    """

    def __init__(
        self,
        program: Program,
        metrics: Mapping[str, Metric],
        parameters: Mapping[str, Json],
        context: Context,
    ) -> None:
        if context.device == "cuda" and os.environ.get("CUDA_VISIBLE_DEVICES") == "":
            raise ResourceError("a GPU was asked for, and this process has none")
        self._program = program
        self._metrics = metrics
        self._context = context
        self._folder = context.folder
        self._length = context.epochs or program.epochs
        self._values = {
            **parameters,
            SEED: context.seed,
            EPOCHS: self._length,
            DEVICE: context.device,
            THREADS: context.threads,
        }
        code.write_code(program.files, self._folder)
        self.peak_memory_bytes: int | None = None
        self._child: Child | None = None
        self._reset(after=0)
        plural = "" if context.threads == 1 else "s"
        self.environment = Environment(
            device=context.device,
            threads=context.threads,
            form=f"{context.device}/{context.threads} thread{plural}",
            versions={"python": platform.python_version()},
            hardware=_hardware(context.device),
            settings={},
            data={},
        )

    def epoch(self) -> Row | None:
        """Wait for the next complete epoch. Returns None once no further row can follow."""
        try:
            return self._next_row()
        except BaseException:
            self._end()
            raise

    def final(self) -> Mapping[str, float]:
        """Wait for the command's end, and return its final estimates.

        A run that is shorter than the command's own number of epochs is cut off and has none. A
        metric that the command never gave is named on standard error. It is missing in the records,
        which is no evidence against the paper.
        """
        try:
            if self._shortened:
                return {}
            while not self._ended:
                self._read_more()
            self._check_end()
            if missing := self._missing():
                text = f"nothing in the command's output gives {', '.join(missing)}: {_CHECK}\n"
                _write(2, text.encode())
            return {name: _number(name, value) for name, value in self._finals.items()}
        finally:
            self._end()

    def save(self) -> bytes | Path:
        """Return a copy of the command's last whole checkpoint. It is empty if there is none."""
        checkpoint = self._program.checkpoint
        if checkpoint is None:
            return b""
        copy, source = self._folder / _COPY, self._folder / checkpoint.file
        if not source.is_file():
            return b""
        # The command may be writing the file, so an earlier copy stays until this one is whole.
        new, before = self._folder / f"{_COPY}.new", source.stat()
        shutil.copyfile(source, new)
        after = source.stat()
        if (before.st_mtime_ns, before.st_size) == (after.st_mtime_ns, after.st_size):
            new.replace(copy)
        if not copy.is_file():
            return b""
        whole = self._folder / f"{_COPY}.whole"
        with whole.open("wb") as file, copy.open("rb") as content:
            file.write(json.dumps([self._epochs.taken, self._step]).encode() + b"\n")
            shutil.copyfileobj(content, file)
        return whole

    def load(self, payload: bytes | Path) -> None:
        """Start the command with its checkpoint, and wait until it goes on as it must.

        Raises:
            StoreError: there is no checkpoint, or the command does not go on with the next epoch.
        """
        checkpoint = self._program.checkpoint
        if checkpoint is None or not isinstance(payload, Path):
            raise StoreError("the command cannot go on: there is no checkpoint of it")
        target = self._folder / checkpoint.file
        target.parent.mkdir(parents=True, exist_ok=True)
        with payload.open("rb") as file, target.open("wb") as content:
            taken, step = json.loads(file.readline())
            shutil.copyfileobj(file, content)
        self._reset(after=taken)
        self._step = step
        try:
            self._begin(resume=checkpoint.resume)
            while self._epochs.waiting is None and not self._ended:
                self._read_more()
            if self._ended:
                self._check_success()
            elif (self._epochs.waiting or 0) > taken + step:
                raise ValueError(f"it went on with epoch {self._epochs.waiting}")
        except (ValueError, HarnessError, CommandFailedError) as error:
            self._end()
            self._reset(after=0)
            target.unlink(missing_ok=True)
            raise StoreError(f"the command did not go on after epoch {taken}: {error}") from error

    def _reset(self, *, after: int) -> None:
        """Forget what was read. Rows up to the epoch `after` are those of an earlier attempt."""
        names = {self._program.keys.get(name, name): name for name in self._metrics}
        rows = {key: name for key, name in names.items() if not self._metrics[name].final}
        self._final_names = {key: name for key, name in names.items() if key not in rows}
        self._epochs = Epochs(rows, self._program.first_epoch, taken=after, must_name=after > 0)
        self._step = 1
        """The distance between the last two epochs with a row."""
        self._finals: dict[str, Any] = {}
        self._seen: set[str] = set()
        """Metrics that had a value."""
        self._ended = False
        self._parsers: list[tuple[Parser, Callable[[Output], None]]] = []
        self._sources: list[tuple[RowSource, Callable[[Output], None]]] = []
        for where, take, keys in (
            (self._program.rows, self._epochs.add, rows),
            (self._program.final, self._take_final, self._final_names),
        ):
            if not keys:
                continue
            if where.events:
                self._sources.append((Events(self._folder / where.events), take))
            elif where.format == "json":
                self._sources.append((JsonFile(self._folder / where.file), take))
            elif where.file:
                file = FileRows(self._folder / where.file, _parser(where, keys))
                self._sources.append((file, take))
            else:
                self._parsers.append((_parser(where, keys), take))

    def _begin(self, resume: Sequence[str] = ()) -> Child:
        words = fill(
            [*self._program.argv, *resume],
            {
                **self._values,
                CHECKPOINT: self._program.checkpoint and self._program.checkpoint.file,
            },
        )
        self._child = Child(
            list(words),
            folder=self._folder,
            environment=_environment(self._context),
            heard=self._heard,
            infrastructure=self._program.infrastructure,
            secrets=[os.environ.get(name, "") for name in self._program.environment],
        )
        return self._child

    def _end(self) -> None:
        child, self._child = self._child, None
        if child is not None:
            self.peak_memory_bytes = child.end()

    def _next_row(self) -> Row | None:
        while True:
            taken = self._epochs.taken
            complete = self._epochs.take(ended=self._ended)
            if complete is not None:
                epoch, values = complete
                if epoch > self._length:
                    self._refuse_beyond(epoch)
                    return None
                self._step = epoch - taken
                self._seen.update(values)
                return Row(epoch, {name: _number(name, text) for name, text in values.items()})
            if self._ended:
                self._check_end()
                return None
            self._read_more()

    def _read_more(self) -> None:
        """Read what the command has printed and written; wait for some of it."""
        child = self._child or self._begin()
        running = child.wait(_POLL_S if self._sources else None)
        for source, take in self._sources:
            for row in source.read(ended=not running):
                take(row)
        self._ended = not running

    def _heard(self, line: str) -> None:
        for parser, take in self._parsers:
            for row in parser.rows(line):
                take(row)

    def _take_final(self, row: Output) -> None:
        found = {self._final_names[key]: row[key] for key in row if key in self._final_names}
        self._finals |= found
        self._seen.update(found)

    @property
    def _shortened(self) -> bool:
        """Whether the trial ends before the command does by itself."""
        told = EPOCHS in {name for _, name in placeholders(self._program.argv)}
        return not told and self._length < self._program.epochs

    def _refuse_beyond(self, epoch: int) -> None:
        """Refuse a row after the last epoch, unless the run is cut off there."""
        if not self._shortened:
            raise ValueError(
                f"a row of epoch {epoch}, but the run has {self._length}: correct epochs or rows"
            )

    def _check_success(self) -> None:
        if self._child is not None:
            self._child.require_success()

    def _check_end(self) -> None:
        """Check how the command has ended.

        Raises:
            InfrastructureError, CommandFailedError: as of `Child.require_success`.
            ValueError: a row follows the last epoch.
        """
        self._check_success()
        waiting = self._epochs.waiting
        if waiting is not None and waiting > self._length:
            self._refuse_beyond(waiting)

    def _missing(self) -> list[str]:
        """Return the metrics that never had a value."""
        # Rows that an earlier attempt has may be the last that give a metric of every epoch.
        resumed = self._epochs.must_name
        return [
            name
            for name, metric in self._metrics.items()
            if name not in self._seen and (metric.final or not resumed)
        ]


def _hardware(device: str) -> dict[str, str]:
    named = {
        "machine": platform.machine(),
        "system": platform.platform(),
        "cpu": cpu_name(),
        "gpu": gpu_names() if device == "cuda" else None,
    }
    return {name: value for name, value in named.items() if value}


def _parser(where: Where, keys: Collection[str]) -> Parser:
    if where.patterns:
        return Patterns(where.patterns)
    return JsonLines() if where.format == "jsonl" else Table(keys)


def _number(name: str, value: Any) -> float:
    """Return a value of the output as a number. NaN and infinities pass; the trial reports them.

    Raises:
        ValueError: it is none.
    """
    try:
        if isinstance(value, bool):
            raise ValueError
        return float(value)
    except (TypeError, ValueError):
        raise ValueError(f"{name}: must be a number, got {value!r:.60}") from None


def _environment(context: Context) -> dict[str, str]:
    """Return the command's environment variables: those of the trial, with its threads and GPUs."""
    # A command that uses Ray must not join the cluster that runs it.
    own = {name: value for name, value in os.environ.items() if not name.startswith("RAY_")}
    own |= dict.fromkeys(_THREADS, str(context.threads))
    own["PYTHONUNBUFFERED"] = "1"
    # `python` and `torchrun` are those of the environment in which the harness runs.
    folders = [os.path.dirname(sys.executable), own.get("PATH", os.defpath)]
    own["PATH"] = os.pathsep.join(folders)
    if context.device == "cpu":
        own["CUDA_VISIBLE_DEVICES"] = ""  # a trial on the CPU must not touch a GPU that it can see
    return own
