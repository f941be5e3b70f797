"""Keep a private cluster private: its own folder, this machine only, and a clean end."""

import os
import shutil
import signal
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from filelock import FileLock, Timeout
from ray._private import ray_constants
from ray._private.node import Node

_PREFIX = "harness-"
_LONGEST = 40
"""Longest allowed path of the folder, in characters. Ray puts sockets some 65 characters below it,
and a socket's path may have 107 characters."""

TOKEN = "token"  # noqa: S105 - a file's name
"""Name of the token's file. Its path is in the environment of the cluster's processes."""

_UNUSED = ("start_api_server", "start_log_monitor", "start_monitor")
"""Methods of Ray's node that start a process without a use here: the dashboard's server, which
would only collect usage statistics, the forwarding of logs, and the autoscaler. Each costs half a
second or more of CPU time at every start."""

_LOCK, _PID = "driver.lock", "driver.pid"


@contextmanager
def private_folder() -> Iterator[Path]:
    """Make a folder for Ray's sockets, logs and token that no other user can read.

    The folder is removed when the context ends. Folders that killed drivers left behind are removed
    first.
    """
    base = tempfile.gettempdir()
    short = base if len(base) + len(f"/{_PREFIX}12345678") <= _LONGEST else "/tmp"  # noqa: S108
    remove_stale(Path(short))
    folder = Path(tempfile.mkdtemp(prefix=_PREFIX, dir=short))
    try:
        with FileLock(folder / _LOCK):
            (folder / _PID).write_text(f"{os.getpid()}\n")
            yield folder
    finally:
        _end_processes(folder)
        shutil.rmtree(folder, ignore_errors=True)


def remove_stale(base: Path) -> None:
    """Remove this user's folders whose driver is dead, and end the processes of their clusters.

    The system releases the lock when the process that holds it ends, for any reason. The pid alone
    is not enough: another process may have it by now, or a container that shares the folder has
    pids of its own.
    """
    for folder in base.glob(f"{_PREFIX}*"):
        if _is_ours(folder) and _is_free(folder / _LOCK):
            _end_processes(folder)
            shutil.rmtree(folder, ignore_errors=True)


def _is_ours(folder: Path) -> bool:
    """Whether a driver of this user made the folder; the pid is written after the lock is taken."""
    try:
        made_by = folder.lstat().st_uid
        return made_by == os.getuid() and not folder.is_symlink() and (folder / _PID).is_file()
    except OSError:  # its own driver has just removed it
        return False


def _is_free(lock: Path) -> bool:
    try:
        with FileLock(lock, timeout=0):
            return True
    except (Timeout, OSError):
        return False


def _end_processes(folder: Path) -> None:
    """End the processes that remain of a cluster. It works only on Linux, which has /proc.

    These are children that a workload left behind, and Ray's agents, which search for a dead
    cluster for a minute.
    """
    for process in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):  # another user's, or ended by now
            if process.name != str(os.getpid()) and _belongs(process, folder):
                os.kill(int(process.name), signal.SIGKILL)


def _belongs(process: Path, folder: Path) -> bool:
    """Whether a process has the cluster's token, or a file of the cluster open for writing.

    Neither sign is enough alone. A process that gives itself a title, as Ray's do, may overwrite
    that part of its environment. Ray's agents write into a pipe instead of a file.
    """
    mark = f"RAY_AUTH_TOKEN_PATH={folder / TOKEN}".encode()
    if mark in (process / "environ").read_bytes().split(b"\0"):
        return True
    return any(_writes(open_file, folder) for open_file in (process / "fd").iterdir())


def _writes(open_file: Path, folder: Path) -> bool:
    """Whether a file below the cluster's session is open for writing.

    A process that only reads a log may go on. Files in the folder itself do not count, because
    another driver may be trying its lock.
    """
    try:
        written = open_file.lstat().st_mode & stat.S_IWUSR
        return bool(written) and folder in open_file.readlink().parent.parents
    except OSError:  # closed meanwhile
        return False


@contextmanager
def loopback() -> Iterator[None]:
    """Make Ray listen on 127.0.0.1 only, as it does on macOS and Windows.

    Ray has no public setting for it on Linux, where it replaces 127.0.0.1 by the machine's address.
    """
    before = ray_constants.ENABLE_RAY_CLUSTER
    ray_constants.ENABLE_RAY_CLUSTER = False
    try:
        yield
    finally:
        ray_constants.ENABLE_RAY_CLUSTER = before


@contextmanager
def needed_processes_only() -> Iterator[None]:
    """Make Ray start no process that a private cluster has no use for.

    `ray.init` has no option for it.
    """
    before = {name: getattr(Node, name) for name in _UNUSED}
    for name in before:
        setattr(Node, name, lambda *_, **__: None)
    try:
        yield
    finally:
        for name, method in before.items():
            setattr(Node, name, method)
