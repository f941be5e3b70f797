"""What several commands print, and where."""

from collections.abc import Sequence

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from harness.report import terminal
from harness.verdict import ExperimentVerdict


def table(name: str, *columns: str) -> Table:
    """A table whose first column is never cut: it is what people copy. Eight fit in 80 columns."""
    made = Table(box=SIMPLE_HEAD, collapse_padding=True, pad_edge=False, show_edge=False)
    made.add_column(name, no_wrap=True)
    for column in columns:
        made.add_column(column)
    return made


def show(verdicts: Sequence[ExperimentVerdict], console: Console) -> None:
    """The claims of each experiment, then the experiments."""
    for verdict in verdicts:
        console.print(terminal.claims(verdict, width=console.width))
    console.print(terminal.summary(verdicts))
