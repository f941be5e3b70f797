"""`init`: draft a manifest."""

from pathlib import Path
from typing import Annotated

import typer

from harness import workloads
from harness.errors import UsageError
from harness.manifest.draft import draft, read_table
from harness.manifest.experiment import IDENTIFIER
from harness.output import create


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
    text = draft(read_table(table), registry[workload] if workload else None)
    create(out, text)
    typer.echo(f"{out}: written; next: harness validate {out}, which names what is blank")
