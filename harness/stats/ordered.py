"""One-sided questions: does one mean lie above another, and is it chance that no run did it?"""

import numpy as np
from scipy.special import comb, stdtr

from harness.stats.consistency import not_normal
from harness.stats.curves import Array
from harness.stats.intervals import NOISE, mean_and_sd, summarise

EXACT = range(5, 17)
"""Numbers of differences for which all 2^n signs are counted. Fewer could never reach p = 0.05."""


def positive_p(differences: Array) -> float:
    """One-sided p that differences do not lie above 0 on average: exact where it can be.

    Fisher's sign-flip test: the share of all 2^n choices of signs whose mean is at least as large
    as the mean that was seen. If two methods give the same distribution, each seed's difference is
    as likely to have the other sign, so it holds for two humps and constants alike. For fewer or
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
