"""The commands on a grid of 588 cells with up to 100,000 finished trials: time and memory."""

from pathlib import Path
from typing import Any

import pytest

from harness import workloads
from harness.manifest import load
from tests.bench import grids, workspaces
from tests.bench.conftest import Sizes
from tests.bench.processes import Spent, measured
from tests.bench.results import Figure

GROUP = "Grids of many trials (588 cells, 10 epochs a trial)"
BYTES_MB = 1_000_000


@pytest.fixture(scope="module")
def studies(tmp_path_factory: pytest.TempPathFactory, sizes: Sizes) -> dict[int, tuple[str, ...]]:
    """The arguments that name each study, by its number of trials."""
    found = {}
    for wanted in sizes.grid_trials:
        folder = tmp_path_factory.mktemp("grid")
        file = grids.write(
            folder / "grid.yaml", shapes=sizes.shapes, epochs=10, mean=90, sd=2, tolerance=3
        )
        cells = load([file], workloads.registry())
        seeds = max(2, wanted // len(cells))
        workspaces.fill(folder / "results", cells, range(seeds), workspaces.accuracies)
        options = ("--seeds", f"0-{seeds - 1}", "--workspace", str(folder / "results"))
        found[seeds * len(cells)] = (str(file), *options)
    return found


@pytest.mark.parametrize("command", ["plan", "status", "check", "report", "export"])
def test_a_command(
    command: str,
    studies: dict[int, tuple[str, ...]],
    tmp_path: Path,
    benchmark: Any,
    figures: list[Figure],
) -> None:
    """Once for each size: what grows faster than the trials shows in the last figure."""
    out = {"report": tmp_path / "pages", "export": tmp_path / "table.parquet"}
    more = ("--out", str(out[command])) if command in out else ()
    spent: dict[int, Spent] = {}

    def each_size() -> None:
        for count, words in studies.items():
            spent[count] = measured(command, *words, *more)

    benchmark.pedantic(each_size, rounds=1)
    for count, one in spent.items():
        most = (10.0 if command == "status" else 60.0) if count == max(spent) else None
        memory_mb = one.peak_bytes / BYTES_MB
        figures += [
            Figure(
                group=GROUP,
                name=f"{command}, {count:,} trials",
                value=one.wall_s,
                unit="s",
                at_most=most,
                note=f"{one.cpu_s:.1f} s of CPU, {memory_mb:,.0f} MB",
            )
        ]
        if count == max(spent):
            name = f"{command}, {count:,} trials: memory"
            figures.append(
                Figure(group=GROUP, name=name, value=memory_mb, unit="MB", at_most=2_000)
            )
    (few, some), (many, most_) = sorted(spent.items())[-2:]
    growth = (most_.cpu_s / some.cpu_s) / (many / few)
    name = f"{command}: CPU time for each of {many:,} trials / of {few:,}"
    figures.append(Figure(group=GROUP, name=name, value=growth, at_most=1.25))
