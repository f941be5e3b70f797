"""Did values move between two sides? Paired differences of many rows in one test.

The statistic is the smallest p-value of the rows' paired t-tests, that is the largest studentised
difference. Rows that move in opposite directions do not cancel. Its distribution comes from the
seeds themselves: if nothing moved, each seed's differences may as well have the other sign.
"""

from dataclasses import dataclass

import numpy as np
from scipy.special import stdtr

from harness.stats.curves import Array

EXACT_FROM = 6
"""With fewer seeds even the strongest pattern of signs is not rare enough for a level of 5 %."""
EXACT_TO = 12
"""Up to so many seeds all 2^n patterns of signs are counted; beyond, a random sample of them."""
FLIPS = 4095
"""Size of that sample, without the pattern that was observed."""
TIED = 1 + 1e-9
"""Factor for ties between p-values, which rounding separates."""


@dataclass(frozen=True)
class Paired:
    """The paired test of one set of seeds."""

    p: Array
    """p-value of each row's paired t-test, shape (rows,)."""
    smallest: Array | None
    """The smallest p-value of any row, for each pattern of signs; sorted. None with few seeds."""

    @property
    def method(self) -> str:
        """The test's name."""
        if self.smallest is None:
            return "paired t-tests with Bonferroni's correction"
        return f"sign-flip test over {len(self.smallest):,} patterns"

    def chance(self, p: float) -> float:
        """Probability that some row has a p-value as small as this although nothing moved."""
        if self.smallest is None:
            return min(1.0, len(self.p) * p)
        return float(np.searchsorted(self.smallest, p * TIED, side="right") / len(self.smallest))


def paired(differences: Array, floor: Array) -> Paired:
    """Test all rows of a set of seeds.

    Args:
        differences: new minus base, shape (seeds, rows); NaN where a side has no value.
        floor: size of rounding in each row, shape (rows,). Smaller differences count as none, and
            the SD of the differences is at least this, so that rounding is never a move.

    Source:
        Fisher (1935), The Design of Experiments, section 21, for the sign flips; Westfall and
        Young (1993), Resampling-based Multiple Testing, section 2.3, for the smallest p-value.
    """
    known = ~np.isnan(differences)
    counted = np.where(known & (np.abs(differences) > floor), differences, 0.0)
    n = known.sum(axis=0)
    seeds = len(differences)
    observed = _p_values(np.ones((1, seeds)), counted, n, floor)[0]
    if seeds < EXACT_FROM:
        return Paired(observed, None)
    smallest = [
        _p_values(signs, counted, n, floor).min(axis=1, initial=1.0) for signs in _signs(seeds)
    ]
    return Paired(observed, np.sort(np.concatenate(smallest)))


def familywise(tests: list[Paired], p: float) -> float:
    """Probability that any of several independent tests shows a p-value as small as this."""
    return float(1 - np.prod([1 - test.chance(p) for test in tests]))


def _signs(seeds: int) -> list[Array]:
    """Patterns of signs, shape (patterns, seeds), in blocks; the first pattern is the observed."""
    if seeds <= EXACT_TO:
        patterns = np.arange(2**seeds)[:, np.newaxis] >> np.arange(seeds) & 1
        return [1.0 - 2.0 * patterns]
    random = np.random.default_rng(seeds)
    return [np.ones((1, seeds)), random.choice([-1.0, 1.0], size=(FLIPS, seeds))]


def _p_values(signs: Array, differences: Array, n: Array, floor: Array) -> Array:
    """Two-sided p-values of paired t-tests, shape (patterns, rows); 1 for fewer than two seeds."""
    count = np.maximum(n, 2)
    mean = signs @ differences / count
    squares = (differences**2).sum(axis=0)  # which no sign changes
    sd = np.sqrt(np.maximum(squares - count * mean**2, 0.0) / (count - 1))
    t = np.abs(mean) / (np.maximum(sd, floor) / np.sqrt(count))
    return np.asarray(np.where(n > 1, 2 * stdtr(count - 1, -t), 1.0))
