import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.cluster.clusters import REPOSITORY, START_S, Cluster, absent, cluster, free_ports


@pytest.fixture(scope="session")
def joinable() -> Iterator[Cluster]:
    """A cluster with four logical GPUs that several tests join; its nodes know of no data set."""
    with cluster("--num-cpus", "4", "--num-gpus", "4") as found:
        yield found


@dataclass(frozen=True)
class Mlflow:
    """A server on PostgreSQL, as the script starts it."""

    url: str
    folder: Path
    process: "subprocess.Popen[bytes]"


def has_postgres() -> bool:
    """Whether Debian's programs, or others, are there, and a user to run them if we are root."""
    found = shutil.which("initdb") or list(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
    return bool(found) and (os.geteuid() != 0 or shutil.which("setpriv") is not None)


@pytest.fixture(scope="session")
def mlflow_server() -> Iterator[Mlflow]:
    """Tests install nothing. Without PostgreSQL they are skipped, but fail under CI."""
    if not has_postgres():
        absent("no PostgreSQL; on Debian: apt-get install postgresql")
    # Not one of pytest's: the user that PostgreSQL runs as could not enter it.
    with tempfile.TemporaryDirectory(prefix="h-") as name:
        (port,) = free_ports(1)
        path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
        settings = {"PATH": path, "MLFLOW_PORT": str(port), "HOME": name, "MLFLOW_WORKERS": "1"}
        process = subprocess.Popen(
            [REPOSITORY / "ci" / "cluster" / "mlflow-server.sh", name],
            env=settings,
            stdout=subprocess.DEVNULL,
            start_new_session=True,
        )
        try:
            url = f"http://127.0.0.1:{port}"
            _await(f"{url}/health", process)
            yield Mlflow(url, Path(name), process)
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(60)


def _await(url: str, process: "subprocess.Popen[bytes]") -> None:
    until = time.monotonic() + START_S
    while time.monotonic() < until:
        assert process.poll() is None, "the server ended"
        with suppress(OSError):
            urllib.request.urlopen(url, timeout=5).close()
            return
        time.sleep(0.2)
    pytest.fail("the server does not answer")
