"""Show the verdicts on a grid as a grid: a row and a column for each label, a verdict in each cell.

Reports show a grid once, as a heat map, and in full only the cells that need a look.
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

from harness.verdict import ClaimResult, ExperimentVerdict, Outcome


@dataclass(frozen=True)
class GridMap:
    """The verdicts on the cells of one grid; its last axis makes the columns."""

    id: str
    title: str
    verdicts: tuple[ExperimentVerdict, ...]

    @cached_property
    def rows(self) -> tuple[str, ...]:
        """The labels of the rows that have a verdict, in the order of the file."""
        return tuple(dict.fromkeys(self._place(verdict)[0] for verdict in self.verdicts))

    @cached_property
    def columns(self) -> tuple[str, ...]:
        """The labels of the columns that have a verdict, in the order of the file."""
        found = {self._place(verdict)[1] for verdict in self.verdicts}
        cell = self.verdicts[0].experiment.cell
        labels = list(cell.axes.values())[-1] if cell else ()
        return tuple(label for label in labels if label in found)

    @property
    def axes(self) -> str:
        """The names of the axes: 'shape / mode'."""
        cell = self.verdicts[0].experiment.cell
        *before, last = cell.axes if cell else ("",)
        return " / ".join(filter(None, (", ".join(before), last)))

    @cached_property
    def _by_place(self) -> dict[tuple[str, str], ExperimentVerdict]:
        return {self._place(verdict): verdict for verdict in self.verdicts}

    def at(self, row: str, column: str) -> ExperimentVerdict | None:
        """The verdict on a cell; None if it is excluded or was not judged."""
        return self._by_place.get((row, column))

    def lines(self) -> Iterator[tuple[str, list[ExperimentVerdict | None]]]:
        """Each row's label, and its cells."""
        for row in self.rows:
            yield row, [self.at(row, column) for column in self.columns]

    @property
    def counted(self) -> str:
        """How many cells have each verdict: '50 of 60 reproduced, 10 inconclusive'."""
        outcomes = Counter(verdict.verdict for verdict in self.verdicts)
        holds = sum(count for outcome, count in outcomes.items() if outcome.holds)
        others = [
            f"{count} {outcome.lower()}"
            for outcome, count in sorted(outcomes.items(), key=lambda item: item[0].severity)
            if not outcome.holds
        ]
        return ", ".join([f"{holds} of {len(self.verdicts)} cells reproduced", *others])

    @staticmethod
    def _place(verdict: ExperimentVerdict) -> tuple[str, str]:
        cell = verdict.experiment.cell
        *before, last = cell.labels.values() if cell else ("",)
        return ", ".join(before), last


def grid_maps(verdicts: Sequence[ExperimentVerdict]) -> tuple[GridMap, ...]:
    """The grids of which at least two cells were judged."""
    grids: dict[str, list[ExperimentVerdict]] = {}
    for verdict in verdicts:
        if verdict.experiment.cell:
            grids.setdefault(verdict.experiment.cell.grid, []).append(verdict)
    return tuple(
        GridMap(name, cell.title, tuple(cells))
        for name, cells in grids.items()
        for cell in (cells[0].experiment.cell,)
        if cell and len(cells) > 1
    )


def alone(verdicts: Sequence[ExperimentVerdict]) -> list[ExperimentVerdict]:
    """The verdicts that no heat map shows."""
    mapped = {verdict.id for each in grid_maps(verdicts) for verdict in each.verdicts}
    return [verdict for verdict in verdicts if verdict.id not in mapped]


def worth_a_section(verdicts: Sequence[ExperimentVerdict]) -> list[ExperimentVerdict]:
    """The verdicts that a report shows in full: of a grid only the cells that fail."""
    single = {verdict.id for verdict in alone(verdicts)}
    return [
        verdict
        for verdict in verdicts
        if verdict.id in single
        or verdict.as_expected is False
        or verdict.verdict is Outcome.NOT_REPRODUCED
    ]


def shift(verdict: ExperimentVerdict) -> float | None:
    """How far the cell's farthest row is off, in tolerances; None if no row has a value."""
    shares = [share for row in verdict.results if (share := _share(row)) is not None]
    return max(shares, key=abs, default=None)


def _share(row: ClaimResult) -> float | None:
    return row.difference / row.tolerance if row.difference is not None and row.tolerance else None


LETTERS = {
    Outcome.REPRODUCED: "R",
    Outcome.IMMATERIAL_DIFFERENCE: "r",
    Outcome.INCONCLUSIVE: "?",
    Outcome.NOT_REPRODUCED: "X",
    Outcome.INCOMPLETE: "m",
    Outcome.NOT_RUN: "-",
}
"""The sign of each verdict in a heat map, so that colour is never the only cue."""

LEGEND = (
    "R reproduced, r immaterial difference, ? inconclusive, X not reproduced, m trials missing, "
    "- not run; the number is the difference in tolerances"
)


def cell_text(verdict: ExperimentVerdict | None) -> str:
    """A cell of a heat map: 'R +0.3'; empty if there is none."""
    if verdict is None:
        return ""
    off = shift(verdict)
    return LETTERS[verdict.verdict] + ("" if off is None else f" {off:+.1f}")
