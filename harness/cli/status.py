"""`status`: how a running or stopped study stands."""

import time
from collections import Counter

from rich.console import Console

from harness import workloads
from harness.cli import options
from harness.cli.console import table
from harness.plan import Job, jobs
from harness.record import StoredTrial
from harness.session import load
from harness.store import Store


def status(
    paths: options.Paths,
    seeds: options.Seeds = None,
    epochs: options.Epochs = None,
    workspace: options.Workspace = options.DEFAULT_WORKSPACE,
) -> None:
    """How a running or stopped study stands, trial by trial.

    Example: harness status experiments --workspace results
    """
    store = Store(workspace)
    shown = table("experiment", "seed", "trial", "epochs", "state", "last record")
    states: Counter[str] = Counter()
    selection = options.selection(seeds, epochs)
    for job in jobs(load(paths), workloads.registry(), selection):
        trial = store.read(job.spec.id)
        state = _state(job, trial)
        states[state.split(":")[0]] += 1
        reached = len(trial.epochs) if trial else 0
        shown.add_row(
            job.experiment,
            str(job.spec.seed),
            job.spec.id,
            f"{reached}/{job.epochs}",
            state,
            _age(trial),
        )
    console = Console()
    console.print(shown)
    console.print(", ".join(f"{count} {state}" for state, count in states.items()))


def _state(job: Job, trial: StoredTrial | None) -> str:
    if trial is None:
        return "not started"
    if trial.failure is not None:
        return f"failed ({trial.failure.kind}): {trial.failure.error}: {trial.failure.message}"
    return "finished" if trial.done >= job.epochs else "under way or stopped"


def _age(trial: StoredTrial | None) -> str:
    if trial is None or not trial.epochs:
        return ""
    return f"{max(0, time.time() - trial.epochs[-1].ended_ms / 1000):.0f} s ago"
