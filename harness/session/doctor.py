"""What is there of all that a run needs, and what to do about what is not."""

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
"""MLflow and Ray import for seconds, and for longer on a busy machine or a network disk."""

ROOM_GB = 2.0
"""A study of six experiments and ten seeds takes less, Ray's logs and spilling included."""
MEMORY_GB = 4.0
LONGEST_TEMPORARY = 40
"""Ray's sockets lie some 65 characters below it, and a socket's path may have 107."""

GB = 1e9


class Health(Enum):
    """How a thing stands."""

    GOOD = "ok"
    NOTE = "note"
    """Runs go without it, or fetch it themselves."""
    MISSING = "missing"
    """Nothing, or not everything, runs without it."""


@dataclass(frozen=True)
class Finding:
    """One thing, how it stands, and what to do about it."""

    name: str
    health: Health
    said: str
    remedy: str = ""


def examine(workspace: Path, data: Path | None) -> list[Finding]:
    """All findings, in the order in which they are best mended."""
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


def _python() -> Finding:
    # An older one than is wanted does not get as far as this.
    return Finding("Python", Health.GOOD, f"{platform.python_version()} in {sys.prefix}")


def _package(name: str) -> Finding:
    """Import it in a process of its own: a broken one may end its process, or not come back."""
    code = f"import {name}; print({name}.__version__)"
    answer = _ask(code)
    if answer.returncode == 0:
        return Finding(name, Health.GOOD, answer.stdout.split()[-1])
    said = (answer.stderr.strip().splitlines() or [f"exit code {answer.returncode}"])[-1]
    remedy = "make again, or pip install -c ci/constraints.txt -e . (versions must match)"
    return Finding(name, Health.MISSING, f"cannot be imported: {said}", remedy)


def _ask(code: str) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-c", code]
    try:
        return subprocess.run(  # noqa: S603 - our own words only
            command, capture_output=True, text=True, check=False, timeout=IMPORT_TIMEOUT_S
        )
    except subprocess.TimeoutExpired:
        return subprocess.CompletedProcess(command, 1, "", f"no answer in {IMPORT_TIMEOUT_S} s")
    except OSError as error:  # this user may not run the interpreter, or there is no memory
        return subprocess.CompletedProcess(command, 1, "", str(error))


def _gpus() -> Finding:
    code = (
        "import torch\n"
        "for n in range(torch.cuda.device_count()): print(torch.cuda.get_device_name(n))"
    )
    names = _ask(code).stdout.split("\n")[:-1]
    if names:
        return Finding("GPUs", Health.GOOD, ", ".join(names))
    remedy = "everything runs on CPUs; --gpus-per-trial asks for GPUs where torch sees them"
    return Finding("GPUs", Health.NOTE, "torch sees none", remedy)


def _data_folder(given: Path | None) -> list[Finding]:
    try:
        folder = data_folder(given)
    except DataError as error:
        return [Finding("data sets", Health.NOTE, str(error), "name a folder by HARNESS_DATA")]
    return [_data(folder), _disk("data", folder)]


def _data(cache: Path) -> Finding:
    sets = [path for path in sorted(cache.glob("*")) if path.is_dir()] if cache.is_dir() else []
    held = [path.name for path in sets if any(file.is_file() for file in path.rglob("*"))]
    if held:
        return Finding("data sets", Health.GOOD, f"{', '.join(held)} in {cache}")
    remedy = "runs fetch what they need; harness data MANIFEST fetches its data sets now"
    return Finding("data sets", Health.NOTE, f"none in {cache}", remedy)


def _disk(name: str, folder: Path) -> Finding:
    """Room and the right to write where the folder is, or will be made."""
    there = folder.absolute()
    while not there.exists():
        there = there.parent
    free = shutil.disk_usage(there).free / GB
    said = f"{free:.0f} GB free in {folder}"
    if not (there.is_dir() and os.access(there, os.W_OK)):
        return Finding(f"disk ({name})", Health.MISSING, f"{there} cannot be written", _other(name))
    if free < ROOM_GB:
        remedy = f"{ROOM_GB:g} GB are wanted: {_other(name)}"
        return Finding(f"disk ({name})", Health.MISSING, said, remedy)
    return Finding(f"disk ({name})", Health.GOOD, said)


def _other(name: str) -> str:
    return f"name another folder by HARNESS_{name.upper()}"


def _memory() -> Finding:
    try:
        total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / GB
    except (ValueError, OSError):  # not known on this system
        return Finding("memory", Health.NOTE, "not known", "each trial takes about 1 GB")
    said = f"{total:.0f} GB, {os.cpu_count()} CPUs"
    if total < MEMORY_GB:
        remedy = "each trial takes about 1 GB: --cpus-per-trial 2 runs half as many at once"
        return Finding("memory", Health.NOTE, said, remedy)
    return Finding("memory", Health.GOOD, said)


def _temporary(folder: Path) -> Finding:
    """Ray's sockets need a short path; where it is long they go to /tmp, if that is there."""
    if len(str(folder)) <= LONGEST_TEMPORARY:
        return Finding("temporary folder", Health.GOOD, str(folder))
    short = Path("/tmp")  # noqa: S108 - only looked at
    said = f"{folder} is too long for Ray's sockets"
    if os.access(short, os.W_OK):
        return Finding("temporary folder", Health.NOTE, said, f"{short} is taken instead")
    return Finding("temporary folder", Health.MISSING, said, "name a shorter one by TMPDIR")
