"""What was injected and what became of the records, told at the end of the run of the tests."""

import json
import os
import statistics
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path

from tests.faults.proof import Account

FILE = os.environ.get("HARNESS_CHAOS_LEDGER")
"""Where entries are added for whoever reckons up several runs."""


@dataclass(frozen=True)
class Entry:
    """One kind of fault."""

    fault: str
    injected: int
    survived: int
    account: Account
    again_s: tuple[float, ...] = ()
    """Seconds from each fault to the next record."""

    def __str__(self) -> str:
        times = f"; going on after {span(self.again_s)}" if self.again_s else ""
        return f"{self.fault} ({self.injected}x): {self.account}{times}"


ENTRIES: list[Entry] = []


def enter(entry: Entry) -> None:
    """Keep an entry, in the file too if there is one."""
    ENTRIES.append(entry)
    if FILE:
        with Path(FILE).open("a", encoding="utf-8") as file:
            file.write(json.dumps(asdict(entry)) + "\n")


def merged(entries: Iterable[Entry]) -> list[Entry]:
    """One entry for each kind of fault."""
    kinds: dict[str, Entry] = {}
    for each in entries:
        so_far = kinds.get(each.fault, Entry(each.fault, 0, 0, Account()))
        kinds[each.fault] = Entry(
            each.fault,
            so_far.injected + each.injected,
            so_far.survived + each.survived,
            so_far.account + each.account,
            so_far.again_s + each.again_s,
        )
    return list(kinds.values())


def read(path: Path) -> list[Entry]:
    """The entries of a file."""
    found = map(json.loads, path.read_text(encoding="utf-8").splitlines())
    return [
        Entry(**{**each, "account": Account(**each["account"]), "again_s": tuple(each["again_s"])})
        for each in found
    ]


def totals(entries: Iterable[Entry]) -> list[str]:
    """The sums, in words."""
    entries = list(entries)
    whole = sum((each.account for each in entries), Account())
    times = [time for each in entries for time in each.again_s]
    return [
        f"faults injected: {sum(each.injected for each in entries)}",
        f"survived: {sum(each.survived for each in entries)}",
        f"values kept: {whole.kept}, lost: {whole.lost}, wrong: {whole.wrong}",
        f"epochs doubled: {whole.doubled}",
        f"trials wrongly blamed on the method: {whole.blamed}",
        f"from fault to going on: {span(times) if times else 'not measured'}",
    ]


def span(times_s: Iterable[float]) -> str:
    """Median and longest."""
    times_s = sorted(times_s)
    return f"{statistics.median(times_s):.1f} s (at most {times_s[-1]:.1f} s)"
