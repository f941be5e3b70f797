"""Several experiments together: the values that one claim compares, and the cells of a grid.

Each cell's test for consistency has a false-alarm rate of alpha, so of 60 cells three would be
rejected by chance. Holm's correction over the whole table keeps the probability of any false
rejection at alpha. Equivalence needs no correction: it has to be shown in every cell anyway.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from math import prod, sqrt

import numpy as np

from harness import stats
from harness.manifest import BaseClaim, Cell, ReportedNumber, of_seeds
from harness.stats import Array, Sample
from harness.verdict.evidence import Evidence, Mask, MeasuredRow
from harness.verdict.results import ClaimResult, ExperimentVerdict, Outcome, gravest


@dataclass(frozen=True)
class Members:
    """The values of some experiments for one metric. The last axis of arrays is the seeds."""

    sets: tuple[Mapping[str, Array], ...]
    """For each set, the values by experiment, shape (seeds,); NaN where there is none."""
    absent: Mask
    """Seeds that lack a value in some experiment, shape (seeds,)."""
    failed: str
    """Names the seeds that the method failed in; empty if there are none."""
    missing: str
    """Names the seeds that are missing, and the experiments that are not judged here."""
    reports: Mapping[str, BaseClaim]
    """By experiment, the claim that gives the paper's runs, or their mean and SD."""

    @classmethod
    def of(
        cls, sets: Sequence[Sequence[str]], metric: str, epoch: int | None, evidence: Evidence
    ) -> "Members":
        """Look up the experiments.

        Args:
            sets: ids of experiments.
            metric: whose values are wanted.
            epoch: at which they are wanted; None for the final estimates.
            evidence: of the experiment that has the claim; it knows those beside it.
        """
        found: dict[str, Array] = {}
        reports: dict[str, BaseClaim] = {}
        failed, missing = [], []
        for name in dict.fromkeys(name for names in sets for name in names):
            other = evidence.beside.get(name)
            found[name] = np.full(len(evidence.seeds), np.nan)
            recorded = {} if other is None else other.finals if epoch is None else other.curves
            if other is None or metric not in recorded:
                missing.append(f"{name} is not judged here")
                continue
            if epoch is None and metric in other.reports:
                reports[name] = other.reports[metric]
            source = recorded[metric]
            column = source if epoch is None else source[:, epoch - 1]
            places = {seed: at for at, seed in enumerate(other.seeds)}
            for at, seed in enumerate(evidence.seeds):
                if seed in places:
                    found[name][at] = column[places[seed]]
            if other.failed.any():
                failed.append(f"{name}: {of_seeds(other.named(other.failed))} failed")
            lacking = {*evidence.seeds} - {*other.seeds} | {*other.named(other.missing)}
            if lacking:
                missing.append(f"{name}: {of_seeds(lacking)} missing")
        values = np.array(list(found.values()))
        return cls(
            sets=tuple({name: found[name] for name in names} for names in sets),
            absent=np.asarray(np.isnan(values).any(axis=0)),
            failed="; ".join(failed),
            missing="; ".join(missing),
            reports=reports,
        )

    def arrays(self) -> list[Array]:
        """The values of each set, shape (experiments, seeds)."""
        return [np.array(list(members.values())) for members in self.sets]

    def both(self, which: int) -> list[tuple[Array, Array]] | None:
        """For each experiment of a set, our runs and the paper's; None if some are not reported.

        Ours are rounded as the paper's are, so that ties are ties.
        """
        found = []
        for name, values in self.sets[which].items():
            paper, ours = self.reports.get(name), values[~np.isnan(values)]
            if paper is None or not paper.reported_runs or not len(ours):
                return None
            unit = 2 * paper.half_unit
            ours = np.round(ours / unit) * unit if unit else ours
            found.append((ours, np.array(paper.reported_runs)))
        return found

    def reported_means(self) -> list[float] | None:
        """The mean of each set by the paper; None if it does not report all experiments' runs."""
        if any(name not in self.reports for names in self.sets for name in names):
            return None
        return [
            float(np.mean([self.reports[name].values[None] for name in names]))
            for names in self.sets
        ]


def with_error(members: Members, slopes: Sequence[float], number: ReportedNumber) -> Sample:
    """The reported number with its standard error, from the SDs of the paper's runs.

    The errors of independent means add up: the variance of f(m1, m2, ...) is the sum over the
    experiments of (df/dm)² sd² / runs. Printed SDs are raised by what rounding may have taken.

    Args:
        members: whose runs the paper reports.
        slopes: for each set, how fast the number changes with the set's mean.
        number: of the paper.

    Returns:
        Size, mean and SD of a sample whose mean has this error. The size is the smallest number of
        runs of any experiment.

    Source:
        Ku (1966), Notes on the use of propagation of error formulas, J. Res. Natl. Bur. Stand. 70C.
    """
    share: dict[str, float] = {}
    for names, slope in zip(members.sets, slopes, strict=True):
        for name in names:
            share[name] = share.get(name, 0.0) + slope / len(names)
    variance = 0.0
    for name, weight in share.items():
        paper = members.reports[name]
        rounding = 0.0 if paper.reported_runs else paper.half_unit
        variance += (weight * ((paper.reported_sd or 0.0) + rounding)) ** 2 / paper.averaged
    runs = min(members.reports[name].averaged for name in share)
    return Sample(runs, number.value, sqrt(runs * variance))


@dataclass(frozen=True, kw_only=True)
class CombinedRow(MeasuredRow):
    """A row about a number that is made of several experiments' values."""

    paper: Sample | None
    """The paper's number with its error; None if the paper reports one run, or not its SDs."""
    compared: Array
    """What is compared with it: the values, or for a ratio their parts at the paper's means."""


@dataclass(frozen=True, kw_only=True)
class ExtremeDifferenceRow(MeasuredRow):
    """A row about the difference of two extremes, which is shown in place of the mean."""

    p: float | None
    """That the paper's runs and ours are alike; None if the paper's are not known."""


@dataclass(frozen=True, kw_only=True)
class WithinRow(MeasuredRow):
    """A row about limits that every run keeps."""

    beyond: int
    """How many runs are beyond a limit."""
    runs: int
    """How many runs there are in all experiments."""


@dataclass(frozen=True, kw_only=True)
class OrderedRow(MeasuredRow):
    """A row about an order. The row's own values are the distances of the closest pair."""

    distances: Mapping[tuple[str, str], Array]
    """How far the upper experiment of each pair lies above the lower one, shape (seeds,)."""


def order(row: OrderedRow, alpha: float, tests: int) -> tuple[Outcome, str]:
    """Decide whether every experiment of one set lies below every one of another.

    The order is shown if the one-sided test of every pair shows it, each at level alpha: such an
    intersection-union test needs no correction. It is refuted if some pair lies the other way round
    by more than chance explains, with Holm's correction over all pairs and all claims of this kind.

    Args:
        row: two seeds or more, all of which have a value.
        alpha: level of the tests.
        tests: how many claims share alpha.

    Returns:
        The outcome, and the p of the pair that decides.

    Source:
        Berger (1982), Technometrics 24(4); Holm (1979), Scand. J. Stat. 6(2).
    """
    shown = {pair: stats.positive_p(gap) for pair, gap in row.distances.items()}
    reversed_ = [stats.positive_t_p(-gap) * tests for gap in row.distances.values()]
    against = dict(zip(shown, stats.holm([min(1.0, p) for p in reversed_]), strict=True))
    p = max(shown.values())
    if p <= alpha:
        return Outcome.REPRODUCED, f"p = {p:.2g} in the closest pair"
    lower, upper = min(against, key=lambda pair: against[pair])
    if against[lower, upper] <= alpha:
        return Outcome.NOT_REPRODUCED, _lies(row, lower, upper, against[lower, upper])
    lower, upper = max(shown, key=lambda pair: shown[pair])
    return Outcome.INCONCLUSIVE, _lies(row, lower, upper, p)


def _lies(row: OrderedRow, lower: str, upper: str, p: float) -> str:
    mean = float(row.distances[lower, upper].mean())
    side = "above" if mean > 0 else "below"
    return f"{upper} lies {abs(mean):.4g} {side} {lower}, p = {p:.2g}"


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
        sizes[cell.grid] = grid_size(cell)
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


def grid_size(cell: Cell | None) -> int:
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
