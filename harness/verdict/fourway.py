"""One row by its statistics: equivalent or not, consistent or not, and what would decide."""

from dataclasses import dataclass
from math import ceil

from harness import stats
from harness.manifest import ComparedClaim
from harness.stats import Sample
from harness.verdict.draws import Drawn
from harness.verdict.model import Outcome
from harness.verdict.rows import Row

_FOUR = {
    (True, True): Outcome.REPRODUCED,
    (True, False): Outcome.IMMATERIAL_DIFFERENCE,
    (False, True): Outcome.INCONCLUSIVE,
    (False, False): Outcome.NOT_REPRODUCED,
}
"""By whether the mean is equivalent, and the reported value consistent with the seeds."""

NEVER = (
    "no number of seeds would decide: the difference is larger than the tolerance, "
    "and single runs differ by as much"
)
MORE = "{} more seed{} like these would decide"


@dataclass(frozen=True, kw_only=True)
class Decision:
    """What is said of a row, and the numbers that it rests on."""

    outcome: Outcome
    why: str = ""
    method: str = ""
    interval: tuple[float, float] | None = None
    p_equivalence: float | None = None
    p_consistency: float | None = None
    more_seeds: int | None = None


def four_way(
    claim: ComparedClaim, row: Row, sample: Sample, drawn: Drawn, *, alpha: float, guards: int
) -> Decision:
    """Decide a row that has a value of two seeds or more.

    Args:
        claim: the row's.
        row: what the seeds gave; a seed that is censored keeps it from being equivalent.
        sample: mean and spread of the values.
        drawn: the test for consistency.
        alpha: of each test; that of equivalence needs no correction, since all rows must pass.
        guards: how many rows of the experiment have their spread limited: these share alpha.

    Source:
        Berger (1982), Multiparameter hypothesis testing and acceptance sampling, Technometrics
        24(4), for the intersection-union test.
    """
    number = row.number
    margin = number.tolerance + number.half
    known = row.censored is None or not row.censored.any()
    p = stats.equivalence_p(sample, number.reported, margin) if known else None
    outcome = _FOUR[p is not None and p <= alpha, drawn.p > alpha]
    more, why = None, ""
    if outcome is Outcome.INCONCLUSIVE and known:
        more = _more(claim, row, sample, drawn, alpha)
        why = NEVER if more is None else _so_many(more)
    guarded, doubt = _guard(claim, row, sample, alpha=alpha, guards=guards)
    if _GRAVITY.index(guarded) > _GRAVITY.index(outcome):
        outcome = guarded
    if outcome.holds and row.undecided:
        outcome = Outcome.INCONCLUSIVE
    return Decision(
        outcome=outcome,
        why="; ".join(filter(None, (row.undecided, why, doubt))),
        method=f"equivalence: two one-sided t-tests; consistency: {drawn.method}",
        interval=stats.mean_interval(sample, alpha) if known else None,
        p_equivalence=p,
        p_consistency=drawn.p,
        more_seeds=more,
    )


_GRAVITY = (
    Outcome.REPRODUCED,
    Outcome.IMMATERIAL_DIFFERENCE,
    Outcome.INCONCLUSIVE,
    Outcome.NOT_REPRODUCED,
)


def _more(claim: ComparedClaim, row: Row, sample: Sample, drawn: Drawn, alpha: float) -> int | None:
    """The fewest further seeds that bring the mean near enough, or show that chance is not it."""
    number = row.number
    difference = abs((sample.mean or 0.0) - number.reported)
    near = stats.more_for_equivalence(
        sample, number.reported, number.tolerance + number.half, alpha
    )
    off = stats.more_for_consistency(
        sample, max(0.0, difference - number.half), claim.runs, alpha * drawn.share
    )
    if off is not None and drawn.ranked:
        off = max(off, ceil(1 / alpha) - 1 - sample.n)  # no rank shows anything below that
    return min((found for found in (near, off) if found is not None), default=None)


def _guard(
    claim: ComparedClaim, row: Row, sample: Sample, *, alpha: float, guards: int
) -> tuple[Outcome, str]:
    """Whether the seeds scatter by no more than the manifest allows.

    That some row exceeds it is claimed of many at once, so its bound shares alpha; that none does
    must hold in every row, which needs no correction.
    """
    limit = claim.largest_spread
    if limit is None:
        return Outcome.REPRODUCED, ""
    low, _ = stats.spread_bounds(sample, alpha / guards)
    _, high = stats.spread_bounds(sample, alpha)
    said = f"spread between {low:.4f} and {high:.4f}, at most {limit.value:g} allowed"
    # The bounds are those of normal samples; others spread more by chance.
    if low > limit.value and not stats.not_normal(row.values):
        return Outcome.NOT_REPRODUCED, said
    if high <= limit.value:
        return Outcome.REPRODUCED, ""
    more = stats.more_for_spread(sample, limit.value, alpha)
    return Outcome.INCONCLUSIVE, said if more is None else f"{said}; {_so_many(more)}"


def _so_many(more: int) -> str:
    return MORE.format(more, "s" if more != 1 else "")
