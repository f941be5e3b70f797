"""The decision on one row, from the values of its seeds and what the paper reports.

* **One reported run**: is the mean close enough (equivalence), and could the reported value be one
  more run (consistency)? One seed alone is held to what a study shows of single runs.
* **Limits**: one-sided, for the mean, for the extreme of several runs, or for every run.
* **Samples**: several runs of the paper's. The right answers if they are not normal:

  - All values equal (SD 0). If all runs of both sides are equal, the mean is known exactly: equal
    means reproduce; others are an immaterial difference within the tolerance, and a failure beyond
    it, as soon as the rank test can tell (two seeds against ten runs: p = 0.03).
  - Two peaks (nine runs at 10 %, one at 71 %). A sample of ten often has no run in the smaller
    peak, so its absence is no difference: neither the mean nor the SD may be rejected for it. But
    ten runs do not show how large the mean is either, so the row is inconclusive unless the
    tolerance is as wide as their error.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from math import ceil, sqrt

import numpy as np
from scipy.special import stdtrit

from harness import stats
from harness.manifest import (
    Calibration,
    ComparedClaim,
    ExtremeClaim,
    ExtremeDifferenceClaim,
    RowKey,
    SampleClaim,
    ToleratedClaim,
    of_seeds,
)
from harness.manifest.claims import AllValues, MeanAndSd
from harness.stats import Array, Sample
from harness.verdict.consistency import OwnTest, RowConsistency
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
DOUBTFUL = "more seeds may not settle it: however many, the chance stays below 80 %"
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


def compare_means(claim: ComparedClaim, row: MeasuredRow, terms: Terms) -> Decision:
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


FEW = "{2} runs do not show the {0} of {1}"
RATE = (
    "with {:g} % confidence, at most {:.0%} of all runs are beyond the limit: none of these {} is"
)


def mean_beside_limit(row: MeasuredRow, terms: Terms, method: str, *, upper: bool) -> Decision:
    """Decide whether the mean lies on the right side of a limit.

    The row holds if the mean is shown to be no farther beyond the limit than the tolerance, and
    fails if it is shown to be farther. One-sided t-tests, the one that fails a row at alpha divided
    by the number of such rows. If the seeds are shown not to be normal, a row fails only if every
    seed is beyond. No test of a mean guards against a rare run, far off, that no seed shows
    (Bahadur and Savage, 1956, Ann. Math. Stat. 27(4)): choose a tolerance that allows for one.

    Args:
        row: a mean and its limit.
        terms: of the experiment.
        method: as reports name it.
        upper: whether the mean must not be above the limit.
    """
    number = row.number
    sign = -1.0 if upper else 1.0
    sample = stats.summarise(sign * row.values)
    least = sign * number.value - number.half_unit - number.tolerance
    if sample.mean is None:
        return Decision(outcome=Outcome.NOT_RUN)
    if sample.n == 1:
        holds = sample.mean >= least
        outcome = Outcome.REPRODUCED if holds else Outcome.NOT_REPRODUCED
        return Decision(outcome=outcome, method="tolerance only, no statistical claim")
    p = stats.above_p(sample, least)
    mirrored = Sample(sample.n, -sample.mean, sample.sd)
    fails = p > terms.alpha and stats.above_p(mirrored, -least) <= terms.alpha / terms.guards
    if fails and stats.not_normal(row.values):
        fails = bool((sign * row.values < least).all())
    low, high = stats.mean_interval(stats.summarise(row.values), terms.alpha)
    open_ = Decision(
        outcome=Outcome.INCONCLUSIVE, method=method, interval=(low, high), p_equivalence=p
    )
    if fails:
        return replace(open_, outcome=Outcome.NOT_REPRODUCED)
    if p <= terms.alpha:
        return replace(open_, outcome=Outcome.REPRODUCED)
    more = stats.more_for_side(sample, least, terms.alpha)
    return replace(open_, why=so_many(more) if more else "", more_seeds=more)


def extreme_of(values: Array, runs: int, *, highest: bool) -> float | None:
    """The mean extreme of so many of the values; of all of them, if there are fewer."""
    sign = 1.0 if highest else -1.0
    known = sign * values[~np.isnan(values)]
    return sign * stats.best_of(known, min(runs, len(known))) if len(known) else None


def compare_extreme(claim: ExtremeClaim, row: MeasuredRow, terms: Terms) -> Decision:
    """Decide whether the paper's extreme of k runs is that of k of ours.

    Close enough: the mean extreme of k seeds, over all choices of k, lies within the tolerance.
    Plausible: if all runs are alike, any k of the n + k may be the paper's. So the probability that
    at least j of ours lie beyond the paper's extreme is C(n, j) / C(n + k, j), and that none does
    is k / (n + k). Both are exact for any distribution, and the second is never small for n near k:
    one outlying run of the paper's explains any extreme. If the manifest says that runs are
    normal, and ours are not shown to be otherwise, a prediction limit for the largest of k normal
    values replaces it. The smaller p is doubled (two directions).

    Source:
        Wilks (1942), Statistical prediction with special reference to the problem of tolerance
        limits, Ann. Math. Stat. 13(4), for exceedances.
    """
    number, k = row.number, claim.runs
    sign = 1.0 if claim.which == "highest" else -1.0
    values, reported = sign * row.values, sign * number.value
    n, beyond = len(values), int((values > reported + number.half_unit).sum())
    too_low = stats.none_p(k, beyond, n)
    too_high = k / (n + k) if not beyond else 1.0
    if claim.normal and n > 1 and not stats.not_normal(values):
        sample = stats.summarise(values)
        too_high = min(too_high, stats.too_extreme_p(sample, reported - number.half_unit, k))
    p = min(1.0, 2 * min(too_low, too_high))
    off = (row.farthest or 0.0) * sign - reported
    margin = number.tolerance + number.half_unit
    plausible = p > terms.alpha / terms.guards
    method = f"mean {claim.which} of {k} runs; order of the paper's runs and ours"
    if n < k:
        # More runs can only raise the highest.
        refuted = not plausible and off > margin
        outcome = Outcome.NOT_REPRODUCED if refuted else Outcome.INCONCLUSIVE
        why = f"{FEW.format(claim.which, k, n)}; {so_many(k - n)}" if not refuted else ""
        more = None if refuted else k - n
        return Decision(outcome=outcome, why=why, method=method, more_seeds=more)
    outcome, more = FOUR[abs(off) <= margin, plausible], None
    if outcome is Outcome.INCONCLUSIVE:
        alpha = terms.alpha / terms.guards
        more = _first(lambda m: 2 * k / (n + m + k) <= alpha) if not beyond else None
    why = (
        so_many(more) if more else "" if plausible else f"chance does not explain it (p = {p:.2g})"
    )
    return Decision(outcome=outcome, why=why, method=method, more_seeds=more)


OUTLIER = "one outlying run of the paper's would explain it, and its single runs are not known"


def compare_extreme_difference(
    claim: ExtremeDifferenceClaim, row: MeasuredRow, p: float | None, terms: Terms
) -> Decision:
    """Decide whether the paper's difference of two extremes of k runs is that of k of ours.

    Close enough: the difference of the mean extremes of k seeds lies within the tolerance.
    Plausible: the permutation test of `stats.extreme_difference_p`, if the paper's runs are known.

    Args:
        claim: as the manifest has it.
        row: its one row.
        p: of the permutation test; None if the paper's single runs are not known.
        terms: of the experiment.
    """
    seeds, number = len(row.values), row.number
    cells = min(map(len, claim.members))  # each seed runs once in each
    more = -(-claim.runs // cells) - seeds
    method = f"mean {claim.which} of {claim.runs} runs; " + (
        "no test of chance" if p is None else "permutation of the paper's runs and ours"
    )
    if more > 0:
        why = f"{FEW.format(claim.which, claim.runs, cells * seeds)}; {so_many(more)}"
        return Decision(outcome=Outcome.INCONCLUSIVE, why=why, method=method, more_seeds=more)
    near = abs((row.farthest or 0.0) - number.value) <= number.tolerance + number.half_unit
    plausible = p is None or p > terms.alpha / terms.guards
    outcome, why = FOUR[near, plausible], ""
    if not plausible:
        why = f"chance does not explain it (p = {p:.2g})"
    elif not near:
        why = OUTLIER if p is None else f"chance may explain it (p = {p:.2g})"
    return Decision(outcome=outcome, why=why, method=method, p_consistency=p)


def none_beyond(beyond: int, n: int, runs: int | None, terms: Terms, method: str) -> Decision:
    """Decide whether no run is beyond a limit, if the paper's so many runs were not.

    If j of n runs are beyond it and all runs are alike, the probability that none of the paper's k
    runs is among them is C(n, j) / C(n + k, j) (Fisher's exact test).

    Args:
        beyond: how many of our runs are.
        n: how many runs we have.
        runs: how many the paper made, none of them beyond; None if the claim is about all runs.
        terms: of the experiment.
        method: as reports name it.

    Source:
        Fisher (1935), The logic of inductive inference, J. R. Stat. Soc. 98(1).
    """
    if not beyond or runs is None:
        why = RATE.format(100 * (1 - terms.alpha), 1 - terms.alpha ** (1 / n), n)
        return Decision(outcome=Outcome.REPRODUCED, why=why, method=method)
    p = stats.none_p(runs, beyond, n)
    refuted = p <= terms.alpha / terms.guards
    return Decision(
        outcome=Outcome.NOT_REPRODUCED if refuted else Outcome.INCONCLUSIVE,
        why=f"{beyond} of {n} runs, none of the paper's {runs}; p = {p:.2g}",
        method=f"{method}; Fisher's exact test",
    )


def _first(holds: Callable[[int], bool], most: int = 1_000) -> int | None:
    return next((more for more in range(1, most) if holds(more)), None)


FEWEST_FOR_SCALE = 5
"""With fewer values the median lies so near to single ones that distances from it are too small."""

SDS = "SD {:.4g}, against {:.4g} of the paper's runs: more than chance (both divided by n - 1)"
NEVER_BY_SAMPLE = (
    "more seeds would not settle it: the error of the paper's own mean is too large for the "
    "tolerance"
)


def paper_sample(reported: MeanAndSd | AllValues, half_unit: float) -> Sample:
    """The paper's runs in three numbers. Rounding may have lowered a printed SD, so it is raised.

    A larger SD makes both tests more careful.
    """
    rounding = 0.0 if reported.known_values else half_unit
    return Sample(reported.runs, reported.mean, reported.unbiased_sd + rounding)


def sample_consistency(claim: SampleClaim, row: MeasuredRow) -> OwnTest:
    """Test whether the seeds and the paper's runs may come from one distribution.

    If all values of the paper are known, ranks test both: the values for the mean, and their
    distances from the median for the SD. Ours are rounded as the paper's are, so that ties are
    ties. Ranks hold for any distribution.

    If only mean and SD are known, Welch's t tests the mean. For the SD, a test that holds for any
    distribution does not exist: one outlying run of the paper's explains any SD that is larger than
    ours. So only a larger SD of ours counts (F-test), and only if our values are not shown to be
    non-normal.

    Args:
        claim: as the manifest has it.
        row: two seeds or more with a value.
    """
    ours = row.values[~np.isnan(row.values)]
    theirs = claim.reported.known_values
    if theirs is not None:
        rounded = ours if claim.decimals is None else np.round(ours, claim.decimals)
        return OwnTest(row, *_by_rank(rounded, np.array(theirs)), "rank-sum test")
    sample, reported = stats.summarise(ours), paper_sample(claim.reported, claim.half_unit)
    p_sd = 1.0 if stats.not_normal(ours) else stats.larger_sd_p(sample, reported)
    return OwnTest(row, stats.welch_p(sample, reported, claim.half_unit), p_sd, "Welch's t-test")


def _by_rank(ours: Array, theirs: Array) -> tuple[float, float]:
    """p of the mean and of the SD; too few values say nothing about the SD."""
    few = min(len(ours), len(theirs)) < FEWEST_FOR_SCALE
    return stats.rank_p(ours, theirs), 1.0 if few else stats.scale_p(ours, theirs)


def compare_samples(claim: SampleClaim, row: MeasuredRow, terms: Terms) -> Decision:
    """Decide a row; every seed that should have a value has one.

    Two questions decide, as for one run (`four_way`): do the means differ by no more than the
    tolerance (Welch's two one-sided tests), and may they be equal (`sample_consistency`)? If only
    the SDs differ, the difference counts as immaterial, because the tolerance is one of the mean. A
    manifest says which SD matters by `largest_spread`, which then decides too.
    """
    sample = stats.summarise(row.values)
    if sample.mean is None:
        return Decision(outcome=Outcome.NOT_RUN)
    found = terms.consistency.get(row.number.key)
    if found is None or sample.n < 2:
        return _one_seed_of_sample(claim, row, sample.mean, terms)
    alpha, reported = terms.alpha, paper_sample(claim.reported, claim.half_unit)
    margin = row.number.tolerance + row.number.half_unit
    p = stats.welch_equivalence_p(sample, reported, margin)
    outcome, why, more = FOUR[p <= alpha, found.p > alpha], "", None
    if outcome is Outcome.INCONCLUSIVE:
        more = _more_for_samples(claim, sample, alpha, alpha * found.share)
        why = NEVER_BY_SAMPLE if more is None else so_many(more)
    spread = ""
    if found.p_sd <= alpha:
        spread = SDS.format(sample.sd, claim.reported.unbiased_sd)
        outcome = Outcome.IMMATERIAL_DIFFERENCE if outcome is Outcome.REPRODUCED else outcome
    guarded, doubt = guard(claim, row, sample, terms)
    low, high = stats.welch_interval(sample, reported, alpha)
    return Decision(
        outcome=gravest([outcome, guarded]),
        why="; ".join(filter(None, (spread, why, doubt))),
        method=f"equivalence: Welch's two one-sided t-tests; consistency: {found.method}",
        interval=(row.number.value + low, row.number.value + high),
        p_equivalence=p,
        p_consistency=found.p,
        more_seeds=more,
    )


def _more_for_samples(
    claim: SampleClaim, sample: Sample, alpha: float, alpha_of_mean: float
) -> int | None:
    """How many more seeds would show that the means are close enough, or that they differ."""
    reported, rounding = paper_sample(claim.reported, claim.half_unit), claim.half_unit
    near = stats.more_for_welch_equivalence(sample, reported, claim.margin + rounding, alpha)
    off = stats.more_for_welch(sample, reported, rounding, alpha_of_mean)
    return min((more for more in (near, off) if more is not None), default=None)


def _one_seed_of_sample(
    claim: SampleClaim, row: MeasuredRow, value: float, terms: Terms
) -> Decision:
    """Decide by the paper's own spread: a run within it or within the tolerance is no difference.

    The prediction interval for one more of the paper's runs (Student's t; all rows share alpha), or
    their range if all are known, whichever is wider; and the tolerance on both sides. A calibrated
    band comes first, as everywhere.
    """
    if row.number.key in terms.bands:
        return one_seed(row, value, terms)
    reported = paper_sample(claim.reported, claim.half_unit)
    mean, sd = claim.reported.mean, reported.sd or 0.0
    alpha = terms.alpha / terms.rows
    reach = float(stdtrit(reported.n - 1, 1 - alpha / 2)) * sd * sqrt(1 + 1 / reported.n)
    values = claim.reported.known_values or (mean,)
    slack = row.number.tolerance + row.number.half_unit
    low, high = min(mean - reach, *values) - slack, max(mean + reach, *values) + slack
    near = low <= value <= high
    return Decision(
        outcome=Outcome.REPRODUCED if near else Outcome.NOT_REPRODUCED,
        why="" if near else f"outside {low:g} to {high:g}",
        method="tolerance and the paper's own spread, no statistical claim",
    )
