"""Signals once and twice, and a driver killed at random moments."""

import os
import random
import signal
import time

import pytest

from harness.errors import Exit
from tests.faults.ledger import Entry, enter
from tests.faults.proof import account, amiss_in_mlflow, quiet
from tests.faults.workload import RUDE
from tests.faults.world import World
from tests.tracking.test_server import bad_server
from tests.waiting import HANG_S, eventually

KILLS = 20

GONE_S = 6.0
"""How long the head may be silent in the test of a pause, which lasts longer."""


@pytest.mark.usefixtures("_heeds_a_closed_terminal")
def test_a_pause_is_no_loss_of_the_head_and_a_closed_terminal_stops_in_order(world: World) -> None:
    """Ctrl-Z and `fg` in the middle of a run; then its terminal is closed.

    Both signals go to the whole process group, Ray's processes among it, as a terminal's do.
    """
    world.walk(epochs=20_000, sleep_s=0.02)
    driver = world.start("run", "--tracking-uri", "none", group=True, TESTS_HEAD_GONE_S=str(GONE_S))
    assert eventually(lambda: world.recorded() > 2000 or driver.poll() is not None)
    assert driver.poll() is None, driver.communicate()
    os.killpg(driver.pid, signal.SIGSTOP)
    time.sleep(GONE_S + 3)
    before = world.recorded()
    os.killpg(driver.pid, signal.SIGCONT)
    assert eventually(lambda: world.recorded() > before + 2000 or driver.poll() is not None)
    assert driver.poll() is None, driver.communicate()
    os.killpg(driver.pid, signal.SIGHUP)
    output, _ = driver.communicate(timeout=HANG_S)
    assert driver.returncode == Exit.TERMINATED, output
    assert "the same command goes on" in output
    assert world.processes() == {}
    assert list(world.temp.iterdir()) == []


@pytest.mark.chaos
@pytest.mark.parametrize(
    ("first", "second"),
    [
        (signal.SIGINT, signal.SIGINT),
        (signal.SIGTERM, signal.SIGTERM),
        (signal.SIGINT, signal.SIGTERM),
    ],
)
def test_a_second_signal_does_not_wait_and_the_workspace_resumes(
    world: World, first: signal.Signals, second: signal.Signals
) -> None:
    """A driver whose orderly stop takes long, since MLflow's server hangs, is told twice."""
    world.walk(epochs=150, sleep_s=0.02)
    truth = {each.spec.id: quiet(each, RUDE) for each in world.jobs()}
    with bad_server(delay_s=60) as uri:
        driver = world.start("run", "--tracking-uri", uri)
        assert eventually(lambda: world.recorded() > 2000)
        driver.send_signal(first)
        with pytest.raises(TimeoutError):
            _ended_within(driver, 3)
        driver.send_signal(second)
        driver.communicate(timeout=30)  # half of what the server would hold it up
        assert driver.returncode == -second  # 128 + its number, to a shell
    again_s = world.going_on()
    found = account(world.store, truth)
    enter(Entry(f"{first.name}, then {second.name}", 2, 2, found, (again_s,)))
    assert found.sound
    assert amiss_in_mlflow(world.workspace, world.store, truth) == []


def _ended_within(driver: object, limit_s: float) -> None:
    if not eventually(lambda: driver.poll() is not None, limit_s):  # type: ignore[attr-defined]
        raise TimeoutError


@pytest.mark.chaos
def test_a_driver_killed_twenty_times_at_random_moments_records_every_epoch_once(
    world: World,
) -> None:
    chance = random.Random(5)
    world.walk(epochs=6000, seeds="0-2", sleep_s=0.01)
    truth = {each.spec.id: quiet(each, RUDE) for each in world.jobs()}
    waits: list[float] = []
    killed = time.monotonic()
    for _ in range(KILLS):
        before = world.recorded()
        driver = world.start("run")
        if chance.random() < 0.3:  # while it starts, or as it takes up its trials
            time.sleep(chance.uniform(0, 6))
        else:
            assert eventually(lambda before=before: world.recorded() != before, 90)
            waits.append(time.monotonic() - killed)
            time.sleep(chance.uniform(0, 3))
        assert driver.poll() is None, driver.communicate()
        driver.send_signal(signal.SIGKILL)
        driver.communicate()
        killed = time.monotonic()
    waits.append(world.going_on())
    found = account(world.store, truth)
    enter(Entry("driver kill -9", KILLS, KILLS, found, tuple(waits)))
    assert found.sound
    assert amiss_in_mlflow(world.workspace, world.store, truth) == []
