"""Arrays in, numbers out: what verdicts rest on. Nothing here knows of papers or records."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.floating[Any]]


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


def onset(epochs: Array, curve: Array, threshold: float) -> float:
    """The place at which a curve first reaches `threshold`, with straight lines between epochs.

    Args:
        epochs: where the curve was recorded, rising, shape (n,).
        curve: its values, shape (n,); NaN where nothing was recorded.
        threshold: in the curve's unit.

    Returns:
        In epochs, with a fraction; the first epoch if the curve is over the threshold from the
        start, and NaN if it never gets there.
    """
    over = np.flatnonzero(curve >= threshold)
    if not len(over):
        return float("nan")
    after = int(over[0])
    if after == 0:
        return float(epochs[0])
    before = after - 1
    share = (threshold - curve[before]) / (curve[after] - curve[before])
    return float(epochs[before] + share * (epochs[after] - epochs[before]))


def value_at(epochs: Array, curve: Array, places: Array) -> Array:
    """A curve's values between its epochs, by straight lines.

    Args:
        epochs: where the curve was recorded, rising, shape (n,).
        curve: its values, shape (n,); NaN where nothing was recorded, at the end only.
        places: where to read it, in epochs, shape (m,).

    Returns:
        Shape (m,); NaN outside what was recorded, for a curve is never carried on.
    """
    there = ~np.isnan(curve)
    if not there.any():
        return np.full(len(places), np.nan)
    return np.interp(places, epochs[there], curve[there], left=np.nan, right=np.nan)
