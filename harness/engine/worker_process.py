"""The process on a worker that runs attempts: its environment, their folders, and its end."""

import fcntl
import os
import shutil
import signal
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import cache
from itertools import count
from pathlib import Path
from types import MappingProxyType
from typing import Any

import ray

MIB = 1 << 20

ALLOCATOR = MappingProxyType(
    {
        "glibc.malloc.trim_threshold": 128 * MIB,
        "glibc.malloc.mmap_threshold": 32 * MIB,
        "glibc.malloc.hugetlb": 1,
    }
)
"""Settings of glibc's allocator, so that a process keeps the memory that each step needs again.

A training step frees tens of MiB of activations, and the next step asks for them again. By default
glibc returns them to the system in between. Then each step takes new pages, at the cost of up to
thousands of page faults. With these settings a process keeps up to 128 MiB of free memory, in
blocks up to 32 MiB (glibc's maximum), and asks for huge pages. Other C libraries ignore them.
"""


def settings(threads: int) -> dict[str, str]:
    """Return environment variables that a process and its numeric libraries read at their start.

    Args:
        threads: number of threads of a trial. Without the variables these libraries use all cores.
    """
    names = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")
    tunables = ":".join(f"{name}={value}" for name, value in ALLOCATOR.items())
    return {
        **dict.fromkeys(names, str(threads)),
        "GLIBC_TUNABLES": tunables,
        "PYTHONHASHSEED": "0",  # a set of texts has the same order in every process
    }


_LOCK = "lock"

_SWEEP_S = 10.0
"""Least time between two searches of one process for what killed workers left, in seconds."""

_UNCHANGED = ("st_dev", "st_ino", "st_mode", "st_ctime_ns")
"""The system sets the last when anything in a folder or of the folder itself is changed."""

_numbers = count(1)
_unused: dict[Path, tuple[Path, os.stat_result]] = {}
"""The folder that this process can use again, and its status, by the process's folder."""
_swept_s: dict[Path, float] = {}


@contextmanager
def attempt_folder(base: Path) -> Iterator[Path]:
    """Provide an empty folder, and remove it with its content when the context ends.

    A folder that nobody has used is kept for the next attempt: to make and to remove one takes up
    to a millisecond.

    Args:
        base: the folder of all workers of this node.

    Raises:
        OSError: it cannot be made, as when the disk is full.
    """
    process = _process_folder(base, os.getpid())
    _sweep(base)
    folder = process / str(next(_numbers))
    unused = _unused.pop(process, None)
    if unused and _unchanged(*unused):
        unused[0].rename(folder)  # a process that the last trial has left may know the old name
    else:
        folder.mkdir()
        if unused:
            _remove(unused[0])
    status = folder.lstat()
    try:
        yield folder
    finally:
        if _unchanged(folder, status):
            _unused[process] = folder, status
        else:
            _remove(folder)


def _remove(folder: Path) -> None:
    """Remove whatever is there now; a trial may have replaced its folder."""
    with suppress(OSError):
        folder.unlink()
    shutil.rmtree(folder, ignore_errors=True)


def _unchanged(folder: Path, was: os.stat_result) -> bool:
    """Whether a folder is empty, and is as it was made."""
    try:
        now = folder.lstat()
        same = all(getattr(now, name) == getattr(was, name) for name in _UNCHANGED)
        return same and not os.listdir(folder)
    except OSError:
        return False


def session_folder() -> Path:
    """Return a folder in Ray's session on this node. It is removed with a private cluster."""
    node: Any = ray._private.worker._global_node
    return Path(node.get_session_dir_path()) / "trials"


@cache
def _process_folder(base: Path, pid: int) -> Path:
    """Make this process's folder. It has a lock, which the system releases when the process ends.

    The folder is hidden until the lock is taken, so that no other process removes it before.
    """
    base.mkdir(exist_ok=True)
    made = Path(tempfile.mkdtemp(prefix=".", dir=base))
    (made / _LOCK).touch()
    _locked(made / _LOCK)
    return made.rename(base / f"{pid}{made.name}")


def _sweep(base: Path) -> None:
    """Remove the folders of processes that have ended."""
    now_s = time.monotonic()
    if now_s - _swept_s.get(base, -_SWEEP_S) < _SWEEP_S:
        return
    _swept_s[base] = now_s
    for lock in base.glob(f"[!.]*/{_LOCK}"):
        with suppress(OSError):  # its process is alive, or another process removes it
            descriptor = _locked(lock)
            shutil.rmtree(lock.parent, ignore_errors=True)
            os.close(descriptor)


def _locked(file: Path) -> int:
    """Lock a file until this process ends, or until the returned descriptor is closed.

    Raises:
        OSError: a process holds the lock, or the file is gone.
    """
    descriptor = os.open(file, os.O_RDWR)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(descriptor)
        raise
    return descriptor


MANY_CALLS = 2**31 - 1
"""The `max_calls` of a task whose workers are kept. It is not 0, so that Ray counts their calls.

Ray defaults to max_calls=1 for GPU tasks: a new process and a new torch import per trial.
"""

_EXIT_S = 30
"""Seconds that the worker has to exit. A thread that a trial has left cannot delay it for
longer."""


def retire() -> None:
    """Let this worker run no further task. Call it at the end of the last task.

    Ray ends a worker when a function has reached its `max_calls`. By then the driver has all that
    the task sent, and the worker gets no other task. Ray has no public way to end a worker earlier,
    so this function sets the count to one below the limit.
    """
    try:
        manager: Any = ray._private.worker.global_worker.function_actor_manager
        for function, info in manager._function_execution_info.items():
            if info and info.max_calls == MANY_CALLS:
                manager._num_task_executions[function] = MANY_CALLS - 1
        signal.signal(signal.SIGALRM, signal.SIG_DFL)  # the kernel ends the process
        signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGALRM])
        signal.alarm(_EXIT_S)
    except Exception:  # noqa: BLE001 - the trial may have broken anything that this needs
        os._exit(1)
