"""A grid is shown once, as a grid, and in full only where a cell fails."""

import io
from collections.abc import Mapping
from dataclasses import replace

import pytest
from rich.console import Console

from harness.manifest import Cell
from harness.report import figures, grids, terminal
from harness.report.pages import html, verdicts_markdown
from harness.report.text import shared_notes
from harness.verdict import ExperimentVerdict
from tests.verdict.builders import experiment, trial, value, verdicts_on

AXES: Mapping[str, tuple[str, ...]] = {"size": ("1*2", "3*4"), "mode": ("fast", "slow")}


def verdicts(failing: str = "size=3*4,mode=slow") -> tuple[ExperimentVerdict, ...]:
    """Four cells, of which one is ten tolerances off, and an experiment beside the grid."""
    asked = []
    for size in AXES["size"]:
        for mode in AXES["mode"]:
            cell = Cell("toys", "Toys of many sizes", AXES, {"size": size, "mode": mode})
            by = 1.0 if cell.name == failing else 0.0
            one = experiment(value(1.0), id=cell.id, epochs=1).model_copy(update={"cell": cell})
            found = {seed: trial([0.0], test=1.0 + by + seed / 1000) for seed in range(3)}
            asked.append((one, found))
    asked.append((experiment(value(1.0), id="beside", epochs=1), asked[0][1]))
    return verdicts_on(asked)


def printed(found: tuple[ExperimentVerdict, ...], width: int = 80) -> str:
    console = Console(width=width, file=io.StringIO())
    console.print(terminal.summary(found))
    console.print(terminal.unsettled(found))
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def test_a_terminal_shows_a_grid_as_a_grid() -> None:
    shown = printed(verdicts())
    (line,) = (line for line in shown.splitlines() if line.startswith("3*4"))
    assert line.split() == ["3*4", "R", "+0.0", "X", "+10.0"]
    assert "3 of 4 cells reproduced, 1 not reproduced" in shown
    assert "beside" in shown
    assert "toys[size=3*4,mode=slow]" in shown  # what fails is named below
    assert "toys[size=1*2,mode=fast]" not in shown


@pytest.mark.parametrize("width", [40, 60, 80, 120])
def test_no_width_cuts_a_cell(width: int) -> None:
    assert "X +10.0" in printed(verdicts(), width)


def test_pages_have_the_grid_and_a_section_for_each_cell_that_fails() -> None:
    found = verdicts()
    page = verdicts_markdown(found, {"toys": "toys.png"})
    assert "| 3\\*4 | R +0.0 | X +10.0 |" in page
    assert "![Toys of many sizes: the verdict on each cell](toys.png)" in page
    assert "## toys[size=3*4,mode=slow]" in page
    assert "## toys[size=1*2,mode=fast]" not in page
    web = html(found)
    assert '<a href="#toys[size=3*4,mode=slow]">X +10.0</a>' in web
    assert web.count('<section id="toys[') == 1


def test_a_single_cell_is_shown_like_any_experiment() -> None:
    (one, *_) = verdicts()
    assert grids.grid_maps([one]) == ()
    assert grids.worth_a_section([one]) == [one]


def test_every_cell_of_the_figure_says_its_verdict_in_a_letter() -> None:
    (grid,) = grids.grid_maps(verdicts())
    (axes,) = figures.draw_heat_map(grid).axes
    assert [text.get_text() for text in axes.texts] == ["R +0.0", "R +0.0", "R +0.0", "X +10.0"]


def test_a_note_that_cells_share_is_said_once() -> None:
    found = verdicts()
    lines = shared_notes([*found[:4], found[4]])
    assert not any("toys[size" in line for line in lines)


def test_a_part_that_changed_in_each_cell_to_another_value_is_said_once() -> None:
    found = [
        replace(verdict, notes=(f"{what} changed since the records were made: {at} → 9", "other"))
        for at, verdict in enumerate(verdicts())
        for what in ("tolerance of late rows" if verdict.experiment.cell else "seeds",)
    ]
    cells = sum(verdict.experiment.cell is not None for verdict in found)
    assert cells < len(found)
    lines = shared_notes(found)
    changed = "tolerance of late rows changed since the records were made"
    assert f"toys ({cells} cells): {changed}, in each otherwise" in lines
    assert "all experiments: other" in lines
    assert sum("changed since" in line for line in lines) == 1 + len(found) - cells
    (alone, *_) = found
    assert f"{alone.id}: {alone.notes[0]}" in shared_notes([alone, found[-1]])
