"""Could the paper's run be one more of ours? All rows of an experiment in one test.

Each kind of claim says which of its rows join (`Tested`), and which have a test of their own
(`OwnTest`), because the paper reports more than one run. The correction for testing many rows is
made here, over all of them together, above the kinds: alpha is divided between the joint test and
the others by their numbers of claims.
"""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from harness import stats
from harness.manifest import Manifest, RowKey
from harness.stats import Array, Family
from harness.verdict.evidence import Evidence, MeasuredRow
from harness.verdict.results import LeftOut

ALPHA = 0.05
"""Level of the equivalence test in each row, and of the consistency test over all rows."""

EXTENDED = 0.5
"""Share of alpha if seeds are added after the first look and no second stage was declared."""

REGISTERED = 0.8
"""Share of a claim's alpha that its registered rows get; the other rows share the rest."""

MOST_BY_DEFAULT = 4
"""How many rows count as registered if the manifest names none."""


MEAN, SD = 0.8, 0.2
"""Shares of a row's own alpha for the test of the mean and for that of the SD."""


@dataclass(frozen=True, slots=True)
class Tested:
    """A row that joins the test for consistency."""

    row: MeasuredRow
    weight: float
    """Its share of the alpha that its claim may spend; the rows of a claim together have 1."""
    runs: int
    """How many runs the paper averages in its value."""


@dataclass(frozen=True, slots=True)
class OwnTest:
    """A row that has a test of its own; it does not join the test of the others."""

    row: MeasuredRow
    p: float
    """Of the mean, not corrected for other tests."""
    p_sd: float
    """Likewise, of the SD."""
    method: str


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
    p_sd: float = 1.0
    """Of the SD, if the row's own test has one; corrected likewise."""


def alpha_of(manifest: Manifest, seeds: Sequence[int], first: Collection[int] = ()) -> float:
    """The alpha of a verdict on these seeds; a manifest with a second stage divides it in two.

    Args:
        manifest: which may declare a second stage.
        seeds: that are judged.
        first: seeds that were declared before any record was made. Seeds that were added to them
            are a second look at the same question, and it gets less alpha.
    """
    stage = manifest.second_stage
    if stage is None:
        return ALPHA * EXTENDED if added_seeds(seeds, first) else ALPHA
    second = not set(seeds).isdisjoint(stage.seeds)
    return ALPHA * (stage.alpha_share if second else 1 - stage.alpha_share)


def added_seeds(seeds: Collection[int], first: Collection[int]) -> frozenset[int]:
    """Seeds that were added to the declared ones; empty if these are not judged with them."""
    judged, declared = frozenset(seeds), frozenset(first)
    return judged - declared if judged & declared else frozenset()


def next_alpha(manifest: Manifest) -> float:
    """The alpha of a verdict on these seeds and more."""
    return ALPHA * (manifest.second_stage.alpha_share if manifest.second_stage else EXTENDED)


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


def rows_consistency(
    tested: Sequence[Tested],
    own: Sequence[OwnTest],
    evidence: Evidence,
    alpha: float,
    *,
    leave_out: bool = True,
) -> tuple[Mapping[RowKey, RowConsistency], LeftOut | None]:
    """Test all rows, and make the leave-one-out check of the joint test if it is asked for.

    The probability of any false rejection is at most alpha, over all rows. The joint test and the
    rows' own tests have shares of alpha in proportion to their claims (Bonferroni); the own tests
    divide theirs by Holm's correction.

    Both results are empty if there are fewer than two seeds, or no rows.
    """
    if len(evidence.seeds) < 2 or not (tested or own):
        return {}, None
    claims = len({one.row.number.key.claim for one in tested})
    share_of_joint = claims / (claims + len(own))
    found = dict(_own(own, 1 - share_of_joint))
    if not tested:
        return found, None
    rows = [one.row for one in tested]
    values = np.column_stack([_values(row, evidence) for row in rows])
    family = Family(
        reported=np.array([row.number.value for row in rows]),
        half=np.array([row.number.half_unit for row in rows]),
        runs=np.array([one.runs for one in tested], dtype=float),
        weights=np.array([one.weight for one in tested]),
        censored=np.array([row.any_censored for row in rows]),
    )
    found |= _by_row(rows, values, family, alpha, share_of_joint)
    return found, _left_out(values, family, alpha) if leave_out else None


def _own(tests: Sequence[OwnTest], share: float) -> Iterator[tuple[RowKey, RowConsistency]]:
    """Correct the rows' own tests, which together have this share of alpha."""
    ps = [p for one in tests for p in (one.p, one.p_sd)]
    corrected = stats.holm(ps, [MEAN, SD] * len(tests))
    for place, one in enumerate(tests):
        p, p_sd = (min(1.0, p / share) for p in corrected[2 * place : 2 * place + 2])
        of_mean = share * MEAN / len(tests)
        yield one.row.number.key, RowConsistency(p, one.method, of_mean, ranked=False, p_sd=p_sd)


def _values(row: MeasuredRow, evidence: Evidence) -> Array:
    """The seeds' values; a censored one counts as the last epoch, its earliest possible value."""
    if row.censored is None:
        return row.values
    return np.where(row.censored, float(evidence.epochs), row.values)


def _by_row(
    rows: Sequence[MeasuredRow], values: Array, family: Family, alpha: float, share_of_joint: float
) -> dict[RowKey, RowConsistency]:
    """Test all rows together; the test has this share of alpha."""
    tested = stats.joint_consistency(values, family, alpha * share_of_joint)
    shares = share_of_joint * family.weights / family.weights.sum()
    runs = len(values) + 1
    ranked = tested.ranked | tested.abnormal
    return {
        row.number.key: RowConsistency(
            p=min(1.0, float(p) / share_of_joint),
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
