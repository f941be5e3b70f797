"""Read reported numbers from a table beside the manifest, instead of copying them into it.

    reported: {table: trials.csv, rows: {shape: 1*64}, values: hidden}     every run's value
    reported: {table: means.csv, rows: {shape: 1*64, mode: hidden}, mean: mean, sd: sd, runs: 10}
    reported: {table: means.csv, rows: {shape: 1*64}, mean: hidden, runs: 10, ddof: 0}
    reported: {table: means.csv, rows: {shape: 1*64}, number: hidden}      one number

`rows` chooses the table's rows by the text in their columns. `values` takes a column of all these
rows; `mean`, `sd`, `runs` and `number` take a column of the one row that is left. What is no
column's name (`runs: 10`, `ddof: 0`) stays as it is. The numbers keep the table's file and line, so
that a fault names them.

Without `sd`, the cell of `mean` holds both, as papers print them: `96.74 ± 0.12`, `96.74 +- 0.12`,
`96.74 (0.12)`, or `96.74(12)`, in which the SD counts units of the last digit.
"""

import csv
import io
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from difflib import get_close_matches
from math import isfinite
from pathlib import Path

from harness.errors import Fault, ManifestError
from harness.manifest.faults import Finding, suggest
from harness.manifest.tree import Node, content, quote
from harness.manifest.tree import Path as Place
from harness.record import stays_below

_SEPARATORS = {".csv": ",", ".tsv": "\t"}
_ONE_ROW = ("mean", "sd", "runs", "number")
"""Fields that take a column of one row; `values` takes one of many rows."""
_DIGITS = r"(?:\d+\.?\d*|\.\d+)"
_MEAN_AND_SD = re.compile(
    rf"(?P<mean>[+-]?{_DIGITS})(?P<gap>\s*%?\s*)"
    rf"(?:(?:±|\+/?-|\\pm)\s*(?P<sd>{_DIGITS})|\((?P<bracket>{_DIGITS})(?P<percent>%?)\))\s*%?"
)
_EXAMPLES = "96.74 ± 0.12, 96.74(12) or 96.74 (0.12)"


@dataclass(frozen=True)
class _Table:
    """A table in memory: its columns, and its rows with their lines."""

    file: str
    columns: tuple[str, ...]
    rows: tuple[tuple[int, Mapping[str, str]], ...]


class _WrongError(Exception):
    """A table or a reference to it is wrong."""

    def __init__(self, message: str, place: Place = ()) -> None:
        super().__init__(message)
        self.place = place
        """Where in the reference; empty for the reference as a whole."""


@dataclass
class Tables:
    """The tables beside a manifest. Each file is read once."""

    folder: Path
    faults: list[Fault] = field(default_factory=list)
    """Faults inside the tables."""
    _read: dict[str, _Table | None] = field(default_factory=dict)

    @property
    def names(self) -> tuple[str, ...]:
        """The tables that were read, as the manifest names them."""
        return tuple(sorted(self._read))

    def fill(self, root: Node) -> tuple[Node, list[tuple[Place, Finding]]]:
        """Replace every reference to a table by the numbers that it names.

        Returns:
            The tree, and each reference that has a fault. Faults inside the tables go to `faults`.
        """
        found: list[tuple[Place, Finding]] = []
        return self._filled(root, (), found), found

    def _filled(self, node: Node, path: Place, found: list[tuple[Place, Finding]]) -> Node:
        if is_reference(node):
            try:
                return self._numbers(node)
            except _WrongError as wrong:
                found.append((path, Finding((*path, *wrong.place), str(wrong))))
                return node
        if isinstance(node.value, dict):
            entries = {
                name: self._filled(child, (*path, name), found)
                for name, child in node.fields.items()
            }
            return Node(entries, node.line, node.file)
        if isinstance(node.value, list):
            items = [
                self._filled(child, (*path, place), found) for place, child in enumerate(node.items)
            ]
            return Node(items, node.line, node.file)
        return node

    def _numbers(self, node: Node) -> Node:
        """The numbers that a reference names."""
        name = str(node.fields["table"].value)
        if name not in self._read:
            self._read[name] = self._load(name)
        table = self._read[name]
        if table is None:
            raise _WrongError(f"{name} has faults of its own", ("table",))
        rows = _chosen(table, node.fields["rows"])
        wanted = {key: child for key, child in node.fields.items() if key not in ("table", "rows")}
        if not {"values", "mean", "number"} & wanted.keys():
            raise _WrongError("say which column: one of values, mean or number")
        if "values" not in wanted and len(rows) != 1:
            lines = ", ".join(str(line) for line, _ in rows[:5])
            raise _WrongError(
                f"one row is wanted, but {len(rows)} of {table.file} fit (lines {lines})", ("rows",)
            )
        taken = {key: self._taken(table, rows, key, wanted) for key in wanted}
        if "mean" in wanted and "sd" not in wanted and wanted["mean"].text is not None:
            taken |= self._mean_and_sd(table, *rows[0], wanted["mean"].text)
        if "values" in taken:
            taken["values"] = Node(taken["values"].value, node.line)
        return taken["number"] if "number" in taken else Node(taken, node.line)

    def _taken(
        self,
        table: _Table,
        rows: Sequence[tuple[int, Mapping[str, str]]],
        key: str,
        fields: Mapping[str, Node],
    ) -> Node:
        """One field of a reference: the numbers of a column, or the field as it is."""
        child = fields[key]
        column = child.text
        if column is None or key not in ("values", *_ONE_ROW):
            return child
        if column not in table.columns:
            message = f"{table.file} has no column {quote(column)}{suggest(column, table.columns)}"
            raise _WrongError(message, (key,))
        if key == "mean" and "sd" not in fields:
            return child  # its cell holds both
        cells = [self._cell(table, line, row, column) for line, row in rows]
        return Node(cells, child.line) if key == "values" else cells[0]

    def _cell(self, table: _Table, line: int, row: Mapping[str, str], column: str) -> Node:
        text = row[column]
        number = _number(text)
        if number is None:
            wanted = "must be a finite number"
            if _mean_and_sd(text):
                wanted = "must be one number; `mean`, `runs` and `ddof` take a mean with its SD"
            self.faults.append(Fault(table.file, line, column, f"{wanted}, got {quote(text)}"))
            number = 0.0
        whole = number.is_integer() and text.lstrip("+-").isdecimal()
        return Node(int(number) if whole else number, line, table.file)

    def _mean_and_sd(
        self, table: _Table, line: int, row: Mapping[str, str], column: str
    ) -> dict[str, Node]:
        """The two numbers of a cell such as 96.74 ± 0.12."""
        numbers = _mean_and_sd(row[column])
        if numbers is None:
            wanted = f"must be a mean with its SD, such as {_EXAMPLES}, got {quote(row[column])}"
            if _number(row[column]) is not None:
                wanted += "; if the SD stands in another column, name it under `sd`"
            self.faults.append(Fault(table.file, line, column, wanted))
            numbers = 0.0, 0.0
        return {
            key: Node(number, line, table.file)
            for key, number in zip(("mean", "sd"), numbers, strict=True)
        }

    def _load(self, name: str) -> _Table | None:
        """Read a table; None if it has faults."""
        path = self.folder / name
        if not stays_below(name):
            raise _WrongError("a table lies beside the manifest, or in a folder below", ("table",))
        separator = _SEPARATORS.get(path.suffix.lower())
        if separator is None:
            raise _WrongError(
                f"must end in {' or '.join(_SEPARATORS)}, got {quote(name)}", ("table",)
            )
        try:
            text = content(path)[1]
        except ManifestError as error:
            raise _WrongError(f"{name}: {error.faults[0].message}", ("table",)) from None
        reader = csv.reader(io.StringIO(text), delimiter=separator, skipinitialspace=True)
        file = str(path)
        columns = tuple(column.strip() for column in next(reader, []))
        rows: list[tuple[int, Mapping[str, str]]] = []
        before = len(self.faults)
        self.faults += _header_faults(file, columns)
        for row in reader:
            if not any(cell.strip() for cell in row):
                continue
            if len(row) != len(columns):
                wanted = f"{len(columns)} cells wanted, as in the first line, got {len(row)}"
                self.faults.append(Fault(file, reader.line_num, "", wanted))
                continue
            cells = (cell.strip() for cell in row)
            rows.append((reader.line_num, dict(zip(columns, cells, strict=True))))
        return None if len(self.faults) > before else _Table(file, columns, tuple(rows))


def is_reference(node: Node) -> bool:
    """Whether a mapping refers to a table."""
    table = node.get("table")
    return table is not None and table.text is not None and "rows" in node.fields


def _header_faults(file: str, columns: Sequence[str]) -> Iterator[Fault]:
    if not any(columns):
        yield Fault(file, 1, "", "the first line must name the columns")
    for place, column in enumerate(columns):
        if column and column in columns[:place]:
            yield Fault(file, 1, column, "two columns have this name")


def _chosen(table: _Table, rows: Node) -> list[tuple[int, Mapping[str, str]]]:
    """The rows whose columns hold what a reference says."""
    left = list(table.rows)
    for column, wanted in rows.fields.items():
        if column not in table.columns:
            message = f"{table.file} has no column {quote(column)}{suggest(column, table.columns)}"
            raise _WrongError(message, ("rows", column))
        value = wanted.text if wanted.text is not None else quote(wanted.value)
        fitting = [(line, row) for line, row in left if _same(row[column], value)]
        if not fitting:
            near = get_close_matches(value, {row[column] for _, row in left}, n=1)
            hint = f"; did you mean {near[0]}?" if near else ""
            message = f"{table.file} has no such row with {column} = {quote(value)}{hint}"
            raise _WrongError(message, ("rows", column))
        left = fitting
    return left


def _same(cell: str, wanted: str) -> bool:
    """Whether a cell holds a text, or the same number in other digits."""
    if cell == wanted:
        return True
    one, other = _number(cell), _number(wanted)
    return one is not None and one == other


def _number(text: str) -> float | None:
    """The finite number that a cell holds, with or without a percent sign; None if it is none."""
    try:
        number = float(text.removesuffix("%").replace("\u2212", "-"))
    except ValueError:
        return None
    return number if isfinite(number) and "_" not in text else None


def _mean_and_sd(text: str) -> tuple[float, float] | None:
    """The mean and the SD that a cell prints; None if it does not hold both.

    A whole number in brackets counts units of the mean's last digit, but only right behind it:
    "96.74 (12)" and "96.74(12%)" may mean either.

    >>> _mean_and_sd("96.74 ± 0.12"), _mean_and_sd("96.74(12)"), _mean_and_sd("96.74 (12)")
    ((96.74, 0.12), (96.74, 0.12), None)
    >>> _mean_and_sd("96.74(12%)"), _mean_and_sd("96.74% (0.12%)")
    (None, (96.74, 0.12))
    """
    plain = text.replace("$", "").replace("\u2212", "-").strip()
    match = _MEAN_AND_SD.fullmatch(plain)
    if match is None:
        return None
    mean, sd = match["mean"], match["sd"] or match["bracket"]
    decimals = len(mean.partition(".")[2])
    if match["bracket"] and sd.isdecimal() and decimals:
        if match["gap"] or match["percent"]:
            return None
        sd = f"{sd}e-{decimals}"
    return float(mean), float(sd)
