"""SIGINT and SIGTERM: the first asks for an orderly stop, the second ends the process at once."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from harness.errors import Exit


class Stop(threading.Event):
    """Set by the first signal; `exit_code` says which it was."""

    exit_code: Exit = Exit.AS_EXPECTED


@contextmanager
def stop_on_signals() -> Iterator[Stop]:
    """An event that SIGINT or SIGTERM sets, for as long as the context lasts."""
    stop = Stop()
    codes = {signal.SIGINT: Exit.INTERRUPTED, signal.SIGTERM: Exit.TERMINATED}
    before = {number: signal.getsignal(number) for number in codes}

    def ask(number: int, _frame: FrameType | None) -> None:
        stop.exit_code = codes[signal.Signals(number)]
        stop.set()
        # Whoever asks twice does not want to wait: the usual handlers are back.
        for each in codes:
            signal.signal(each, signal.SIG_DFL)

    for number in codes:
        signal.signal(number, ask)
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
