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
from harness.engine.private_cluster import TOKEN, loopback, private_folder
from harness.errors import ResourceError

_log = logging.getLogger(__name__)

START_S = (30.0, 60.0, 120.0)
"""Seconds that the node of a private cluster may take to start, at each attempt in turn. The first
is Ray's own limit, which a machine that is busy with other work exceeds."""

_JOIN_TRIES = 2
"""How often Ray tries to reach a head that has greeted us, in up to 40 s each."""

_LOCAL_ANSWER_S = 3.0
"""Seconds in which a head on this machine must answer; there may be several to ask."""


@contextmanager
def cluster(
    address: ClusterAddress | str | None = None,
    *,
    cpus: int | None = None,
    gpus: int | None = None,
    packages: Iterable[str] = (),
) -> Iterator[None]:
    """Be connected to a cluster for as long as the context lasts.

    Args:
        address: None or 'local' starts a private cluster on this machine. It ends with the context,
            or with this process however that ends. 'auto' or 'host:port' joins a running cluster.
        cpus: of the private cluster; None takes what the machine has. A joined cluster has its own.
        gpus: likewise; may be more than the machine has, for tests of how trials are placed.
        packages: packages that are carried to a joined cluster's workers beside the harness itself.

    Raises:
        UsageError: the text can be no cluster's address, or a package cannot be carried.
        ResourceError: no cluster answers at the address, its nodes run other software, or a private
            one does not start.
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
    """Find the cluster that 'auto' means: the one that `ray start` started last, or else another.

    Ray would take the first that it finds and wait for it for minutes, also for the private cluster
    of another driver, which does not let us in.

    Raises:
        ResourceError: none answers on this machine.
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
    """Start a cluster for this process alone. A start that fails is tried again with more time.

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
                continue  # the stack ends what the attempt left behind
            yield
            return


def _start(stack: ExitStack, sizes: Mapping[str, int | None], limit_s: float) -> None:
    """Start a cluster in a folder of its own; the stack ends it."""
    folder = stack.enter_context(private_folder())
    stack.enter_context(_environment(_settings(folder)))
    stack.enter_context(loopback())
    with _start_limit(limit_s), _gcs_limit(int(limit_s)):
        stack.enter_context(
            _connected(address="local", include_dashboard=False, _temp_dir=str(folder), **sizes)
        )


@contextmanager
def _connected(**options: Any) -> Iterator[None]:
    """Connect, and disconnect in the end; Ray's own words stay in its log files."""
    handler = signal.getsignal(signal.SIGTERM)
    try:
        # Ray prefers the variable to what it is told here.
        with _environment({VARIABLE: None}), _hangup_blocked():
            ray.init(log_to_driver=False, logging_level=logging.ERROR, **options)
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, handler)  # Ray puts its own there, which exits at once
        yield
    finally:
        ray.shutdown()


def _is_trouble_of_ray(error: Exception) -> bool:
    """Whether an error of `ray.init` comes from the machine or the cluster, not from our code.

    Ray raises a bare Exception where a node does not start in time.
    """
    known = (OSError, RuntimeError, ValueError, RayError)
    return isinstance(error, known) or type(error) is Exception


@contextmanager
def _hangup_blocked() -> Iterator[None]:
    """Have Ray's processes ignore SIGHUP, so that they live until the driver stops them in order.

    A terminal that closes sends the signal to all of them at once. Child processes inherit the
    signals that are blocked; for this process the signal waits until the context ends.
    """
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGHUP})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


@contextmanager
def _start_limit(limit_s: float) -> Iterator[None]:
    """Let Ray wait so many seconds for a node of its own to register.

    Ray has no setting for it: it asks for the node again and again for 30 s. So each of these
    questions waits here. Seconds in which this process stood still do not count.
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
    """Set Ray's own limit on waiting for a head: seconds for its own, attempts for another's.

    An attempt takes up to 40 s if the head dies after it has greeted us, and Ray makes 20.
    """
    return _environment({"RAY_gcs_server_port_wait_time_s": str(limit)})


def _settings(folder: Path) -> dict[str, str | None]:
    """Settings of a private cluster. Without a token's path Ray would write a token into HOME."""
    token = folder / TOKEN
    token.touch(mode=0o600)
    token.write_text(_token())
    return {
        "RAY_AUTH_TOKEN_PATH": str(token),
        "RAY_USAGE_STATS_ENABLED": "0",
        # Leave CUDA_VISIBLE_DEVICES alone for trials without a GPU, as later versions of Ray do.
        "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
    }


@cache
def _token() -> str:
    """Return this process's token: Ray reads it once a process."""
    return secrets.token_hex(32)


@contextmanager
def _environment(settings: Mapping[str, str | None]) -> Iterator[None]:
    """Set environment variables for a while, or unset those that are None."""
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
