"""What several commands print, and where."""

import json
from collections.abc import Sequence
from pathlib import Path

import typer
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from harness.report import jsondoc, terminal
from harness.report.junit import junit as junit_xml
from harness.store.files import faults_named
from harness.verdict import ExperimentVerdict

STDOUT = "-"


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


def save(
    verdicts: Sequence[ExperimentVerdict], *, json_file: str | None, junit: Path | None
) -> None:
    """Write the verdicts where the options say.

    Raises:
        StoreError: a file cannot be written.
    """
    if json_file is not None:
        text = json.dumps(jsondoc.document(verdicts), indent=2, allow_nan=False)
        if json_file == STDOUT:
            typer.echo(text)
        else:
            with faults_named(Path(json_file)):
                Path(json_file).write_text(text + "\n", encoding="utf-8")
    if junit is not None:
        with faults_named(junit):
            junit.write_bytes(junit_xml(verdicts))
