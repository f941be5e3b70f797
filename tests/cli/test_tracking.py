"""MLflow is opened beside the run, and nothing that is notified meanwhile is lost."""

import sys
from pathlib import Path
from threading import Event
from typing import Any

import pytest

import harness
from harness.plan import Selection
from harness.session import Session, tracking
from harness.store import Store


class Tracker:
    """Notes what it is told."""

    def __init__(self) -> None:
        self.told: list[str] = []
        self.closed = False

    def notify(self, trial_id: str) -> None:
        self.told.append(trial_id)

    def close(self) -> None:
        self.closed = len(self.told) == 3


@pytest.fixture
def session(tmp_path: Path) -> Session:
    return Session((), Selection(), Store(tmp_path))


def test_what_is_notified_before_mlflow_is_open_is_told_before_it_is_closed(
    session: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    tracker, imported = Tracker(), Event()

    def slow(*_: Any) -> Tracker:
        assert imported.wait(60)
        return tracker

    monkeypatch.setattr(tracking, "_tracker", slow)
    with tracking.open_tracking(None, session) as opened:
        for trial in ("a", "b"):
            opened.notify(trial)
        assert tracker.told == []
        imported.set()
        opened.notify("c")
    assert (sorted(tracker.told), tracker.closed) == (["a", "b", "c"], True)


def test_a_fault_of_ours_in_opening_mlflow_is_raised(
    session: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: Any) -> None:
        raise KeyError("a bug")

    monkeypatch.setattr(tracking, "_tracker", broken)
    with pytest.raises(KeyError, match="a bug"), tracking.open_tracking(None, session) as opened:
        opened.notify("a")


def test_a_run_without_mlflow_says_so_and_goes_on(
    session: Session, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setitem(sys.modules, "harness.tracking", None)
    monkeypatch.delattr(harness, "tracking", raising=False)  # as another test may have left it
    with tracking.open_tracking(None, session) as opened:
        opened.notify("a")
        opened.conclude([], None)  # type: ignore[arg-type]
    assert "MLflow cannot be imported" in caplog.text
