"""Processes by a mark in their environment, which every child inherits: none of them can hide."""

import os
import time
from pathlib import Path

MARK = "RAY_TESTS_FAULTS_MARK"
"""Named as Ray's own are: a trial sees those, and hands them on to its children."""


def marked(mark: str) -> dict[int, str]:
    """The command of every living process that was started under the mark, by pid."""
    found = {}
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit() and int(folder.name) != os.getpid():
            try:
                if f"{MARK}={mark}".encode() in (folder / "environ").read_bytes().split(b"\0"):
                    found[int(folder.name)] = _title((folder / "cmdline").read_bytes())
            except OSError:  # it ended meanwhile, or is a zombie
                continue
    return found


def _title(words: bytes) -> str:
    """The command as it was called, or what the process calls itself."""
    return words.replace(b"\0", b" ").decode(errors="replace").strip()[:120]


def listening(pids: set[int]) -> set[str]:
    """The addresses, as the kernel writes them, on which any of the processes listens for TCP."""
    sockets = set()
    for pid in pids:
        try:
            for link in Path(f"/proc/{pid}/fd").iterdir():
                sockets.add(os.readlink(link))
        except OSError:  # as above
            continue
    addresses = set()
    for table in ("tcp", "tcp6"):
        for line in Path(f"/proc/net/{table}").read_text().splitlines()[1:]:
            words = line.split()
            if words[3] == "0A" and f"socket:[{words[9]}]" in sockets:
                addresses.add(words[1].split(":")[0])
    return addresses


def send(pid: int, *signals: int, pause_s: float = 0.0) -> bool:
    """Send one signal after another; whether the process was there."""
    try:
        for number, each in enumerate(signals):
            if number:
                time.sleep(pause_s)
            os.kill(pid, each)
    except ProcessLookupError:
        return False
    return True
