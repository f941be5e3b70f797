"""Signals that ask for an orderly stop."""

import os
import signal
from collections.abc import Iterator

import pytest

from harness.errors import Exit
from harness.session.runner import stop_on_signals


@pytest.fixture(autouse=True)
def _handlers(_heeds_a_closed_terminal: None) -> Iterator[None]:
    """Put back what pytest itself handles."""
    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    before = {number: signal.getsignal(number) for number in numbers}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.mark.parametrize(
    ("number", "code"),
    [
        (signal.SIGINT, Exit.INTERRUPTED),
        (signal.SIGTERM, Exit.TERMINATED),
        (signal.SIGHUP, Exit.TERMINATED),
    ],
)
def test_the_first_signal_asks_to_stop_and_a_second_would_end_the_process(
    number: signal.Signals, code: Exit
) -> None:
    with stop_on_signals() as stop:
        os.kill(os.getpid(), number)
        assert stop.wait(60)
        assert stop.exit_code is code
        assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL


def test_under_nohup_a_closed_terminal_stops_nothing() -> None:
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    with stop_on_signals() as stop:
        os.kill(os.getpid(), signal.SIGHUP)
        assert not stop.is_set()
        os.kill(os.getpid(), signal.SIGTERM)
        assert stop.wait(60)
        assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
