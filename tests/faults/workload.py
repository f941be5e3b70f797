"""The toy workload with the ruder faults: what a method may do to the process it runs in."""

import asyncio
import os
import resource
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from harness.workload import Context
from tests.toy import Toy, Walk

PRINTED = "spam "
PRINTED_BYTES = 4 << 20
FORGOTTEN = "forgotten"
"""Suffix of the file, beside the marker, that holds the pid of a child left behind."""

_GIB = 1 << 30
_HOUR_NS = 3_600_000_000_000


class MuteError(Exception):
    """Has no words for itself."""

    def __str__(self) -> str:
        raise RuntimeError("no words")


class RudeWalk(Walk):
    """One random walk that does not behave."""

    def _strike(self) -> None:
        marker = Path(self.parameters.marker) if self.parameters.marker else None
        if marker and marker.exists():
            return
        super()._strike()
        match self.parameters.fault:
            case "memory":
                _exhaust()
            case "torch memory":
                _exhaust_torch()
            case "vanish":
                os._exit(1)
            case "abort":
                os.abort()
            case "print":
                _flood()
            case "fork":
                _fork(Path(f"{marker}.{FORGOTTEN}"))
            case "clock":
                _jump(-30 * _HOUR_NS if self.count % 2 else 900 * _HOUR_NS)
            case "mute":
                raise MuteError
            case "long":
                raise RuntimeError("long " * 1_000_000)
            case "surrogate":
                raise ValueError("no such word: " + os.fsdecode(b"caf\xe9"))
            case "cancelled":
                raise asyncio.CancelledError("given up")


def _exhaust() -> None:
    """Ask for more memory than the process may have, as under a cgroup or `ulimit -v`."""
    before = resource.getrlimit(resource.RLIMIT_AS)
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    room = pages * resource.getpagesize() + _GIB // 2
    resource.setrlimit(resource.RLIMIT_AS, (room, before[1]))
    try:
        np.ones(_GIB)
    finally:
        resource.setrlimit(resource.RLIMIT_AS, before)


def _exhaust_torch() -> None:
    import torch  # noqa: PLC0415 - takes seconds

    torch.empty(1 << 50)


def _flood() -> None:
    """Megabytes on both outputs, by Python's files and past them."""
    text = PRINTED * (PRINTED_BYTES // len(PRINTED))
    for number, file in ((1, sys.stdout), (2, sys.stderr)):
        print(text, file=file, flush=True)
        os.write(number, text.encode())


def _fork(note: Path) -> None:
    """Leave a child behind that has no end of its own."""
    child = os.fork()
    if child == 0:
        time.sleep(3600)
        os._exit(0)
    note.write_text(str(child))


def _jump(by_ns: int) -> None:
    """Set this process's clock, as an administrator or a time server does."""
    now_ns, now_s = time.time_ns, time.time
    time.time_ns = lambda: now_ns() + by_ns
    time.time = lambda: now_s() + by_ns / 1e9


@dataclass(frozen=True)
class Rude(Toy):
    """The workload."""

    name: str = "rude"

    def start(self, parameters: Any, context: Context) -> Walk:
        walk = super().start(parameters, context)
        return RudeWalk(walk.parameters, walk.context, walk.environment, walk.rng)


RUDE = Rude()
