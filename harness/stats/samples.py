"""What a sample is, in two numbers."""

from dataclasses import dataclass

import numpy as np

from harness.stats.curves import Array


@dataclass(frozen=True, slots=True)
class Sample:
    """Mean and spread of the values that there are."""

    n: int
    mean: float | None
    """None of no values."""
    spread: float | None
    """Standard deviation with n - 1 in its divisor; None of fewer than two values."""


def summarise(values: Array) -> Sample:
    """Mean and spread of a sample.

    Args:
        values: shape (n,); NaN marks a value that is not there.
    """
    # In sorted order, so that the order of the seeds cannot reach even the last bit.
    there = np.sort(values[~np.isnan(values)])
    n = len(there)
    return Sample(
        n=n,
        mean=float(there.mean()) if n else None,
        spread=float(there.std(ddof=1)) if n > 1 else None,
    )


NOISE = 1e-12
"""Share of its size up to which a value's last bits are the computer's, and no spread."""


def spread_of(sample: Sample) -> tuple[float, float]:
    """Mean and spread of two values or more; a spread that is only rounding is none.

    Raises:
        ValueError: fewer than two values have no spread.
    """
    if sample.mean is None or sample.spread is None:
        raise ValueError(f"a sample of {sample.n} has no spread")
    return sample.mean, 0.0 if sample.spread <= NOISE * abs(sample.mean) else sample.spread
