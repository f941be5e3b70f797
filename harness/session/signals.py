"""Stop in order on SIGINT, SIGTERM and SIGHUP; a second signal ends the process at once."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from harness.errors import Exit

_CODES = {
    signal.SIGINT: Exit.INTERRUPTED,
    signal.SIGTERM: Exit.TERMINATED,
    # The terminal or the ssh session closed. Scripts treat it as SIGTERM.
    signal.SIGHUP: Exit.TERMINATED,
}


class Stop(threading.Event):
    """An event that the first signal sets; `exit_code` says which signal it was."""

    exit_code: Exit = Exit.AS_EXPECTED


@contextmanager
def stop_on_signals() -> Iterator[Stop]:
    """Provide an event that SIGINT, SIGTERM or SIGHUP sets, for as long as the context lasts.

    A signal that the caller ignores stays ignored: `nohup` ignores SIGHUP so that a study goes on.
    Python lets only the main thread handle signals; in any other thread the event is never set.
    """
    stop = Stop()
    if threading.current_thread() is not threading.main_thread():
        yield stop
        return
    before = {number: signal.getsignal(number) for number in _CODES}
    handled = [number for number, handler in before.items() if handler is not signal.SIG_IGN]

    def ask(number: int, _frame: FrameType | None) -> None:
        stop.exit_code = _CODES[signal.Signals(number)]
        stop.set()
        # The default handlers are back, so a second signal ends the process at once.
        for handled_signal in handled:
            signal.signal(handled_signal, signal.SIG_DFL)

    for number in handled:
        signal.signal(number, ask)
    try:
        yield stop
    finally:
        for number in handled:
            signal.signal(number, before[number])
