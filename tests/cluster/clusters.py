"""Real Ray clusters as `ray start` makes them: several processes, a token, a private folder."""

import os
import secrets
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import ray

REPOSITORY = Path(__file__).parents[2]
START_S = 120
RAY = (sys.executable, "-m", "ray.scripts.scripts")


def own_environment(folder: Path) -> dict[str, str]:
    """Nothing of the user's own settings; a token that nobody else can read; a home of its own."""
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("HARNESS_", "MLFLOW_", "RAY_", "PYTHON"))
    }
    token = folder / "token"
    token.touch(mode=0o600)
    token.write_text(secrets.token_hex(32))
    (folder / "home").mkdir()
    return kept | {
        "HOME": str(folder / "home"),
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "COLUMNS": "200",
        "RAY_AUTH_MODE": "token",
        "RAY_AUTH_TOKEN_PATH": str(token),
        "RAY_USAGE_STATS_ENABLED": "0",
    }


@dataclass(frozen=True)
class Node:
    """`ray start --block` and all that it started, in a process group of its own."""

    process: "subprocess.Popen[bytes]"
    log: Path

    def kill(self, number: signal.Signals = signal.SIGKILL) -> None:
        """End all of it."""
        try:
            os.killpg(self.process.pid, number)
        except ProcessLookupError:
            return
        self.process.wait(60)


@dataclass
class Cluster:
    """A head, and the nodes that joined it."""

    folder: Path
    environment: dict[str, str]
    address: str
    dashboard: str
    head: Node
    nodes: list[Node] = field(default_factory=list)

    @contextmanager
    def node(self, *options: str, environment: Mapping[str, str] | None = None) -> Iterator[Node]:
        """One more, on this machine, for as long as the context lasts."""
        words = ["--address", self.address, *options]
        with started(self.folder, words, {**self.environment, **(environment or {})}) as node:
            yield node


@contextmanager
def started(
    folder: Path, options: Sequence[str], environment: Mapping[str, str], prefix: Sequence[str] = ()
) -> Iterator[Node]:
    """`ray start` with these options, once it says that it runs."""
    log = Path(tempfile.mkstemp(dir=folder, suffix=".log")[1])
    with log.open("wb") as output:
        process = subprocess.Popen(
            [*prefix, *RAY, "start", "--block", *options],
            env=environment,
            cwd=folder,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    node = Node(process, log)
    try:
        until = time.monotonic() + START_S
        while "Ray runtime started" not in log.read_text():
            assert process.poll() is None, log.read_text()
            assert time.monotonic() < until, log.read_text()
            time.sleep(0.1)
        yield node
    finally:
        node.kill()  # in order, it would take half a minute


@contextmanager
def cluster(
    *options: str, environment: Mapping[str, str] | None = None, port: int | None = None
) -> Iterator[Cluster]:
    """A head on this machine; ports and folders are its own."""
    with ExitStack() as stack:
        # pytest's folders are too deep for Ray's sockets.
        temporary = tempfile.TemporaryDirectory(prefix="h-", ignore_cleanup_errors=True)
        folder = Path(stack.enter_context(temporary))
        settings = own_environment(folder) | dict(environment or {})
        free, dashboard = free_ports(2)
        port = port or free
        words = ("--head", "--port", str(port), "--temp-dir", str(folder / "r"))
        head = stack.enter_context(
            started(
                folder,
                [*words, *dashboard_options(dashboard), *options],
                settings,
            )
        )
        address = f"127.0.0.1:{port}"
        yield Cluster(folder, settings, address, f"http://127.0.0.1:{dashboard}", head)


def dashboard_options(port: int) -> tuple[str, ...]:
    """For this machine only; its agent's ports are free ones, others may have the usual ones."""
    agent = str(free_ports(1)[0])
    return (
        *("--dashboard-host", "127.0.0.1", "--dashboard-port", str(port)),
        *("--dashboard-agent-listen-port", agent),
    )


def own_address() -> str:
    """This machine's, as Ray takes it for a node's."""
    return str(ray.util.get_node_ip_address())


def other_torch(folder: Path) -> Path:
    """A folder for PYTHONPATH in which an older torch seems to be installed."""
    info = folder / "older" / "torch-1.13.1.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: torch\nVersion: 1.13.1\n")
    return info.parent


def free_ports(count: int) -> list[int]:
    """Ports on which nothing listens, none of them twice."""
    probes = [socket.socket() for _ in range(count)]
    for probe in probes:
        probe.bind(("127.0.0.1", 0))
    ports = [int(probe.getsockname()[1]) for probe in probes]
    for probe in probes:
        probe.close()
    return ports


def absent(reason: str) -> None:
    """Skip for lack of a program; under CI it has to be there."""
    if os.environ.get("CI") == "true":
        pytest.fail(reason)
    pytest.skip(reason)
