"""Whether the cluster's head still answers; Ray ends a process from which it has been gone long."""

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

from harness.errors import ResourceError

_EVERY_S = 1.0

GONE_S = 20.0
"""Without an answer for so long, the head is gone. Ray itself aborts the driver after 60 s, so we
must have ended by then; a head that comes back sooner, as it can, finds us waiting."""


class Head:
    """The head's last sign of life, as a thread hears it."""

    def __init__(self, address: str) -> None:
        self._address = address
        self._heard_s = time.monotonic()
        self._closed = threading.Event()
        self._thread = threading.Thread(target=self._listen, name="head", daemon=True)
        self._thread.start()

    def answers(self) -> bool:
        """Whether it answered lately; while it does not, nothing more is handed out.

        Raises:
            ResourceError: it has been silent for too long.
        """
        if self.gone():
            raise ResourceError(
                f"{self._address}: the head of the Ray cluster is gone: no answer for "
                f"{GONE_S:g} s; what was recorded stays, and the same command goes on from it"
            )
        return time.monotonic() - self._heard_s < 3 * _EVERY_S

    def gone(self) -> bool:
        """Whether it has been silent for too long."""
        return time.monotonic() - self._heard_s > GONE_S

    def close(self) -> None:
        """Listen no longer."""
        self._closed.set()
        self._thread.join()

    def _listen(self) -> None:
        while not self._closed.wait(_EVERY_S):
            if reachable(self._address, timeout_s=_EVERY_S) is None:
                self._heard_s = time.monotonic()


@contextmanager
def listening(address: str) -> Iterator[Head]:
    """A head to listen to for as long as the context lasts."""
    head = Head(address)
    try:
        yield head
    finally:
        head.close()


def reachable(address: str, *, timeout_s: float) -> Exception | None:
    """None where something listens at host:port, or else what is wrong."""
    host, _, port = address.rpartition(":")
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=timeout_s).close()
    except (OSError, OverflowError) as error:
        return error
    return None
