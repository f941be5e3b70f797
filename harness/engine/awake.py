"""A clock that stops while this process is stopped by Ctrl-Z, or while the machine sleeps."""

import threading
import time
from collections.abc import Callable

LONGEST_GAP_S = 5.0
"""Longest time between two readings of the clock while the process runs, in seconds. The thread
that watches the head reads the clock every second, so a longer gap means that the process was
stopped."""


class AwakeClock:
    """A monotonic clock in seconds that leaves out the time in which this process was stopped.

    A limit that is measured with this clock cannot expire while the process is stopped. Some thread
    must read the clock at least every `LONGEST_GAP_S` seconds.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._read_s = clock()
        self._stood_still_s = 0.0

    def __call__(self) -> float:
        """Return the time in seconds. Only the difference between two readings has a meaning."""
        with self._lock:
            now_s = self._clock()
            gap_s = now_s - self._read_s
            if gap_s > LONGEST_GAP_S:
                self._stood_still_s += gap_s
            self._read_s = now_s
            return now_s - self._stood_still_s


awake_s = AwakeClock()
"""The clock of this process. The watch on the head and the deadlines of trials share it."""
