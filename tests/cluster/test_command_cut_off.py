"""A node is cut off while it runs a command, and returns: the trial has gone on elsewhere."""

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import pytest

from tests.cluster.clusters import REPOSITORY
from tests.cluster.networks import host_of
from tests.cluster.test_cut_off import three_hosts
from tests.commands import write
from tests.waiting import HANG_S, eventually, wait_until

SCRIPT = """
import json, os, subprocess, sys, time
other = subprocess.Popen(["sleep", "900"], start_new_session=True)
with open(sys.argv[3], "a") as file:
    print(json.dumps([os.getpid(), other.pid]), file=file)
for epoch in range(1, int(sys.argv[2]) + 1):
    time.sleep(0.5)
    print(json.dumps({"epoch": epoch, "loss": 1}))
print(json.dumps({"accuracy": 90}))
"""
RUN = """
import sys
from harness.cli import main
sys.argv = ["harness", "run", *sys.argv[1:]]
main()
"""
DEADLINE_S = 15.0


@pytest.mark.chaos
def test_a_command_on_a_node_that_is_cut_off_goes_on_elsewhere_and_ends_there(
    tmp_path: Path,
) -> None:
    started_file = tmp_path / "started"
    manifest = write(
        tmp_path,
        SCRIPT,
        argv=["python", "train.py", "{seed}", "{epochs}", "{file}"],
        parameters={"file": {"value": str(started_file), "assumed": "a test"}},
        epochs={"value": 60, "stated": "p"},
        resources={"deadline_s": DEADLINE_S},
        seeds="0",
    )

    def started() -> list[list[int]]:
        lines = started_file.read_text().splitlines() if started_file.exists() else []
        return [json.loads(line) for line in lines]

    with (
        tempfile.TemporaryDirectory(prefix="h-", ignore_cleanup_errors=True) as name,
        three_hosts(Path(name)) as ((head, *workers), environment, address),
    ):
        results = tmp_path / "results"
        options: list[Any] = ["--address", address, "--workspace", results, "--allow-commands"]
        options += ["--tracking-uri", "none", "--json", tmp_path / "verdict.json"]
        driver = subprocess.Popen(
            [*head.inside(), sys.executable, "-c", RUN, str(manifest), *map(str, options)],
            env=environment,
            cwd=REPOSITORY,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        wait_until(lambda: len(started()) == 1, "the command starts", process=driver)
        first = started()[0]
        lost = host_of(first[0], workers)
        records = results / "trials"
        wait_until(lambda: any(records.glob("*/records.jsonl")), "a record", process=driver)
        lost.cut()
        wait_until(lambda: len(started()) == 2, "another attempt", process=driver, limit_s=HANG_S)
        assert host_of(started()[1][0], workers) is not lost
        lost.mend()
        printed, _ = driver.communicate(timeout=HANG_S)
        assert driver.returncode == 0, printed
        assert "nothing was heard for 15 s" in printed
        # Ray ends a node that it held for dead as soon as the node is back.
        pids = [pid for each in started() for pid in each]
        assert eventually(lambda: not any(map(alive, pids)), limit_s=HANG_S)
    (verdict,) = json.loads((tmp_path / "verdict.json").read_text())["experiments"]
    assert not verdict["failures"]


def alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True
