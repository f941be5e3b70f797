"""`compare`: compare two sets of records, seed by seed."""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.text import Text

from harness.cli import options
from harness.compare import Comparison, Standing, sentence
from harness.output import STDOUT
from harness.report.documents import comparisons_document
from harness.report.terminal import Column, FittedTable
from harness.session.api import compare_paths, comparison_code

_STYLES = {Standing.UNCHANGED: "green", Standing.MOVED: "bold red", Standing.NOTHING: "magenta"}


def compare(
    base: Annotated[
        Path,
        typer.Argument(
            help="A workspace, a night, committed records, or an exported .csv or .parquet."
        ),
    ],
    new: Annotated[Path, typer.Argument(help="What to compare with BASE: again one of these.")],
    manifests: Annotated[
        list[Path] | None,
        typer.Argument(
            help="Manifests whose claims to compare, or folders of manifests.",
            show_default="the manifests of the night NEW, else the folder experiments",
        ),
    ] = None,
    json_file: options.Json = None,
) -> None:
    """Show what changed from BASE to NEW: first the digests, then each claim, seed by seed.

    Exit 0: no claim moved; 1: a claim moved; 3: a single seed differs, which no test can judge;
    4: there is nothing to compare.

    Example: harness compare results/nights/light/2026-01-01T020000Z results
    """
    comparisons = compare_paths(base, new, manifests)
    _show(comparisons, Console(stderr=json_file == STDOUT))
    _save(comparisons, json_file)
    raise typer.Exit(comparison_code(comparisons))


def _show(comparisons: Sequence[Comparison], console: Console) -> None:
    shown = FittedTable(
        (Column("experiment", whole=True), Column("standing", whole=True), Column("why"))
    )
    for comparison in comparisons:
        style = _STYLES.get(comparison.standing, "yellow")
        shown.add_row(
            comparison.id, Text(comparison.standing, style=style), Text(sentence(comparison))
        )
    console.print(
        shown
        if comparisons
        else "nothing to compare: neither BASE nor NEW holds a seed of these experiments"
    )


def _save(comparisons: Sequence[Comparison], json_file: str | None) -> None:
    if json_file is not None:
        options.write_json(json_file, comparisons_document(comparisons).text())
