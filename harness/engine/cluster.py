"""A Ray cluster: a private one on this machine, or one that is there already."""

import logging
import os
import secrets
import signal
import socket
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

import ray

from harness.engine.private import TOKEN, loopback, private_folder
from harness.errors import ResourceError, UsageError
from harness.manifest import Resources

_REACH_S = 10.0


@contextmanager
def cluster(
    address: str | None = None, *, cpus: int | None = None, gpus: int | None = None
) -> Iterator[None]:
    """Be connected to a cluster for as long as the context lasts.

    Args:
        address: None starts one on this machine that ends with the context, or with this process
            however it ends; 'auto' or 'host:port' joins one.
        cpus: of the private cluster; None takes what the machine has. A joined one has its own.
        gpus: likewise; may be more than there are, for tests of how trials are placed.

    Raises:
        UsageError: the address is Ray Client's.
        ResourceError: no cluster answers at the address.
    """
    if address is None:
        with private_folder() as folder, _environment(_settings(folder)), loopback():
            yield from _connected(
                address="local",
                num_cpus=cpus,
                num_gpus=gpus,
                include_dashboard=False,
                _temp_dir=str(folder),
            )
    elif address.startswith("ray://"):
        raise UsageError(
            f"{address}: Ray Client cannot stream a trial's records; run the same command on the "
            "cluster with `ray job submit -- harness run …`, or give host:port from inside it"
        )
    else:
        _reach(address)
        yield from _connected(address=address)


def require(resources: Resources) -> None:
    """Refuse what no node of the cluster could ever give, rather than wait for it for ever.

    Raises:
        ResourceError: it says what the cluster has.
    """
    sizes = _sizes()
    if resources.gpus > 1 and resources.gpus % 1:
        raise ResourceError(f"{resources.gpus:g} GPUs for a trial: a share of one, or whole ones")
    if any(resources.cpus <= cpus and resources.gpus <= gpus for cpus, gpus in sizes):
        return
    has = "; ".join(f"{cpus:g} CPUs and {gpus:g} GPUs" for cpus, gpus in sizes) or "no node"
    raise ResourceError(
        f"a trial wants {resources.cpus:g} CPUs and {resources.gpus:g} GPUs on one node; "
        f"the nodes of this cluster have {has}"
    )


def _sizes() -> list[tuple[float, float]]:
    """CPUs and GPUs of the cluster's nodes, each pair once, in order."""
    nodes = ray.nodes()  # type: ignore[no-untyped-call]
    resources = [node["Resources"] for node in nodes if node["Alive"]]
    return sorted({(each.get("CPU", 0.0), each.get("GPU", 0.0)) for each in resources})


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
    try:
        socket.create_connection((host, int(port)), timeout=_REACH_S).close()
    except (OSError, OverflowError) as error:
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
