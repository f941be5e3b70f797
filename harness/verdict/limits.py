"""Decisions on one-sided limits: for the mean, for the extreme of several runs, for every run."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from harness import stats
from harness.manifest import ExtremeClaim, ExtremeDifferenceClaim
from harness.stats import Array, Sample
from harness.verdict.decision import FOUR, Decision, Terms, so_many
from harness.verdict.evidence import MeasuredRow
from harness.verdict.results import Outcome

FEW = "the {} of {} runs is not known from {} seeds"
RATE = (
    "with {:g} % confidence, at most {:.0%} of all runs are beyond the limit: none of these {} is"
)


def mean_beside(row: MeasuredRow, terms: Terms, method: str, *, upper: bool) -> Decision:
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


def extreme(claim: ExtremeClaim, row: MeasuredRow, terms: Terms) -> Decision:
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
    method = f"mean {claim.which} of {k} seeds; order of the paper's runs and ours"
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


def extreme_difference(
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
    n, number = len(row.values), row.number
    method = f"mean {claim.which} of {claim.runs} seeds; " + (
        "no test of chance" if p is None else "permutation of the paper's runs and ours"
    )
    if n < claim.runs:
        why, more = FEW.format(claim.which, claim.runs, n), claim.runs - n
        why = f"{why}; {so_many(more)}"
        return Decision(outcome=Outcome.INCONCLUSIVE, why=why, method=method, more_seeds=more)
    near = abs((row.farthest or 0.0) - number.value) <= number.tolerance + number.half_unit
    plausible = p is None or p > terms.alpha / terms.guards
    outcome, why = FOUR[near, plausible], ""
    if not plausible:
        why = f"chance does not explain it (p = {p:.2g})"
    elif not near:
        why = OUTLIER if p is None else f"chance may explain it (p = {p:.2g})"
    return Decision(outcome=outcome, why=why, method=method, p_consistency=p)


def never(beyond: int, n: int, runs: int | None, terms: Terms, method: str) -> Decision:
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
