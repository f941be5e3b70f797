"""Check every second whether the cluster's head still answers.

Ray aborts a process that has lost the head for too long.
"""

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from harness.engine.awake import awake_s
from harness.errors import ResourceError

_EVERY_S = 1.0

GONE_S = 20.0
"""Seconds without an answer after which the head counts as gone. Ray itself aborts the driver after
60 s, so the driver must end before that. If the head comes back sooner, the driver goes on. Time in
which this process was stopped does not count."""


class HeadWatch:
    """A thread that asks the head every second whether it is alive."""

    def __init__(self, address: str) -> None:
        self._address = address
        self._answered_s = awake_s()
        self._closed = threading.Event()
        self._thread = threading.Thread(target=self._ask, name="head", daemon=True)
        self._thread.start()

    def answers(self) -> bool:
        """Return whether the head answered lately. While it does not, the driver starts nothing.

        Raises:
            ResourceError: it has not answered for `GONE_S` seconds.
        """
        if self.gone():
            raise ResourceError(
                f"{self._address}: the head of the Ray cluster is gone: no answer for "
                f"{GONE_S:g} s; what was recorded stays, and the same command goes on from it"
            )
        return self._unanswered_s() < 3 * _EVERY_S

    def gone(self) -> bool:
        """Return whether the head has not answered for `GONE_S` seconds."""
        return self._unanswered_s() > GONE_S

    def close(self) -> None:
        """Stop asking."""
        self._closed.set()
        self._thread.join()

    def _unanswered_s(self) -> float:
        return awake_s() - self._answered_s

    def _ask(self) -> None:
        while not self._closed.wait(_EVERY_S):
            awake_s()  # read often, so that a long gap means that the process was stopped
            if _listens(self._address, timeout_s=_EVERY_S):
                self._answered_s = awake_s()


@contextmanager
def watching_head(address: str) -> Iterator[HeadWatch]:
    """Watch the head at host:port while the context lasts."""
    watch = HeadWatch(address)
    try:
        yield watch
    finally:
        watch.close()


def _listens(address: str, *, timeout_s: float) -> bool:
    """Whether something accepts a connection at host:port."""
    host, _, port = address.rpartition(":")
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=timeout_s).close()
    except (OSError, OverflowError):
        return False
    return True
