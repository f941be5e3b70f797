"""The decision on one row that is compared with the seeds.

Two questions decide: is the mean close enough (equivalence), and could the reported value be one
more run (consistency)? One seed alone is held to what a study shows of single runs.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from math import ceil

from harness import stats
from harness.manifest import Calibration, ComparedClaim, RowKey, ToleratedClaim, of_seeds
from harness.stats import Sample
from harness.verdict.consistency import RowConsistency
from harness.verdict.evidence import MeasuredRow
from harness.verdict.results import Outcome, gravest

FOUR = {
    (True, True): Outcome.REPRODUCED,
    (True, False): Outcome.IMMATERIAL_DIFFERENCE,
    (False, True): Outcome.INCONCLUSIVE,
    (False, False): Outcome.NOT_REPRODUCED,
}
"""By whether the mean is close enough, and whether the reported value could be one more run."""

NEVER = (
    "more seeds would not settle it: the mean is farther off than the tolerance, "
    "and single runs differ by as much"
)
DOUBTFUL = "no number of further seeds settles it with a probability of 80 %"
MORE = "{} more seed{} would probably settle it"


@dataclass(frozen=True, kw_only=True)
class Decision:
    """The outcome of a row, and the numbers that it rests on."""

    outcome: Outcome
    why: str = ""
    method: str = ""
    interval: tuple[float, float] | None = None
    p_equivalence: float | None = None
    p_consistency: float | None = None
    more_seeds: int | None = None


@dataclass(frozen=True, kw_only=True)
class Terms:
    """What is the same for all rows of an experiment."""

    alpha: float
    """Level of each test."""
    next_alpha: float
    """Level of each test if seeds are added to these."""
    guards: int
    """How many rows a test beside the one for consistency can refute (limits on SDs, orders); these
    share alpha."""
    consistency: Mapping[RowKey, RowConsistency]
    calibration: Calibration | None
    bands: Mapping[RowKey, tuple[float, float]]
    """The calibration's bands by row."""
    study: Mapping[RowKey, Sample]
    """Committed seeds by row, if a single seed is judged; without the judged one."""
    advise: bool
    """Whether to count how many more seeds would settle an open row; simulations do not ask."""
    rows: int
    """How many rows are compared with the seeds, in all cells of a grid together. In a verdict on
    one seed they share alpha, so that a night over a whole grid is seldom red by chance."""


def compare(claim: ComparedClaim, row: MeasuredRow, terms: Terms) -> Decision:
    """Decide a row; every seed that should have a value has one."""
    sample = stats.summarise(row.values)
    if sample.mean is None and len(row.values) == 1 and row.undecided:
        return Decision(outcome=Outcome.INCONCLUSIVE, why=row.undecided)
    if sample.mean is None:
        return Decision(outcome=Outcome.NOT_RUN)
    found = terms.consistency.get(row.number.key)
    if found is not None and sample.n > 1:
        return four_way(claim, row, sample, found, terms)
    return one_seed(row, sample.mean, terms, runs=claim.runs)


def one_seed(row: MeasuredRow, value: float, terms: Terms, *, runs: int = 1) -> Decision:
    """Decide by what a study shows of single runs, or else by the tolerance.

    The difference of two single runs has the noise of both. So one seed fails a row only if it is
    off by more than the tolerance and what two runs differ by; without a study that is not known,
    and a seed outside the tolerance leaves the row open.

    Args:
        row: the seed's value for one reported number.
        value: the same.
        terms: of the experiment.
        runs: how many runs the paper averages.
    """
    number = row.number
    margin = number.tolerance + number.half_unit
    near = abs(value - number.value) <= margin
    band, study = terms.bands.get(number.key), terms.study.get(number.key)
    outcome, why = Outcome.REPRODUCED if near else Outcome.INCONCLUSIVE, ""
    if terms.calibration is not None and band is not None:
        method = f"band of the study of {of_seeds(terms.calibration.seeds)}"
        inside = band[0] <= value <= band[1]
        outcome = Outcome.REPRODUCED if inside else Outcome.NOT_REPRODUCED
        why = "" if inside else f"outside {band[0]:g} to {band[1]:g}"
    elif study is not None:
        method = f"band of the {study.n} committed seeds, for the noise of both runs"
        noise = stats.two_runs_differ(study, runs, terms.alpha / terms.rows)
        if abs(value - number.value) > margin + noise:
            outcome = Outcome.NOT_REPRODUCED
            why = f"off by more than the tolerance and the {noise:.4g} that two runs differ by"
        elif not near:
            why = f"outside the tolerance, but two runs differ by up to {noise:.4g}"
    else:
        method = "tolerance only, no statistical claim"
        why = "" if near else "outside the tolerance; one seed carries no verdict"
    if outcome.holds and row.undecided:
        outcome = Outcome.INCONCLUSIVE
    why = "; ".join(filter(None, (row.undecided, why)))
    return Decision(outcome=outcome, why=why, method=method)


def four_way(
    claim: ComparedClaim,
    row: MeasuredRow,
    sample: Sample,
    found: RowConsistency,
    terms: Terms,
) -> Decision:
    """Decide a row in which two or more seeds have a value, by both tests.

    Args:
        claim: the row's.
        row: the seeds' values; if one is censored, equivalence cannot be shown.
        sample: the same values, summarised.
        found: result of the test for consistency.
        terms: of the experiment. The equivalence test needs no correction for many rows, because
            every row must pass.

    Source:
        Berger (1982), Multiparameter hypothesis testing and acceptance sampling, Technometrics
        24(4), for the intersection-union test.
    """
    number, alpha = row.number, terms.alpha
    margin = number.tolerance + number.half_unit
    known = not row.any_censored
    p = stats.equivalence_p(sample, number.value, margin) if known else None
    outcome = FOUR[p is not None and p <= alpha, found.p > alpha]
    more, why = None, ""
    if outcome is Outcome.INCONCLUSIVE and known and terms.advise:
        more, why = _more(claim, row, sample, found, terms)
    guarded, doubt = guard(claim, row, sample, terms)
    outcome = gravest([outcome, guarded])
    if outcome.holds and row.undecided:
        outcome = Outcome.INCONCLUSIVE
    adjusted = ", adjusted for skewness" if sample.skewed and known else ""
    return Decision(
        outcome=outcome,
        why="; ".join(filter(None, (row.undecided, why, doubt))),
        method=f"equivalence: two one-sided t-tests{adjusted}; consistency: {found.method}",
        interval=stats.mean_interval(sample, alpha) if known else None,
        p_equivalence=p,
        p_consistency=found.p,
        more_seeds=more,
    )


def _more(
    claim: ComparedClaim, row: MeasuredRow, sample: Sample, found: RowConsistency, terms: Terms
) -> tuple[int | None, str]:
    """How many more seeds would show that the mean is close enough, or that it is not chance.

    They are a second look, so they are counted for its level.
    """
    number = row.number
    question = stats.Question(
        centre=number.value,
        margin=number.tolerance + number.half_unit,
        rounding=number.half_unit,
        runs=claim.runs,
        alpha=terms.next_alpha,
        alpha_off=terms.next_alpha * found.share,
        # Fewer seeds cannot reach p <= alpha by rank.
        least=ceil(1 / terms.next_alpha) - 1 if found.ranked else 0,
    )
    more = stats.more_to_settle(sample, question)
    if more is not None:
        return more, _assured(more)
    difference = abs((sample.mean or 0.0) - number.value)
    outside = difference > question.margin and (sample.sd or 0.0) > difference
    return None, NEVER if outside else DOUBTFUL


def guard(
    claim: ToleratedClaim, row: MeasuredRow, sample: Sample, terms: Terms
) -> tuple[Outcome, str]:
    """Whether the SD over the seeds may keep the manifest's limit, and what is open about it.

    The limit is about our own runs. So what the seeds leave open about it is said and changes no
    verdict on the paper's value; only a limit that is shown to be broken does. A failure may come
    from any of many rows, so the lower bound shares alpha among them.
    """
    limit = claim.largest_spread
    if limit is None:
        return Outcome.REPRODUCED, ""
    low, _ = stats.sd_bounds(sample, terms.alpha / terms.guards)
    _, high = stats.sd_bounds(sample, terms.alpha)
    if high <= limit.value:
        return Outcome.REPRODUCED, ""
    confidence = 1 - terms.alpha - terms.alpha / terms.guards
    inside = stats.share_within(claim.margin, limit.value)
    bounds = (
        f"SD between {low:.4f} and {high:.4f} ({confidence:.0%} CI), limit {limit.value:g} "
        f"({inside:.0%} of single runs within the tolerance of their mean)"
    )
    # The bounds hold for normal samples; others vary more by chance.
    if low > limit.value and not stats.not_normal(row.values):
        return Outcome.NOT_REPRODUCED, bounds
    more = stats.more_for_sd(sample, limit.value, terms.alpha)
    return Outcome.REPRODUCED, f"{bounds}: not shown to keep it" + (
        f"; {_assured(more)}" if more else ""
    )


def so_many(more: int) -> str:
    """How many more seeds would settle a row, as a sentence."""
    return MORE.format("one" if more == 1 else more, "s" if more != 1 else "")


def _assured(more: int) -> str:
    """The same, with the probability that it comes true."""
    return f"{so_many(more)} ({stats.ASSURANCE:.0%})"
