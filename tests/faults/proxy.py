"""What stands between a driver and MLflow's server, and may fail."""

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from enum import Enum


class Mode(Enum):
    """What becomes of a call."""

    PASS = "pass"
    REFUSE = "refuse"
    BROKEN = "500"


class Proxy:
    """Hands calls on to a server on this machine, for as long as its mode says so."""

    def __init__(self, port: int) -> None:
        self._upstream = port
        self._mode = Mode.PASS
        self._open: set[socket.socket] = set()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.uri = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        self.passed = 0
        """Connections that were handed on."""
        self.refused = 0
        """Connections that were not."""
        threading.Thread(target=self._accept, daemon=True).start()

    def set(self, mode: Mode) -> None:
        """From now on; connections that are open are cut."""
        self._mode = mode
        for each in list(self._open):
            _close(each)

    def close(self) -> None:
        """Answer nobody any more."""
        _close(self._listener)
        self.set(Mode.REFUSE)

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:  # closed
                return
            self._open.add(client)
            threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        if self._mode is Mode.PASS:
            self.passed += 1
            server = socket.create_connection(("127.0.0.1", self._upstream))
            self._open.add(server)
            threading.Thread(target=_pump, args=(server, client), daemon=True).start()
            _pump(client, server)
            self._open -= {client, server}
            return
        self.refused += 1
        if self._mode is Mode.BROKEN:
            with suppress(OSError):
                client.recv(65536)
                client.sendall(b"HTTP/1.1 500 No\r\nContent-Length: 2\r\n\r\nno")
        _close(client)
        self._open.discard(client)


@contextmanager
def proxy(port: int) -> Iterator[Proxy]:
    """A proxy for as long as the context lasts."""
    made = Proxy(port)
    try:
        yield made
    finally:
        made.close()


def _pump(source: socket.socket, sink: socket.socket) -> None:
    with suppress(OSError):
        while data := source.recv(65536):
            sink.sendall(data)
    _close(source)
    _close(sink)


def _close(each: socket.socket) -> None:
    with suppress(OSError):
        each.shutdown(socket.SHUT_RDWR)
    each.close()
