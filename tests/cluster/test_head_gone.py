"""The head of a cluster is killed in the middle of a run."""

import os
import signal
import subprocess
import time
from pathlib import Path

import pytest

from harness.engine.cluster import GONE_S
from harness.errors import Exit
from harness.store import Store
from tests.cli.conftest import command
from tests.cluster.clusters import Cluster, cluster
from tests.cluster.walks import WALK, install_walks
from tests.faults.ledger import Entry, enter
from tests.faults.proof import account, quiet
from tests.toy import Toy, job
from tests.waiting import HANG_S

EPOCHS = 60
"""Of 0.4 s; two trials at a time of three, so that one is left whatever the others still do."""

END_S = 30.0
"""Beside the time that a head is given to come back: Ray's own end, on a busy machine. In all it
stays below the 60 s after which Ray aborts the process."""


def whole(lost: Cluster) -> None:
    """The machine: the head, its raylet and workers."""
    lost.head.kill()


def gcs_alone(lost: Cluster) -> None:
    """The one process that knows the cluster; raylet and workers go on for a while."""
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        words = path.read_bytes().split(b"\0") if path.exists() else []
        if words[0].endswith(b"gcs_server") and str(lost.folder).encode() in b" ".join(words):
            os.kill(int(path.parent.name), signal.SIGKILL)
            return
    pytest.fail("no gcs_server of the cluster's")


@pytest.mark.chaos
@pytest.mark.parametrize("lose", [whole, gcs_alone])
def test_a_run_whose_head_is_gone_says_so_and_its_workspace_resumes(
    lose: object, tmp_path: Path
) -> None:
    manifest, workspace, packages = (tmp_path / name for name in ("walk.yaml", "results", "lib"))
    install_walks(packages)
    slow = WALK.replace("sleep_s: {value: 0.0", "sleep_s: {value: 0.4")
    manifest.write_text(slow.replace("epochs: {value: 10", f"epochs: {{value: {EPOCHS}"))
    arguments = ("run", manifest, "--workspace", workspace, "--tracking-uri", "none")
    with cluster("--num-cpus", "2") as lost:
        environment = lost.environment | {"PYTHONPATH": str(packages)}
        driver = subprocess.Popen(
            command(*arguments, "--address", lost.address),
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        _await_epochs(workspace, driver)
        lose(lost)  # type: ignore[operator]
        began = time.monotonic()
        _, said = driver.communicate(timeout=HANG_S)
        took_s = time.monotonic() - began
    assert driver.returncode == Exit.INCOMPLETE, said
    assert "the head of the Ray cluster is gone" in " ".join(said.split())
    assert "Traceback" not in said
    assert took_s < GONE_S + END_S
    store = Store(workspace)
    assert not all(store.done(trial_id) for trial_id in store.trials())
    again = subprocess.run(
        command(*arguments), env=environment, capture_output=True, text=True, check=False
    )
    assert again.returncode == Exit.AS_EXPECTED, again.stderr
    walks = [job(seed, epochs=EPOCHS, sleep_s=0.4) for seed in range(3)]
    found = account(store, {each.spec.id: quiet(each, Toy()) for each in walks})
    enter(Entry("Ray's head gone", 1, 1, found))
    assert found.sound, found


def _await_epochs(workspace: Path, driver: "subprocess.Popen[str]") -> None:
    until = time.monotonic() + 120
    while not any(path.read_bytes().count(b"\n") > 5 for path in _records(workspace)):
        assert driver.poll() is None, driver.communicate()
        assert time.monotonic() < until
        time.sleep(0.1)


def _records(workspace: Path) -> list[Path]:
    return list(workspace.glob("trials/*/records.jsonl"))
