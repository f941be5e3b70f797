"""`list`: list experiments."""

from rich.console import Console

from harness.cli import options
from harness.cli.console import table
from harness.session import load_experiments


def list_(paths: options.Paths) -> None:
    """List the experiments: title, epochs, seeds and number of claims.

    Example: harness list experiments
    """
    shown = table("experiment", "title", "epochs", "seeds", "claims")
    for experiment in load_experiments(paths):
        manifest = experiment.manifest
        shown.add_row(
            experiment.id,
            manifest.title + (" (control)" if manifest.control else ""),
            str(manifest.epochs.value),
            str(len(manifest.seeds)),
            str(len(manifest.claims)),
        )
    Console().print(shown)
