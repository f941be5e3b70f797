"""Hosts as network namespaces on this machine, joined by a switch whose links can be cut."""

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from tests.cluster.clusters import absent

NETWORK = "10.77.0"
"""Of the hosts; it exists in their namespaces only."""


@dataclass(frozen=True)
class Host:
    """A namespace with one link."""

    name: str
    address: str
    switch: str

    def inside(self) -> tuple[str, ...]:
        """What goes before a command that is to run there."""
        return ("ip", "netns", "exec", self.name)

    def cut(self) -> None:
        """Pull the plug: nobody is told."""
        _ip("-n", self.switch, "link", "set", self.name, "down")

    def mend(self) -> None:
        """Put it back."""
        _ip("-n", self.switch, "link", "set", self.name, "up")


@contextmanager
def hosts(count: int) -> Iterator[list[Host]]:
    """So many hosts that reach one another and nothing else. Only root can make them."""
    if os.geteuid() != 0 or shutil.which("ip") is None:
        absent("no network namespaces; they take root and, on Debian, apt-get install iproute2")
    switch = f"h{os.getpid()}s"
    made = [Host(f"h{os.getpid()}n{n}", f"{NETWORK}.{n + 1}", switch) for n in range(count)]
    try:
        _ip("netns", "add", switch)
        _ip("-n", switch, "link", "add", "bridge", "type", "bridge")
        _ip("-n", switch, "link", "set", "bridge", "up")
        for host in made:
            _plug_in(host)
        yield made
    finally:
        for name in (switch, *(host.name for host in made)):
            subprocess.run(["ip", "netns", "del", name], check=False, capture_output=True)


def _plug_in(host: Host) -> None:
    _ip("netns", "add", host.name)
    peer = ("peer", "name", "eth0", "netns", host.name)
    _ip("-n", host.switch, "link", "add", host.name, "type", "veth", *peer)
    _ip("-n", host.switch, "link", "set", host.name, "master", "bridge", "up")
    _ip("-n", host.name, "addr", "add", f"{host.address}/24", "dev", "eth0")
    _ip("-n", host.name, "link", "set", "eth0", "up")
    _ip("-n", host.name, "link", "set", "lo", "up")
    _ip("-n", host.name, "route", "add", "default", "dev", "eth0")  # Ray asks which way is out


def _ip(*words: str) -> None:
    subprocess.run(["ip", *words], check=True)


def host_of(pid: int, among: list[Host]) -> Host:
    """Where a process runs."""
    done = subprocess.run(
        ["ip", "netns", "identify", str(pid)], check=True, capture_output=True, text=True
    )
    return next(host for host in among if host.name == done.stdout.strip())
