"""`compare`: compare two sets of records, seed by seed."""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.text import Text

from harness.cli import options
from harness.compare import Comparison, Standing, sentence
from harness.output import STDOUT, write
from harness.report.documents import comparisons_document
from harness.report.terminal import Column, FittedTable
from harness.session.comparison import compare_paths, comparison_code

_STYLES = {Standing.UNCHANGED: "green", Standing.MOVED: "bold red", Standing.NOTHING: "magenta"}


def compare(
    base: Annotated[
        Path,
        typer.Argument(
            help="A workspace, a night, committed records, or an exported .csv or .parquet."
        ),
    ],
    new: Annotated[Path, typer.Argument(help="Another of these, to compare with it.")],
    manifests: Annotated[
        list[Path] | None,
        typer.Argument(
            help="Manifests, or folders of them, whose claims to compare.",
            show_default="those of the night NEW, else experiments",
        ),
    ] = None,
    json_file: options.Json = None,
) -> None:
    """Show what changed from BASE to NEW: digests first, then each claim seed by seed.

    Exit 0: no claim moved; 1: a claim moved; 3: a single seed differs, which no test can judge;
    4: there is nothing to compare.

    Example: harness compare results/nights/light/2026-01-01T020000Z results
    """
    found = compare_paths(base, new, manifests)
    _show(found, Console(stderr=json_file == STDOUT))
    _save(found, json_file)
    raise typer.Exit(comparison_code(found))


def _show(found: Sequence[Comparison], console: Console) -> None:
    shown = FittedTable(
        (Column("experiment", whole=True), Column("standing", whole=True), Column("why"))
    )
    for each in found:
        style = _STYLES.get(each.standing, "yellow")
        shown.add_row(each.id, Text(each.standing, style=style), Text(sentence(each)))
    console.print(shown if found else "nothing to compare: neither side holds these experiments")


def _save(found: Sequence[Comparison], json_file: str | None) -> None:
    if json_file is not None:
        write(json_file, comparisons_document(found).text())
