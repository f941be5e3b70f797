"""Print what several commands share."""

from collections.abc import Sequence

from rich.console import Console

from harness.report import terminal
from harness.report.terminal import Column, FittedTable
from harness.verdict import ExperimentVerdict


def table(name: str, *columns: str) -> FittedTable:
    """A table whose first column stays whole, because people copy it."""
    return FittedTable((Column(name, whole=True), *map(Column, columns)))


def show(
    verdicts: Sequence[ExperimentVerdict], console: Console, *, every_row: bool, more: str
) -> None:
    """Print the verdicts: in short, or every row first and then the summary.

    Args:
        verdicts: on the experiments that were asked for.
        console: where to print.
        every_row: whether to print every row, as `--all` asks.
        more: how to see every row, for the last line of the short form.
    """
    if every_row:
        for verdict in verdicts:
            console.print(terminal.claims(verdict, width=console.width))
        console.print(terminal.summary(verdicts))
    else:
        console.print(terminal.summary(verdicts))
        console.print(terminal.unsettled(verdicts))
        console.print(f"every row: {more}", highlight=False, markup=False, soft_wrap=True)
