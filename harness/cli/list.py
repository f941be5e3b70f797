"""`list`: what experiments there are."""

from rich.console import Console

from harness.cli import options
from harness.cli.console import table
from harness.session import load


def list_(paths: options.Paths) -> None:
    """What experiments there are.

    Example: harness list experiments
    """
    shown = table("experiment", "title", "epochs", "seeds", "claims")
    for experiment in load(paths):
        said = experiment.manifest
        shown.add_row(
            experiment.id,
            said.title + (" (control)" if said.control else ""),
            str(said.epochs.value),
            str(len(said.seeds)),
            str(len(said.claims)),
        )
    Console().print(shown)
