"""A clock that stands still while this process does: after Ctrl-Z, or while the machine sleeps."""

import threading
import time
from collections.abc import Callable

LONGEST_GAP_S = 5.0
"""Two readings of the clock are never further apart while the process runs: the thread that watches
the head reads it every second. A longer gap means that the process stood still."""


class AwakeClock:
    """Seconds by a monotonic clock, without those in which this process stood still.

    Limits that are measured by it do not expire while nobody could have listened. The clock must be
    read at least every `LONGEST_GAP_S` seconds, by any thread.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._read_s = clock()
        self._stood_still_s = 0.0

    def __call__(self) -> float:
        """Return the time in seconds; only differences mean anything."""
        with self._lock:
            now_s = self._clock()
            gap_s = now_s - self._read_s
            if gap_s > LONGEST_GAP_S:
                self._stood_still_s += gap_s
            self._read_s = now_s
            return now_s - self._stood_still_s


awake_s = AwakeClock()
"""The clock of this process. The watch on the head and the deadlines of trials share it."""
