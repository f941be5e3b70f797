"""A node that is cut off in the middle of a trial, goes on unseen, and returns."""

import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest

from harness.store import Store
from tests.cluster.clusters import REPOSITORY, own_environment, started
from tests.cluster.driver_script import EVENTS, walk
from tests.cluster.networks import Host, host_of, hosts
from tests.faults.ledger import Entry, enter
from tests.faults.proof import account, quiet
from tests.toy import Toy
from tests.waiting import HANG_S

DEADLINE_S = 15.0


@contextmanager
def three_hosts(folder: Path) -> Iterator[tuple[list[Host], dict[str, str], str]]:
    """A head that runs no trial, and two nodes that run one each."""
    environment = own_environment(folder)
    with ExitStack() as stack:
        head, *workers = stack.enter_context(hosts(3))
        port = "6379"
        place = ("--temp-dir", str(folder / "r"), "--include-dashboard", "false")
        first = ("--head", "--port", port, "--num-cpus", "0", "--node-ip-address", head.address)
        stack.enter_context(started(folder, [*first, *place], environment, head.inside()))
        address = f"{head.address}:{port}"
        for worker in workers:
            words = ["--address", address, "--node-ip-address", worker.address, "--num-cpus", "1"]
            stack.enter_context(started(folder, words, environment, worker.inside()))
        yield [head, *workers], environment, address


class Driver:
    """The driver's process on the head's host, and what it has told so far."""

    def __init__(self, folder: Path, host: Host, environment: dict[str, str], address: str) -> None:
        script = [sys.executable, "-m", "tests.cluster.driver_script"]
        self._events = folder / EVENTS
        self.process = subprocess.Popen(
            [*host.inside(), *script, str(folder), address, str(DEADLINE_S)],
            env=environment,
            cwd=REPOSITORY,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def events(self, kind: str) -> list[dict[str, Any]]:
        """Those of one kind, in order."""
        lines = self._events.read_text().splitlines() if self._events.exists() else []
        return [event for event in map(json.loads, lines) if kind in event]

    def until(self, kind: str, count: int, limit_s: float = HANG_S) -> dict[str, Any]:
        """Wait for so many of one kind; returns the last of them."""
        end = time.monotonic() + limit_s
        while len(self.events(kind)) < count:
            assert self.process.poll() is None, self.process.communicate()[0]
            assert time.monotonic() < end, f"no {kind} number {count} within {limit_s} s"
            time.sleep(0.1)
        return self.events(kind)[count - 1]


@pytest.mark.chaos
def test_a_trial_goes_on_elsewhere_within_its_deadline_and_the_lost_node_does_not_count(
    tmp_path: Path,
) -> None:
    with (
        tempfile.TemporaryDirectory(prefix="h-", ignore_cleanup_errors=True) as name,
        three_hosts(Path(name)) as ((head, *workers), environment, address),
    ):
        driver = Driver(tmp_path, head, environment, address)
        first = driver.until("started", 1)
        lost = host_of(first["pid"], workers)
        driver.until("epoch", 5)
        lost.cut()
        cut = time.time()
        second = driver.until("started", 2)
        there = host_of(second["pid"], workers)
        again = driver.until("epoch", len(driver.events("epoch")) + 1)
        lost.mend()
        printed, _ = driver.process.communicate(timeout=HANG_S)
        assert driver.process.returncode == 0, printed
    assert there is not lost
    assert second["started"] >= 5
    epochs = [event["epoch"] for event in driver.events("epoch")]
    assert epochs[-(60 - second["started"]) :] == list(range(second["started"] + 1, 61))
    # The driver gave it up by its deadline. Had Ray noticed first, the error would be Ray's.
    assert json.loads(printed) == [[walk().spec.id, "NoProgress", 2]]
    found = account(Store(tmp_path / "results"), {walk().spec.id: quiet(walk(), Toy())})
    enter(Entry("a node cut off and returning", 1, 1, found, (again["at"] - cut,)))
    assert found.sound, found
