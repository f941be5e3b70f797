"""What keeps a private cluster private: a folder of its own, and this machine alone."""

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

_PREFIX = "harness-"
_LONGEST = 40
"""Ray puts sockets some 65 characters below its folder; a socket's path may have 107 in all."""

TOKEN = "token"  # noqa: S105 - a file's name
"""Where the cluster's token lies; the path is in the environment of the cluster's processes."""

_LOCK, _PID = "driver.lock", "driver.pid"


@contextmanager
def private_folder() -> Iterator[Path]:
    """A folder for Ray's sockets, logs and token that no other user can read.

    It goes with its driver, however that ends: what killed ones left behind is removed first.
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
    """Remove this user's folders whose driver is dead, and end what is left of its cluster.

    The lock ends with the process that holds it, however that ends. A pid alone would not do: it
    may be another process's by now, or mean nothing here if a container shares the folder.
    """
    for folder in base.glob(f"{_PREFIX}*"):
        if _is_ours(folder) and _is_free(folder / _LOCK):
            _end_processes(folder)
            shutil.rmtree(folder, ignore_errors=True)


def _is_ours(folder: Path) -> bool:
    """Whether a driver of this user made it; the pid comes after the lock was taken."""
    try:
        made_by = folder.lstat().st_uid
        return made_by == os.getuid() and not folder.is_symlink() and (folder / _PID).is_file()
    except OSError:  # its own driver was quicker
        return False


def _is_free(lock: Path) -> bool:
    try:
        with FileLock(lock, timeout=0):
            return True
    except (Timeout, OSError):
        return False


def _end_processes(folder: Path) -> None:
    """End what is left of a cluster; on Linux alone, where processes can be known.

    Children that a workload forgot, and Ray's agents, which look for a dead cluster for a minute.
    """
    for process in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):  # another user's, or ended by now
            if process.name != str(os.getpid()) and _belongs(process, folder):
                os.kill(int(process.name), signal.SIGKILL)


def _belongs(process: Path, folder: Path) -> bool:
    """Whether a process has the cluster's token, or a file of the cluster open for writing.

    The token alone would not do: a process that gives itself a title, as Ray's do, may have written
    it over that part of its environment; and Ray's agents say what they say into a pipe.
    """
    mark = f"RAY_AUTH_TOKEN_PATH={folder / TOKEN}".encode()
    if mark in (process / "environ").read_bytes().split(b"\0"):
        return True
    return any(_writes(open_file, folder) for open_file in (process / "fd").iterdir())


def _writes(open_file: Path, folder: Path) -> bool:
    """Whether the file is below the cluster's session; who merely reads a log is no part of it.

    The folder's own files are the drivers': another one may be looking whether the lock is free.
    """
    try:
        written = open_file.lstat().st_mode & stat.S_IWUSR
        return bool(written) and folder in open_file.readlink().parent.parents
    except OSError:  # closed meanwhile
        return False


@contextmanager
def loopback() -> Iterator[None]:
    """Let Ray listen on 127.0.0.1 alone, as it does of itself where clusters are not usual.

    It has no public way to say so on Linux: an address of 127.0.0.1 is taken for the machine's own.
    """
    before = ray_constants.ENABLE_RAY_CLUSTER
    ray_constants.ENABLE_RAY_CLUSTER = False
    try:
        yield
    finally:
        ray_constants.ENABLE_RAY_CLUSTER = before
