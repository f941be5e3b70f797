"""`data`: fetch the data sets that experiments read."""

import typer

from harness import workloads
from harness.cli import options
from harness.options import data_folder
from harness.session import load_experiments


def data(paths: options.Paths, data: options.Data = None) -> None:
    """Fetch every data set that the experiments read, once, and check its digest.

    Example: harness data experiments
    """
    folder = data_folder(data)
    registry = workloads.registry()
    seen = set()
    for experiment in load_experiments(paths):
        workload = experiment.workload(registry)
        for item in workload.data_sets(experiment.parameters):
            if item not in seen:
                workload.load_data(item.name, folder)
                typer.echo(f"{item.name}: in {folder}, sha256 {item.digest}")
                seen.add(item)
