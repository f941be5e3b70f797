"""A driver in its own process, for tests that kill it: `python -m … FOLDER FAULT [ADDRESS]`."""

import sys
from pathlib import Path

from harness import engine
from harness.plan import Job
from harness.record import Message, Started
from tests.engine.sinks import run
from tests.toy import job


def jobs(folder: Path, fault: str) -> list[Job]:
    """Slow walks; with a fault, one of them is struck once."""
    marker = str(folder / "marker")
    walks = [job(seed, epochs=30, sleep_s=0.05) for seed in range(3)]
    return [*walks, job(3, epochs=5, fault=fault, at=2, marker=marker)] if fault else walks


def note_pid(folder: Path, message: Message) -> None:
    """Leave the worker's pid for whoever wants to see it dead."""
    if isinstance(message, Started):
        (folder / message.provenance.environment.hardware["pid"]).touch()


if __name__ == "__main__":
    folder = Path(sys.argv[1])
    address = sys.argv[3] if len(sys.argv) > 3 else None
    with engine.cluster(address, cpus=2):
        chosen = jobs(folder, sys.argv[2])
        run(folder, chosen[::-1], watch=lambda _, message: note_pid(folder, message))
