"""`init` and `doctor`: the first steps of whoever is new here."""

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from harness import workloads
from harness.cli import doctor as examination
from harness.cli import options
from harness.cli.doctor import Health
from harness.errors import Exit, UsageError
from harness.manifest.draft import draft, read_table
from harness.manifest.model import IDENTIFIER

_STYLES = {Health.GOOD: "green", Health.NOTE: "yellow", Health.MISSING: "bold red"}


def init(
    table: Annotated[
        Path,
        typer.Argument(
            metavar="FILE.csv",
            help="The reported numbers: columns metric, epoch (blank for a final one), reported.",
        ),
    ],
    out: Annotated[
        Path, typer.Option(metavar="FILE", help="The manifest to write; its name is the id.")
    ],
    workload: Annotated[
        str | None,
        typer.Option(help="An installed workload, whose parameters are then listed."),
    ] = None,
) -> None:
    """Draft a manifest from a table of reported numbers; what is left blank, validate names.

    Example: harness init table.csv --workload mine_image_pair --out experiments/mine.yaml
    """
    registry = workloads.registry()
    if workload is not None and workload not in registry:
        raise UsageError(f"--workload: no workload {workload!r}; there are {', '.join(registry)}")
    if out.suffix != ".yaml" or not IDENTIFIER.fullmatch(out.stem):
        raise UsageError(
            f"--out: {out.name}: the name is the experiment's id and .yaml: small letters, digits "
            "and single hyphens"
        )
    if not out.parent.is_dir():
        raise UsageError(f"--out: no folder {out.parent}")
    text = draft(read_table(table), registry[workload] if workload else None)
    try:
        with out.open("x", encoding="utf-8") as file:
            file.write(text)
    except FileExistsError:
        raise UsageError(f"--out: {out} is there already; nothing was written") from None
    typer.echo(f"{out}: written; next: harness validate {out}, which names what is blank")


def doctor(
    workspace: options.Workspace = options.DEFAULT_WORKSPACE,
    data: options.Data = options.DEFAULT_DATA,
) -> None:
    """What is there of all that a run needs, and what to do about what is not; exit 4 if a must.

    Example: harness doctor
    """
    findings = examination.examine(workspace, data)
    table = Table()
    table.add_column("", no_wrap=True)
    table.add_column("what", no_wrap=True)
    table.add_column("found", overflow="fold")
    table.add_column("what to do", overflow="fold")
    for found in findings:
        mark = Text(found.health.value, style=_STYLES[found.health])
        table.add_row(mark, found.name, Text(found.said), Text(found.remedy))
    Console().print(table)
    missing = [found.name for found in findings if found.health is Health.MISSING]
    if missing:
        typer.echo(f"missing: {', '.join(missing)}")
        raise typer.Exit(Exit.INCOMPLETE)
    typer.echo("all that a run needs is there; next: harness run experiments --seeds 0 --epochs 10")
