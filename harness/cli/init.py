"""`init`: draft a manifest from a table of reported numbers."""

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
            help="The reported numbers, in columns metric, epoch (blank if final) and reported.",
        ),
    ],
    out: Annotated[
        Path,
        typer.Option(
            metavar="FILE", help="The manifest to write. Its name is the experiment's id."
        ),
    ],
    workload: Annotated[
        str | None,
        typer.Option(help="An installed workload; the draft lists its parameters."),
    ] = None,
) -> None:
    """Draft a manifest from a table of reported numbers.

    After that, `harness validate` names every field that you still have to fill in.

    Example: harness init table.csv --workload WORKLOAD --out experiments/paper.yaml
    """
    registry = workloads.registry()
    if workload is not None and workload not in registry:
        raise UsageError(f"--workload: no workload {workload!r}; there are {', '.join(registry)}")
    if out.suffix != ".yaml" or not IDENTIFIER.fullmatch(out.stem):
        raise UsageError(
            f"--out: {out.name}: the name must be the experiment's id (small letters, digits and "
            "single hyphens) and .yaml"
        )
    text = draft(read_table(table), registry[workload] if workload else None)
    create(out, text)
    typer.echo(f"{out}: written; next: harness validate {out}, which names the blank fields")
