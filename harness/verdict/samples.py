"""Compare the seeds with several runs of a paper's: the decision on a claim of kind `sample`.

The right answers for samples that are not normal:

* **All values equal** (SD 0). If all runs of both sides are equal, the mean is known exactly: equal
  means reproduce; others are an immaterial difference within the tolerance, and a failure beyond
  it, as soon as the rank test can tell (two seeds against ten runs: p = 0.03).
* **Two humps** (nine runs at 10 %, one at 71 %). A sample of ten often has no run in the smaller
  hump, so its absence is no difference: neither the mean nor the SD may be rejected for it. But ten
  runs do not show how large the mean is either, so the row is inconclusive unless the tolerance
  is as wide as their error.
"""

from math import sqrt

import numpy as np
from scipy.special import stdtrit

from harness import stats
from harness.manifest import SampleClaim
from harness.manifest.claims import AllValues, MeanAndSd
from harness.stats import Array, Sample
from harness.verdict.consistency import OwnTest
from harness.verdict.decision import FOUR, Decision, Terms, guard, one_seed, so_many
from harness.verdict.evidence import MeasuredRow
from harness.verdict.results import Outcome, gravest

FEWEST_FOR_SCALE = 5
"""With fewer values the median lies so near to single ones that distances from it are too small."""

SDS = "SD {:.4g}, against {:.4g} of the paper's runs: more than chance (both divided by n - 1)"
NEVER = (
    "more seeds would not settle it: the error of the paper's own mean is too large for the "
    "tolerance"
)


def summarise(reported: MeanAndSd | AllValues, half_unit: float) -> Sample:
    """The paper's runs in three numbers. Rounding may have lowered a printed SD, so it is raised.

    A larger SD makes both tests more careful.
    """
    rounding = 0.0 if reported.known_values else half_unit
    return Sample(reported.runs, reported.mean, reported.unbiased_sd + rounding)


def consistency(claim: SampleClaim, row: MeasuredRow) -> OwnTest:
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
    sample, reported = stats.summarise(ours), summarise(claim.reported, claim.half_unit)
    p_sd = 1.0 if stats.not_normal(ours) else stats.larger_sd_p(sample, reported)
    return OwnTest(row, stats.welch_p(sample, reported, claim.half_unit), p_sd, "Welch's t-test")


def _by_rank(ours: Array, theirs: Array) -> tuple[float, float]:
    """p of the mean and of the SD; too few values say nothing about the SD."""
    few = min(len(ours), len(theirs)) < FEWEST_FOR_SCALE
    return stats.rank_p(ours, theirs), 1.0 if few else stats.scale_p(ours, theirs)


def decide(claim: SampleClaim, row: MeasuredRow, terms: Terms) -> Decision:
    """Decide a row; every seed that should have a value has one.

    Two questions decide, as for one run (`decision.four_way`): do the means differ by no more than
    the tolerance (Welch's two one-sided tests), and may they be equal (`consistency`)? If only the
    SDs differ, the difference counts as immaterial, because the tolerance is one of the mean. A
    manifest says which SD matters by `largest_spread`, which then decides too.
    """
    sample = stats.summarise(row.values)
    if sample.mean is None:
        return Decision(outcome=Outcome.NOT_RUN)
    found = terms.consistency.get(row.number.key)
    if found is None or sample.n < 2:
        return _one_seed(claim, row, sample.mean, terms)
    alpha, reported = terms.alpha, summarise(claim.reported, claim.half_unit)
    margin = row.number.tolerance + row.number.half_unit
    p = stats.welch_equivalence_p(sample, reported, margin)
    outcome, why, more = FOUR[p <= alpha, found.p > alpha], "", None
    if outcome is Outcome.INCONCLUSIVE:
        more = _more(claim, sample, alpha, alpha * found.share)
        why = NEVER if more is None else so_many(more)
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


def _more(claim: SampleClaim, sample: Sample, alpha: float, alpha_of_mean: float) -> int | None:
    """How many more seeds would show that the means are close enough, or that they differ."""
    reported, rounding = summarise(claim.reported, claim.half_unit), claim.half_unit
    near = stats.more_for_welch_equivalence(sample, reported, claim.margin + rounding, alpha)
    off = stats.more_for_welch(sample, reported, rounding, alpha_of_mean)
    return min((more for more in (near, off) if more is not None), default=None)


def _one_seed(claim: SampleClaim, row: MeasuredRow, value: float, terms: Terms) -> Decision:
    """Decide by the paper's own spread: a run within it or within the tolerance is no difference.

    The prediction interval for one more of the paper's runs (Student's t; all rows share alpha), or
    their range if all are known, whichever is wider; and the tolerance on both sides. A calibrated
    band comes first, as everywhere.
    """
    if row.number.key in terms.bands:
        return one_seed(row, value, terms)
    reported = summarise(claim.reported, claim.half_unit)
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
