"""Make a folder for each attempt on a worker, and remove what killed workers left behind."""

import fcntl
import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import cache
from itertools import count
from pathlib import Path
from typing import Any

import ray

_LOCK = "lock"

_SWEEP_S = 10.0
"""Least time between two searches of one process for what killed workers left, in seconds."""

_numbers = count(1)
_swept_s: dict[Path, float] = {}


@contextmanager
def attempt_folder(base: Path) -> Iterator[Path]:
    """Make an empty folder, and remove it with its content when the context ends.

    Args:
        base: the folder of all workers of this node.

    Raises:
        OSError: it cannot be made, as when the disk is full.
    """
    process = _process_folder(base, os.getpid())
    _sweep(base)
    folder = process / str(next(_numbers))
    folder.mkdir()
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


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
