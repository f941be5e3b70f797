"""Check that everything a run needs is installed, and say how to fix what is missing."""

import os
import platform
import shutil
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from enum import Enum
from pathlib import Path

from harness.errors import DataError
from harness.options import data_folder

IMPORT_TIMEOUT_S = 300
"""MLflow and Ray take seconds to import, and longer on a busy machine or a network disk."""

ROOM_GB = 2.0
"""Free disk space that a run needs. Six experiments with ten seeds and Ray's logs take less."""
MEMORY_GB = 4.0
LONGEST_TEMPORARY = 40
"""Longest path of the temporary folder, in characters. A socket's path may have 107, and Ray adds
about 65."""

GB = 1e9


class Health(Enum):
    """The state of one requirement."""

    GOOD = "ok"
    NOTE = "note"
    """Runs work without it, or fetch it themselves."""
    MISSING = "missing"
    """Some runs, or all, need it."""


@dataclass(frozen=True)
class Requirement:
    """One requirement, its state, and what to do about it."""

    name: str
    health: Health
    detail: str
    remedy: str = ""


def examine(workspace: Path, data: Path | None) -> list[Requirement]:
    """Check everything, in the order in which to fix it."""
    with ThreadPoolExecutor() as pool:
        imported = list(pool.map(_package, ("torch", "torchvision", "ray", "mlflow")))
    return [
        _python(),
        *imported,
        _gpus(),
        *_data_folder(data),
        _disk("workspace", workspace),
        _memory(),
        _temporary(Path(tempfile.gettempdir())),
    ]


def _python() -> Requirement:
    # An older Python fails before this line.
    return Requirement("Python", Health.GOOD, f"{platform.python_version()} in {sys.prefix}")


def _package(name: str) -> Requirement:
    """Import a package in its own process, because a broken one may crash or hang."""
    code = f"import {name}; print({name}.__version__)"
    answer = _ask(code)
    if answer.returncode == 0:
        return Requirement(name, Health.GOOD, answer.stdout.split()[-1])
    detail = (answer.stderr.strip().splitlines() or [f"exit code {answer.returncode}"])[-1]
    remedy = "run make again, or pip install -c ci/constraints.txt -e . (versions must match)"
    return Requirement(name, Health.MISSING, f"cannot be imported: {detail}", remedy)


def _ask(code: str) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-c", code]
    try:
        return subprocess.run(  # noqa: S603 - our own words only
            command, capture_output=True, text=True, check=False, timeout=IMPORT_TIMEOUT_S
        )
    except subprocess.TimeoutExpired:
        return subprocess.CompletedProcess(command, 1, "", f"no answer in {IMPORT_TIMEOUT_S} s")
    except OSError as error:  # no right to run the interpreter, or no memory
        return subprocess.CompletedProcess(command, 1, "", str(error))


def _gpus() -> Requirement:
    code = (
        "import torch\n"
        "for n in range(torch.cuda.device_count()): print(torch.cuda.get_device_name(n))"
    )
    names = _ask(code).stdout.split("\n")[:-1]
    if names:
        return Requirement("GPUs", Health.GOOD, ", ".join(names))
    remedy = "everything runs on CPUs; where torch finds a GPU, --gpus-per-trial uses it"
    return Requirement("GPUs", Health.NOTE, "torch finds none", remedy)


def _data_folder(given: Path | None) -> list[Requirement]:
    try:
        folder = data_folder(given)
    except DataError as error:
        return [Requirement("data sets", Health.NOTE, str(error), "set HARNESS_DATA to a folder")]
    return [_data(folder), _disk("data", folder)]


def _data(cache: Path) -> Requirement:
    sets = [path for path in sorted(cache.glob("*")) if path.is_dir()] if cache.is_dir() else []
    held = [path.name for path in sets if any(file.is_file() for file in path.rglob("*"))]
    if held:
        return Requirement("data sets", Health.GOOD, f"{', '.join(held)} in {cache}")
    remedy = "runs fetch what they need; harness data MANIFEST fetches its data sets now"
    return Requirement("data sets", Health.NOTE, f"none in {cache}", remedy)


def _disk(name: str, folder: Path) -> Requirement:
    """Check free space and the right to write, in the folder or its nearest parent."""
    place = folder.absolute()
    while not place.exists():
        place = place.parent
    free = shutil.disk_usage(place).free / GB
    detail = f"{free:.0f} GB free in {folder}"
    if not (place.is_dir() and os.access(place, os.W_OK)):
        return Requirement(
            f"disk ({name})", Health.MISSING, f"{place} cannot be written", _other(name)
        )
    if free < ROOM_GB:
        remedy = f"a run needs {ROOM_GB:g} GB; {_other(name)}"
        return Requirement(f"disk ({name})", Health.MISSING, detail, remedy)
    return Requirement(f"disk ({name})", Health.GOOD, detail)


def _other(name: str) -> str:
    return f"set HARNESS_{name.upper()} to another folder"


def _memory() -> Requirement:
    try:
        total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / GB
    except (ValueError, OSError):  # this system does not say
        return Requirement("memory", Health.NOTE, "not known", "each trial takes about 1 GB")
    detail = f"{total:.0f} GB, {os.cpu_count()} CPUs"
    if total < MEMORY_GB:
        remedy = "each trial takes about 1 GB: --cpus-per-trial 2 runs half as many at once"
        return Requirement("memory", Health.NOTE, detail, remedy)
    return Requirement("memory", Health.GOOD, detail)


def _temporary(folder: Path) -> Requirement:
    """Check that the path is short enough for Ray's sockets. If not, Ray uses /tmp."""
    if len(str(folder)) <= LONGEST_TEMPORARY:
        return Requirement("temporary folder", Health.GOOD, str(folder))
    short = Path("/tmp")  # noqa: S108 - only looked at
    detail = f"{folder} is too long for Ray's sockets"
    if os.access(short, os.W_OK):
        return Requirement(
            "temporary folder", Health.NOTE, detail, f"nothing: Ray uses {short} instead"
        )
    return Requirement(
        "temporary folder", Health.MISSING, detail, "set TMPDIR to a folder with a shorter path"
    )
