"""Expand a grid file, one manifest for many experiments, into one manifest for each cell.

    grid:                                  # every combination of the axes is a cell
      shape:                               # an axis may give each of its values further names
        1*64: {depth: 1, width: 64}
        18*18: {depth: 18, width: 18}
      mode: [none, decay, hidden]
    exclude:                               # cells that are left out
      - {shape: 18*18, mode: [none, decay]}
    cells:                                 # further names; the last entry that fits a cell counts
      - {tolerance: 0.3, why: a third of the smallest effect that the paper claims}
      - {where: {shape: 18*18}, tolerance: 2.0, why: some trials learn and most do not}

Everything else is a manifest in which `$mode`, `$depth` or `$tolerance` stands for the cell's
value. A value that is nothing but a name keeps its type. Within a longer text the value is written
out, and `$$` is a dollar sign. An experiment's id is the file's name and the cell:
`psa[shape=1*64,mode=none]`.
"""

import json
import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import cached_property
from itertools import product
from math import prod

from harness.manifest.claims import SETS
from harness.manifest.faults import Finding, suggest
from harness.manifest.table import is_reference
from harness.manifest.tree import Node, Path, quote

SECTIONS = ("grid", "exclude", "cells", "comparisons")
"""The fields of a grid file that are not the cells' manifest."""
MAX_CELLS = 10_000
MAX_ID = 200
"""Longest id, in characters: file names hold 255 bytes."""

AXIS = re.compile(r"[a-z][a-z0-9_]*")
LABEL = re.compile(r"[A-Za-z0-9.*+_-]{1,60}")
_NAME = re.compile(
    r"\$(?:(?P<dollar>\$)|(?P<name>[a-z_][a-z0-9_]*)|\{(?P<braced>[a-z_][a-z0-9_]*)\})"
)
_SELECTED = re.compile(r"(?P<file>.+\.ya?ml)\[(?P<cells>.*)\]")


@dataclass(frozen=True)
class Cell:
    """The place of an experiment in its grid."""

    grid: str
    """The grid's id: the file's name without its ending."""
    title: str
    """The grid's title."""
    axes: Mapping[str, tuple[str, ...]]
    """The labels of every axis, in the order of the file."""
    labels: Mapping[str, str]
    """This cell's label on every axis."""

    @cached_property
    def name(self) -> str:
        """The cell in short: 'shape=1*64,mode=none'."""
        return ",".join(f"{axis}={label}" for axis, label in self.labels.items())

    @cached_property
    def id(self) -> str:
        """The experiment's id: 'psa[shape=1*64,mode=none]'."""
        return f"{self.grid}[{self.name}]"


@dataclass(frozen=True)
class Expanded:
    """One cell's manifest as a tree, and what is wrong with its names."""

    cell: Cell
    root: Node
    findings: tuple[Finding, ...]


def is_grid(root: Node) -> bool:
    """Whether a file describes a grid."""
    return "grid" in root.fields


def selected(text: str) -> tuple[str, str | None]:
    """Split a path into the file and the cells that follow it in brackets; None for no brackets.

    >>> selected("experiments/psa.yaml[mode=none]")
    ('experiments/psa.yaml', 'mode=none')
    """
    match = _SELECTED.fullmatch(text)
    return (match["file"], match["cells"]) if match else (text, None)


def fits(cell: Cell, wanted: str) -> bool:
    """Whether a cell is among the wanted ones.

    Args:
        cell: to look at.
        wanted: conditions with commas between them, such as 'shape=1*64,mode=h*'. A label that the
            axis has means that label only; otherwise `*`, `?` and `[...]` match as in file names.

    Raises:
        ValueError: there is no such axis, or no label of it fits.
    """
    return all(_fits(cell, condition) for condition in wanted.split(","))


def _fits(cell: Cell, condition: str) -> bool:
    axis, equals, pattern = (part.strip() for part in condition.partition("="))
    if not equals:
        raise ValueError(f"cells are written as AXIS=VALUE, got {quote(condition)}")
    if axis not in cell.axes:
        raise ValueError(f"no axis is called {quote(axis)}{suggest(axis, list(cell.axes))}")
    labels = cell.axes[axis]
    if pattern in labels:
        return cell.labels[axis] == pattern
    if not any(fnmatchcase(label, pattern) for label in labels):
        raise ValueError(f"{axis} has no value {quote(pattern)}{suggest(pattern, labels)}")
    return fnmatchcase(cell.labels[axis], pattern)


def expand_grid(root: Node, grid: str) -> tuple[list[Expanded], list[Finding]]:
    """Expand a grid file into its cells.

    Args:
        root: the tree of a grid file.
        grid: the grid's id.

    Returns:
        The cells in the order of the file, the last axis fastest, and the faults of the sections
        that describe the grid. If there are any, there are no cells.
    """
    reader = _Reader(root)
    values = reader.axes()
    if reader.findings:
        return [], reader.findings
    exceptions = reader.exceptions(values)
    entries = reader.entries(values)
    if reader.findings:
        return [], reader.findings
    title = root.get("title")
    axes = {axis: tuple(labels) for axis, labels in values.items()}
    template = {name: node for name, node in root.fields.items() if name not in SECTIONS}
    used: set[str] = set()
    expanded: list[Expanded] = []
    for labels in product(*axes.values()):
        cell = Cell(
            grid, str(title.text) if title else "", axes, dict(zip(axes, labels, strict=True))
        )
        if any(_within(cell, where) for where in exceptions):
            continue
        names = {
            name: node
            for axis, label in cell.labels.items()
            for name, node in values[axis][label].items()
        }
        for where, given in entries:
            if _within(cell, where):
                names |= given
        filler = _Filler(names)
        whole = filler.filled(Node(template, root.line), ())
        used |= filler.used
        expanded.append(Expanded(cell, _titled(whole, cell), tuple(filler.findings)))
    if not any(each.findings for each in expanded):  # a name that is misspelt is an unused one too
        reader.check_used(values, entries, used)
    if not expanded:
        reader.find(("exclude",), "leaves out every cell")
    if expanded and max(len(each.cell.id) for each in expanded) > MAX_ID:
        reader.find(
            ("grid",), f"an id would be longer than {MAX_ID} characters; shorten the labels"
        )
    return ([], reader.findings) if reader.findings else (expanded, [])


@dataclass(frozen=True)
class Compared:
    """The claims between the cells of a grid, as one manifest."""

    root: Node
    origins: tuple[int, ...]
    """For each claim, its place in the section `comparisons`; one place may make many claims."""
    findings: tuple[Finding, ...]

    def in_file(self, finding: Finding) -> Finding:
        """Move a fault of the manifest to its place in the file."""
        match finding.path:
            case ("claims", int(place), *rest):
                return Finding(("comparisons", self.origins[place], *rest), finding.message)
        return finding


def compared(root: Node, expanded: Sequence[Expanded]) -> Compared | None:
    """Make a manifest of the claims between cells; None if the file has none.

    An item with `each: {shape: [1*64, 2*30]}` stands for one claim for each of these labels, and
    `$shape` in it for the label. Sets of cells become the ids of the experiments. `expected` says
    why a claim is known not to hold.

    Args:
        root: the tree of a grid file without faults.
        expanded: the cells.
    """
    section = root.get("comparisons")
    if section is None:
        return None
    reader = _Reader(root)
    if not section.items:
        reader.find(("comparisons",), "must be a list of claims")
    values = reader.axes()
    claims: list[Node] = []
    origins: list[int] = []
    known: list[tuple[Node, Node]] = []
    for place, item in enumerate(section.items):
        path: Path = ("comparisons", place)
        each = item.get("each") or Node({}, item.line)
        over = reader.where((*path, "each"), each, values)
        expected = item.get("expected")
        kept = {name: child for name, child in item.fields.items() if name not in _OWN}
        for labels in product(*over.values()):
            filler = _Filler(
                {
                    axis: node
                    for axis, label in zip(over, labels, strict=True)
                    for axis, node in values[axis][label].items()
                }
            )
            filled = filler.filled(Node(kept, item.line), path)
            reader.findings += filler.findings
            fields = {
                name: reader.members((*path, name), child, values, expanded)
                if name in SETS
                else child
                for name, child in filled.fields.items()
            }
            claims.append(Node(fields, item.line))
            origins.append(place)
            if expected and "name" in fields:
                known.append((fields["name"], expected))
    return Compared(
        _between(root, expanded[0].root, claims, known), tuple(origins), tuple(reader.findings)
    )


_OWN = ("each", "expected")


def _between(
    root: Node, first: Node, claims: Sequence[Node], known: Sequence[tuple[Node, Node]]
) -> Node:
    """The manifest of claims between cells: that of a cell, with these claims for its own."""
    line = root.fields["comparisons"].line
    title = root.get("title")
    paper = first.get("paper")
    fields = {
        name: node for name, node in first.fields.items() if name not in ("expected", "calibration")
    }
    fields["claims"] = Node(list(claims), line)
    if title and title.text:
        fields["title"] = Node(f"{title.text}: claims between cells", title.line)
    if paper and isinstance(paper.value, dict):
        words = {"listing": "what the text says of several cells", "command": "as for the cells"}
        fields["paper"] = Node(
            {**paper.fields, **{name: Node(text, paper.line) for name, text in words.items()}},
            paper.line,
        )
    if known:
        reasons = "; ".join(dict.fromkeys(f"{name.value}: {why.value}" for name, why in known))
        fields["expected"] = Node(
            {
                "not_reproduced": Node([name for name, _ in known], line),
                "reason": Node(reasons, line),
            },
            line,
        )
    return Node(fields, root.line)


def _titled(root: Node, cell: Cell) -> Node:
    """Add the cell to the title."""
    title = root.get("title")
    if title is None or title.text is None:
        return root
    words = ", ".join(f"{axis} {label}" for axis, label in cell.labels.items())
    return Node({**root.fields, "title": Node(f"{title.text}: {words}", title.line)}, root.line)


Where = Mapping[str, Collection[str]]
"""Labels by axis; an axis that is absent fits with every label."""


def _within(cell: Cell, where: Where) -> bool:
    return all(cell.labels[axis] in labels for axis, labels in where.items())


class _Reader:
    """Reads the sections that describe a grid, and collects their faults."""

    def __init__(self, root: Node) -> None:
        self.root = root
        self.findings: list[Finding] = []

    def find(self, path: Path, message: str) -> None:
        self.findings.append(Finding(path, message))

    def axes(self) -> dict[str, dict[str, dict[str, Node]]]:
        """The names that each label of each axis stands for; the axis's own name comes first."""
        section = self.root.fields["grid"]
        if not section.fields:
            self.find(("grid",), "must be a mapping of axes, each a list of values")
        axes = {axis: self._axis(axis, node) for axis, node in section.fields.items()}
        if prod(map(len, axes.values())) > MAX_CELLS:
            self.find(("grid",), f"more than {MAX_CELLS} cells")
        owner: dict[str, str] = dict.fromkeys(axes, "an axis")
        for axis, labels in axes.items():
            for name in dict.fromkeys(name for names in labels.values() for name in names):
                if name != axis and owner.setdefault(name, axis) != axis:
                    self.find(("grid", axis), f"the name {name} belongs to {owner[name]} already")
        return axes

    def _axis(self, axis: str, node: Node) -> dict[str, dict[str, Node]]:
        path: Path = ("grid", axis)
        if not AXIS.fullmatch(axis):
            self.find(path, "an axis is named by small letters, digits and underscores")
        labels: dict[str, dict[str, Node]] = {}
        for place, item in enumerate(node.items):
            if isinstance(item.value, dict | list) or item.value is None:
                self.find(
                    (*path, place), f"must be text, a number, true or false, got {_kind(item)}"
                )
                continue
            label = item.text if item.text is not None else json.dumps(item.value)
            if label in labels:
                self.find((*path, place), f"the axis has the value {label} already")
            self._check_label((*path, place), label)
            labels[label] = {axis: item}
        for label, names in node.fields.items():
            self._check_label((*path, label), label)
            if not isinstance(names.value, dict):
                self.find(
                    (*path, label), "must be a mapping of names, such as {depth: 1, width: 64}"
                )
            for name in names.fields:
                self._check_name((*path, label, name), name)
            labels[label] = {axis: Node(label, names.line), **names.fields}
        if not labels:
            self.find(path, "must be a list of values, or a mapping of values to further names")
        every = frozenset[str]().union(*labels.values())
        lacking = sorted(name for name in every if any(name not in labels[at] for at in labels))
        if lacking:
            self.find(path, f"every value needs the same names, but some lack {', '.join(lacking)}")
        return labels

    def _check_label(self, path: Path, label: str) -> None:
        if not LABEL.fullmatch(label):
            rule = "a value's label, which is part of ids, has letters, digits and . * + _ - only"
            self.find(path, f"{rule}, got {quote(label)}")

    def _check_name(self, path: Path, name: str) -> None:
        if not AXIS.fullmatch(name):
            self.find(path, "a name has small letters, digits and underscores")

    def exceptions(self, axes: Mapping[str, Collection[str]]) -> list[Where]:
        """The cells that are left out."""
        section = self.root.get("exclude")
        if section is not None and not section.items:
            self.find(("exclude",), "must be a list of mappings such as {shape: 18*18, mode: none}")
        found = []
        for place, item in enumerate(section.items if section else []):
            if not item.fields:
                self.find(("exclude", place), "must be a mapping of an axis to labels")
            found.append(self.where(("exclude", place), item, axes))
        return found

    def entries(self, axes: Mapping[str, Collection[str]]) -> list[tuple[Where, dict[str, Node]]]:
        """Where each entry of `cells` holds, and the names that it gives."""
        section = self.root.get("cells")
        if section is not None and not section.items:
            self.find(("cells",), "must be a list of mappings such as {where: ..., tolerance: 0.3}")
        entries = []
        for place, item in enumerate(section.items if section else []):
            path: Path = ("cells", place)
            where = item.get("where")
            fields = {name: node for name, node in item.fields.items() if name != "where"}
            if not fields:
                self.find(path, "must give a name, such as {tolerance: 0.3}")
            for name in fields:
                self._check_name((*path, name), name)
                if name in axes:
                    self.find((*path, name), "this is an axis; give the name another word")
            if where is not None and not where.fields:
                self.find((*path, "where"), "must be a mapping of an axis to labels")
            entries.append((self.where((*path, "where"), where, axes) if where else {}, fields))
        return entries

    def where(self, path: Path, node: Node, axes: Mapping[str, Collection[str]]) -> Where:
        """The labels that a mapping such as `{shape: 1*64, mode: [full, hidden]}` names."""
        where: dict[str, Collection[str]] = {}
        for axis, wanted in node.fields.items():
            if axis not in axes:
                self.find((*path, axis), f"no axis is called so{suggest(axis, list(axes))}")
                continue
            one = not isinstance(wanted.value, list)
            labels = [
                item.text if item.text is not None else json.dumps(item.plain())
                for item in ([wanted] if one else wanted.items)
            ]
            for place, label in enumerate(labels):
                if label not in axes[axis]:
                    at = (*path, axis) if one else (*path, axis, place)
                    self.find(at, f"{axis} has no value {quote(label)}{suggest(label, axes[axis])}")
            where[axis] = dict.fromkeys(label for label in labels if label in axes[axis])
        return where

    def members(
        self,
        path: Path,
        node: Node,
        axes: Mapping[str, Collection[str]],
        expanded: Sequence[Expanded],
    ) -> Node:
        """The ids of a set of cells; a list is taken for ids already."""
        if not isinstance(node.value, dict):
            return node
        where = self.where(path, node, axes)
        ids = [Node(each.cell.id, node.line) for each in expanded if _within(each.cell, where)]
        if not ids:
            self.find(path, "no cell is in this set")
        return Node(ids, node.line)

    def check_used(
        self,
        axes: Mapping[str, Mapping[str, Mapping[str, Node]]],
        entries: Sequence[tuple[Where, Mapping[str, Node]]],
        used: Collection[str],
    ) -> None:
        """Find axes and names that change nothing: a typing error, or cells that are all equal."""
        for axis, labels in axes.items():
            names = next(iter(labels.values()))
            if not names.keys() & set(used):
                either = " or ".join(f"${name}" for name in names)
                self.find(("grid", axis), f"changes nothing: no field holds {either}")
        for place, (_, names) in enumerate(entries):
            for name in names:
                if name not in used:
                    self.find(("cells", place, name), f"changes nothing: no field holds ${name}")


class _Filler:
    """Puts one cell's values into the template."""

    def __init__(self, names: Mapping[str, Node]) -> None:
        self.names = names
        self.used: set[str] = set()
        self.findings: list[Finding] = []
        self._open: list[str] = []
        """The names whose values are being filled in, to find one that stands for itself."""

    def filled(self, node: Node, path: Path) -> Node:
        """The tree with a value in the place of every name."""
        if isinstance(node.value, dict):
            entries = {
                name: self.filled(child, (*path, name)) for name, child in node.fields.items()
            }
            if is_reference(node):  # the table's faults are about this place, not about the axis
                entries = {name: _at(node.fields[name].line, new) for name, new in entries.items()}
            return Node(entries, node.line)
        if isinstance(node.value, list):
            items = [self.filled(child, (*path, place)) for place, child in enumerate(node.items)]
            return Node(items, node.line)
        if node.text is None or "$" not in node.text:
            return node
        whole = _NAME.fullmatch(node.text)
        if whole and not whole["dollar"]:
            return self._value(whole, path) or node
        return Node(_NAME.sub(lambda match: self._text(match, path), node.text), node.line)

    def _value(self, match: re.Match[str], path: Path) -> Node | None:
        """What a name stands for; None if it is unknown. Its value may hold names in turn."""
        name = match["name"] or match["braced"]
        if name not in self.names:
            message = f"no name ${name} in this cell{suggest(name, sorted(self.names))}"
            self.findings.append(Finding(path, f"{message}; write $$ for a dollar sign"))
            return None
        if name in self._open:
            self.findings.append(Finding(path, f"${name} stands for itself"))
            return None
        self.used.add(name)
        self._open.append(name)
        value = self.filled(self.names[name], path)
        self._open.pop()
        return value

    def _text(self, match: re.Match[str], path: Path) -> str:
        if match["dollar"]:
            return "$"
        found = self._value(match, path)
        if found is None:
            return match[0]
        if isinstance(found.value, dict | list):
            self.findings.append(
                Finding(path, f"{match[0]} is {_kind(found)}, which fits into no text")
            )
        return found.text if found.text is not None else json.dumps(found.plain())


def _at(line: int, node: Node) -> Node:
    """The same value, all of it on one line."""
    if isinstance(node.value, dict):
        return Node({name: _at(line, child) for name, child in node.fields.items()}, line)
    return Node(node.value, line)


def _kind(node: Node) -> str:
    return {dict: "a mapping", list: "a list", type(None): "nothing"}.get(
        type(node.value), "a value"
    )
