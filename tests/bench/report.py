"""The table and the figure of what was measured: `python -m tests.bench.report FILE... --out DIR`.

Files are pytest-benchmark's JSON or the suite's. Where there is a baseline, ratios are compared
with its ratios, and nothing else: exit 1 if one is worse by more than a quarter.
"""

import argparse
import sys
from collections.abc import Iterator, Mapping, Sequence
from itertools import groupby
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.figure import Figure as Canvas

from tests.bench.results import Figure, load, merge, save

BASELINE = Path(__file__).parent / "baseline.json"
WORSE = 0.75
"""Less than this of the baseline's ratio is no noise: spreads here are within a tenth or two."""


def markdown(machine: Mapping[str, str], figures: Sequence[Figure]) -> str:
    """The table, group by group, and what it was taken on."""
    lines = ["| | measured | spread | promised | |", "|---|---|---|---|---|"]
    for group, members in groupby(figures, key=lambda figure: figure.group):
        lines.append(f"| **{group}** | | | | |")
        lines += [_row(figure) for figure in members]
    where = ", ".join(f"{name} {text}" for name, text in machine.items())
    return "\n".join([*lines, "", f"Median and range of the rounds. Taken on: {where}."]) + "\n"


def _row(figure: Figure) -> str:
    spread = ""
    if figure.low is not None and figure.high is not None:
        spread = f"{_number(figure.low)} to {_number(figure.high)}"
    promised = ""
    if figure.at_least is not None:
        promised = f"at least {_number(figure.at_least)}"
    elif figure.at_most is not None:
        promised = f"at most {_number(figure.at_most)}"
    missed = " **missed**" if figure.holds is False else ""
    measured = f"{_number(figure.value)} {figure.unit}{missed}"
    return f"| {figure.name} | {measured} | {spread} | {promised} | {figure.note} |"


def _number(value: float) -> str:
    """Three digits that count."""
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"


def compared(figures: Sequence[Figure], baseline: Sequence[Figure]) -> Iterator[tuple[str, float]]:
    """Each ratio that the baseline has too: how much better it is than there."""
    before = {(each.group, each.name): each for each in baseline}
    for figure in figures:
        old = before.get((figure.group, figure.name))
        change = figure.against(old) if old else None
        if change is not None:
            yield f"{figure.group}: {figure.name}", change


def draw(figures: Sequence[Figure], path: Path) -> None:
    """Steps, trials against cores and checks against trials, side by side."""
    canvas = Canvas(figsize=(13, 4), layout="constrained")
    steps, cores, checks = canvas.subplots(1, 3)
    bars = [each for each in figures if each.group.startswith("A step")]
    names = [each.name.partition(":")[0] for each in bars]
    steps.barh(names, [each.value for each in bars], color="tab:blue")
    steps.axvline(1, color="black", linewidth=1)
    steps.set(title="A step of training", xlabel="times as fast as the plain loop")
    _lines(cores, [each for each in figures if each.x and each.series != "check"], origin=(1, 1))
    cores.axline((1, 1), slope=1, color="black", linewidth=1, linestyle=":")
    cores.set(title="Trials against cores", xlabel="trials at a time", ylabel="throughput")
    _lines(checks, [each for each in figures if each.series == "check"])
    checks.set(title="Checks against trials", xlabel="stored trials of 50 epochs", ylabel="s")
    checks.set_ylim(bottom=0)
    path.parent.mkdir(parents=True, exist_ok=True)
    canvas.savefig(path, dpi=150)


def _lines(
    axes: Axes, figures: Sequence[Figure], *, origin: tuple[float, float] | None = None
) -> None:
    for series in dict.fromkeys(each.series for each in figures):
        points = [(each.x, each.value) for each in figures if each.series == series]
        axes.plot(*zip(*([origin] if origin else []), *points, strict=True), "o-", label=series)
    if figures:
        axes.legend()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("files", type=Path, nargs="+")
    parser.add_argument("--out", type=Path, required=True, help="a folder")
    parser.add_argument("--baseline", type=Path, default=BASELINE)
    parser.add_argument("--accept", action="store_true", help="make this the new baseline")
    asked = parser.parse_args()
    machines, lists = zip(*(load(file) for file in asked.files if file.exists()), strict=True)
    machine, figures = machines[-1], merge(lists)
    table = markdown(machine, figures)
    print(table)
    draw(figures, asked.out / "bench.png")
    (asked.out / "bench.md").write_text(table, encoding="utf-8")
    changes = list(compared(figures, load(asked.baseline)[1] if asked.baseline.exists() else []))
    for name, change in changes:
        print(f"{change:.2f} of the baseline's: {name}")
    if asked.accept:
        save(asked.baseline, machine, figures)
    elif any(change < WORSE for _, change in changes):
        sys.exit("worse than the baseline")


if __name__ == "__main__":
    main()
