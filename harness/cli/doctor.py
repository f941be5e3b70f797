"""`doctor`: whether all that a run needs is there."""

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
    """What is there of all that a run needs, and what to do about what is not; exit 4 if a must.

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
    for found in findings:
        mark = Text(found.health.value, style=_STYLES[found.health])
        table.add_row(found.name, mark, Text(found.said), Text(found.remedy))
    Console().print(table)
    missing = [found.name for found in findings if found.health is Health.MISSING]
    if missing:
        typer.echo(f"missing: {', '.join(missing)}")
        raise typer.Exit(Exit.INCOMPLETE)
    typer.echo("all that a run needs is there; next: harness run experiments --seeds 0 --epochs 10")
