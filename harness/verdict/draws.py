"""The paper as one more run: all rows of an experiment in one test for consistency."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from harness import stats
from harness.manifest import Claim, ComparedClaim, CurveClaim, Manifest, ValueClaim
from harness.stats import Array, Family
from harness.verdict.evidence import Evidence
from harness.verdict.model import LeftOut
from harness.verdict.rows import Row

ALPHA = 0.05
"""Of the test for equivalence in each row, and of that for consistency over all rows together."""

REGISTERED = 0.8
"""The registered rows' share of what their claim may spend; no row is out of the test's reach."""

MOST_BY_DEFAULT = 4


@dataclass(frozen=True, slots=True)
class Drawn:
    """What the test for consistency says of one row."""

    p: float
    """Adjusted for all rows."""
    method: str
    share: float
    """What the row may spend, as a share of alpha, where it is tested by itself."""
    ranked: bool
    """Whether the rank alone decided."""


Judged = Sequence[tuple[Claim, Sequence[Row]]]


def alpha_of(said: Manifest, seeds: Sequence[int]) -> float:
    """What a verdict on these seeds may spend: less than all where there is a second look."""
    stage = said.second_stage
    if stage is None:
        return ALPHA
    second = not set(seeds).isdisjoint(stage.seeds)
    return ALPHA * (stage.alpha_share if second else 1 - stage.alpha_share)


def drawn(
    judged: Judged, evidence: Evidence, alpha: float
) -> tuple[Mapping[str, Drawn], LeftOut | None]:
    """The test for consistency by the rows' names, and what it does to each seed left out.

    Rows that are judged seed by seed, or lack a seed that they wait for, have no part in it.
    """
    rows, weights, runs = [], [], []
    for claim, of_claim in judged:
        if isinstance(claim, ComparedClaim):
            tested = [row for row in of_claim if _tested(row)]
            rows += tested
            weights += _weights(claim, tested)
            runs += [claim.runs] * len(tested)
    if len(evidence.seeds) < 2 or not rows:
        return {}, None
    values = np.column_stack([_values(row, evidence) for row in rows])
    family = Family(
        reported=np.array([row.number.reported for row in rows]),
        half=np.array([row.number.half for row in rows]),
        runs=np.array(runs, dtype=float),
        weights=np.array(weights),
        censored=np.array([row.censored is not None and row.censored.any() for row in rows]),
    )
    return _by_row(rows, values, family, alpha), _left_out(values, family, alpha)


def _tested(row: Row) -> bool:
    return not (row.not_run or row.fails or row.absent.any())


def _values(row: Row, evidence: Evidence) -> Array:
    """A seed's value; for one that is censored the last epoch, which is as early as it can be."""
    if row.censored is None:
        return row.values
    return np.where(row.censored, float(evidence.epochs), row.values)


def _weights(claim: ComparedClaim, rows: Sequence[Row]) -> list[float]:
    """What each row counts; together 1, so that every claim has the same."""
    if not rows:
        return []
    chosen = _registered(claim, rows)
    others = len(rows) - sum(chosen)
    if not others or not any(chosen):
        return [1 / len(rows)] * len(rows)
    return [
        REGISTERED / sum(chosen) if registered else (1 - REGISTERED) / others
        for registered in chosen
    ]


def _registered(claim: ComparedClaim, rows: Sequence[Row]) -> list[bool]:
    """Whether each row is registered: as the manifest says, else at most four, evenly spread."""
    if isinstance(claim, ValueClaim | CurveClaim) and claim.registered:
        return [row.number.epoch in claim.registered.rows for row in rows]
    spread = np.linspace(0, len(rows) - 1, min(len(rows), MOST_BY_DEFAULT)).round()
    return [place in spread for place in range(len(rows))]


def _by_row(
    rows: Sequence[Row], values: Array, family: Family, alpha: float
) -> Mapping[str, Drawn]:
    found = stats.consistency(values, family, alpha)
    shares = family.weights / family.weights.sum()
    runs = len(values) + 1
    ranked = found.ranked | found.abnormal
    return {
        row.number.name: Drawn(
            p=float(p),
            method=(f"rank of {runs} runs" if by_rank else "t with Holm")
            + (", the seeds not being normal" if abnormal else ""),
            share=float(share),
            ranked=bool(by_rank),
        )
        for row, p, share, by_rank, abnormal in zip(
            rows, found.p, shares, ranked, found.abnormal, strict=True
        )
        if not np.isnan(p)
    }


def _left_out(values: Array, family: Family, alpha: float) -> LeftOut | None:
    """None below three seeds: one alone has no spread to be tested against."""
    n = len(values)
    return LeftOut(n, stats.left_out(values, family, alpha)) if n > 2 else None
