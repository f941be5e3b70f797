"""`run`: run every trial that is not done yet, then judge all of them."""

import shlex
from typing import Annotated

import typer
from rich.console import Console

from harness.cli import options
from harness.cli.console import ConsoleObserver, log_to, show_verdicts
from harness.cli.options import Outputs
from harness.errors import Exit
from harness.output import given_by
from harness.plan import Selection
from harness.session import RunOptions, Session, load_experiments, run_session
from harness.store import Store
from harness.verdict import exit_code


def run(
    paths: options.Paths,
    selection: Selection,
    run_options: RunOptions,
    outputs: Outputs,
    workspace: options.Workspace = options.DEFAULT_WORKSPACE,
    rivals: Annotated[
        bool,
        typer.Option(
            "--rivals",
            help="Run the variants that the manifests name as rivals instead. Exit 0 if all of "
            "their trials are done, whatever the verdicts on them are.",
        ),
    ] = False,
    every_row: options.EveryRow = False,
    quiet: options.Quiet = False,
) -> None:
    """Run every trial that is not done yet, judge all trials and write a report.

    Example: harness run experiments --seeds 0-4 --workspace results
    """
    console = Console(stderr=outputs.use_stdout, quiet=quiet)
    log_to(Console(stderr=True))
    session = Session(load_experiments(paths), selection, Store(workspace))
    session = session.of_rivals() if rivals else session
    folder = session.store.root / "rivals" if rivals else None
    with given_by("--workspace"):
        result = run_session(session, run_options, ConsoleObserver(console), report=folder)
    where = [] if workspace == options.DEFAULT_WORKSPACE else [f"--workspace={workspace}"]
    again = shlex.join(["harness", "check", *map(str, paths), *where, "--all"])
    show_verdicts(result.verdicts, console, every_row=every_row, more=again)
    outputs.write(result.verdicts)
    lines = [f"report: {result.reports.html}"]
    if run_options.tracking_uri is None:
        command = shlex.join(["harness", "ui", *where])
        lines.append(f"MLflow: {command} shows it at http://127.0.0.1:{options.DEFAULT_PORT}")
    for line in lines:  # a path may hold brackets: no markup
        console.print(line, highlight=False, markup=False, soft_wrap=True)
    done = not any(verdict.incomplete for verdict in result.verdicts)
    raise typer.Exit(Exit.AS_EXPECTED if rivals and done else exit_code(result.verdicts))
