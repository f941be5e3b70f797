"""Reads MNIST as arrays, and measures the digest, mean and deviation of the whole data set."""

import hashlib
import math
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from harness.errors import DataError
from harness.workload import Arrays, DataSet
from harness.workloads.mutual_information.mnist_files import FILES, check, install

ARRAYS = {
    "train_images": ("train-images-idx3-ubyte", (60_000, 28, 28)),
    "train_labels": ("train-labels-idx1-ubyte", (60_000,)),
    "test_images": ("t10k-images-idx3-ubyte", (10_000, 28, 28)),
    "test_labels": ("t10k-labels-idx1-ubyte", (10_000,)),
}
"""Each array of `load`: its file and its shape."""

DATA_SET = DataSet("mnist", "b2d8f5bf39174ee5ffeefa97e42d673c35432b411bb5d1f74fbbeddae7f1690a")
"""SHA-256 over the four files, one after the other in the order of `FILES`."""


def load(cache: Path) -> Arrays:
    """The four arrays of uint8, read-only and memory-mapped: processes share one copy.

    Args:
        cache: the files lie, or are put, in `MNIST/raw` below it.

    Returns:
        train_images (60000, 28, 28), train_labels (60000,), test_images (10000, 28, 28) and
        test_labels (10000,).

    Raises:
        DataError: no source answers, or a file is not the one that its digest names.
    """
    folder = cache / "MNIST" / "raw"
    install(folder)
    try:
        for name in FILES:
            check(folder / name)
    except DataError as error:
        raise DataError(f"{error}; remove it to have it fetched again") from error
    return {
        array: np.memmap(folder / name, np.uint8, "r", offset=_header_bytes(shape), shape=shape)
        for array, (name, shape) in ARRAYS.items()
    }


@dataclass(frozen=True)
class Measured:
    """What a trial needs to know of the whole data set."""

    digest: str
    """As in `DATA_SET`, recomputed over what was really read."""
    mean: float
    """Of all pixels of the training set, 0 to 255."""
    deviation: float
    """Of the same, over their number."""


def measure(arrays: Arrays) -> Measured:
    """Measure a data set: once in a process if its arrays are read-only, since it takes 0.1 s.

    Each task of a worker gets arrays of its own, but they are views of the same memory.
    """
    if any(array.flags.writeable for array in arrays.values()):
        return _measure(arrays)
    where = _where(arrays)
    for known, measured in _known:
        if _where(known) == where:
            return measured
    _known.append((dict(arrays), _measure(arrays)))
    return _known[-1][1]


_known: deque[tuple[Arrays, Measured]] = deque(maxlen=1)
"""The last read-only data set; held, so that no other can take its place in memory."""


def _where(arrays: Arrays) -> Mapping[str, Mapping[str, Any]]:
    """Address, shape, strides and type of each array."""
    return {name: array.__array_interface__ for name, array in arrays.items()}


def _measure(arrays: Arrays) -> Measured:
    values = np.arange(256)
    counts = _histogram(arrays["train_images"])
    mean = float(counts @ values / counts.sum())
    variance = float(counts @ (values - mean) ** 2 / counts.sum())
    return Measured(_digest(arrays), mean, math.sqrt(variance))


def _histogram(images: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """How often each of the 256 values occurs: exact, so the same on every machine."""
    flat, chunk = images.reshape(-1), 1 << 20  # In parts, since bincount widens to int64.
    parts = (flat[start : start + chunk] for start in range(0, len(flat), chunk))
    return sum((np.bincount(part, minlength=256) for part in parts), np.zeros(256, np.int64))


def _digest(arrays: Arrays) -> str:
    total = hashlib.sha256()
    for name in ARRAYS:
        array = np.ascontiguousarray(arrays[name], np.uint8)
        total.update(_header(array.shape))
        total.update(array.data)
    return total.hexdigest()


def _header(shape: tuple[int, ...]) -> bytes:
    """How an IDX file of unsigned bytes begins: its type and rank, then its sizes."""
    sizes = (size.to_bytes(4, "big") for size in shape)
    return bytes((0, 0, 8, len(shape))) + b"".join(sizes)


def _header_bytes(shape: tuple[int, ...]) -> int:
    return len(_header(shape))
