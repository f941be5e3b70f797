"""Commands that look and change nothing: what is there, is it sound, what would be run."""

import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import typer
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table
from rich.text import Text

from harness import manifest, workloads
from harness.cli import options
from harness.manifest import Experiment
from harness.plan import Job, Selection, jobs
from harness.record import StoredTrial
from harness.session import Session
from harness.store import Store
from harness.verdict import prospects


def load(paths: list[Path]) -> tuple[Experiment, ...]:
    """The experiments that the command line names.

    Raises:
        ManifestError: with every fault of every file.
    """
    return manifest.load(paths, workloads.registry())


def list_(paths: options.Paths) -> None:
    """What experiments there are.

    Example: harness list experiments
    """
    table = _table("experiment", "title", "epochs", "seeds", "claims")
    for experiment in load(paths):
        said = experiment.manifest
        table.add_row(
            experiment.id,
            said.title + (" (control)" if said.control else ""),
            str(said.epochs.value),
            str(len(said.seeds)),
            str(len(said.claims)),
        )
    Console().print(table)


def validate(paths: options.Paths) -> None:
    """Every fault of every manifest, with file, line and field; exit 2 if there is one.

    Example: harness validate experiments/image-pair-4.yaml
    """
    experiments = load(paths)
    typer.echo(f"no faults in {', '.join(experiment.id for experiment in experiments)}")


def plan(
    paths: options.Paths,
    seeds: options.Seeds = None,
    epochs: options.Epochs = None,
    workspace: options.Workspace = options.DEFAULT_WORKSPACE,
    cpus_per_trial: options.CpusPerTrial = None,
    gpus_per_trial: options.GpusPerTrial = None,
) -> None:
    """Which trials a run would have, what each needs, and what is already done.

    Example: harness plan experiments --seeds 0-9
    """
    selection = options.selection(seeds, epochs, cpus_per_trial, gpus_per_trial)
    show_plan(load(paths), selection, Store(workspace))


def show_plan(experiments: Sequence[Experiment], selection: Selection, store: Store) -> None:
    """A line for each experiment; a trial that two of them share is counted with the first."""
    # Most of a large study's have not begun: one listing tells, and not a look for a file each.
    begun = frozenset(store.trials())
    trials: Counter[str] = Counter()
    done: Counter[str] = Counter()
    for job in jobs(experiments, workloads.registry(), selection):
        trials[job.experiment] += 1
        done[job.experiment] += job.spec.id in begun and store.settled(job.spec.id, job.epochs)
    table = _table("experiment", "trials", "done", "to run", "epochs", "CPUs", "GPUs", "threads")
    for experiment in experiments:
        need = selection.resources_of(experiment)
        table.add_row(
            Text(experiment.id),  # brackets in the id of a variant are not rich's
            str(trials[experiment.id]),
            str(done[experiment.id]),
            str(trials[experiment.id] - done[experiment.id]),
            str(selection.epochs_of(experiment)),
            f"{need.cpus:g}",
            f"{need.gpus:g}",
            str(need.threads),
        )
    console = Console()
    console.print(table)
    session = Session(tuple(experiments), selection, store)
    for experiment in experiments:
        if done[experiment.id]:
            for line in _prospects(session, experiment):
                console.print(line, highlight=False, markup=False, soft_wrap=True)


def _prospects(session: Session, experiment: Experiment) -> Iterator[str]:
    """What the planned seeds can decide, as far as the stored ones tell how much runs differ."""
    seeds = len(session.selection.seeds_of(experiment))
    if seeds == 1:
        yield f"{experiment.id}: one seed is judged by the tolerances only"
        return
    (verdict,) = replace(session, experiments=(experiment,)).verdicts()
    rows = prospects(verdict, seeds)
    if not rows:
        yield f"{experiment.id}: one stored seed does not tell how much runs differ"
        return
    reach = [row for row in rows if row.room >= 0]
    least = min(rows, key=lambda row: row.room / row.tolerance)
    yield (
        f"{experiment.id}: {seeds} seeds can show equivalence in {len(reach)} of {len(rows)} rows; "
        f"least room: {least.name}, a mean {max(least.room, 0):.2g} off passes, "
        f"of {least.tolerance:g} allowed"
    )
    for row in rows:
        if row.hopeless:
            yield (
                f"{experiment.id}: warning: {row.name}: the tolerance {row.tolerance:g} is smaller "
                f"than the spread {row.spread:.2g} of {row.stored} runs: chance alone may put the "
                f"paper's run farther off, and then no number of seeds decides"
            )
        elif row.room < 0:
            yield f"{experiment.id}: warning: {row.name}: needs {row.needed} seeds, not {seeds}"


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
    table = _table("experiment", "seed", "trial", "epochs", "state", "last record")
    states: Counter[str] = Counter()
    selection = options.selection(seeds, epochs)
    for job in jobs(load(paths), workloads.registry(), selection):
        trial = store.read(job.spec.id)
        state = _state(job, trial)
        states[state.split(":")[0]] += 1
        reached = len(trial.epochs) if trial else 0
        table.add_row(
            job.experiment,
            str(job.spec.seed),
            job.spec.id,
            f"{reached}/{job.epochs}",
            state,
            _age(trial),
        )
    console = Console()
    console.print(table)
    console.print(", ".join(f"{count} {state}" for state, count in states.items()))


def _table(name: str, *columns: str) -> Table:
    """A table whose first column is never cut: it is what people copy. Eight fit in 80 columns."""
    table = Table(box=SIMPLE_HEAD, collapse_padding=True, pad_edge=False, show_edge=False)
    table.add_column(name, no_wrap=True)
    for column in columns:
        table.add_column(column)
    return table


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


def data(paths: options.Paths, data: options.Data = options.DEFAULT_DATA) -> None:
    """Fetch every data set that the experiments read, once, and check its digest.

    Example: harness data experiments
    """
    registry = workloads.registry()
    seen = set()
    for experiment in load(paths):
        workload = registry[experiment.manifest.workload.name]
        for item in workload.data_sets(experiment.parameters):
            if item not in seen:
                workload.load_data(item.name, data)
                typer.echo(f"{item.name}: in {data}, sha256 {item.digest}")
                seen.add(item)
