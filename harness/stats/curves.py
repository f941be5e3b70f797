"""Curves: the epoch at which one takes off, and values between recorded epochs."""

from math import inf, nan
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.floating[Any]]


class Crossing(NamedTuple):
    """Where a curve first reaches a threshold."""

    epoch: float
    """Interpolated linearly, with a fraction; NaN if the curve never reaches the threshold."""
    gap: float
    """How many epochs lie between the recorded values on both sides, so how well the epoch is
    known; infinite if the curve starts above the threshold, and NaN if it never reaches it."""


def crossing(epochs: Array, curve: Array, threshold: float) -> Crossing:
    """Where a curve first reaches `threshold`; the first epoch if it starts above the threshold.

    Args:
        epochs: where the curve was recorded, rising, shape (n,).
        curve: its values, shape (n,); NaN where nothing was recorded.
        threshold: in the curve's unit.
    """
    recorded = ~np.isnan(curve)
    epochs, curve = epochs[recorded], curve[recorded]
    over = np.flatnonzero(curve >= threshold)
    if not len(over):
        return Crossing(nan, nan)
    after = int(over[0])
    if after == 0:
        return Crossing(float(epochs[0]), inf)
    before = after - 1
    share = (threshold - curve[before]) / (curve[after] - curve[before])
    gap = float(epochs[after] - epochs[before])
    return Crossing(float(epochs[before] + share * gap), gap)


def onset(epochs: Array, curve: Array, threshold: float) -> float:
    """The epoch of `crossing`."""
    return crossing(epochs, curve, threshold).epoch


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
