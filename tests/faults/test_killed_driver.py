"""A driver that is killed: no process is left, and the next one removes what lies about."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from filelock import FileLock

from harness.engine.cluster import private_folder, remove_stale
from tests.faults.processes import listening, send
from tests.faults.proof import account, amiss_in_mlflow, quiet
from tests.faults.workload import FORGOTTEN, RUDE
from tests.faults.world import World
from tests.waiting import HANG_S, eventually


def test_a_killed_driver_leaves_no_process_and_no_folder_and_the_next_goes_on(
    world: World,
) -> None:
    world.walk(epochs=150, sleep_s=0.02)
    truth = {each.spec.id: quiet(each, RUDE) for each in world.jobs()}
    driver = world.start("run")
    assert eventually(lambda: world.recorded() > 2000)
    assert listening(set(world.processes())) <= {"0100007F", "0000000000000000FFFF00000100007F"}
    driver.send_signal(signal.SIGKILL)
    driver.communicate()
    assert len(list(world.temp.iterdir())) == 1
    agents = "ray::DashboardAgent", "ray::RuntimeEnvAgent"  # they would end in a minute
    assert eventually(lambda: all(c.startswith(agents) for c in world.processes().values()), 30)
    again = world.run("run")
    assert again.returncode == 0, again.stdout
    assert eventually(lambda: not world.processes()), world.processes()
    assert list(world.temp.iterdir()) == []
    assert account(world.store, truth).sound
    assert amiss_in_mlflow(world.workspace, world.store, truth) == []


def test_only_folders_of_dead_drivers_of_ours_are_removed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    dead, living, beginning, other = (
        tmp_path / name for name in ("harness-dead", "harness-live", "harness-new", "other")
    )
    for folder in (dead, living, beginning, other):
        folder.mkdir()
        (folder / "driver.lock").touch()
    for folder in (dead, living, other):
        (folder / "driver.pid").write_text("1\n")
    (tmp_path / "harness-link").symlink_to(other)
    with FileLock(living / "driver.lock"):
        monkeypatch.setattr(os, "getuid", lambda: -1)
        remove_stale(tmp_path)
        assert dead.exists(), "another user's"
        monkeypatch.undo()
        remove_stale(tmp_path)
    assert not dead.exists()
    assert {path.name for path in tmp_path.iterdir()} == {
        "harness-live",
        "harness-new",
        "harness-link",
        "other",
    }


_HOLDER = """\
import sys
file = open(sys.argv[1], sys.argv[2])
print("open", flush=True)
sys.stdin.read()
"""


@pytest.mark.parametrize(
    ("name", "mode", "ended"),
    [
        ("session/agent.log", "a", True),
        ("session/agent.log", "r", False),
        ("driver.lock", "a", False),
    ],
    ids=["writes", "reads", "looks at the lock"],
)
def test_what_writes_into_a_dead_cluster_is_ended_though_its_environment_tells_nothing(
    tmp_path: Path, name: str, mode: str, ended: bool
) -> None:
    folder = tmp_path / "harness-dead"
    (folder / "session").mkdir(parents=True)
    for each in ("driver.lock", "driver.pid", "session/agent.log"):
        (folder / each).touch()
    agent = subprocess.Popen(
        [sys.executable, "-c", _HOLDER, str(folder / name), mode],
        env={},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    assert agent.stdout is not None
    assert agent.stdout.readline() == b"open\n"
    remove_stale(tmp_path)
    assert not folder.exists()
    agent.communicate()  # whoever lives ends with its input
    assert agent.returncode == (-signal.SIGKILL if ended else 0)


def test_a_driver_leaves_the_folder_of_another_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys.modules[private_folder.__module__], "_LONGEST", 1000)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    with private_folder() as one, private_folder() as two:
        assert one.exists()
        assert one.stat().st_mode & 0o077 == 0
        assert (one / "driver.pid").read_text() == (two / "driver.pid").read_text()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.chaos
@pytest.mark.parametrize("killed", [False, True], ids=["by itself", "killed"])
def test_a_child_that_a_workload_forgot_does_not_outlive_the_run(
    world: World, killed: bool
) -> None:
    marker = world.folder / "marker"
    world.walk(seeds="[0]", epochs=150, sleep_s=0.02, fault="fork", at=3, marker=str(marker))
    # The child holds the worker's sockets open, so that Ray does not see it die: the deadline does.
    driver = world.start("run", "--tracking-uri", "none", "--deadline", "5")
    child = Path(f"{marker}.{FORGOTTEN}")
    assert eventually(lambda: child.exists() and child.read_text())
    assert int(child.read_text()) in world.processes()
    if killed:
        at_work = {pid for pid, title in world.processes().items() if " seed " in title}
        (worker,) = at_work - {int(child.read_text())}
        send(worker, signal.SIGKILL)
    output, _ = driver.communicate(timeout=HANG_S)
    assert driver.returncode == 0, output
    assert eventually(lambda: int(child.read_text()) not in world.processes())
