"""Connect to a Ray cluster: start a private one on this machine, or join one that is running."""

import logging
import os
import secrets
import signal
import threading
from collections.abc import Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, contextmanager
from functools import cache
from pathlib import Path
from typing import Any

import ray
from ray._private import services
from ray.exceptions import RayError

from harness.cluster_address import (
    AUTO,
    VARIABLE,
    ClusterAddress,
    greeting_fault,
    parse,
    reach,
    unreachable,
)
from harness.engine import nodes
from harness.engine.awake import AwakeClock
from harness.engine.private_cluster import TOKEN, loopback, needed_processes_only, private_folder
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
    joined = parse(address) if isinstance(address, str) else address
    with ExitStack() as stack:
        if joined is None:
            stack.enter_context(_private_cluster(cpus, gpus))
        else:
            joined = _running_here(joined) if joined.host == AUTO else joined
            reach(joined)
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
        found = parse(text, named_by=f"{auto.named_by} {AUTO}:")
        if found and not greeting_fault(found.host, found.port, timeout_s=_LOCAL_ANSWER_S):
            return found
    raise unreachable(auto, "no cluster runs on this machine")


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
