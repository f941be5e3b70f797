"""The driver's list of nodes while the head does not answer."""

import threading
from typing import Any

import pytest

from harness.engine import nodes


def node(name: str, *, alive: bool = True) -> dict[str, Any]:
    return {
        "NodeID": name,
        "Alive": alive,
        "Resources": {"CPU": 2.0},
        "NodeManagerAddress": "10.0.0.1",
        "NodeManagerHostname": name,
    }


@pytest.fixture
def table(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """What the head answers; every look asks again."""
    answer = [node("a"), node("b", alive=False)]
    monkeypatch.setattr(nodes, "_table", lambda: list(answer))
    monkeypatch.setattr(nodes, "autoscales", lambda: False)
    monkeypatch.setattr(nodes, "_FRESH_S", -1.0)
    return answer


def test_a_node_that_comes_or_goes_is_seen(table: list[dict[str, Any]]) -> None:
    seen = nodes.Nodes()
    assert (seen.has("a"), seen.has("b"), seen.has("c")) == (True, False, False)
    table[:] = [node("a", alive=False), node("c")]
    assert (seen.has("a"), seen.has("b"), seen.has("c")) == (False, False, True)
    assert seen.name("a") == "node 10.0.0.1 (a)"


def test_a_head_that_never_answers_does_not_stop_the_driver(
    table: list[dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = nodes.Nodes()
    answers = threading.Event()

    def silent() -> list[dict[str, Any]]:
        answers.wait()
        return table

    monkeypatch.setattr(nodes, "_table", silent)
    monkeypatch.setattr(nodes, "_QUERY_S", 0.05)
    assert seen.has("a")  # as the head said last
    assert seen.can_meet((1.0, 0.0))
    assert not seen.may_grow()
    table[:] = [node("c")]
    answers.set()
    assert seen.has("c")


def test_an_error_of_the_query_reaches_the_driver(
    table: list[dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = nodes.Nodes()

    def broken() -> list[dict[str, Any]]:
        raise RuntimeError("not connected")

    monkeypatch.setattr(nodes, "_table", broken)
    with pytest.raises(RuntimeError, match="not connected"):
        seen.has("a")


@pytest.mark.parametrize(
    ("cpus", "gpus", "asked", "count"),
    [
        (16, 0, (1.0, 0.0), 16),
        (2, 0, (1.5, 0.0), 1),
        (2, 0, (4.0, 0.0), 0),
        (16, 2, (1.0, 0.3333), 6),
        (4, 8, (1.0, 1.0), 4),
        (0.3, 0, (0.1, 0.0), 3),
    ],
)
def test_a_node_holds_as_many_trials_as_its_scarcest_resource(
    cpus: float, gpus: float, asked: tuple[float, float], count: int
) -> None:
    assert nodes._holds({"Resources": {"CPU": cpus, "GPU": gpus}}, asked) == count
