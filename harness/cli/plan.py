"""`plan`: show which trials a run would have."""

from collections import Counter
from collections.abc import Iterator, Sequence

from rich.console import Console
from rich.text import Text

from harness.cli import options
from harness.cli.console import table
from harness.manifest import Experiment
from harness.plan import Selection
from harness.record import StoredTrial
from harness.report import terminal
from harness.session import Session, load_experiments, warnings
from harness.store import Store
from harness.verdict import ExperimentVerdict, prospects


def plan(
    paths: options.Paths,
    selection: Selection,
    workspace: options.Workspace = options.DEFAULT_WORKSPACE,
) -> None:
    """Show which trials a run would have, what each needs, and which are done.

    Example: harness plan experiments --seeds 0-9
    """
    show_plan(load_experiments(paths), selection, Store(workspace))


def show_plan(experiments: Sequence[Experiment], selection: Selection, store: Store) -> None:
    """Print a row for each experiment. A trial that two share is counted with the first."""
    session = Session(tuple(experiments), selection, store)
    # In a large study most trials have not begun: list the folder once, not each trial's files.
    begun = frozenset(store.trials())
    planned = {job.spec.id: job for job in session.jobs()}
    # All experiments at once: each call looks at every stored trial.
    several = tuple(
        each
        for each in experiments
        if len(session.trials[each.id]) > 1
        and not begun.isdisjoint(session.trials[each.id].values())
    )
    settled: dict[str, bool] = {}
    """Whether each trial that was read for the verdicts has ended, so that it is read once."""

    def read(experiment: Experiment, seed: int) -> StoredTrial | None:
        trial = session.trial(experiment, seed)
        if trial is not None and (job := planned.get(trial.spec.id)):
            settled[trial.spec.id] = trial.settled(job.epochs)
        return trial

    judged = session.judged(several, read) if several else ()
    verdicts = {verdict.id: verdict for verdict in judged}
    trials: Counter[str] = Counter()
    done: Counter[str] = Counter()
    for trial_id, job in planned.items():
        trials[job.experiment] += 1
        if trial_id in begun:
            known = settled.get(trial_id)
            done[job.experiment] += store.settled(trial_id, job.epochs) if known is None else known
    shown = table("experiment", "trials", "done", "to run", "epochs", "CPUs", "GPUs", "threads")
    for experiment in experiments:
        need = selection.resources_of(experiment)
        shown.add_row(
            Text(experiment.id),  # a variant's id holds brackets: no markup
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
    for line in (*selection.without_effect(experiments), *warnings(experiments)):
        console.print(line, highlight=False, markup=False, soft_wrap=True)
    if severities := session.severities():
        console.print("\nWhat a verdict on these seeds and epochs can exclude:")
        console.print(terminal.severities(severities))
    for experiment in experiments:
        for line in session.code_changes(experiment):
            console.print(line, highlight=False, markup=False, soft_wrap=True)
        if done[experiment.id]:
            for line in _prospects(session, experiment, verdicts.get(experiment.id)):
                console.print(line, highlight=False, markup=False, soft_wrap=True)


def _prospects(
    session: Session, experiment: Experiment, verdict: ExperimentVerdict | None
) -> Iterator[str]:
    """Say what the planned seeds can decide, given the SD of the stored seeds.

    Args:
        session: what is planned.
        experiment: one that has finished trials.
        verdict: on these trials; None if one seed is planned.
    """
    if verdict is None:
        yield f"{experiment.id}: one seed is judged by the tolerances only"
        return
    seeds = len(session.selection.seeds_of(experiment))
    if not any(row.about is not None and row.about.compared for row in verdict.results):
        return
    rows = prospects(verdict, seeds)
    if not rows:
        yield f"{experiment.id}: one stored seed is too few to estimate the SD of runs"
        return
    reach = [row for row in rows if row.room >= 0]
    tightest = min(rows, key=lambda row: row.room / row.tolerance)
    yield (
        f"{experiment.id}: {seeds} seeds can show equivalence in {len(reach)} of {len(rows)} rows; "
        f"tightest row: {tightest.name}, where the mean may be off by {max(tightest.room, 0):.2g} "
        f"(tolerance {tightest.tolerance:g})"
    )
    for row in rows:
        if row.hopeless:
            yield (
                f"{experiment.id}: warning: {row.name}: the tolerance {row.tolerance:g} is smaller "
                f"than the SD {row.sd:.2g} of {row.stored} runs, so the paper's single run may lie "
                f"farther off by chance, and more seeds cannot change that"
            )
        elif row.room < 0:
            yield f"{experiment.id}: warning: {row.name}: needs {row.needed} seeds, not {seeds}"
