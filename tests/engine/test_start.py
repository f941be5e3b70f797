"""Starting Ray, where Ray fails to; watching its head, where this process stood still."""

import importlib
import logging
from pathlib import Path
from typing import Any

import pytest
import ray

from harness.cluster_address import parse_address
from harness.engine.cluster import LONGEST_GAP_S, AwakeClock
from harness.errors import ResourceError

module: Any = importlib.import_module("harness.engine.cluster")
"""The package exports a function of the same name."""

SLOW = Exception("The current node timed out during startup. This could happen because …")


@pytest.fixture
def failures(monkeypatch: pytest.MonkeyPatch) -> list[Exception]:
    """What `ray.init` raises, one call after another; then it starts nothing."""
    raised: list[Exception] = []

    def init(**options: Any) -> None:
        assert options["address"] == "local"
        if raised:
            raise raised.pop(0)

    monkeypatch.setattr(ray, "init", init)
    monkeypatch.setattr(ray, "shutdown", lambda: None)
    return raised


def test_a_start_that_takes_too_long_is_tried_again(
    failures: list[Exception],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr(module, "private_folder", lambda: _Folder(tmp_path))
    failures[:] = [SLOW, RuntimeError("the GCS did not start")]
    with caplog.at_level(logging.WARNING), module.cluster():
        pass
    assert [record.getMessage().split(":")[0] for record in caplog.records] == [
        "Ray did not start (Exception",
        "Ray did not start (RuntimeError",
    ]


def test_a_machine_on_which_ray_never_starts_is_trouble_of_the_machine(
    failures: list[Exception], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "private_folder", lambda: _Folder(tmp_path))
    failures[:] = [SLOW] * len(module.START_S)
    with pytest.raises(ResourceError, match="did not start on this machine in 3 attempts"):
        module.cluster().__enter__()


def test_an_error_of_our_own_is_neither_hidden_nor_tried_again(
    failures: list[Exception], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "private_folder", lambda: _Folder(tmp_path))
    failures[:] = [TypeError("unknown option")]
    with pytest.raises(TypeError):
        module.cluster().__enter__()


class _Folder:
    def __init__(self, path: Path) -> None:
        self._path = path

    def __enter__(self) -> Path:
        return self._path

    def __exit__(self, *_: object) -> None:
        pass


def test_ray_is_given_longer_to_find_its_node(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ray asks once, and the question waits until the node is there or the time is up."""
    asked = 0

    def get_node(*_: object) -> str:
        nonlocal asked
        asked += 1
        if asked < 5:
            raise RuntimeError("not yet")
        return "node"

    monkeypatch.setattr(module.services, "get_node", get_node)
    with module._start_limit(60):
        assert module.services.get_node("address", "id") == "node"
    asked = -1_000_000
    with module._start_limit(0.0), pytest.raises(RuntimeError):
        module.services.get_node("address", "id")
    assert module.services.get_node is get_node


class _Clock:
    now_s = 100.0

    def __call__(self) -> float:
        return self.now_s


def test_the_clock_leaves_out_what_the_process_slept_through() -> None:
    hand = _Clock()
    clock = AwakeClock(hand)
    began_s = clock()
    for _ in range(10):
        hand.now_s += LONGEST_GAP_S
        clock()
    assert clock() - began_s == 10 * LONGEST_GAP_S
    hand.now_s += 3600
    assert clock() - began_s == 10 * LONGEST_GAP_S
    hand.now_s += 1
    assert clock() - began_s == 10 * LONGEST_GAP_S + 1


def test_a_head_is_gone_by_the_time_awake_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    hand = _Clock()
    monkeypatch.setattr(module, "awake_s", AwakeClock(hand))
    monkeypatch.setattr(module, "_EVERY_S", 3600)
    with module.watching_head("127.0.0.1:1") as watch:
        hand.now_s += 40
        assert not watch.gone()
        for _ in range(5):
            hand.now_s += LONGEST_GAP_S
            watch.gone()
        assert watch.gone()
        with pytest.raises(ResourceError, match="is gone"):
            watch.answers()
        watch._closed.set()


def test_auto_asks_every_cluster_of_this_machine_and_waits_for_none(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Another driver's private cluster is found as well, and lets nobody in."""
    heads = {"10.0.0.1:6379": "refused", "10.0.0.2:6379": "", "10.0.0.3:6379": ""}
    monkeypatch.setattr(module.services, "find_bootstrap_address", lambda _: "10.0.0.1:6379")
    monkeypatch.setattr(module.services, "find_gcs_addresses", lambda: set(heads))
    monkeypatch.setattr(
        module, "greeting_fault", lambda host, port, *, timeout_s: heads[f"{host}:{port}"]
    )
    auto = parse_address("auto", named_by="RAY_ADDRESS")
    assert auto is not None
    assert module._running_here(auto).text == "10.0.0.2:6379"
    heads.update(dict.fromkeys(heads, "refused"))
    with pytest.raises(ResourceError, match="RAY_ADDRESS auto: no Ray cluster answers: no cluster"):
        module._running_here(auto)


def test_a_private_cluster_is_not_joined_but_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """It listens at 127.0.0.1 only, and Ray would try this machine's own address for a minute."""
    monkeypatch.setattr(module.services, "get_node_ip_address", lambda: "192.0.2.1")
    monkeypatch.setattr(module.services, "find_bootstrap_address", lambda _: None)
    monkeypatch.setattr(module.ray, "init", lambda **_: pytest.fail("Ray was asked"))
    monkeypatch.setattr(module.services, "find_gcs_addresses", lambda: {"127.0.0.1:6379"})
    answers = {"127.0.0.1": "", "192.0.2.1": "Connection refused"}
    monkeypatch.setattr(module, "greeting_fault", lambda host, *_, **__: answers[host])
    monkeypatch.setattr(module, "reach", lambda _: None)
    for named, said in (("auto", "can be joined"), ("127.0.0.1:6379", "another `harness run`")):
        address = parse_address(named, named_by="--address")
        refused = pytest.raises(ResourceError, match=f"--address {named}: .*{said}")
        with refused, module.cluster(address):
            pytest.fail("it was joined")
