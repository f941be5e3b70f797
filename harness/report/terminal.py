"""Print verdicts on a terminal of any width, in tables that never cut a cell.

The short form is for the first look: one sentence, one line for each experiment, and what failed or
is undecided. The long form has a table of all rows for each experiment.

rich cuts a cell that has no room, a verdict to "REPRODUC" for instance. `FittedTable` instead
leaves out optional columns that do not fit. If that is not enough, it prints each row as a block
of several lines.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import zip_longest

from rich.cells import cell_len
from rich.console import Console, ConsoleOptions, Group, RenderableType, RenderResult
from rich.padding import Padding
from rich.text import Text

from harness.manifest import of_seeds, spell
from harness.report.grids import (
    LEGEND,
    GridMap,
    alone,
    cell_text,
    grid_maps,
    worth_a_section,
)
from harness.report.text import (
    chances,
    equal_rows,
    held,
    in_order,
    last_lines,
    logs_command,
    not_run,
    not_severe,
    number,
    overview,
    p_value,
    parameters,
    percent,
    row_names,
    shared_notes,
    statistics,
    tested,
)
from harness.verdict import NOT_SEVERE, ClaimResult, ExperimentVerdict, Outcome, Severity

STYLES = {
    Outcome.REPRODUCED: "green",
    Outcome.IMMATERIAL_DIFFERENCE: "green",
    Outcome.INCONCLUSIVE: "yellow",
    Outcome.NOT_REPRODUCED: "bold red",
    Outcome.INCOMPLETE: "magenta",
    Outcome.NOT_RUN: "dim",
}
_RED = "bold red"
_WIDE = 110
"""From this width on a note has a column of the table; below it, notes follow the table."""
_LAST_LINES, _LONGEST_LINE = 4, 200
"""How many of a failed seed's last lines are shown, and how many characters of each."""
_MOST_ENDINGS = 3
"""How many different ends of standard error are shown of an experiment."""
_EXPECTATION = {
    True: Text("yes", "green"),
    False: Text("NO", "bold red"),
    None: Text("undecided", "yellow"),
}


def verdict_text(outcome: Outcome) -> Text:
    """Return a verdict in its colour."""
    return Text(outcome, style=STYLES[outcome])


def badge(verdict: ExperimentVerdict) -> Text:
    """Return the verdict on an experiment with its marks; that of a single seed is paler.

    That it is not severe is red, whatever the verdict is.
    """
    style = STYLES[verdict.verdict]
    if len(verdict.seeds) == 1 and "dim" not in style:
        style += " dim"
    text = Text(verdict.badge, style=style)
    text.highlight_words([NOT_SEVERE], f"{_RED} not dim")
    return text


def summary(verdicts: Sequence[ExperimentVerdict]) -> RenderableType:
    """Build the sentence about all verdicts, and a table with a line for each experiment.

    Of the columns after `hold`, a narrow terminal shows as many as fit.
    """
    table = FittedTable(
        (
            Column("verdict", whole=True),
            Column("experiment", whole=True),
            Column("hold", right=True),
            Column("expected", whole=True, optional=True),
            Column("seeds", optional=True),
            Column("epochs", right=True, optional=True),
            Column("not run", right=True, optional=True),
            Column("role", optional=True),
        )
    )
    for verdict in in_order(alone(verdicts)):
        table.add_row(
            badge(verdict),
            verdict.id,
            held(verdict).replace(" of ", "/"),
            _EXPECTATION[verdict.as_expected],
            spell(verdict.seeds),
            str(verdict.epochs),
            str(sum(not_run(verdict).values()) or ""),
            "control" if verdict.control else "",
        )
    maps = [part for each in grid_maps(verdicts) for part in (Text(), grid_table(each))]
    return Group(Text(overview(verdicts)), Text(), table, *maps)


def grid_table(grid: GridMap) -> RenderableType:
    """Build the table of a grid: each cell's verdict and its difference in tolerances."""
    table = FittedTable(
        (Column(grid.axes, whole=True), *(Column(label, whole=True) for label in grid.columns)),
        title=Text.assemble((grid.id, "bold"), f": {grid.title}. {grid.counted.capitalize()}."),
    )
    for label, cells in grid.lines():
        texts = (Text(cell_text(cell), STYLES[cell.verdict] if cell else "") for cell in cells)
        table.add_row(label, *texts)
    return Group(table, Text(LEGEND, "dim"))


def unsettled(verdicts: Sequence[ExperimentVerdict]) -> RenderableType:
    """List the rows that failed, passed unexpectedly or are undecided, and the verdicts' notes."""
    parts: list[RenderableType] = []
    for verdict in in_order(worth_a_section(verdicts)):
        weak = (Text(line, _RED) for line in (*verdict.alarms, *not_severe(verdict.severity)))
        lines = [*_unsettled_rows(verdict), *weak, *_last_words(verdict)]
        if lines:
            parts += [Text(), Text(verdict.id, "bold"), *(Padding(line, _HANG) for line in lines)]
    if known := {one.id: one.severity for one in in_order(verdicts) if one.severity}:
        parts += [Text(), Text("What a verdict on these seeds and epochs can exclude:")]
        parts.append(severities(known))
    notes = shared_notes(verdicts)
    if notes:
        parts += [Text(), *map(Text, notes)]
    return Group(*parts)


_HANG = (0, 0, 0, 2)
"""Padding of the lines below an experiment's name: two characters on the left."""


def _unsettled_rows(verdict: ExperimentVerdict) -> Iterator[Text]:
    """Yield a line for all rows of a claim with one outcome; claims that share a note join."""
    claims: dict[tuple[str, str], list[ClaimResult]] = {}
    for row in verdict.results:
        settled = row.verdict.holds and row.as_expected
        if row.verdict is not Outcome.NOT_RUN and not settled:
            claims.setdefault((_marked(row).plain, row.claim), []).append(row)
    joined: dict[tuple[str, frozenset[str]], list[ClaimResult]] = {}
    for (outcome, _), rows in claims.items():
        joined.setdefault((outcome, frozenset(row.note for row in rows)), []).extend(rows)
    for rows in sorted(joined.values(), key=lambda rows: -rows[0].verdict.severity):
        yield Text.assemble(_marked(rows[0]), f": {row_names(rows)}{_farthest(rows)}")


def _severity_lines(verdict: ExperimentVerdict) -> Iterator[Text]:
    """Yield what the verdict could have excluded, and in red what it could not."""
    yield from map(Text, chances(verdict.severity))
    yield from (Text(line, _RED) for line in not_severe(verdict.severity))


_PASSES = "passes if correct"
"""Heading of the chance that a verdict holds if the paper's run is one more run of the method."""
_CHANCES = (
    f"{_PASSES}: the chance that one more run of the method passes; rejects: the chance that a "
    "rival, which must not pass, is found out; ?: no records to tell"
)
_MARK = f"; {NOT_SEVERE} (red): a rival would pass too"


def severities(found: Mapping[str, Severity]) -> RenderableType:
    """Build the table of what verdicts can exclude, by experiment: taken ones or planned ones."""
    shown = FittedTable(
        tuple(
            Column(heading, whole=heading != "rejects", right=heading == _PASSES)
            for heading in ("experiment", "seeds", "epochs", _PASSES, "rejects")
        )
    )
    for name, severity in found.items():
        rivals = (
            Text(
                f"{rival.name} {percent(rival.rejected)}", _RED if rival in severity.missed else ""
            )
            for rival in severity.rivals
        )
        size = str(severity.seeds), str(severity.epochs)
        shown.add_row(name, *size, percent(severity.accepted), Text(", ").join(rivals))
    marked = any(each.missed or each.weak_claims for each in found.values())
    return Group(shown, Text(_CHANCES + (_MARK if marked else ""), "dim"))


def _last_words(verdict: ExperimentVerdict) -> Iterator[Text]:
    """Yield the last lines that failed seeds printed on standard error, the same lines once."""
    seeds: dict[tuple[str, ...], list[int]] = {}
    for seed, printed in verdict.stderr.items():
        lines = tuple(line[:_LONGEST_LINE] for line in last_lines(printed, _LAST_LINES))
        if lines:
            seeds.setdefault(lines, []).append(seed)
    for lines, same in list(seeds.items())[:_MOST_ENDINGS]:
        command = logs_command(verdict, same[0])
        more = f" ({command} shows all)" if command else ""
        yield Text(f"{of_seeds(same)}, end of standard error{more}:")
        yield from (Text(f"  {line}", "dim") for line in lines)
    if more_seeds := [seed for same in list(seeds.values())[_MOST_ENDINGS:] for seed in same]:
        yield Text(f"{of_seeds(more_seeds)} printed other last lines; harness logs shows them")


def _farthest(rows: Sequence[ClaimResult]) -> str:
    """Describe the row that is farthest off in tolerances, and why it is not settled."""
    with_value = [row for row in rows if row.difference is not None and row.tolerance]
    if not with_value:
        return "".join(f"; {note}" for note in dict.fromkeys(row.note for row in rows) if note)
    row = max(with_value, key=lambda row: abs(row.difference or 0) / row.tolerance)
    which = f"farthest {row.name}: " if len(rows) > 1 else ""
    off = f"difference {number(row.difference, signed=True)}, tolerance {row.tolerance:g}"
    return f"; {which}{off}" + (f"; {row.note}" if row.note else "")


def claims(verdict: ExperimentVerdict, *, width: int) -> RenderableType:
    """Build the table of one experiment's rows that were run, followed by remarks.

    The rows of an exact claim that hold are one line above the table.

    Args:
        verdict: the verdict on the experiment.
        width: the terminal's width in characters. A wide table includes the notes on rows.
    """
    equal = equal_rows(verdict)
    ran = [
        result
        for result in verdict.results
        if result.verdict is not Outcome.NOT_RUN and not equal.covers(result)
    ]
    notes = [f"{result.name}: {result.note}" for result in ran if result.note]
    noted = bool(notes) and width >= _WIDE
    table = FittedTable(
        (
            Column("claim", whole=True),
            Column("verdict", whole=True),
            Column("reported", right=True),
            Column("measured", right=True),
            Column("SD", right=True, optional=True),
            Column("difference", right=True),
            Column("tolerance", right=True),
            Column("n", right=True),
            *(
                Column(heading, right=True, optional=True)
                for heading in ("p equiv.", "p cons.")
                if tested(verdict)
            ),
            *([Column("note")] if noted else []),
        ),
    )
    for result in ran:
        cells = _cells(result, verdict.unit, with_p=tested(verdict))
        style = "on grey15" if result.verdict is Outcome.NOT_REPRODUCED else ""
        table.add_row(*cells, *([result.note] if noted else []), style=style)
    title = Text.assemble(badge(verdict), "  ", (verdict.id, "bold"), "\n", verdict.title)
    below = _remarks(verdict, [] if noted else notes)
    could = (Padding(line, _HANG) for line in _severity_lines(verdict))
    words = (Padding(line, _HANG) for line in _last_words(verdict))
    remarks = (Text(f"  {remark}", _RED if remark in verdict.alarms else "") for remark in below)
    return Group(title, *map(Text, equal.lines()), table, *could, *remarks, *words, Text())


def _expected(result: ClaimResult) -> bool:
    """Whether the row fails and the manifest says that it does."""
    return result.verdict is Outcome.NOT_REPRODUCED and result.as_expected is True


def _marked(result: ClaimResult) -> Text:
    """Return the row's verdict, and whether it is expected, where that is news."""
    surprise = result.verdict.holds and result.as_expected is False
    mark = " (expected)" if _expected(result) else " (not expected)" if surprise else ""
    return verdict_text(result.verdict).append(mark)


def _cells(result: ClaimResult, main_unit: str, *, with_p: bool) -> list[Text]:
    unit = f" ({result.unit})" if result.unit != main_unit else ""
    style = STYLES[result.verdict] if result.verdict is Outcome.NOT_REPRODUCED else ""
    return [
        Text(result.name + unit, style=style),
        _marked(result),
        Text(number(result.reported)),
        Text(number(result.measured)),
        Text("" if result.spread is None else number(result.spread)),
        Text(number(result.difference, signed=True), style=style),
        Text(f"{result.tolerance:g}"),
        Text(str(result.n)),
        *(Text(p_value(p)) for p in (result.p_equivalence, result.p_consistency) if with_p),
    ]


def _remarks(verdict: ExperimentVerdict, notes: Sequence[str]) -> list[str]:
    """List what the rows do not say, starting with the notes on single rows."""
    expected = f"expected: {verdict.expected_reason}" if verdict.expected_reason else ""
    skipped = [f"rows not run: {count}, {why}" for why, count in not_run(verdict).items()]
    remarks = [
        *notes,
        expected,
        *verdict.notes,
        *skipped,
        *statistics(verdict),
        parameters(verdict),
    ]
    return [remark for remark in remarks if remark]


_INDENT = "    "
_NARROWEST_GAP, _GAP = 1, 2


@dataclass(frozen=True)
class Column:
    """A heading, and how the cells below it may be laid out."""

    heading: str
    whole: bool = False
    """Whether a cell must stay on one line, as ids and verdicts must."""
    right: bool = False
    """Whether cells are aligned to the right, as numbers are."""
    optional: bool = False
    """Whether the column may be left out if it does not fit."""


@dataclass
class FittedTable:
    """A table that rich prints without cutting any cell; the first column names the row."""

    columns: Sequence[Column]
    title: Text | None = None
    _rows: list[tuple[tuple[Text, ...], str]] = field(default_factory=list)

    def add_row(self, *cells: str | Text, style: str = "") -> None:
        """Add a row with a cell for each column; strings are never parsed as markup."""
        texts = tuple(cell if isinstance(cell, Text) else Text(cell) for cell in cells)
        if len(texts) != len(self.columns):
            raise ValueError(f"expected {len(self.columns)} cells, got {len(texts)}")
        self._rows.append((texts, style))

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """Lay out the rows for the available width."""
        if self.title is not None:
            yield self.title
        if not self._rows:
            return
        width = options.max_width
        shown = list(range(len(self.columns)))
        while not (gap := self._gap(shown, width)):
            optional = [at for at in shown if self.columns[at].optional]
            if not optional:
                yield from self._blocks(console, width)
                return
            shown.remove(optional[-1])
        yield from self._lines(console, shown, self._widths(shown, width, gap), gap)

    def _gap(self, shown: Sequence[int], width: int) -> int:
        """Return the widest gap at which the columns fit; 0 if they do not fit."""
        least = sum(map(self._least, shown))
        gaps = (gap for gap in (_GAP, _NARROWEST_GAP) if least + gap * (len(shown) - 1) <= width)
        return next(gaps, 0)

    def _cells(self, at: int) -> Iterator[Text]:
        yield Text(self.columns[at].heading)
        for cells, _ in self._rows:
            yield cells[at]

    def _least(self, at: int) -> int:
        """Return the width of the longest word, or of the longest line of a whole column."""
        column = self.columns[at]
        parts = [column.heading.split()] + [
            cell.plain.split("\n") if column.whole else cell.plain.split()
            for cells, _ in self._rows
            for cell in (cells[at],)
        ]
        return max((cell_len(part) for words in parts for part in words), default=0)

    def _widths(self, shown: Sequence[int], width: int, gap: int) -> list[int]:
        """Return a width for each column; spare room goes first to columns that need least."""
        widths = {at: self._least(at) for at in shown}
        wanted = {
            at: max(cell_len(line) for cell in self._cells(at) for line in cell.plain.split("\n"))
            for at in shown
        }
        left = width - sum(widths.values()) - gap * (len(shown) - 1)
        for at in sorted(shown, key=lambda at: wanted[at] - widths[at]):
            more = min(left, wanted[at] - widths[at])
            widths[at] += max(0, more)
            left -= max(0, more)
        return [widths[at] for at in shown]

    def _lines(
        self, console: Console, shown: Sequence[int], widths: Sequence[int], gap: int
    ) -> Iterator[Text]:
        """Yield the headings, a rule, and every row."""
        rule = "\u2500" if console.encoding.startswith("utf") else "-"
        heads = [Text(column.heading, "bold") for column in self.columns]
        for line in self._row(console, heads, shown, widths):
            yield Text(" " * gap).join(line)
        yield Text((" " * gap).join(rule * width for width in widths))
        for cells, style in self._rows:
            for line in self._row(console, cells, shown, widths):
                yield _styled(Text(" " * gap).join(line), style)

    def _row(
        self, console: Console, cells: Sequence[Text], shown: Sequence[int], widths: Sequence[int]
    ) -> Iterator[list[Text]]:
        """Yield the lines of one row; each cell is wrapped and aligned to its column's width."""
        wrapped = [
            [cells[at]]
            if cell_len(cells[at].plain) <= width and "\n" not in cells[at].plain
            else list(cells[at].wrap(console, width, overflow="fold"))
            for at, width in zip(shown, widths, strict=True)
        ]
        for parts in zip_longest(*wrapped, fillvalue=Text()):
            line = []
            for at, part, width in zip(shown, parts, widths, strict=True):
                piece = part.copy()
                piece.rstrip()
                piece.align("right" if self.columns[at].right else "left", width)
                line.append(piece)
            yield line

    def _blocks(self, console: Console, width: int) -> Iterator[Text]:
        """Yield a block for each row: its name, a line for each whole cell, then the rest."""
        room = width - len(_INDENT)
        for (name, *cells), style in self._rows:
            lines = list(name.wrap(console, width, overflow="fold"))
            flow: list[Text] = []
            for column, cell in zip(self.columns[1:], cells, strict=True):
                named = Text.assemble((f"{column.heading} ", "dim"), cell)
                if not cell:
                    continue
                if not column.whole:
                    flow.append(named)
                elif all(cell_len(line) <= room for line in named.plain.split("\n")):
                    lines += [Text(_INDENT) + line for line in named.split("\n")]
                else:
                    heading = Text(column.heading, "dim").wrap(console, room, overflow="fold")
                    folded = cell.wrap(console, room, overflow="fold")
                    lines += [Text(_INDENT) + line for line in (*heading, *folded)]
            flowing = Text(", ").join(flow).wrap(console, room, overflow="fold") if flow else ()
            lines += [Text(_INDENT) + line for line in flowing]
            yield from (_styled(line, style) for line in lines)


def _styled(line: Text, style: str) -> Text:
    line.rstrip()
    line.stylize_before(style)
    line.no_wrap = True  # the line fits already; rich must not break it again
    return line
