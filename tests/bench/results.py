"""Figures of speed: what was measured, what it must keep to, and how a list of them is kept."""

import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median
from typing import Any, Self

RATIO = "x"
"""The unit of what may be compared between machines; nothing else is."""


@dataclass(frozen=True, kw_only=True)
class Figure:
    """One number of the table."""

    group: str
    """The part of the table in which it stands."""
    name: str
    value: float
    """The median, where there were several rounds."""
    unit: str = RATIO
    low: float | None = None
    """The smallest of the rounds."""
    high: float | None = None
    at_least: float | None = None
    """What it must reach, if anything was promised."""
    at_most: float | None = None
    note: str = ""
    series: str = ""
    """The line of its group's plot to which it belongs, if it is drawn."""
    x: float | None = None
    """Where it stands on that line: cores, trials."""

    @classmethod
    def of(cls, values: Iterable[float], **said: Any) -> Self:
        """The median and the range of some rounds."""
        rounds = sorted(values)
        if len(rounds) == 1:
            return cls(value=rounds[0], **said)
        return cls(value=median(rounds), low=rounds[0], high=rounds[-1], **said)

    @property
    def holds(self) -> bool | None:
        """Whether the promise is kept; None if there is none."""
        if self.at_least is not None:
            return self.value >= self.at_least
        return None if self.at_most is None else self.value <= self.at_most

    def against(self, baseline: "Figure") -> float | None:
        """How much better than the baseline's, as a ratio; None of what is no ratio."""
        if self.unit != RATIO or baseline.unit != RATIO:
            return None
        better = self.value / baseline.value
        return 1 / better if self.at_most is not None else better


def save(path: Path, machine: dict[str, str], figures: Iterable[Figure]) -> None:
    """Write figures as `load` reads them, with the machine on which they were taken."""
    kept = [
        {name: value for name, value in asdict(figure).items() if value not in (None, "")}
        for figure in figures
    ]
    text = json.dumps({"machine": machine, "figures": kept}, indent=1)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text + "\n", encoding="utf-8")


def load(path: Path) -> tuple[dict[str, str], list[Figure]]:
    """The machine and the figures of a file, ours or pytest-benchmark's."""
    document = json.loads(path.read_text(encoding="utf-8"))
    if "benchmarks" not in document:
        return document["machine"], [Figure(**each) for each in document["figures"]]
    runs = document["benchmarks"]
    figures = [Figure(**each) for run in runs for each in run["extra_info"].get("figures", [])]
    return document["machine_info"]["harness"], figures


def merge(lists: Sequence[Sequence[Figure]]) -> list[Figure]:
    """All figures, group by group; one that was measured again takes the earlier one's place."""
    merged = {(each.group, each.name): each for figures in lists for each in figures}
    groups = list(dict.fromkeys(group for group, _ in merged))
    return sorted(merged.values(), key=lambda figure: groups.index(figure.group))
