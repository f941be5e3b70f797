"""Curves: where they take off, and what they are between their epochs."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.floating[Any]]


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
