"""MLflow's server that fails in the middle, and a machine that has too little memory."""

import time
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from tests.faults.ledger import Entry, enter
from tests.faults.proof import account, amiss_in_mlflow, quiet
from tests.faults.proxy import Mode, proxy
from tests.faults.workload import RUDE
from tests.faults.world import World
from tests.tracking.test_server import bad_server, free_port, real_server
from tests.waiting import HANG_S, eventually

pytestmark = pytest.mark.chaos

SLOW_S = 30


def test_a_server_that_fails_in_the_middle_gets_all_of_it_in_the_end(
    world: World, tmp_path: Path
) -> None:
    """Connections cut and refused, then answers of 500, then a server again."""
    world.walk(epochs=1500, sleep_s=0.02)
    truth = {each.spec.id: quiet(each, RUDE) for each in world.jobs()}
    served = tmp_path / "served"
    (served / "mlflow").mkdir(parents=True)
    with real_server(served) as uri, proxy(int(urlsplit(uri).port or 0)) as between:
        driver = world.start("run", "--tracking-uri", between.uri)
        assert eventually(lambda: between.passed > 0, 60)
        for mode in (Mode.REFUSE, Mode.BROKEN):
            met = between.refused
            between.set(mode)
            assert eventually(lambda met=met: between.refused > met, 60)
        between.set(Mode.PASS)
        output, _ = driver.communicate(timeout=HANG_S)
        assert driver.returncode == 0, output
        assert output.count("does not work for now") <= 1
        synced = world.run("sync", "--tracking-uri", uri)
        assert synced.returncode == 0, synced.stdout
    found = account(world.store, truth)
    enter(Entry("MLflow's server cut off and broken", 2, 2, found))
    assert found.sound
    assert amiss_in_mlflow(served, world.store, truth) == []


@pytest.mark.parametrize("how", ["down", "500", "slow"])
def test_a_server_that_never_works_costs_a_bounded_time_and_no_record(
    world: World, how: str
) -> None:
    world.walk(epochs=100, sleep_s=0.02)
    truth = {each.spec.id: quiet(each, RUDE) for each in world.jobs()}
    began = time.monotonic()
    untracked = world.run("run", "--tracking-uri", "none", "--workspace", world.folder / "quiet")
    alone_s = time.monotonic() - began
    assert untracked.returncode == 0, untracked.stdout
    with bad_server(delay_s=SLOW_S if how == "slow" else 0) as broken:
        uri = f"http://127.0.0.1:{free_port()}" if how == "down" else broken
        began = time.monotonic()
        run = world.run("run", "--tracking-uri", uri)
        with_trouble_s = time.monotonic() - began
    assert run.returncode == 0, run.stdout
    assert run.stdout.count("does not work for now") == 1
    # The last drain may take 30 s; the rest is MLflow's import on a machine that may be busy.
    assert with_trouble_s < 2 * alone_s + 30 + 30
    found = account(world.store, truth)
    enter(Entry(f"MLflow's server {how}", 1, 1, found))
    assert found.sound
    synced = world.run("sync")
    assert synced.returncode == 0, synced.stdout
    assert amiss_in_mlflow(world.workspace, world.store, truth) == []


def test_workers_ended_for_want_of_memory_are_no_verdict_and_the_workspace_resumes(
    world: World,
) -> None:
    """Ray's own monitor ends every worker, since it is told that 1 % of the memory is all."""
    world.walk(epochs=100, sleep_s=0.02)
    truth = {each.spec.id: quiet(each, RUDE) for each in world.jobs()}
    tight = {"RAY_memory_usage_threshold": "0.01", "RAY_memory_monitor_refresh_ms": "100"}
    lost = world.run("run", "--retries", "1", **tight)
    assert lost.returncode == 4, lost.stdout
    assert "FAILED (OutOfMemoryError" in lost.stdout
    assert "NOT REPRODUCED" not in lost.stdout
    again_s = world.going_on()
    found = account(world.store, truth)
    enter(Entry("worker ended for want of memory", 4, 4, found, (again_s,)))
    assert found.sound
    assert amiss_in_mlflow(world.workspace, world.store, truth) == []
