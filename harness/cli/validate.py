"""`validate`: check manifests, and files that configure nights."""

from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

import typer

from harness import nightly as nights
from harness.cli import options
from harness.errors import Fault, ManifestError
from harness.manifest import Experiment
from harness.session import load_experiments, warnings


def validate(paths: options.Paths) -> None:
    """Check manifests and list every fault with file, line and field; exit 2 if there is one.

    A file that configures nights, such as ci/nightly.yaml, is checked with its nights' manifests.
    Warnings, for example about code that no digest covers, do not change the exit code.

    Example: harness validate experiments
    """
    experiments: list[Experiment] = []
    faults: list[Fault] = []
    checked: list[str] = []
    configurations = [path for path in paths if path.is_file() and nights.configures_nights(path)]
    for path in configurations:
        try:
            for name, manifests in _nights(path):
                experiments += load_experiments(manifests)
                checked.append(f"night {name}")
        except ManifestError as error:
            faults += error.faults
    if manifests := [path for path in paths if path not in configurations]:
        try:
            found = load_experiments(manifests)
        except ManifestError as error:
            faults += error.faults
        else:
            experiments += found
            cells = Counter(item.cell.grid if item.cell else item.id for item in found)
            checked += (n if count == 1 else f"{n} ({count} cells)" for n, count in cells.items())
    if faults:
        raise ManifestError(faults)
    typer.echo(f"no faults in {', '.join(checked)}")
    for line in warnings(experiments):
        typer.echo(line)


def _nights(path: Path) -> Iterator[tuple[str, Sequence[Path]]]:
    """Yield each night of a file, with the manifests that it runs."""
    for name, night in nights.load_nights(path).nights.items():
        yield name, [path.parent / manifest for manifest in night.experiments]
