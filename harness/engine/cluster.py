"""A Ray cluster: a private one on this machine, or one that is there already."""

import logging
import os
import secrets
import signal
import threading
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

import ray

from harness.engine import nodes
from harness.engine.head import reachable
from harness.engine.private import TOKEN, loopback, private_folder
from harness.errors import ResourceError, UsageError

_REACH_S = 10.0


@contextmanager
def cluster(
    address: str | None = None,
    *,
    cpus: int | None = None,
    gpus: int | None = None,
    packages: Iterable[str] = (),
) -> Iterator[None]:
    """Be connected to a cluster for as long as the context lasts.

    Args:
        address: None starts one on this machine that ends with the context, or with this process
            however it ends; 'auto' or 'host:port' joins one.
        cpus: of the private cluster; None takes what the machine has. A joined one has its own.
        gpus: likewise; may be more than there are, for tests of how trials are placed.
        packages: what is carried to the workers of a joined cluster beside the harness itself.

    Raises:
        UsageError: the address is none of a cluster's, or a package cannot be carried.
        ResourceError: no cluster answers at the address, or its nodes run other software.
    """
    if address is None:
        with private_folder() as folder, _environment(_settings(folder)), loopback():
            own = {"num_cpus": cpus, "num_gpus": gpus, "_temp_dir": str(folder)}
            with _connected(address="local", include_dashboard=False, **own):
                yield
    else:
        check(address)
        _reach(address)
        with _connected(address=address, runtime_env=nodes.runtime_env(packages)):
            nodes.require_same_software()
            yield


def check(address: str) -> None:
    """Refuse what can be no address of a cluster, before anything is made.

    Raises:
        UsageError: it says which way to go instead.
    """
    scheme, found, _ = address.partition("://")
    if not found:
        return
    fault = {
        "ray": "Ray Client cannot stream a trial's records",
        "http": "this is the address of Ray's dashboard",
        "https": "this is the address of Ray's dashboard",
    }.get(scheme, "no address of a Ray cluster")
    raise UsageError(
        f"{address}: {fault}; run the same command on the cluster with "
        "`ray job submit -- harness run …`, or give host:port from inside it"
    )


@contextmanager
def _connected(**options: Any) -> Iterator[None]:
    """Connect, and disconnect in the end; Ray's own words stay in its log files."""
    handler = signal.getsignal(signal.SIGTERM)
    try:
        ray.init(log_to_driver=False, logging_level=logging.ERROR, **options)
    except (ConnectionError, RuntimeError) as error:
        raise ResourceError(f"{options['address']}: no Ray cluster: {error}") from error
    try:
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, handler)  # Ray puts its own there, which exits at once
        yield
    finally:
        ray.shutdown()


def _reach(address: str) -> None:
    """Refuse an address where nothing listens; Ray itself would try for minutes."""
    host, _, port = address.rpartition(":")
    if not (host and port.isdecimal()):
        return  # 'auto', or a word of Ray's own
    if error := reachable(address, timeout_s=_REACH_S):
        raise ResourceError(f"{address}: no Ray cluster: {error}") from error


def _settings(folder: Path) -> dict[str, str]:
    """What a private cluster is told; without a token's path Ray would write one into HOME."""
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
    """One a process, since Ray reads it once a process."""
    return secrets.token_hex(32)


@contextmanager
def _environment(settings: Mapping[str, str]) -> Iterator[None]:
    """Set environment variables for a while: Ray reads nothing else."""
    before = {name: os.environ.get(name) for name in settings}
    os.environ.update(settings)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value
