"""`trial`: run one trial in this process."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated

import typer

from harness import workloads
from harness.cli import options
from harness.errors import Exit, UsageError
from harness.manifest import Experiment
from harness.options import data_folder
from harness.plan import Job, Selection, jobs
from harness.record import EpochRecord, Failure, FailureKind, FinalRecord
from harness.session import load_experiments
from harness.session.permission import executions, require_permission
from harness.source import source, workload_code
from harness.trial import attempt
from harness.variables import carried, trial_environment
from harness.workload import Workload


def trial(
    manifest: Annotated[Path, typer.Argument(help="One manifest.", show_default=False)],
    seed: options.Seed,
    epochs: options.Epochs = None,
    gpu: Annotated[
        bool, typer.Option("--gpu", help="Train on the GPU instead of the CPU.")
    ] = False,
    data: options.Data = None,
    allow_commands: options.AllowCommands = False,
) -> None:
    """Run one trial in this process and print its metrics. Nothing is stored.

    Exit 1: the method failed; 4: a machine failed, which says nothing about the method.

    Example: harness trial experiments/image-pair-4.yaml --seed 0 --epochs 10
    """
    experiments = load_experiments([manifest])
    if len(experiments) != 1:
        raise UsageError(f"{manifest} holds {len(experiments)} manifests; give the path of one")
    registry = workloads.registry()
    selection = Selection(seeds=(seed,), epochs=epochs)
    (job,) = jobs(experiments, registry, selection)
    for line in selection.without_effect(experiments):
        typer.echo(line, err=True)
    require_permission(executions(experiments, registry), None, given=allow_commands)
    workload = experiments[0].workload(registry)
    read = carried([(job.experiment, workload, experiments[0].parameters)])
    with trial_environment(read):
        _print_listing(experiments[0], job, workload, data, gpu=gpu)


def _print_listing(
    experiment: Experiment, job: Job, workload: Workload, data: Path | None, *, gpu: bool
) -> None:
    """Print the claims' metrics: a line per epoch and, if there are any, the final estimates.

    A line with none of them has all of the workload's, so that no line is empty.
    """
    columns = [name for name in workload.metrics if name in experiment.manifest.metrics]
    for message in attempt(
        job,
        workload,
        data={name: workload.load_data(name, data_folder(data)) for name in job.spec.data},
        source=source(),
        workload_code=workload_code(workload),
        device="cuda" if gpu else "cpu",
    ):
        match message:
            case EpochRecord():
                typer.echo(_line(str(message.epoch), columns, message.metrics))
            case FinalRecord() if message.metrics:
                typer.echo(_line("test", columns, message.metrics))
            case Failure():
                typer.echo(f"{message.error}: {message.message}", err=True)
                if message.kind is FailureKind.INFRASTRUCTURE:
                    typer.echo("a machine failed, not the method; run the trial again", err=True)
                    raise typer.Exit(Exit.INCOMPLETE)
                raise typer.Exit(Exit.NOT_AS_EXPECTED)


def _line(label: str, columns: Sequence[str], metrics: Mapping[str, float]) -> str:
    shown = [name for name in columns if name in metrics] or metrics
    return " ".join([label, *(f"{metrics[name]:.4f}" for name in shown)])
