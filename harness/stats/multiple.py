"""Many tests at once."""

from collections.abc import Sequence
from itertools import accumulate


def holm(ps: Sequence[float], weights: Sequence[float] | None = None) -> list[float]:
    """Adjusted p-values, in the order given; each at most alpha where its hypothesis is rejected.

    In the order of p / weight, each is multiplied by the weights of all that are left, divided by
    its own, and never made less than those before it; with equal weights the k-th smallest of m is
    multiplied by m - k + 1. The chance of any false rejection is at most alpha, however the tests
    depend on one another.

    Args:
        ps: the p-values.
        weights: what each counts, positive; a larger one gives its test more of alpha.

    Source:
        Holm (1979), A simple sequentially rejective multiple test procedure, Scand. J. Stat. 6(2),
        the weighted form in its section 4.
    """
    shares = [1.0] * len(ps) if weights is None else list(weights)
    order = sorted(range(len(ps)), key=lambda at: (ps[at] / shares[at], at))
    left = list(accumulate(shares[place] for place in reversed(order)))[::-1]
    adjusted = [0.0] * len(ps)
    reached = 0.0
    for place, weight in zip(order, left, strict=True):
        reached = max(reached, min(1.0, ps[place] * weight / shares[place]))
        adjusted[place] = reached
    return adjusted
