"""`calibrate`: propose bands for judging a single seed."""

from typing import Annotated

import typer

from harness.cli import options
from harness.cli.options import stored
from harness.errors import Exit
from harness.report import text
from harness.verdict import propose


def calibrate(
    paths: options.Paths,
    seeds: options.Seeds = None,
    workspace: options.Workspace = options.DEFAULT_WORKSPACE,
    committed: options.Committed = False,
    coverage: Annotated[
        float,
        typer.Option(
            min=0.5, max=0.999, help="Share of all runs that should lie within every band."
        ),
    ] = 0.95,
    confidence: Annotated[
        float,
        typer.Option(
            min=0.5, max=0.999, help="Confidence that the bands cover that share of runs."
        ),
    ] = 0.95,
) -> None:
    """Propose bands for judging a single seed. Prints them as YAML to copy into the manifest.

    The bands come from the stored seeds.

    Example: harness calibrate experiments/image-pair-4.yaml --seeds 0-9
    """
    session = stored(paths, options.parse_request(seeds), workspace, committed=committed)
    proposals = [
        (verdict, propose(verdict, coverage=coverage, confidence=confidence))
        for verdict in session.verdicts()
    ]
    for verdict, proposal in proposals:
        typer.echo(text.calibration_block(verdict, proposal))
    if all(proposal is None for _, proposal in proposals):
        raise typer.Exit(Exit.INCOMPLETE)
