"""`status`: show how many trials are finished, failed or left."""

import time
from collections import Counter
from typing import Annotated

import typer
from rich.console import Console
from rich.text import Text

from harness.cli import options
from harness.cli.console import table as make_table
from harness.errors import number_of, one_line
from harness.plan import Request
from harness.session import Session, load_experiments
from harness.session.status import Progress, experiment_statuses, trial_statuses


def status(
    paths: options.Paths,
    request: Request,
    workspace: options.Workspace = options.DEFAULT_WORKSPACE,
    all_: Annotated[
        bool,
        typer.Option("--all", help="Show a row per trial. Slower: every trial is read in full."),
    ] = False,
) -> None:
    """Show how many trials of a running or stopped study are finished, failed or left.

    Without --seeds and --epochs, it counts the seeds and epochs of the last run.

    Example: harness status experiments --workspace results
    """
    store = options.existing(workspace)
    session = Session(load_experiments(paths), options.selection(request), store)
    session = session.as_last_requested()
    console = Console()
    states = _show_trials(session, console) if all_ else _show_experiments(session, console)
    for line in session.described_requests():
        console.print(line, highlight=False, markup=False, soft_wrap=True)
    total = states.total()
    counts = ", ".join(f"{states[state]} {state}" for state in Progress if states[state])
    console.print(f"{number_of(total, 'trial')}: {counts}", highlight=False)


def _show_experiments(session: Session, console: Console) -> Counter[Progress]:
    """Print a row per experiment, and count the trials in each state."""
    states: Counter[Progress] = Counter()
    written_ms = 0
    table = make_table("experiment", "epochs", *Progress)
    for row in experiment_statuses(session):
        states += row.states
        written_ms = max(written_ms, row.written_ms)
        table.add_row(
            Text(row.experiment),
            str(row.epochs),
            *(str(row.states[state]) for state in Progress),
        )
    console.print(table)
    if written_ms:
        console.print(f"unfinished trials were last written {_ago(written_ms)}", highlight=False)
    return states


def _show_trials(session: Session, console: Console) -> Counter[Progress]:
    """Print a row per trial, and count the trials in each state."""
    states: Counter[Progress] = Counter()
    table = make_table("experiment", "seed", "trial", "epochs", "state", "last record")
    for row in trial_statuses(session):
        states[row.state] += 1
        state = f"{row.state}: {one_line(row.detail)}" if row.detail else str(row.state)
        table.add_row(
            Text(row.experiment),
            str(row.seed),
            row.trial,
            f"{row.reached}/{row.epochs}",
            Text(state),
            _ago(row.recorded_ms),
        )
    console.print(table)
    return states


def _ago(ms: int | None) -> str:
    return "" if ms is None else f"{max(0, time.time() - ms / 1000):.0f} s ago"
