"""Connect to a Ray cluster, and check every second whether its head still answers.

A private cluster on this machine has its own folder, listens on this machine only, and leaves
nothing behind. A running cluster can be joined instead.

Ray aborts a process that has lost the head for too long. Time in which this process was stopped by
Ctrl-Z, or in which the machine slept, does not count.
"""

import logging
import os
import secrets
import shutil
import signal
import socket
import stat
import tempfile
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, contextmanager, suppress
from functools import cache
from pathlib import Path
from typing import Any

import ray
from filelock import FileLock, Timeout
from ray._private import ray_constants, services
from ray._private.node import Node
from ray.exceptions import RayError

from harness.cluster_address import (
    AUTO,
    VARIABLE,
    ClusterAddress,
    greeting_fault,
    parse_address,
    reach,
    unreachable,
)
from harness.engine import nodes
from harness.errors import ResourceError

_log = logging.getLogger(__name__)

START_S = (30.0, 60.0, 120.0)
"""Time limits for starting the node of a private cluster, in seconds, one for each attempt. The
first is Ray's own limit, which a busy machine exceeds."""

_JOIN_TRIES = 2
"""Number of times that Ray tries to reach a head that has answered our greeting. Each takes up to
40 s."""

_LOCAL_ANSWER_S = 3.0
"""Time limit for the answer of a head on this machine, in seconds. There may be several to ask."""


@contextmanager
def cluster(
    address: ClusterAddress | str | None = None,
    *,
    cpus: int | None = None,
    gpus: int | None = None,
    packages: Iterable[str] = (),
) -> Iterator[None]:
    """Connect to a cluster, and disconnect when the context ends.

    Args:
        address: None or 'local' starts a private cluster on this machine. It ends with the context,
            or when this process ends for any reason. 'auto' or 'host:port' joins a running cluster.
        cpus: number of CPUs of a private cluster; None takes all that the machine has. A joined
            cluster keeps its own number.
        gpus: number of GPUs of a private cluster. It may exceed what the machine has, so that tests
            can check how trials are placed.
        packages: packages that Ray copies to a joined cluster's workers, in addition to the
            harness.

    Raises:
        UsageError: the text cannot be a cluster's address, or a package cannot be copied.
        ResourceError: no cluster answers at the address, its nodes run other software, or a private
            cluster does not start.
    """
    joined = parse_address(address) if isinstance(address, str) else address
    with ExitStack() as stack:
        if joined is None:
            stack.enter_context(_private_cluster(cpus, gpus))
        else:
            joined = _running_here(joined) if joined.host == AUTO else joined
            reach(joined)
            _require_reachable_by_ray(joined)
            stack.enter_context(_joined_cluster(joined, packages))
            nodes.require_same_software()
        yield


def _running_here(auto: ClusterAddress) -> ClusterAddress:
    """Find the cluster that 'auto' means: the last one that `ray start` started, or else another.

    Ray would take the first cluster that it finds and wait for it for minutes. It would even wait
    for another driver's private cluster, which does not let us in.

    Raises:
        ResourceError: no cluster answers on this machine.
    """
    latest = services.find_bootstrap_address(None)
    others = sorted(services.find_gcs_addresses())  # type: ignore[no-untyped-call]
    for text in filter(None, (latest, *others)):
        found = parse_address(text, named_by=f"{auto.named_by} {AUTO}:")
        if found and not greeting_fault(
            services.resolve_ip_for_localhost(found.host), found.port, timeout_s=_LOCAL_ANSWER_S
        ):
            return found
    raise unreachable(auto, "no cluster that can be joined runs on this machine")


def _require_reachable_by_ray(address: ClusterAddress) -> None:
    """Check that a head answers at the address by which Ray connects to it.

    Ray replaces 127.0.0.1 by this machine's own address. The private cluster of another driver does
    not listen there, and Ray would try for more than a minute.

    Raises:
        ResourceError: no cluster answers at this machine's own address.
    """
    own = services.resolve_ip_for_localhost(address.host)
    if own != address.host and greeting_fault(own, address.port):
        raise unreachable(
            address,
            f"the head listens at {address.host} only, and Ray would connect to {own}; it is "
            "probably a private cluster of another `harness run`",
        )


@contextmanager
def _joined_cluster(address: ClusterAddress, packages: Iterable[str]) -> Iterator[None]:
    with ExitStack() as stack:
        try:
            with _gcs_limit(_JOIN_TRIES):
                stack.enter_context(
                    _connected(address=address.text, runtime_env=nodes.runtime_env(packages))
                )
        except Exception as error:
            if not _is_trouble_of_ray(error):
                raise
            raise unreachable(address, error) from error
        yield


@contextmanager
def _private_cluster(cpus: int | None, gpus: int | None) -> Iterator[None]:
    """Start a cluster for this process only. A failed start is retried with more time.

    Raises:
        ResourceError: every attempt failed.
    """
    sizes = {"num_cpus": cpus, "num_gpus": gpus}
    for attempt, limit_s in enumerate(START_S, start=1):
        with ExitStack() as stack:
            try:
                _start(stack, sizes, limit_s)
            except Exception as error:
                if isinstance(error, ValueError) or not _is_trouble_of_ray(error):
                    raise
                fault = f"{type(error).__name__}: {error}"
                if attempt == len(START_S):
                    raise ResourceError(
                        f"Ray did not start on this machine in {attempt} attempts, the last of "
                        f"{limit_s:g} s: {fault}. Nothing was lost: run the same command again "
                        "when the machine has less to do, or see what `harness doctor` finds"
                    ) from error
                _log.warning("Ray did not start (%s): trying again", fault)
                continue  # the stack removes what the attempt left behind
            yield
            return


def _start(stack: ExitStack, sizes: Mapping[str, int | None], limit_s: float) -> None:
    """Start a cluster in its own folder. The stack ends the cluster."""
    folder = stack.enter_context(private_folder())
    stack.enter_context(_environment(_settings(folder)))
    stack.enter_context(loopback())
    with needed_processes_only(), _start_limit(limit_s), _gcs_limit(int(limit_s)):
        stack.enter_context(
            _connected(address="local", include_dashboard=False, _temp_dir=str(folder), **sizes)
        )


@contextmanager
def _connected(**options: Any) -> Iterator[None]:
    """Connect to Ray, and disconnect at the end. Ray writes its messages to its log files only."""
    handler = signal.getsignal(signal.SIGTERM)
    try:
        # If the variable is set, Ray ignores the address that is passed here.
        with _environment({VARIABLE: None}), _hangup_blocked():
            ray.init(log_to_driver=False, logging_level=logging.ERROR, **options)
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, handler)  # Ray's own handler exits at once
        yield
    finally:
        ray.shutdown()


def _is_trouble_of_ray(error: Exception) -> bool:
    """Whether an error of `ray.init` comes from the machine or the cluster, not from our code.

    Ray raises a bare Exception if a node does not start in time.
    """
    known = (OSError, RuntimeError, ValueError, RayError)
    return isinstance(error, known) or type(error) is Exception


@contextmanager
def _hangup_blocked() -> Iterator[None]:
    """Make Ray's processes ignore SIGHUP, so that they live until the driver stops them in order.

    A terminal that closes sends the signal to all of them at once. Child processes inherit the
    blocked signals. In this process the signal waits until the context ends.
    """
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGHUP})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


@contextmanager
def _start_limit(limit_s: float) -> Iterator[None]:
    """Make Ray wait up to `limit_s` seconds until its own node registers.

    Ray has no setting for this limit: it asks for the node again and again for 30 s. So this
    function makes each of these queries wait. Time in which this process was stopped does not
    count.
    """
    ask = services.get_node
    clock = AwakeClock()
    began_s = clock()

    def ask_patiently(*words: Any, **options: Any) -> Any:
        while True:
            try:
                return ask(*words, **options)  # type: ignore[no-untyped-call]
            except RuntimeError:
                if clock() - began_s > limit_s:
                    raise

    services.get_node = ask_patiently
    try:
        yield
    finally:
        services.get_node = ask


def _gcs_limit(limit: int) -> AbstractContextManager[None]:
    """Set Ray's limit on waiting for a head.

    The limit is in seconds for our own head, and in attempts for the head of a cluster that we
    join. An attempt takes up to 40 s if the head dies after it has answered us. Ray's default is 20
    attempts.
    """
    return _environment({"RAY_gcs_server_port_wait_time_s": str(limit)})


def _settings(folder: Path) -> dict[str, str | None]:
    """Return the settings of a private cluster.

    One of them is the token's path. Without it Ray would write a token into HOME.
    """
    token = folder / TOKEN
    token.touch(mode=0o600)
    token.write_text(_token())
    return {
        "RAY_AUTH_TOKEN_PATH": str(token),
        "RAY_USAGE_STATS_ENABLED": "0",
        # No trial runs in a worker that Ray started ahead, because trials set their environment.
        "RAY_prestart_worker_first_driver": "0",
        # Leave CUDA_VISIBLE_DEVICES alone for trials without a GPU, as later versions of Ray do.
        "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
    }


@cache
def _token() -> str:
    """Return this process's token. It never changes, because Ray reads it once per process."""
    return secrets.token_hex(32)


@contextmanager
def _environment(settings: Mapping[str, str | None]) -> Iterator[None]:
    """Set environment variables while the context lasts. A value of None unsets the variable."""
    before = {name: os.environ.get(name) for name in settings}
    _set_environment(settings)
    try:
        yield
    finally:
        _set_environment(before)


def _set_environment(settings: Mapping[str, str | None]) -> None:
    for name, value in settings.items():
        if value is None:
            os.environ.pop(name, None)
        else:
            os.environ[name] = value


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

    `ray.init` has no option for it. A version of Ray without such a method starts what it likes.
    """
    before = {name: getattr(Node, name) for name in _UNUSED if hasattr(Node, name)}
    for name in before:
        setattr(Node, name, lambda *_, **__: None)
    try:
        yield
    finally:
        for name, method in before.items():
            setattr(Node, name, method)


LONGEST_GAP_S = 5.0
"""Longest time between two readings of the clock while the process runs, in seconds. The thread
that watches the head reads the clock every second, so a longer gap means that the process was
stopped."""


class AwakeClock:
    """A monotonic clock in seconds that leaves out the time in which this process was stopped.

    A limit that is measured with this clock cannot expire while the process is stopped. Some thread
    must read the clock at least every `LONGEST_GAP_S` seconds.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._read_s = clock()
        self._stood_still_s = 0.0

    def __call__(self) -> float:
        """Return the time in seconds. Only the difference between two readings has a meaning."""
        with self._lock:
            now_s = self._clock()
            gap_s = now_s - self._read_s
            if gap_s > LONGEST_GAP_S:
                self._stood_still_s += gap_s
            self._read_s = now_s
            return now_s - self._stood_still_s


awake_s = AwakeClock()
"""The clock of this process. The watch on the head and the deadlines of trials share it."""


_EVERY_S = 1.0

GONE_S = 20.0
"""Seconds without an answer after which the head counts as gone. Ray itself aborts the driver after
60 s, so the driver must end before that. If the head comes back sooner, the driver goes on. Time in
which this process was stopped does not count."""


class HeadWatch:
    """A thread that asks the head every second whether it is alive."""

    def __init__(self, address: str) -> None:
        self._address = address
        self._answered_s = awake_s()
        self._closed = threading.Event()
        self._thread = threading.Thread(target=self._ask, name="head", daemon=True)
        self._thread.start()

    def answers(self) -> bool:
        """Return whether the head answered lately. While it does not, the driver starts nothing.

        Raises:
            ResourceError: it has not answered for `GONE_S` seconds.
        """
        if self.gone():
            raise ResourceError(
                f"{self._address}: the head of the Ray cluster is gone: no answer for "
                f"{GONE_S:g} s; what was recorded stays, and the same command goes on from it"
            )
        return self._unanswered_s() < 3 * _EVERY_S

    def gone(self) -> bool:
        """Return whether the head has not answered for `GONE_S` seconds."""
        return self._unanswered_s() > GONE_S

    def close(self) -> None:
        """Stop asking."""
        self._closed.set()
        self._thread.join()

    def _unanswered_s(self) -> float:
        return awake_s() - self._answered_s

    def _ask(self) -> None:
        while not self._closed.wait(_EVERY_S):
            awake_s()  # read often, so that a long gap means that the process was stopped
            if _listens(self._address, timeout_s=_EVERY_S):
                self._answered_s = awake_s()


@contextmanager
def watching_head(address: str) -> Iterator[HeadWatch]:
    """Watch the head at host:port while the context lasts."""
    watch = HeadWatch(address)
    try:
        yield watch
    finally:
        watch.close()


def _listens(address: str, *, timeout_s: float) -> bool:
    """Whether something accepts a connection at host:port."""
    host, _, port = address.rpartition(":")
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=timeout_s).close()
    except (OSError, OverflowError):
        return False
    return True
