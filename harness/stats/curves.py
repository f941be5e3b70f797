"""Curves: the epoch at which one takes off, and values between recorded epochs."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.floating[Any]]


def onset(epochs: Array, curve: Array, threshold: float) -> float:
    """The epoch at which a curve first reaches `threshold`, interpolated linearly.

    Args:
        epochs: where the curve was recorded, rising, shape (n,).
        curve: its values, shape (n,); NaN where nothing was recorded.
        threshold: in the curve's unit.

    Returns:
        The epoch, with a fraction. It is the first epoch if the curve starts above the threshold,
        and NaN if the curve never reaches it.
    """
    recorded = ~np.isnan(curve)
    epochs, curve = epochs[recorded], curve[recorded]
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
    """A curve's values between its epochs, interpolated linearly.

    Args:
        epochs: where the curve was recorded, rising, shape (n,).
        curve: its values, shape (n,); NaN where nothing was recorded.
        places: where to read it, in epochs, shape (m,).

    Returns:
        Shape (m,); NaN outside the recorded epochs: a curve is never extrapolated.
    """
    recorded = ~np.isnan(curve)
    if not recorded.any():
        return np.full(len(places), np.nan)
    return np.interp(places, epochs[recorded], curve[recorded], left=np.nan, right=np.nan)
