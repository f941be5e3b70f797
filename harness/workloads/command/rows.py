"""Read rows of metrics from what a command prints or writes.

A row is a mapping of names to values as the command wrote them, with an epoch if it names one.
`Patterns`, `JsonLines` and `Table` read rows from lines. `Lines` cuts a stream or a growing file
into lines, and `Epochs` collects rows into epochs.
"""

import csv
import json
import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from math import nan
from pathlib import Path
from typing import Any, Protocol

from harness.errors import ResourceError

EPOCH = "epoch"
"""The group, field or column that holds a row's epoch."""

_LONGEST_LINE = 1 << 20
"""A longer line is cut, in bytes. A command may print without a newline for hours."""

_BREAK = re.compile(rb"\r\n|[\r\n]")
"""A progress bar ends its lines with a carriage return."""

_ESCAPE = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\))")
"""A colour, a movement of the cursor or a title, as a program sends them to a terminal."""

_LONGEST_WHOLE = 300
"""A longer whole number is read as a float, in digits: Python refuses to read very long ones."""

Output = Mapping[str, Any]
"""A row as the command wrote it: values by name."""


class Parser(Protocol):
    """Reads rows from lines, one after another."""

    def rows(self, line: str) -> Iterator[Output]:
        """Yield the rows of one line: usually one or none."""


def shown(line: str) -> str:
    """Return a line as a terminal shows it: without escape sequences and byte order mark."""
    return _ESCAPE.sub("", line).lstrip("\ufeff")


def read_json(text: str) -> Any:
    """Read JSON.

    Raises:
        ValueError: it is none, or is nested too deeply to be read.
    """
    try:
        return json.loads(text, parse_int=_whole_or_float)
    except RecursionError:
        raise ValueError("the JSON is nested too deeply") from None


def _whole_or_float(text: str) -> float:
    return int(text) if len(text) <= _LONGEST_WHOLE else float(text)


@dataclass(frozen=True)
class Patterns:
    """Regular expressions whose named groups are metrics. A line may match several.

    They are looked for in the line as a terminal shows it, or else as it was printed.
    """

    patterns: tuple[str, ...]

    def rows(self, line: str) -> Iterator[Output]:
        """Yield the groups of every pattern that is found in the line."""
        texts = dict.fromkeys((shown(line), line))  # usually one
        for pattern in self.patterns:
            match = next(filter(None, (re.search(pattern, text) for text in texts)), None)
            if match is not None:
                yield {name: text for name, text in match.groupdict().items() if text is not None}

    @property
    def groups(self) -> frozenset[str]:
        """The names of all groups."""
        return frozenset(name for text in self.patterns for name in re.compile(text).groupindex)


class JsonLines:
    """Lines that hold a JSON object. Other lines are skipped."""

    def rows(self, line: str) -> Iterator[Output]:
        """Yield the object of the line, if it is one."""
        text = shown(line)
        if text.lstrip().startswith("{"):
            try:
                value = read_json(text)
            except ValueError:
                return  # a line of another kind
            if isinstance(value, dict):
                yield value


class Table:
    """Comma-separated values, of which a line with known names gives the columns.

    Lines before the columns, and lines with another number of values, are skipped.
    """

    def __init__(self, names: Collection[str]) -> None:
        self._names = frozenset(names)
        self._columns: Sequence[str] = ()

    def rows(self, line: str) -> Iterator[Output]:
        """Yield the values of the line by column."""
        try:
            values = next(csv.reader([shown(line)], skipinitialspace=True), [])
        except csv.Error:  # a line of another kind, such as one long word
            return
        if self._names & set(values):
            self._columns = values
        elif self._columns and len(values) == len(self._columns):
            pairs = zip(self._columns, values, strict=True)
            yield {name: text for name, text in pairs if text.strip()}


class Lines:
    """Cuts bytes that arrive in pieces into lines of text."""

    def __init__(self) -> None:
        self._rest = b""

    def add(self, data: bytes) -> Iterator[str]:
        """Yield the lines that the new bytes complete."""
        # A carriage return at the end may be the first half of a line's end, so it waits.
        held = data.endswith(b"\r")
        *whole, rest = _BREAK.split(self._rest + (data[:-1] if held else data))
        self._rest = rest[:_LONGEST_LINE] + b"\r" * held
        yield from map(_text, whole)

    def end(self) -> Iterator[str]:
        """Yield the last line, if it has no newline."""
        rest, self._rest = self._rest.rstrip(b"\r"), b""
        if rest:
            yield _text(rest)


def _text(line: bytes) -> str:
    return line[:_LONGEST_LINE].decode(errors="replace")


class RowSource(Protocol):
    """A place other than standard output in which a command leaves rows."""

    def read(self, *, ended: bool) -> Iterator[Output]:
        """Yield the rows that are new. `ended`: the command has ended, so nothing follows."""


class FileRows:
    """Rows from a file that the command appends to. The file need not exist yet."""

    def __init__(self, path: Path, parser: Parser) -> None:
        self._path = path
        self._parser = parser
        self._lines = Lines()
        self._offset = 0

    def read(self, *, ended: bool) -> Iterator[Output]:
        """Yield the rows of the lines that are new."""
        data = b""
        if self._path.is_file():
            with self._path.open("rb") as file:
                file.seek(self._offset)
                data = file.read()
        self._offset += len(data)
        for line in self._lines.add(data):
            yield from self._parser.rows(line)
        for line in self._lines.end() if ended else ():
            yield from self._parser.rows(line)


class JsonFile:
    """One row: the object in a JSON file that the command leaves at its end."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def read(self, *, ended: bool) -> Iterator[Output]:
        """Yield the object once the command has ended."""
        if ended and self._path.is_file():
            value = read_json(self._path.read_text(encoding="utf-8-sig"))
            if isinstance(value, dict):
                yield value


class Events:
    """Scalars from the event files that a TensorBoard writer leaves below a folder.

    A scalar's tag is the name of the metric, and its step is the epoch.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._loaders: dict[Path, Any] = {}

    def read(self, *, ended: bool) -> Iterator[Output]:
        """Yield a row for each scalar that is new.

        Raises:
            ResourceError: the package tensorboard is not installed on this node.
        """
        for path in sorted(self._folder.rglob("*tfevents*")):
            if path not in self._loaders:
                self._loaders[path] = _event_loader(path)
            for event in self._loaders[path].Load():
                for value in event.summary.value:
                    number = _scalar(value)
                    if number is not None:
                        yield {EPOCH: event.step, value.tag: number}


def _event_loader(path: Path) -> Any:
    try:
        from tensorboard.backend.event_processing import (  # noqa: PLC0415 - an optional package
            event_file_loader,
        )
    except ImportError as error:
        raise ResourceError(
            "rows in TensorBoard's files need the package tensorboard on every node: "
            "pip install 'reproduction-harness[tensorboard]'"
        ) from error
    return event_file_loader.LegacyEventFileLoader(str(path))


def _scalar(value: Any) -> float | None:
    """Return the number of a scalar summary, however the writer's version stores it."""
    kind = value.WhichOneof("value")
    if kind == "simple_value":
        return float(value.simple_value)
    if kind == "tensor" and len(value.tensor.float_val) == 1:
        return float(value.tensor.float_val[0])
    return None


@dataclass
class Epochs:
    """Rows, collected by epoch.

    A row without an epoch belongs to the epoch after the last one that has the same metric. The
    next epoch is complete once it has every metric, once a row of a later epoch follows, or once
    the command has ended. A metric that an epoch has twice keeps the later value, unless the epoch
    is complete by then.
    """

    names: Mapping[str, str]
    """The metrics of every epoch, by their names in the output."""
    first: int = 1
    """The number that the command gives its first epoch, 0 or 1."""
    taken: int = 0
    """Epochs up to this one were taken, or are left out because an earlier attempt has them."""
    must_name: bool = False
    """Whether each row must name its epoch, because the command did not begin at the first."""
    _values: dict[int, dict[str, Any]] = field(default_factory=dict)
    _last: dict[str, int] = field(default_factory=dict)
    """The last epoch of each metric."""

    def add(self, row: Output) -> None:
        """Collect a row.

        Raises:
            ValueError: its epoch is not a whole number, or is below the first.
        """
        found = {self.names[key]: value for key, value in row.items() if key in self.names}
        if not found:
            return
        if EPOCH not in row and self.must_name:
            raise ValueError("a row names no epoch, so the command cannot go on from a checkpoint")
        if EPOCH in row:
            epoch = _whole(row[EPOCH]) + 1 - self.first
            if epoch < 1:
                hint = "; if its first epoch is 0, say first_epoch: 0" if self.first else ""
                raise ValueError(f"a row of epoch {row[EPOCH]}{hint}")
        else:
            epoch = 1 + max(self._last.get(name, 0) for name in found)
        self._last |= dict.fromkeys(found, epoch)
        if epoch > self.taken:
            self._values.setdefault(epoch, {}).update(found)

    def take(self, *, ended: bool = False) -> tuple[int, Mapping[str, Any]] | None:
        """Remove and return the next epoch and its metrics, if it is complete.

        Args:
            ended: whether the command has ended, so that no row follows.
        """
        epoch = min(self._values, default=None)
        if epoch is None:
            return None
        if not ended and len(self._values) == 1 and len(self._values[epoch]) < len(self.names):
            return None
        self.taken = epoch
        return epoch, self._values.pop(epoch)

    @property
    def waiting(self) -> int | None:
        """The first epoch that was not taken yet; None if there is none."""
        return min(self._values, default=None)


def _whole(value: Any) -> int:
    try:
        number = float(value)
    except (TypeError, ValueError):
        number = nan
    if not number.is_integer():
        raise ValueError(f"epoch {value!r:.60} is no whole number")
    return int(number)
