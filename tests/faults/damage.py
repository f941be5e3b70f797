"""Damage to a trial's files, as disks and people do it."""

import random
import shutil
from collections.abc import Callable
from pathlib import Path

FILES = ("spec.json", "records.jsonl", "checkpoint.pt", "result.json")

Damage = Callable[[Path, Path, random.Random], None]
"""Of a file, given the same file of another trial."""


def truncate(file: Path, _: Path, chance: random.Random) -> None:
    """Cut off the end."""
    whole = file.read_bytes()
    file.write_bytes(whole[: chance.randrange(len(whole) + 1)])


def flip(file: Path, _: Path, chance: random.Random) -> None:
    """Turn one bit."""
    whole = bytearray(file.read_bytes())
    if whole:
        whole[chance.randrange(len(whole))] ^= 1 << chance.randrange(8)
    file.write_bytes(whole)


def swap(file: Path, other: Path, _: random.Random) -> None:
    """Put another trial's in its place."""
    if other.exists():
        shutil.copy(other, file)


def remove(file: Path, _: Path, __: random.Random) -> None:
    """Take it away."""
    file.unlink()


ALL: dict[str, Damage] = {
    "file truncated": truncate,
    "bit flipped": flip,
    "another trial's file": swap,
    "file removed": remove,
}


def strike(workspace: Path, damage: Damage, chance: random.Random) -> bool:
    """Damage some file of some trial; whether there was one."""
    found = sorted(file for name in FILES for file in workspace.glob(f"trials/*/{name}"))
    if not found:
        return False
    file = chance.choice(found)
    others = [each for each in found if each.name == file.name and each != file]
    damage(file, chance.choice(others or [file.with_name("none")]), chance)
    return True
