"""`plan`: show which trials a run would have."""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace

from rich.console import Console
from rich.text import Text

from harness import workloads
from harness.cli import options
from harness.cli.console import table
from harness.manifest import Experiment
from harness.plan import Selection, jobs
from harness.session import Session, load
from harness.store import Store
from harness.verdict import prospects


def plan(
    paths: options.Paths,
    selection: Selection,
    workspace: options.Workspace = options.DEFAULT_WORKSPACE,
) -> None:
    """Show which trials a run would have, what each needs, and which are done.

    Example: harness plan experiments --seeds 0-9
    """
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
    shown = table("experiment", "trials", "done", "to run", "epochs", "CPUs", "GPUs", "threads")
    for experiment in experiments:
        need = selection.resources_of(experiment)
        shown.add_row(
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
    console.print(shown)
    session = Session(tuple(experiments), selection, store)
    for experiment in experiments:
        for line in session.code_changes(experiment):
            console.print(line, highlight=False, markup=False, soft_wrap=True)
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
                f"than the SD {row.sd:.2g} of {row.stored} runs: chance alone may put the "
                f"paper's run farther off, and then more seeds do not settle it"
            )
        elif row.room < 0:
            yield f"{experiment.id}: warning: {row.name}: needs {row.needed} seeds, not {seeds}"
