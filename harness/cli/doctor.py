"""`doctor`: check that everything a run needs is installed."""

import typer
from rich.console import Console
from rich.text import Text

from harness.cli import options
from harness.errors import Exit
from harness.report.terminal import Column, FittedTable
from harness.session.doctor import Health, examine

_STYLES = {Health.GOOD: "green", Health.NOTE: "yellow", Health.MISSING: "bold red"}


def doctor(
    workspace: options.Workspace = options.DEFAULT_WORKSPACE,
    data: options.Data = None,
) -> None:
    """Check that everything a run needs is installed. Exit 4 if something required is missing.

    Example: harness doctor
    """
    findings = examine(workspace, data)
    table = FittedTable(
        (
            Column("what", whole=True),
            Column("state", whole=True),
            Column("found"),
            Column("what to do"),
        )
    )
    for finding in findings:
        mark = Text(finding.health.value, style=_STYLES[finding.health])
        table.add_row(finding.name, mark, Text(finding.detail), Text(finding.remedy))
    Console().print(table)
    missing = [finding.name for finding in findings if finding.health is Health.MISSING]
    if missing:
        typer.echo(f"missing: {', '.join(missing)}; the last column says what to do")
        raise typer.Exit(Exit.INCOMPLETE)
    typer.echo("nothing is missing; next: harness run experiments --seeds 0 --epochs 10")
