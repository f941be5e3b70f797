"""A driver as a process: what it prints, and what is left when it is killed."""

import os
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import ray

from harness import engine
from harness.errors import ResourceError
from harness.store import Store
from tests.engine.driver_script import jobs
from tests.engine.sinks import run
from tests.engine.test_engine import alive
from tests.store.trials import curve, quiet
from tests.waiting import eventually

ROOT = Path(__file__).parents[2]


@pytest.fixture
def short_folder(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Where a driver of its own puts Ray's files; pytest's folders are too deep for sockets."""
    with tempfile.TemporaryDirectory(prefix="h-", ignore_cleanup_errors=True) as folder:
        monkeypatch.setenv("TMPDIR", folder)
        yield Path(folder)


def start(folder: Path, *arguments: str, **env: str) -> "subprocess.Popen[str]":
    command = [sys.executable, "-m", "tests.engine.driver_script", str(folder), *arguments]
    options = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "env": os.environ | env}
    return subprocess.Popen(command, cwd=ROOT, text=True, **options)  # type: ignore[call-overload]


# By default tests/faults/test_killed_driver.py does: it kills the driver of a whole command.
@pytest.mark.chaos
@pytest.mark.usefixtures("cluster", "short_folder")
def test_a_killed_driver_leaves_no_worker_and_a_store_that_resumes(tmp_path: Path) -> None:
    driver = start(tmp_path, "")
    store_folder = tmp_path / "results" / "trials"

    def some_epochs() -> bool:
        return sum(f.read_bytes().count(b"\n") for f in store_folder.glob("*/records.jsonl")) > 20

    assert eventually(some_epochs)
    driver.send_signal(signal.SIGKILL)
    driver.communicate()
    workers = [int(file.name) for file in tmp_path.iterdir() if file.name.isdigit()]
    assert workers
    assert eventually(lambda: not any(alive(pid) for pid in workers))
    walks = jobs(tmp_path, "")
    before = Store(tmp_path / "results")
    assert not all(before.settled(each.spec.id, each.epochs) for each in walks)
    sink = run(tmp_path, walks)
    assert max(each.resumed_from for walk in walks for each in sink.started(walk)) > 0
    for walk in walks:
        assert curve(sink.store.read(walk.spec.id)) == quiet(walk)


@pytest.mark.usefixtures("cluster")
def test_a_driver_can_join_a_cluster_that_is_there(tmp_path: Path) -> None:
    address = ray.get_runtime_context().gcs_address
    # The tests' cluster is for this machine alone: whoever joins must take it for what it is.
    local = {"RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0"}
    printed, _ = start(tmp_path, "raise", address, **local).communicate()
    assert printed == ""
    store = Store(tmp_path / "results")
    assert [store.settled(each.spec.id, each.epochs) for each in jobs(tmp_path, "raise")] == [
        True
    ] * 4


@pytest.mark.usefixtures("cluster")
def test_a_private_cluster_starts_no_process_without_a_use() -> None:
    node: Any = ray._private.worker._global_node
    assert set(node.all_processes) <= {"gcs_server", "raylet", "reaper"}


def test_an_address_where_nothing_listens_is_refused_at_once() -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{free.getsockname()[1]}"
        with pytest.raises(ResourceError, match=address), engine.cluster(address):
            pass


def test_ray_says_nothing_on_the_terminal_and_leaves_nothing_behind(
    tmp_path: Path, short_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = tmp_path / "home"
    home.mkdir()
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.delenv("RAY_DEDUP_LOGS_SKIP_REGEX", raising=False)
    driver = start(tmp_path, "kill")
    printed, _ = driver.communicate()
    assert (printed, driver.returncode) == ("", 0)
    assert list(home.iterdir()) == []
    assert list(short_folder.iterdir()) == []
    workers = [int(file.name) for file in tmp_path.iterdir() if file.name.isdigit()]
    assert eventually(lambda: not any(alive(pid) for pid in workers))
    assert (tmp_path / "marker").exists()
