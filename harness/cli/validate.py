"""`validate`: check manifests."""

from collections import Counter

import typer

from harness.cli import options
from harness.session import load_experiments, warnings


def validate(paths: options.Paths) -> None:
    """Check manifests and list every fault with file, line and field; exit 2 if there is one.

    Warnings, for example about code that no digest covers, do not change the exit code.

    Example: harness validate experiments
    """
    experiments = load_experiments(paths)
    cells = Counter(item.cell.grid if item.cell else item.id for item in experiments)
    names = (name if count == 1 else f"{name} ({count} cells)" for name, count in cells.items())
    typer.echo(f"no faults in {', '.join(names)}")
    for line in warnings(experiments):
        typer.echo(line)
