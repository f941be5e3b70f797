"""Identify the running code (the harness's, and each workload's), and the machine.

What the machine is, and how much memory a trial has used, comes from Linux's /proc.
"""

import hashlib
import importlib.util
import logging
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

from harness.record import Source, WorkloadCode

_log = logging.getLogger(__name__)

__version__ = "0.1.0"

PACKAGE = Path(__file__).parent

ENTRY_POINTS = "harness.workloads"
"""The entry-point group in which a distribution registers its workloads."""


_GIT_TIMEOUT_S = 30.0
"""Time limit for a git command, in seconds. On a network disk `git status` may take seconds, but a
git that hangs must not block a study."""

_OTHER_REPOSITORY = frozenset(
    ("GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE", "GIT_COMMON_DIR", "GIT_OBJECT_DIRECTORY")
)
"""Variables that git sets for its hooks and aliases. They would make git answer for another
repository."""

_LARGE_BYTES = 16 << 20
"""Size limit for a file of code. A larger file is data: only its name and size enter the digest."""


@cache
def package_digest() -> str:
    """Return the SHA-256 over the names and bytes of the harness's files, except compiled ones."""
    return _digest(PACKAGE)


def workload_code(workload: object) -> WorkloadCode | None:
    """Describe the distribution or module that defines a workload; None if it has no files."""
    package = _package(workload)
    name, release = _distribution(package, getattr(workload, "name", ""))
    digest = workload_digest(workload)
    return WorkloadCode(name, release, digest) if digest else None


def workload_digest(workload: object) -> str:
    """Return the SHA-256 over the files of the package or module that defines a workload.

    The package is the top-level one. The result is empty if there are no files, as for a class that
    was typed into a notebook.
    """
    return _files_digest(_package(workload))


def _package(workload: object) -> str:
    return type(workload).__module__.partition(".")[0]


def _distribution(package: str, name: str) -> tuple[str, str]:
    """Return name and version of the workload's distribution, or else the package's name."""
    if package == "harness":
        return package, __version__
    for entry in entry_points(group=ENTRY_POINTS):
        if entry.name == name and entry.module.partition(".")[0] == package and entry.dist:
            return entry.dist.name, entry.dist.version
    return package, ""


@cache
def _files_digest(package: str) -> str:
    if package == "harness":
        return package_digest()
    try:
        spec = importlib.util.find_spec(package)
    except ValueError:  # __main__ has no spec
        spec = None
    if spec is None:
        return ""
    folders = [Path(folder) for folder in spec.submodule_search_locations or ()]
    if folders:
        return _digest(*folders)
    return _digest(Path(spec.origin)) if spec.origin and Path(spec.origin).is_file() else ""


def _digest(*roots: Path) -> str:
    """Return the SHA-256 over relative names and bytes. A root is a folder or a single file."""
    whole = hashlib.sha256()
    for root in roots:
        for name, path in sorted(_code_files(root)):
            whole.update(f"{name}\n".encode())
            if path.stat().st_size > _LARGE_BYTES:
                whole.update(str(path.stat().st_size).encode())
            else:
                whole.update(hashlib.sha256(path.read_bytes()).digest())
    return whole.hexdigest()


def _code_files(root: Path) -> Iterator[tuple[str, Path]]:
    if root.is_file():
        yield root.name, root
        return
    for path in root.rglob("*"):
        if path.is_file() and "__pycache__" not in path.parts:
            yield path.relative_to(root).as_posix(), path


@cache
def source() -> Source:
    """Describe the harness's code in this process. Warn once about what git cannot tell.

    The description is made once per process, because later edits do not change what was imported.
    """
    # A virtual environment often lies inside another repository, whose commit is not the harness's.
    if {"site-packages", "dist-packages"} & set(PACKAGE.parts):
        return _without_commit(_NO_CHECKOUT)
    tracked = _git("ls-files", "--error-unmatch", "__init__.py")
    if tracked.fault:
        return _without_commit(tracked.fault)
    commit = _git("rev-parse", "--verify", "HEAD")
    if commit.fault:
        return _without_commit(commit.fault)
    status = _git("status", "--porcelain", "--untracked-files=no")
    if status.fault:
        _log.warning("whether the code was changed since its commit is unknown: %s", status.fault)
        return Source(commit.text, None, package_digest(), status.fault)
    return Source(commit.text, bool(status.text), package_digest())


def _without_commit(fault: str) -> Source:
    if fault == _NO_CHECKOUT:  # normal for an installed package
        return Source(None, None, package_digest(), fault)
    _log.warning("the commit of the harness's code is unknown: %s", fault)
    return Source(None, None, package_digest(), fault)


_NO_CHECKOUT = "not in a git checkout"


class _Answer:
    """What git printed, or why it could not answer."""

    def __init__(self, text: str = "", fault: str = "") -> None:
        self.text = text
        self.fault = fault


def _git(*arguments: str) -> _Answer:
    """Run git in the package's folder."""
    git = shutil.which("git")
    if git is None:
        return _Answer(fault=_NO_CHECKOUT if not _in_checkout() else "git is not installed")
    inherited = {name: value for name, value in os.environ.items() if name not in _OTHER_REPOSITORY}
    settings = {"LC_ALL": "C", "GIT_OPTIONAL_LOCKS": "0"}
    try:
        done = subprocess.run(  # noqa: S603 - no words of the user's
            [git, "-C", str(PACKAGE), *arguments],
            capture_output=True,
            text=True,
            errors="replace",
            check=False,
            timeout=_GIT_TIMEOUT_S,
            env=inherited | settings,
        )
    except subprocess.TimeoutExpired:
        return _Answer(fault=f"git {arguments[0]} gave no answer within {_GIT_TIMEOUT_S:g} s")
    except OSError as error:
        return _Answer(fault=f"git cannot be run: {error.strerror}")
    if done.returncode == 0:
        return _Answer(done.stdout.strip())
    return _Answer(fault=_fault(done.stderr))


def _in_checkout() -> bool:
    return any((folder / ".git").exists() for folder in PACKAGE.resolve().parents)


def _fault(error: str) -> str:
    """Say in one line why git failed."""
    if "did not match any file" in error:
        return _NO_CHECKOUT
    if "not a git repository" in error and not _in_checkout():
        return _NO_CHECKOUT
    if "dubious ownership" in error or "unsafe repository" in error:
        mend = f"git config --global --add safe.directory {_root()}"
        return f"the checkout belongs to another user; `{mend}` lets git read it"
    lines = error.strip().splitlines()
    return f"git: {lines[0]}" if lines else "git failed without a message"


def _root() -> Path:
    """Return the folder that git would name as the checkout's root."""
    here = PACKAGE.resolve()
    return next((folder for folder in here.parents if (folder / ".git").exists()), here)


_PROC = Path("/proc")


def table_value(path: Path, key: str) -> str | None:
    """Return the value of the first line `key : value` of a table; None if it has none."""
    try:
        lines = path.read_text().splitlines()
    except OSError:
        return None
    return next((line.partition(":")[2].strip() for line in lines if line.startswith(key)), None)


@cache
def cpu_name() -> str | None:
    """Return the model of the CPU; None if it is unknown."""
    return table_value(_PROC / "cpuinfo", "model name")


def gpu_names(proc: Path = _PROC) -> str | None:
    """Return the models of the machine's NVIDIA GPUs, each once; None if there are none."""
    files = sorted(proc.glob("driver/nvidia/gpus/*/information"))
    found = dict.fromkeys(filter(None, (table_value(file, "Model") for file in files)))
    return ", ".join(found) or None


_CGROUPS = Path("/sys/fs/cgroup")

_CGROUP_FILES = {
    "": ("memory.max", "memory.current", "inactive_file"),
    "memory": ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"),
}
"""Files of a control group's limit and use of memory, and what `memory.stat` calls the use that the
system can take back. Those of version 2 first, then those of version 1; by controller."""


def available_memory_bytes(proc: Path = _PROC, cgroups: Path = _CGROUPS) -> int:
    """Return how much memory programs can still take on this machine, or in this container."""
    kilobytes = table_value(proc / "meminfo", "MemAvailable")
    if kilobytes is None:
        available = os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    else:
        available = int(kilobytes.removesuffix(" kB")) * 1024
    return max(0, min([available, *_left_in_cgroups(proc, cgroups)]))


def _left_in_cgroups(proc: Path, cgroups: Path) -> Iterator[int]:
    """Yield what each control group of this process, and each group around it, leaves of its limit.

    In a container the path may be the host's. Then only the mounted folder itself exists.
    """
    try:
        groups = (proc / "self/cgroup").read_text().splitlines()
    except OSError:
        return
    for group in groups:
        _, controllers, path = group.split(":", 2)
        for controller in {*controllers.split(",")} & _CGROUP_FILES.keys():
            limit, use, idle = _CGROUP_FILES[controller]
            own = cgroups / controller / path.lstrip("/")
            for folder in (own, *own.parents):
                try:
                    most = (folder / limit).read_text().strip()
                    if most != "max":
                        stat = dict(
                            map(str.split, (folder / "memory.stat").read_text().splitlines())
                        )
                        used = int((folder / use).read_text()) - int(stat.get(idle, 0))
                        yield int(most) - used
                except OSError:
                    pass  # it has no limit, or is out of sight
                if folder == cgroups / controller:
                    break


def cpu_seconds() -> float:
    """Return the CPU time of this process and of its children that have ended."""
    return sum(os.times()[:4])


def _gpu_memory() -> Any:
    """Return torch's counters of GPU memory; None as long as no tensor has been on a GPU."""
    torch = sys.modules.get("torch")
    return torch.cuda if torch is not None and torch.cuda.is_initialized() else None


def peak_gpu_memory_bytes() -> int | None:
    """Return the most GPU memory that tensors have taken since the peak began; None if unknown."""
    counters = _gpu_memory()
    return counters and int(counters.max_memory_allocated())


def available_gpu_memory_bytes() -> tuple[int, int] | None:
    """Return how much of the GPU's memory is free, and all of it; None if no tensor has been there.

    What torch keeps for later tensors does not count as free.
    """
    counters = _gpu_memory()
    if counters is None:
        return None
    free, total = counters.mem_get_info()
    return int(free), int(total)


def forget_peak_memory() -> bool:
    """Let the peaks of this process's memory begin here. Returns whether that worked."""
    if counters := _gpu_memory():
        counters.reset_peak_memory_stats()
    try:
        (_PROC / "self/clear_refs").write_text("5")
    except OSError:
        return False
    return True


def peak_memory_bytes() -> int | None:
    """Return this process's largest resident memory since its peak began; None if unknown."""
    peak = table_value(_PROC / "self/status", "VmHWM")
    return int(peak.removesuffix(" kB")) * 1024 if peak else None
