"""`run` and `trial`: where trials are made."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from harness import workloads
from harness.cli import options
from harness.cli.inspect import load
from harness.cli.judge import STDOUT, save, show
from harness.cli.live import ConsoleObserver, log_to
from harness.errors import Exit, UsageError
from harness.manifest import Experiment
from harness.plan import Job, Selection, jobs
from harness.record import EpochRecord, Failure, FinalRecord
from harness.session import RunOptions, Session, run_session
from harness.source import source, workload_code
from harness.store import Store
from harness.trial import attempt
from harness.variables import carried, trial_environment
from harness.verdict import exit_code
from harness.workload import Workload


def run(
    paths: options.Paths,
    seeds: options.Seeds = None,
    epochs: options.Epochs = None,
    workspace: options.Workspace = options.DEFAULT_WORKSPACE,
    address: options.Address = None,
    tracking_uri: options.TrackingUri = None,
    cpus_per_trial: options.CpusPerTrial = None,
    gpus_per_trial: options.GpusPerTrial = None,
    retries: options.Retries = options.DEFAULT_RETRIES,
    deadline: options.Deadline = options.DEFAULT_DEADLINE_S,
    isolate: options.Isolate = False,
    from_records: options.FromRecords = False,
    json_file: options.Json = None,
    junit: options.Junit = None,
    data: options.Data = options.DEFAULT_DATA,
    quiet: options.Quiet = False,
) -> None:
    """Run every trial that is not done yet, then judge all of them.

    Example: harness run experiments --seeds 0-4 --workspace results
    """
    console = Console(stderr=json_file == STDOUT, quiet=quiet)
    log_to(Console(stderr=True))
    selection = options.selection(seeds, epochs, cpus_per_trial, gpus_per_trial)
    how = RunOptions(
        address=address,
        tracking_uri=tracking_uri,
        retries=retries,
        deadline_s=deadline,
        isolate=isolate,
        data=data,
        from_records=from_records,
    )
    found = run_session(
        Session(load(paths), selection, Store(workspace)), how, ConsoleObserver(console)
    )
    show(found.verdicts, console)
    save(found.verdicts, json_file=json_file, junit=junit)
    console.print(f"report: {found.reports.html}", highlight=False, soft_wrap=True)
    if tracking_uri is None:
        said = f"`harness ui --workspace {workspace}` shows it at http://127.0.0.1:{options.DEFAULT_PORT}"
        console.print(f"MLflow: {said}", highlight=False, soft_wrap=True)
    raise typer.Exit(exit_code(found.verdicts))


def trial(
    manifest: Annotated[Path, typer.Argument(help="One manifest.", show_default=False)],
    seed: Annotated[int, typer.Option(min=0, help="The trial's seed.")],
    epochs: options.Epochs = None,
    gpu: Annotated[bool, typer.Option("--gpu", help="On the GPU that this process sees.")] = False,
    data: options.Data = options.DEFAULT_DATA,
) -> None:
    """One trial in this process, printed as the paper prints it: nothing is stored.

    Example: harness trial experiments/image-pair-4.yaml --seed 0 --epochs 10
    """
    experiments = load([manifest])
    if len(experiments) != 1:
        raise UsageError(f"{manifest}: {len(experiments)} manifests; name one")
    registry = workloads.registry()
    selection = Selection(seeds=(seed,), epochs=epochs)
    (job,) = jobs(experiments, registry, selection)
    workload = registry[job.spec.workload]
    read = carried([(job.experiment, workload, experiments[0].parameters)])
    with trial_environment(read):
        _print_listing(experiments[0], job, workload, data, gpu=gpu)


def _print_listing(
    experiment: Experiment, job: Job, workload: Workload, data: Path, *, gpu: bool
) -> None:
    """A line an epoch, then the test; each with the metrics that the manifest's claims name."""
    claimed = {claim.metric for claim in experiment.manifest.claims}
    columns = [name for name in workload.metrics if name in claimed]
    for message in attempt(
        job,
        workload,
        data={name: workload.load_data(name, data) for name in job.spec.data},
        source=source(),
        workload_code=workload_code(workload),
        device="cuda" if gpu else "cpu",
    ):
        match message:
            case EpochRecord():
                typer.echo(_line(str(message.epoch), columns, message.metrics))
            case FinalRecord():
                typer.echo(_line("test", columns, message.metrics))
            case Failure():
                typer.echo(f"{message.error}: {message.message}", err=True)
                raise typer.Exit(Exit.NOT_AS_EXPECTED)


def _line(label: str, columns: Sequence[str], metrics: Mapping[str, float]) -> str:
    return " ".join([label, *(f"{metrics[name]:.4f}" for name in columns if name in metrics)])
