"""One-sided questions: does one mean lie above another, and is it chance that no run did it?"""

from collections.abc import Sequence
from math import sqrt

import numpy as np
from scipy.special import comb, gammaln, stdtr

from harness.stats.consistency import not_normal
from harness.stats.curves import Array
from harness.stats.one_sample import NOISE, Sample, mean_and_sd, summarise

Both = tuple[Array, Array]
"""Our runs of an experiment, and those of the paper."""

EXACT = range(5, 17)
"""Numbers of differences for which all 2^n signs are counted. Fewer could never reach p = 0.05."""


def positive_p(differences: Array) -> float:
    """One-sided p that differences do not lie above 0 on average: exact where it can be.

    Fisher's sign-flip test: the share of all 2^n choices of signs whose mean is at least as large
    as the mean that was seen. If two methods give the same distribution, each seed's difference is
    as likely to have the other sign, so it holds for two peaks and constants alike. For fewer or
    more seeds than `EXACT` it is Student's t-test.

    Args:
        differences: shape (n,), two or more.

    Source:
        Fisher (1935), The Design of Experiments, section 21.
    """
    if len(differences) not in EXACT:
        return positive_t_p(differences)
    # Flipping a sign takes twice the difference from the sum.
    lost = np.zeros(1)
    for difference in differences:
        lost = np.concatenate([lost, lost + difference])
    return float((lost <= NOISE * np.abs(differences).sum()).mean())


def positive_t_p(differences: Array) -> float:
    """The same by Student's t-test, whose p can be small enough for a correction for many tests.

    If the differences are shown not to be normal (Shapiro-Wilk test), it is `positive_p`.

    Args:
        differences: shape (n,), two or more. If all are equal, they are known exactly.

    Source:
        Student (1908), The probable error of a mean, Biometrika 6(1).
    """
    if len(differences) in EXACT and not_normal(differences):
        return positive_p(differences)
    mean, sd = mean_and_sd(summarise(differences))
    if sd == 0.0:
        return 0.0 if mean > 0 else 1.0
    return float(stdtr(len(differences) - 1, -mean / (sd / np.sqrt(len(differences)))))


def none_p(ours: int, reported: int, runs: int) -> float:
    """p that none of our runs does what `reported` of the paper's runs did (Fisher's exact test).

    If all runs are alike, it is the probability that the `reported` ones are all among the paper's:
    C(runs, reported) / C(runs + ours, reported).

    Args:
        ours: how many runs we have, none of which did it.
        reported: how many of the paper's did.
        runs: how many runs the paper has.

    Source:
        Fisher (1935), The logic of inductive inference, J. R. Stat. Soc. 98(1).
    """
    return float(comb(runs, reported) / comb(runs + ours, reported))


def above_p(sample: Sample, limit: float) -> float:
    """One-sided p that the mean does not lie above a limit (Student's t-test).

    If the SD is 0, the mean is known: p is 0 or 1, and 0 at the limit.

    Args:
        sample: of two values or more.
        limit: in the unit of the values.

    Source:
        Student (1908), The probable error of a mean, Biometrika 6(1).
    """
    mean, sd = mean_and_sd(sample)
    if sd == 0.0:
        return 0.0 if mean >= limit else 1.0
    return float(stdtr(sample.n - 1, -(mean - limit) / (sd / sqrt(sample.n))))


def best_of(values: Array, k: int) -> float:
    """The mean, over all choices of k of n values, of the largest of the k.

    The i-th smallest of n is the largest of C(i - 1, k - 1) of the C(n, k) choices. For n = k it is
    the largest value.

    Args:
        values: shape (n,), n at least k.
        k: how many are chosen.

    Source:
        Arnold, Balakrishnan and Nagaraja (1992), A First Course in Order Statistics, section 5.3.
    """
    n = len(values)
    places = np.arange(k, n + 1)

    def log_choices(total: Array, chosen: int) -> Array:
        chosen_from = gammaln(total + 1) - gammaln(total - chosen + 1) - gammaln(chosen + 1)
        return np.asarray(chosen_from)

    share = np.exp(log_choices(places - 1.0, k - 1) - log_choices(np.array([float(n)]), k))
    return float((share * np.sort(values)[k - 1 :]).sum() / share.sum())


def extreme_difference_p(of: Sequence[Both], minus: Sequence[Both]) -> float:
    """Two-sided p that a difference of two largest values is the same for our runs and theirs.

    If the runs of each experiment are alike, any choice of them may be ours (permutation test). The
    statistic is our largest value of `of` minus theirs, less the same of `minus`. Its distribution
    over all choices is exact, for ties and any distribution too. The smaller of the two shares that
    are at least as far off is doubled.

    Args:
        of: for each experiment of this set, our runs and theirs, of any size from 1 on.
        minus: likewise of the other set.

    Source:
        Pitman (1937), Significance tests which may be applied to samples from any populations,
        J. R. Stat. Soc. Suppl. 4(1).
    """
    (gaps, shares), (others, weights) = _largest_gaps(of), _largest_gaps(minus)
    statistic = gaps[:, np.newaxis] - others
    chance = shares[:, np.newaxis] * weights
    seen = _largest_gap(of) - _largest_gap(minus)
    size = max(float(np.abs(values).max()) for both in (*of, *minus) for values in both)
    tie = 4 * NOISE * size
    tails = (chance[statistic >= seen - tie].sum(), chance[statistic <= seen + tie].sum())
    return min(1.0, 2 * float(min(tails)))


def _largest_gap(experiments: Sequence[Both]) -> float:
    ours, theirs = (max(float(both[side].max()) for both in experiments) for side in (0, 1))
    return ours - theirs


def _largest_gaps(experiments: Sequence[Both]) -> tuple[Array, Array]:
    """Our largest value minus theirs, and its probability, for all choices of which runs are ours.

    The values are passed from the largest down, once for either side that may have it: the other
    side's largest is the first that is not on the same side.
    """
    values = np.concatenate([np.concatenate(both) for both in experiments])
    owner = np.repeat(np.arange(len(experiments)), [len(a) + len(b) for a, b in experiments])
    order = np.argsort(-values, kind="stable")
    gaps, shares = [], []
    for side, sign in ((0, 1.0), (1, -1.0)):
        left = [len(both[side]) for both in experiments]
        total = [len(a) + len(b) for a, b in experiments]
        path = 1.0
        for at in order:
            mine = left[owner[at]] / total[owner[at]]
            gaps.append(sign * float(values[order[0]] - values[at]))
            shares.append(path * (1 - mine) if at != order[0] else 0.0)
            path *= mine
            left[owner[at]] -= 1
            total[owner[at]] -= 1
            if path <= 0.0:
                break
    return np.array(gaps), np.array(shares)


def too_extreme_p(sample: Sample, largest: float, runs: int) -> float:
    """p that the largest of further normal values is at least as large as this one.

    Bonferroni's bound for any of the runs: runs times P(T > (largest - mean) / (s sqrt(1 + 1 / n)))
    with n - 1 degrees of freedom.

    Args:
        sample: of two values or more, normally distributed.
        largest: of the further values.
        runs: how many further values there are.

    Source:
        Hahn and Meeker (1991), Statistical Intervals, section 4.8: intervals for all of m further
        observations.
    """
    mean, sd = mean_and_sd(sample)
    if sd == 0.0:
        return 1.0 if largest <= mean else 0.0
    return min(
        1.0, runs * float(stdtr(sample.n - 1, -(largest - mean) / (sd * sqrt(1 + 1 / sample.n))))
    )
