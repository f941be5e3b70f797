"""One file for a grid: what it expands to, and where its faults are."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from harness.errors import ManifestError
from harness.manifest import Experiment, load

GRID = """\
format: 1
title: Toys of many sizes
paper: {title: Toys, author: A. Nother, listing: "Table 2, $size", command: "$$ toy --${mode}s"}
unit: points
grid:
  size:
    1*2: {sizes: [1, 2]}
    3*4: {sizes: [3, 4]}
  mode: [fast, slow]
cells:
  - {tolerance: 0.3, why: small beside what $mode changes}
  - {where: {size: 3*4, mode: slow}, tolerance: 2.0}
workload:
  name: toy
  parameters:
    rate: {value: 0.5, stated: Table 1}
    sizes: {value: $sizes, stated: the row}
    mode: {value: $mode, stated: the column}
epochs: {value: 10, stated: Table 1}
seeds: 0-4
claims:
  - name: score
    kind: value
    metric: test_score
    source: table.csv
    reported: {table: table.csv, rows: {size: $size}, number: $mode}
    tolerance: {value: $tolerance, reason: $why}
"""

TABLE = """\
size,fast,slow
1*2,0.50,0.25
3*4,1,2
"""


@pytest.fixture
def grid(tmp_path: Path, registry: Mapping[str, Any]) -> Callable[..., Sequence[Experiment]]:
    """Read a grid file and the table beside it, or some of its cells."""

    def _grid(text: str = GRID, table: str = TABLE, cells: str = "") -> Sequence[Experiment]:
        (tmp_path / "toys.yaml").write_text(text, encoding="utf-8")
        (tmp_path / "table.csv").write_text(table, encoding="utf-8")
        return load([tmp_path / f"toys.yaml{cells}"], registry)

    return _grid


@pytest.fixture
def faults(grid: Callable[..., Any], tmp_path: Path) -> Callable[..., list[str]]:
    def _faults(text: str = GRID, table: str = TABLE, cells: str = "") -> list[str]:
        with pytest.raises(ManifestError) as caught:
            grid(text, table, cells)
        return str(caught.value).replace(f"{tmp_path}/", "").split("\n")

    return _faults


BETWEEN = """\
comparisons:
  - name: growth
    kind: {}
    metric: test_score
    source: the text
    reported: 0.5
    tolerance: {{value: 1.0, reason: so}}
"""


def test_a_claim_in_the_wrong_section_is_one_fault_that_names_the_right_one(
    faults: Callable[..., list[str]],
) -> None:
    text = GRID.replace("kind: value", "kind: difference")
    said = "claims[0].kind: difference compares cells of a grid: put this claim under `comparisons`"
    assert faults(text) == [f"toys.yaml:23: {said} of a grid"]
    said = "comparisons[0].kind: value is about one experiment: put this claim under `claims`"
    assert faults(GRID + BETWEEN.format("value")) == [f"toys.yaml:30: {said}"]
    found = faults(GRID + BETWEEN.format("difference"))
    assert {line.partition(": ")[2] for line in found} == {
        "comparisons[0].of: required",
        "comparisons[0].minus: required",
    }


def test_a_grid_is_one_experiment_for_each_cell_in_the_order_of_the_file(
    grid: Callable[..., Sequence[Experiment]],
) -> None:
    assert [item.id for item in grid()] == [
        "toys[size=1*2,mode=fast]",
        "toys[size=1*2,mode=slow]",
        "toys[size=3*4,mode=fast]",
        "toys[size=3*4,mode=slow]",
    ]


def test_a_name_alone_keeps_its_type_and_within_a_text_it_is_written_out(
    grid: Callable[..., Sequence[Experiment]],
) -> None:
    last = grid()[-1]
    assert last.parameters.model_dump() == {"rate": 0.5, "sizes": (3, 4), "mode": "slow"}
    assert last.manifest.paper.listing == "Table 2, 3*4"
    assert last.manifest.paper.command == "$ toy --slows"
    assert last.manifest.title == "Toys of many sizes: size 3*4, mode slow"


def test_the_last_entry_that_fits_a_cell_gives_its_names(
    grid: Callable[..., Sequence[Experiment]],
) -> None:
    claims: list[Any] = [item.manifest.claims[0] for item in grid()]
    assert [claim.margin for claim in claims] == [0.3, 0.3, 0.3, 2.0]
    # What an entry does not repeat stays, and a name may hold a name.
    assert claims[3].tolerance.reason == "small beside what slow changes"


def test_reported_numbers_come_from_the_row_and_the_column_of_the_cell(
    grid: Callable[..., Sequence[Experiment]],
) -> None:
    assert [item.manifest.claims[0].values[None] for item in grid()] == [0.5, 0.25, 1.0, 2.0]


def test_an_ordinary_manifest_may_refer_to_a_table(
    tmp_path: Path, registry: Mapping[str, Any]
) -> None:
    text = GRID.replace("$sizes", "[1]").replace("$size", "1*2").replace("$mode", "fast")
    text = text.replace("${mode}", "fast").replace("$tolerance", "0.1").replace("$why", "small")
    kept, section = [], False
    for line in text.splitlines():
        section = line in ("grid:", "cells:") or (section and line.startswith(" "))
        kept += [] if section else [line]
    (tmp_path / "toy.yaml").write_text("\n".join(kept), encoding="utf-8")
    (tmp_path / "table.csv").write_text(TABLE, encoding="utf-8")
    (experiment,) = load([tmp_path / "toy.yaml"], registry)
    assert experiment.id == "toy"
    assert experiment.manifest.claims[0].values == {None: 0.5}


PUBLISHED = """\
Model,Fast,Slow,Fast (SD)
1*2,96.74 ± 0.12,95.81 +- 0.23,0.12
3*4,96.78(16),"94.65 (0.29)",0.16
"""
"""A table as papers print it."""

AS_PRINTED = (
    GRID.replace(
        "    reported: {table: table.csv, rows: {size: $size}, number: $mode}",
        "    reported: {table: table.csv, rows: {Model: $size}, mean: $column, runs: 10, ddof: 0}",
    )
    .replace("kind: value", "kind: sample")
    .replace("  mode: [fast, slow]", "  mode: {fast: {column: Fast}, slow: {column: Slow}}")
)


def test_a_printed_cell_holds_the_mean_and_the_sd(
    grid: Callable[..., Sequence[Experiment]],
) -> None:
    found = [
        item.manifest.model_dump()["claims"][0]["reported"] for item in grid(AS_PRINTED, PUBLISHED)
    ]
    assert [(one["mean"], one["sd"]) for one in found] == [
        (96.74, 0.12),
        (95.81, 0.23),
        (96.78, 0.16),
        (94.65, 0.29),
    ]
    assert {(one["runs"], one["ddof"]) for one in found} == {(10, 0)}


@pytest.mark.parametrize(
    "cell",
    [
        "96.74±.12",
        "96.74 +/- 0.12",
        r"$96.74 \pm 0.12$",
        "96.74% ± 0.12%",
        "96.74 ± 0.12 %",
        "96.74(0.12)",
    ],
)
def test_a_mean_and_its_sd_are_printed_in_many_ways(
    grid: Callable[..., Sequence[Experiment]], cell: str
) -> None:
    first = grid(AS_PRINTED, PUBLISHED.replace("96.74 ± 0.12", cell))[0]
    reported = first.manifest.model_dump()["claims"][0]["reported"]
    assert (reported["mean"], reported["sd"]) == (96.74, 0.12)


@pytest.mark.parametrize(
    ("was", "now", "said"),
    [
        (
            "96.74 ± 0.12",
            "96.74",
            "table.csv:2: Fast: must be a mean with its SD, such as 96.74 ± 0.12",
        ),
        ("96.74 ± 0.12", "96.74", "got '96.74'; if the SD stands in another column, name it"),
        ("96.78(16)", "96.78 (16)", "table.csv:3: Fast: must be a mean with its SD"),
        ("95.81 +- 0.23", "95.81 ± n/a", "table.csv:2: Slow: must be a mean with its SD"),
    ],
)
def test_a_cell_without_both_numbers_is_named(
    faults: Callable[..., list[str]], was: str, now: str, said: str
) -> None:
    assert any(said in line for line in faults(AS_PRINTED, PUBLISHED.replace(was, now)))


def test_what_a_printed_cell_cannot_say_stands_in_the_manifest(
    grid: Callable[..., Sequence[Experiment]], faults: Callable[..., list[str]]
) -> None:
    said = faults(AS_PRINTED.replace(", ddof: 0", ""), PUBLISHED)
    assert any("reported.ddof: required" in line for line in said)
    one = AS_PRINTED.replace("mean: $column, runs: 10, ddof: 0", "number: $column")
    (first, *_) = faults(one.replace("kind: sample", "kind: value"), PUBLISHED)
    assert first.startswith("table.csv:2: Fast: must be one number; `mean`, `runs` and `ddof` take")
    apart = AS_PRINTED.replace("ddof: 0", "ddof: 0, sd: Fast (SD)")
    plain = PUBLISHED.replace(" ± 0.12", "").replace(" +- 0.23", "").replace("(16)", "")
    reported = grid(apart, plain.replace(" (0.29)", ""))[0].manifest.model_dump()["claims"][0]
    assert reported["reported"]["sd"] == 0.12


def test_a_cell_keeps_its_digest_while_other_cells_change(
    grid: Callable[..., Sequence[Experiment]],
) -> None:
    before = [item.digest for item in grid()]
    after = [item.digest for item in grid(table=TABLE.replace("0.25", "0.26"))]
    assert [one == other for one, other in zip(before, after, strict=True)] == [
        True,
        False,
        True,
        True,
    ]


@pytest.mark.parametrize(
    ("cells", "chosen"),
    [
        ("[mode=slow]", [1, 3]),
        ("[size=3*4]", [2, 3]),
        ("[size=3*4,mode=fast]", [2]),
        ("[size=*4,mode=?low]", [3]),
    ],
)
def test_cells_are_chosen_in_brackets(
    grid: Callable[..., Sequence[Experiment]], cells: str, chosen: list[int]
) -> None:
    every = [item.id for item in grid()]
    assert [item.id for item in grid(cells=cells)] == [every[at] for at in chosen]


def test_a_label_that_looks_like_a_pattern_means_itself(
    grid: Callable[..., Sequence[Experiment]],
) -> None:
    text = GRID.replace("3*4: {sizes: [3, 4]}", "11*2: {sizes: [3, 4]}").replace("3*4", "11*2")
    found = grid(text, TABLE.replace("3*4", "11*2"), "[size=1*2]")
    assert {item.cell.labels["size"] for item in found if item.cell} == {"1*2"}


@pytest.mark.parametrize(
    ("cells", "said"),
    [
        ("[sise=1*2]", "no axis is called 'sise'; did you mean size?"),
        ("[mode=fats]", "mode has no value 'fats'; did you mean fast?"),
        ("[fast]", "cells are written as AXIS=VALUE, got 'fast'"),
    ],
)
def test_cells_that_are_not_there_are_named(
    faults: Callable[..., list[str]], cells: str, said: str
) -> None:
    assert faults(cells=cells) == [f"toys.yaml: {said}"]


def test_a_command_on_a_cell_names_the_cell(grid: Callable[..., Sequence[Experiment]]) -> None:
    first = grid()[0]
    assert first.command("run")[-1].endswith("toys.yaml[size=1*2,mode=fast]")


def test_excluded_cells_are_left_out(grid: Callable[..., Sequence[Experiment]]) -> None:
    text = GRID.replace("cells:\n", "exclude: [{size: 1*2, mode: [slow]}]\ncells:\n")
    assert [item.cell.name for item in grid(text) if item.cell] == [
        "size=1*2,mode=fast",
        "size=3*4,mode=fast",
        "size=3*4,mode=slow",
    ]


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        (
            "value: $tolerance",
            "value: $tolerence",
            "toys.yaml:27: claims[0].tolerance.value: no name $tolerence in this cell; did you "
            "mean tolerance?; write $$ for a dollar sign",
        ),
        (
            "tolerance: 2.0}",
            "tolerance: -2}",
            "toys.yaml:12: claims[0].tolerance.value: must be positive, got -2 "
            "(cell size=3*4,mode=slow)",
        ),
        (
            "sizes: [3, 4]",
            "sizes: [3, x]",
            "toys.yaml:8: workload.parameters.sizes.value[1]: must be a whole number, got 'x'"
            " (cell size=3*4,mode=fast and 1 more)",
        ),
        ("where: {size: 3*4,", "where: {size: 4*4,", "toys.yaml:12: cells[1].where.size: size has"),
        ("where: {size: 3*4,", "where: {syze: 3*4,", "toys.yaml:12: cells[1].where.syze: no axis"),
        ("  mode: [fast, slow]", "  mode: [fast, fast]", "toys.yaml:9: grid.mode[1]: the axis has"),
        ("  mode: [fast, slow]", "  mode: [fast, a/b]", "toys.yaml:9: grid.mode[1]: a value's lab"),
        ("  mode: [fast, slow]", "  mode: fast", "toys.yaml:9: grid.mode: must be a list of val"),
        (
            "3*4: {sizes: [3, 4]}",
            "3*4: {size: [3, 4]}",
            "toys.yaml:6: grid.size: every value needs",
        ),
        ("rate: {value: 0.5,", "rate: {value: $why,", "toys.yaml:11: workload.parameters.rate.v"),
        (
            "why: small beside",
            "why: $why is beside",
            "toys.yaml:11: claims[0].tolerance.reason: $w",
        ),
        ("{size: $size}, n", "{sise: $size}, n", "toys.yaml:26: claims[0].reported.rows.sise: "),
        ("{size: $size}, n", "{size: 1*3}, n", "toys.yaml:26: claims[0].reported.rows.size: "),
        ("number: $mode", "number: quick", "toys.yaml:26: claims[0].reported.number: "),
        ("number: $mode", "numbr: $mode", "toys.yaml:26: claims[0].reported: say which column"),
        ("table: table.csv,", "table: tabel.csv,", "toys.yaml:26: claims[0].reported.table: tabel"),
        (
            "table: table.csv,",
            "table: ../t.csv,",
            "toys.yaml:26: claims[0].reported.table: a table",
        ),
        ("table: table.csv,", "table: table.txt,", "toys.yaml:26: claims[0].reported.table: must"),
    ],
)
def test_a_fault_names_the_line_the_field_and_the_cell(
    faults: Callable[..., list[str]], old: str, new: str, said: str
) -> None:
    assert old in GRID
    found = faults(GRID.replace(old, new))
    assert len(found) == 1, found
    assert found[0].startswith(said)


def test_an_axis_that_changes_nothing_is_a_fault(faults: Callable[..., list[str]]) -> None:
    text = GRID.replace("  mode: [fast, slow]", "  mode: [fast, slow]\n  colour: [red, blue]")
    assert faults(text) == ["toys.yaml:10: grid.colour: changes nothing: no field holds $colour"]


@pytest.mark.parametrize(
    ("table", "said"),
    [
        (TABLE.replace("0.25", "o.25"), "table.csv:2: slow: must be a finite number, got 'o.25'"),
        (TABLE.replace("3*4,1,2", "3*4,1"), "table.csv:3: 3 cells wanted"),
        (TABLE.replace("size,fast,slow", "size,fast,fast"), "table.csv:1: fast: two columns"),
        (TABLE + "3*4,5,6\n", "toys.yaml:26: claims[0].reported.rows: one row is wanted, but 2"),
    ],
)
def test_a_fault_of_the_table_names_its_line_and_column(
    faults: Callable[..., list[str]], table: str, said: str
) -> None:
    assert any(line.startswith(said) for line in faults(table=table))


def test_a_number_of_the_table_that_the_claim_refuses_is_named_at_its_line(
    faults: Callable[..., list[str]],
) -> None:
    text = GRID.replace("    tolerance: {v", "    decimals: 1\n    tolerance: {v")
    assert faults(text) == [
        "table.csv:2: claims[0].reported: 0.25 has more decimals than the 1 of `decimals` "
        "(cell size=1*2,mode=slow)"
    ]
