"""Beside a good node: some that fail every trial, have other software, or are about to go."""

import json
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from tests.cluster.clusters import REPOSITORY, Cluster, cluster, other_torch
from tests.toy import BAD_NODE
from tests.waiting import HANG_S


def drive(found: Cluster, folder: Path, scenario: str) -> tuple[dict[str, Any], str]:
    """Run a scenario of `bad_nodes`; returns what it told, and its warnings."""
    done = subprocess.run(
        [sys.executable, "-m", "tests.cluster.bad_nodes", folder / scenario[:5], found.address,
         scenario],
        env=found.environment | {"PYTHONPATH": str(REPOSITORY)},
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        check=False,
        timeout=HANG_S,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    told: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])  # Ray may print before it
    return told, done.stderr


@pytest.mark.chaos
def test_no_bad_node_decides_a_verdict_or_takes_up_the_attempts(tmp_path: Path) -> None:
    """One cluster, its nodes one after the other, since each takes long to start."""
    with cluster("--num-cpus", "0") as found, ExitStack() as stack:
        older = {"PYTHONPATH": str(other_torch(tmp_path))}
        stack.enter_context(found.node("--num-cpus", "1", environment=older))
        told, _ = drive(found, tmp_path, "alone")
        assert "torch 1.13.1 there and" in told["refused"]
        stack.enter_context(found.node("--num-cpus", "2"))
        told, warnings = drive(found, tmp_path, "joined late")
        assert (told["done"], told["retries"]) == (10, 0)
        assert warnings.count("torch 1.13.1 there and") == 2  # by the comparison, and by the driver
        stack.enter_context(found.node("--num-cpus", "3", environment={BAD_NODE: "raise"}))
        stack.enter_context(found.node("--num-cpus", "4", environment={BAD_NODE: "kill"}))
        told, warnings = drive(found, tmp_path, "bad nodes")
        assert (told["done"], told["blamed"]) == (10, 0), told
        assert set(told["history"]) <= {"passed"}
        assert told["retries"] <= 16  # seven slots, until three losses of each node are known
        assert warnings.count("lost attempts in a row") <= 2
        told, _ = drive(found, tmp_path, "drained")
        assert told == {"asked": False, "others": True}
