"""Print what several commands share."""

from collections.abc import Sequence

from rich.console import Console

from harness.report import terminal
from harness.report.terminal import Column, FittedTable
from harness.verdict import ExperimentVerdict


def table(name: str, *columns: str) -> FittedTable:
    """A table whose first column stays whole, because people copy it."""
    return FittedTable((Column(name, whole=True), *map(Column, columns)))


def show(verdicts: Sequence[ExperimentVerdict], console: Console) -> None:
    """Print the claims of each experiment, then the summary of all."""
    for verdict in verdicts:
        console.print(terminal.claims(verdict, width=console.width))
    console.print(terminal.summary(verdicts))
