"""Correct the verdicts on the cells of a grid for their number.

Each cell's test for consistency has a false-alarm rate of alpha, so of 60 cells three would be
rejected by chance. Holm's correction over the whole table keeps the probability of any false
rejection at alpha. Equivalence needs no correction: it has to be shown in every cell anyway.
"""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from math import prod

from harness import stats
from harness.manifest import Cell
from harness.verdict.results import ClaimResult, ExperimentVerdict, Outcome, gravest

CORRECTED = "p = {:.2g} before the correction for {} cells"

_INSTEAD = {
    Outcome.NOT_REPRODUCED: Outcome.INCONCLUSIVE,
    Outcome.IMMATERIAL_DIFFERENCE: Outcome.REPRODUCED,
}
"""The outcome of a row whose inconsistency is not shown after all."""


def corrected(verdicts: Sequence[ExperimentVerdict]) -> list[ExperimentVerdict]:
    """Correct all cells; other verdicts stay as they are.

    Cells that are not judged here count as tests too, so that choosing some cells makes no verdict
    more severe than the whole table does.

    Source:
        Holm (1979), A simple sequentially rejective multiple test procedure, Scand. J. Stat. 6(2).
    """
    least: dict[str, dict[str, float]] = {}
    sizes: dict[str, int] = {}
    for verdict, cell in _cells(verdicts):
        ps = [row.p_consistency for row in verdict.results if row.p_consistency is not None]
        least.setdefault(cell.grid, {})[verdict.id] = min(ps, default=1.0)
        sizes[cell.grid] = size(cell)
    adjusted: dict[str, float] = {}
    for grid, by_cell in least.items():
        others = [1.0] * (sizes[grid] - len(by_cell))
        adjusted |= zip(by_cell, stats.holm([*by_cell.values(), *others]), strict=False)
    changed = {
        verdict.id: _with(
            verdict, least[cell.grid][verdict.id], adjusted[verdict.id], sizes[cell.grid]
        )
        for verdict, cell in _cells(verdicts)
    }
    return [changed.get(verdict.id, verdict) for verdict in verdicts]


def size(cell: Cell | None) -> int:
    """How many cells the grid of a cell has; 1 if an experiment is no cell."""
    return prod(map(len, cell.axes.values())) if cell else 1


def _cells(verdicts: Sequence[ExperimentVerdict]) -> Iterator[tuple[ExperimentVerdict, Cell]]:
    for verdict in verdicts:
        if verdict.experiment.cell:
            yield verdict, verdict.experiment.cell


def _with(
    verdict: ExperimentVerdict, least: float, adjusted: float, cells: int
) -> ExperimentVerdict:
    """The verdict on a cell whose smallest p is `adjusted` after the correction."""
    factor = adjusted / least if least > 0 else 1.0
    rows = tuple(_row(row, factor, verdict.alpha, cells) for row in verdict.results)
    if [row.verdict for row in rows] == [row.verdict for row in verdict.results]:
        return replace(verdict, results=rows)
    outcomes = [row.verdict for row in rows]
    if verdict.failures or verdict.missing:  # these decide, whatever the rows say
        outcomes.append(verdict.verdict)
    outcome = gravest(outcomes)
    return replace(verdict, results=rows, verdict=outcome, as_expected=_as_expected(rows, outcome))


def _row(row: ClaimResult, factor: float, alpha: float, cells: int) -> ClaimResult:
    before = row.p_consistency
    if before is None or factor == 1.0:
        return row
    p = min(1.0, before * factor)
    row = replace(row, p_consistency=p)
    limited = getattr(row.about, "largest_spread", None) is not None
    if not before <= alpha < p or row.verdict not in _INSTEAD or limited:
        return row
    outcome = _INSTEAD[row.verdict]
    note = "; ".join(filter(None, (row.note, CORRECTED.format(before, cells))))
    kept = row.as_expected if outcome.holds else None
    return replace(row, verdict=outcome, note=note, as_expected=kept)


def _as_expected(rows: Sequence[ClaimResult], outcome: Outcome) -> bool | None:
    if any(row.as_expected is False for row in rows):
        return False
    undecided = outcome.undecided or any(row.verdict.undecided for row in rows)
    return None if undecided else True
