"""`run`: run every trial that is not done yet, then judge all of them."""

import typer
from rich.console import Console

from harness.cli import options
from harness.cli.console import STDOUT, save, show
from harness.cli.live import ConsoleObserver, log_to
from harness.session import RunOptions, Session, load, run_session
from harness.store import Store
from harness.verdict import exit_code


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
