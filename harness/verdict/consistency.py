"""Could the paper's run be one more of ours? All rows of an experiment in one test.

Each kind of claim says which of its rows join (`Tested`). The correction for testing many rows is
made here, over all of them together, above the kinds.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from harness import stats
from harness.manifest import Manifest, RowKey
from harness.stats import Array, Family
from harness.verdict.evidence import Evidence, MeasuredRow
from harness.verdict.results import LeftOut

ALPHA = 0.05
"""Level of the equivalence test in each row, and of the consistency test over all rows."""

REGISTERED = 0.8
"""Share of a claim's alpha that its registered rows get; the other rows share the rest."""

MOST_BY_DEFAULT = 4
"""How many rows count as registered if the manifest names none."""


@dataclass(frozen=True, slots=True)
class Tested:
    """A row that joins the test for consistency."""

    row: MeasuredRow
    weight: float
    """Its share of the alpha that its claim may spend; the rows of a claim together have 1."""
    runs: int
    """How many runs the paper averages in its value."""


@dataclass(frozen=True, slots=True)
class RowConsistency:
    """Result of the test for consistency in one row."""

    p: float
    """Corrected for all rows."""
    method: str
    share: float
    """The row's share of alpha in Holm's correction."""
    ranked: bool
    """Whether the rank alone decided."""


def alpha_of(manifest: Manifest, seeds: Sequence[int]) -> float:
    """The alpha of a verdict on these seeds; a manifest with a second stage divides it in two."""
    stage = manifest.second_stage
    if stage is None:
        return ALPHA
    second = not set(seeds).isdisjoint(stage.seeds)
    return ALPHA * (stage.alpha_share if second else 1 - stage.alpha_share)


def weights(rows: Sequence[MeasuredRow], registered: Sequence[int] | None) -> list[float]:
    """Each row's share of its claim's alpha; they sum to 1, so that all claims have the same.

    Args:
        rows: those that join the test.
        registered: the epochs that share `REGISTERED`; None means up to four, spaced evenly.
    """
    if not rows:
        return []
    if registered is None:
        even = np.linspace(0, len(rows) - 1, min(len(rows), MOST_BY_DEFAULT)).round()
        chosen = [place in even for place in range(len(rows))]
    else:
        chosen = [row.number.epoch in registered for row in rows]
    others = len(rows) - sum(chosen)
    if not others or not any(chosen):
        return [1 / len(rows)] * len(rows)
    return [REGISTERED / sum(chosen) if one else (1 - REGISTERED) / others for one in chosen]


def consistency(
    tested: Sequence[Tested], evidence: Evidence, alpha: float
) -> tuple[Mapping[RowKey, RowConsistency], LeftOut | None]:
    """Test all rows together, and make the leave-one-out check of the test.

    Both results are empty if there are fewer than two seeds, or no rows.
    """
    if len(evidence.seeds) < 2 or not tested:
        return {}, None
    rows = [one.row for one in tested]
    values = np.column_stack([_values(row, evidence) for row in rows])
    family = Family(
        reported=np.array([row.number.value for row in rows]),
        half=np.array([row.number.half_unit for row in rows]),
        runs=np.array([one.runs for one in tested], dtype=float),
        weights=np.array([one.weight for one in tested]),
        censored=np.array([row.any_censored for row in rows]),
    )
    return _by_row(rows, values, family, alpha), _left_out(values, family, alpha)


def _values(row: MeasuredRow, evidence: Evidence) -> Array:
    """The seeds' values; a censored one counts as the last epoch, its earliest possible value."""
    if row.censored is None:
        return row.values
    return np.where(row.censored, float(evidence.epochs), row.values)


def _by_row(
    rows: Sequence[MeasuredRow], values: Array, family: Family, alpha: float
) -> Mapping[RowKey, RowConsistency]:
    tested = stats.consistency(values, family, alpha)
    shares = family.weights / family.weights.sum()
    runs = len(values) + 1
    ranked = tested.ranked | tested.abnormal
    return {
        row.number.key: RowConsistency(
            p=float(p),
            method=(f"rank among {runs} runs" if by_rank else "t-test with Holm correction")
            + (", since the seeds are not normally distributed" if abnormal else ""),
            share=float(share),
            ranked=bool(by_rank),
        )
        for row, p, share, by_rank, abnormal in zip(
            rows, tested.p, shares, ranked, tested.abnormal, strict=True
        )
        if not np.isnan(p)
    }


def _left_out(values: Array, family: Family, alpha: float) -> LeftOut | None:
    """The leave-one-out check; None below three seeds, because one other seed has no SD."""
    n = len(values)
    return LeftOut(n, stats.left_out(values, family, alpha)) if n > 2 else None
