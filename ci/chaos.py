"""A small suite under random faults for some minutes; then what must hold is proved.

    python ci/chaos.py --minutes 6 --seed 0

Real drivers, real Ray, real MLflow; workers, drivers and the node are killed, files damaged, the
disk filled and databases locked, in an order that follows from the seed. Exit 1 if a record was
lost, doubled or made up, a trial left undone, a run left RUNNING, MLflow unlike the store, or a
process left alive.
"""

import argparse
import os
import random
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from tests.faults import ledger
from tests.faults.disks import mounted
from tests.faults.ledger import Entry
from tests.faults.processes import send
from tests.faults.storm import Snapshot, Storm, suite, truth
from tests.faults.world import World

DISK_KIB = 256 * 1024


def main(arguments: list[str]) -> int:
    """Rounds until the time is up; the exit code."""
    asked = _asked(arguments)
    until_s = time.monotonic() + 60 * asked.minutes
    chance = random.Random(asked.seed)
    entries: list[Entry] = []
    broken: list[str] = []
    expected: Snapshot | None = None
    number = 0
    while time.monotonic() < until_s and not broken:
        number += 1
        with _world() as (world, room):
            suite(world)
            expected = expected or truth(world)
            print(f"round {number}: {len(expected)} trials", flush=True)
            storm = Storm(world, chance, room, _say)
            storm.rage(until_s)
            entries += storm.prove(expected)
            broken += storm.broken
    _tell(entries, broken, asked)
    return 1 if broken or not entries else 0


def _asked(arguments: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--minutes", type=float, default=6.0)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--ledger", type=Path, help="what the tests entered, to be reckoned in")
    return parser.parse_args(arguments)


@contextmanager
def _world() -> Iterator[tuple[World, bool]]:
    """A world of its own, its workspace on a small disk if we may mount one."""
    folder = Path(tempfile.mkdtemp(prefix="chaos-"))
    world = World(folder)
    root = os.getuid() == 0
    try:
        with mounted(world.workspace, kib=DISK_KIB) if root else nullcontext(False) as room:
            yield world, bool(room)
    finally:
        for pid in world.processes():  # none, unless a fault of our own ended this
            send(pid, signal.SIGKILL)
        shutil.rmtree(folder, ignore_errors=True)
        shutil.rmtree(world.temp, ignore_errors=True)


def _say(fault: str) -> None:
    print(f"  {time.strftime('%H:%M:%S')} {fault}", flush=True)


def _tell(entries: list[Entry], broken: list[str], asked: argparse.Namespace) -> None:
    print(f"\nrandom faults, seed {asked.seed}, {asked.minutes:g} minutes: kept / lost / doubled")
    merged = ledger.merged(entries)
    for entry in merged:
        print(f"  {entry}")
    before = ledger.read(asked.ledger) if asked.ledger and asked.ledger.exists() else []
    print(f"\ntotals{', with those of the tests' if before else ''}")
    for line in ledger.totals([*before, *merged]):
        print(f"  {line}")
    for invariant in broken:
        print(f"BROKEN: {invariant}")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
