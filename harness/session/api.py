"""The functions that `import harness` offers. The commands call the same code.

Every function takes manifests as paths, as folders of paths, or as experiments that
`load_manifests` returned. Errors are subclasses of `harness.HarnessError`, whose
`exit_code` is the exit code that the command line would have. Nothing here prints; an argument
without effect is a Python warning.
"""

import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from harness import workloads
from harness.compare import Comparison, Side, Standing, compare_experiments
from harness.errors import Exit, UsageError
from harness.manifest import Experiment, parse_seeds
from harness.nightly import read_record
from harness.nightly.history import MANIFESTS
from harness.options import RunOptions
from harness.plan import Selection, specs
from harness.record import StoredTrial, TrialSpec
from harness.session.runner import Observer, RunResult, run_session
from harness.session.session import CommittedUse, Session, load_experiments
from harness.session.study import plan_study, run_study
from harness.store import Archive, Store
from harness.study import Study
from harness.verdict import ExperimentVerdict

if TYPE_CHECKING:
    import pyarrow

PathLike = str | Path
Manifests = PathLike | Experiment | Iterable[PathLike | Experiment]
"""A manifest, a folder of manifests, an experiment, or several of these."""
Seeds = str | Iterable[int] | None
"""Seeds as text ("0-4,7") or numbers; None takes the manifest's own."""

DEFAULT_WORKSPACE = Path("results")
"""The same default as on the command line."""


@dataclass(frozen=True)
class PlannedTrial:
    """One trial that `run_trials` would run."""

    experiment: str
    """The experiment's id, which is the name of its manifest."""
    seed: int
    trial: str
    """The trial's id, a digest of everything that determines its result."""
    epochs: int
    """How many epochs it runs."""
    cpus: float
    gpus: float
    done: bool
    """Whether the workspace holds the finished trial already. A run skips it."""


def load_manifests(manifests: Manifests) -> tuple[Experiment, ...]:
    """Read manifests and check them.

    Args:
        manifests: paths of manifests, or of folders that hold manifests.

    Returns:
        The experiments, sorted by path.

    Raises:
        ManifestError: a manifest has faults; its `faults` lists all of them, with file and line.

    Example:
        >>> import harness
        >>> experiments = harness.load_manifests("experiments")
        >>> experiments[0].manifest.title  # doctest: +SKIP
        'Pairs of MNIST images with equal labels among ten classes'
    """
    given = [manifests] if isinstance(manifests, str | Path | Experiment) else list(manifests)
    loaded = {item.id: item for item in given if isinstance(item, Experiment)}
    paths = [Path(item) for item in given if not isinstance(item, Experiment)]
    if paths:
        loaded |= {item.id: item for item in load_experiments(paths)}
    return tuple(loaded.values())


def open_session(
    manifests: Manifests,
    *,
    seeds: Seeds = None,
    epochs: int | None = None,
    workspace: PathLike = DEFAULT_WORKSPACE,
    cpus_per_trial: float | None = None,
    gpus_per_trial: float | None = None,
    use: CommittedUse = CommittedUse.NEVER,
) -> Session:
    """Join experiments, a selection of their trials, and a workspace.

    Most callers want `plan_trials`, `run_trials`, `check_claims` or `read_records` instead.

    Args:
        manifests: what to work on.
        seeds: seeds to use instead of the manifests'.
        epochs: use only the first `epochs` epochs. More than an experiment has is a warning.
        workspace: the folder that holds trials; a run makes it.
        cpus_per_trial: CPUs for each trial, instead of the manifests'.
        gpus_per_trial: GPUs for each trial; a fraction lets several trials share one.
        use: when to judge by the records committed beside the manifests.

    Raises:
        ManifestError: a manifest has faults.
        UsageError: the seeds are not a list of ranges, or epochs is below 1.
    """
    try:
        chosen = parse_seeds(seeds) if isinstance(seeds, str) else seeds
    except ValueError as fault:
        raise UsageError(f"seeds: {fault}") from None
    if epochs is not None and epochs < 1:
        raise UsageError(f"epochs: must be at least 1, got {epochs}")
    selection = Selection(
        seeds=None if chosen is None else tuple(chosen),
        epochs=epochs,
        cpus_per_trial=cpus_per_trial,
        gpus_per_trial=gpus_per_trial,
    )
    experiments = load_manifests(manifests)
    for line in selection.without_effect(experiments):
        warnings.warn(line.removeprefix("--"), stacklevel=3)
    return Session(experiments, selection, Store(Path(workspace)), use)


def plan_trials(
    manifests: Manifests,
    *,
    seeds: Seeds = None,
    epochs: int | None = None,
    workspace: PathLike = DEFAULT_WORKSPACE,
    cpus_per_trial: float | None = None,
    gpus_per_trial: float | None = None,
) -> tuple[PlannedTrial, ...]:
    """List the trials that `run_trials` would run, without running them.

    Args:
        manifests, seeds, epochs, workspace, cpus_per_trial, gpus_per_trial: as of `open_session`.

    Raises:
        HarnessError: as of `open_session`.

    Returns:
        Every trial, done or not. A trial that two experiments share is listed once.

    Example:
        >>> import harness
        >>> planned = harness.plan_trials("experiments/image-pair-4.yaml", seeds="0-4")
        >>> len(planned)
        5
    """
    session = open_session(
        manifests,
        seeds=seeds,
        epochs=epochs,
        workspace=workspace,
        cpus_per_trial=cpus_per_trial,
        gpus_per_trial=gpus_per_trial,
    )
    begun = frozenset(session.store.trials())
    return tuple(
        PlannedTrial(
            experiment=job.experiment,
            seed=job.spec.seed,
            trial=job.spec.id,
            epochs=job.epochs,
            cpus=job.resources.cpus,
            gpus=job.resources.gpus,
            done=job.spec.id in begun and session.store.settled(job.spec.id, job.epochs),
        )
        for job in session.jobs()
    )


def run_trials(
    manifests: Manifests,
    *,
    seeds: Seeds = None,
    epochs: int | None = None,
    workspace: PathLike = DEFAULT_WORKSPACE,
    cpus_per_trial: float | None = None,
    gpus_per_trial: float | None = None,
    options: RunOptions | None = None,
    observer: Observer | None = None,
) -> RunResult:
    """Run every trial that is not done yet on Ray, then judge all trials.

    Call it from the main thread, so that Ctrl-C stops the run in order.

    Args:
        manifests, seeds, epochs, workspace, cpus_per_trial, gpus_per_trial: as of `open_session`.
        options: cluster, retries, timeouts, tracking, data; the defaults are the command line's.
        observer: receives every epoch; by default nothing is shown.

    Returns:
        The verdicts and the paths of the report.

    Raises:
        ManifestError: a manifest has faults.
        UsageError: an argument is wrong.
        StoppedError: Ctrl-C or SIGTERM stopped the run; the same call resumes it.
        ResourceError: the requested cluster, CPUs or GPUs are not available.
        DataError: a data set cannot be fetched, or has the wrong digest.
        StoreError: the workspace cannot be written, or another run is using it.

    Example:
        >>> import harness
        >>> result = harness.run_trials("tiny.yaml", seeds="0-1")  # doctest: +SKIP
        >>> [verdict.verdict for verdict in result.verdicts]  # doctest: +SKIP
        ['REPRODUCED']
    """
    session = open_session(
        manifests,
        seeds=seeds,
        epochs=epochs,
        workspace=workspace,
        cpus_per_trial=cpus_per_trial,
        gpus_per_trial=gpus_per_trial,
    )
    return run_session(session, options or RunOptions(), observer)


def study_assumptions(
    manifest: PathLike,
    vary: Sequence[str],
    *,
    grid: bool = False,
    seeds: Seeds = None,
    epochs: int | None = None,
    workspace: PathLike = DEFAULT_WORKSPACE,
    cpus_per_trial: float | None = None,
    gpus_per_trial: float | None = None,
    options: RunOptions | None = None,
    observer: Observer | None = None,
) -> Study:
    """Sensitivity analysis: re-run with other values and report which verdicts change.

    Args:
        manifest: one manifest.
        vary: assumed or inferred parameters and the values to try, each as "NAME=VALUE,...".
        grid: whether to try every combination instead of one change at a time.
        seeds, epochs, workspace, cpus_per_trial, gpus_per_trial: as of `open_session`.
        options, observer: as of `run_trials`.

    Returns:
        The study, with a verdict on each variant. Pages and a figure lie in `study/ID` in the
        workspace. The verdicts are exploratory.

    Raises:
        UsageError: `vary` has faults; the message lists all of them.
        HarnessError: as of `run_trials`.

    Example:
        >>> import harness
        >>> study = harness.study_assumptions(
        ...     "experiments/sequence-pair-16.yaml", ["length=1200,1600"]
        ... )  # doctest: +SKIP
        >>> {factor.name: study.hinge(factor) for factor in study.factors}  # doctest: +SKIP
        {'length': 'no'}
    """
    session = open_session(
        (),
        seeds=seeds,
        epochs=epochs,
        workspace=workspace,
        cpus_per_trial=cpus_per_trial,
        gpus_per_trial=gpus_per_trial,
    )
    study, _ = run_study(
        plan_study(Path(manifest), vary, grid=grid),
        session.selection,
        session.store,
        options or RunOptions(),
        observer,
    )
    return study


def check_claims(
    manifests: Manifests,
    *,
    seeds: Seeds = None,
    epochs: int | None = None,
    workspace: PathLike = DEFAULT_WORKSPACE,
    committed: bool = False,
) -> tuple[ExperimentVerdict, ...]:
    """Judge the stored records again. Nothing is run: no Ray, no MLflow, no torch.

    Without `seeds` and `epochs`, it judges the seeds and epochs of the last run.

    Args:
        manifests, seeds, epochs, workspace: as of `open_session`.
        committed: whether to judge by the records committed beside the manifests, even if the
            workspace holds trials. An experiment without trials there is always judged by them.

    Returns:
        A verdict for each experiment, with a result for each reported number. Values are in the
        manifest's unit.

    Raises:
        ManifestError: a manifest has faults.
        UsageError: an argument is wrong.
        StoreError: records are damaged.

    Example:
        >>> import harness
        >>> (verdict,) = harness.check_claims("experiments/image-pair-4.yaml", committed=True)
        >>> harness.verdicts_table([verdict]).num_rows == len(verdict.results)
        True
    """
    return _judged(manifests, seeds, epochs, workspace, committed=committed).verdicts()


def read_records(
    manifests: Manifests,
    *,
    seeds: Seeds = None,
    epochs: int | None = None,
    workspace: PathLike = DEFAULT_WORKSPACE,
    committed: bool = False,
) -> Mapping[tuple[str, int], StoredTrial]:
    """Read the stored trials, finished or not.

    Args and errors: as of `check_claims`.

    Returns:
        The trials by experiment and seed. Each holds its epochs' metrics, in the units that its
        workload declares, its failure if it failed, and where it ran.

    Example:
        >>> import harness
        >>> trials = harness.read_records("experiments/image-pair-4.yaml", committed=True)
        >>> harness.records_table(trials).column_names[:3]
        ['experiment', 'trial', 'seed']
    """
    return dict(_judged(manifests, seeds, epochs, workspace, committed=committed).stored_trials())


def compare_records(
    base: PathLike, new: PathLike, manifests: Sequence[PathLike] | None = None
) -> tuple[Comparison, ...]:
    """Compare two workspaces, nights, folders of committed records or exported tables.

    Args:
        base: what `new` is compared with.
        new: the newer records.
        manifests: whose claims are compared; by default those of the night `new`, or else those
            in the folder `experiments`.

    Returns:
        A comparison for each experiment that has a seed on either side. It says whether the records
        are equal bit for bit, and which claims moved, in the manifest's unit.

    Raises:
        UsageError: a path does not exist, or holds no records.
        ManifestError: a manifest has faults.
        StoreError: records are damaged.

    Example:
        >>> import harness
        >>> records = "experiments/records"
        >>> {str(each.standing) for each in harness.compare_records(records, records)}
        {'unchanged'}
    """
    paths = None if manifests is None else [Path(path) for path in manifests]
    return compare_paths(Path(base), Path(new), paths)


def records_table(trials: Mapping[tuple[str, int], StoredTrial]) -> "pyarrow.Table":
    """Turn stored trials into a table. Call `.to_pandas()` for a data frame.

    Args:
        trials: by experiment and seed, as `read_records` returns them.

    Returns:
        A row for each metric of each epoch and each final estimate, with the columns of
        `harness export`: experiment, trial, seed, epoch, final, metric, value, ended_ms.

    Example:
        >>> import harness
        >>> harness.records_table({}).num_rows
        0
    """
    from harness.report import arrow_tables  # noqa: PLC0415 - pyarrow takes a moment to import

    return arrow_tables.records_to_table((name, trial) for (name, _), trial in trials.items())


def verdicts_table(verdicts: Iterable[ExperimentVerdict]) -> "pyarrow.Table":
    """Turn verdicts into a table. Call `.to_pandas()` for a data frame.

    Args:
        verdicts: as `check_claims` or `run_trials` return them.

    Returns:
        A row for each reported number: experiment, name, claim, kind, metric, unit, epoch,
        reported, measured, difference, tolerance, verdict, as_expected, n (seeds with a value),
        spread (their SD), p_equivalence, p_consistency, note. Values are in the row's unit;
        unknown values are null.

    Example:
        >>> import harness
        >>> harness.verdicts_table([]).num_rows
        0
    """
    from harness.report import arrow_tables  # noqa: PLC0415 - as above

    return arrow_tables.verdicts(verdicts)


def _judged(
    manifests: Manifests, seeds: Seeds, epochs: int | None, workspace: PathLike, *, committed: bool
) -> Session:
    use = CommittedUse.ALWAYS if committed else CommittedUse.WHERE_EMPTY
    session = open_session(manifests, seeds=seeds, epochs=epochs, workspace=workspace, use=use)
    return session.as_last_requested()


DEFAULT_EXPERIMENTS = Path("experiments")


def compare_paths(
    base: Path, new: Path, manifests: Sequence[Path] | None = None
) -> tuple[Comparison, ...]:
    """Compare each experiment that has a seed on either side.

    Args:
        base: a workspace, a night, a folder of committed records, or an exported table.
        new: another of these, which is compared with it.
        manifests: whose claims are compared; by default those of the night `new`, or else those
            in the folder `experiments`.

    Raises:
        UsageError: a path does not exist, or is none of these.
        ManifestError: with every fault of every manifest.
        StoreError: records are damaged.
    """
    for side in (base, new):
        if not side.exists():
            raise UsageError(f"{side}: no such workspace, night, records or exported table")
    own = new / MANIFESTS
    experiments = load_experiments(manifests or [own if own.is_dir() else DEFAULT_EXPERIMENTS])
    compared = compare_experiments(
        experiments, read_side(base, experiments), read_side(new, experiments)
    )
    return tuple(one for one in compared if one.seeds or one.only_base or one.only_new)


def comparison_code(comparisons: Sequence[Comparison]) -> Exit:
    """Return the exit code for these comparisons."""
    standings = {comparison.standing for comparison in comparisons}
    if Standing.MOVED in standings:
        return Exit.NOT_AS_EXPECTED
    if Standing.NOTHING in standings or not comparisons:
        return Exit.INCOMPLETE
    return Exit.INCONCLUSIVE if Standing.UNTESTED in standings else Exit.AS_EXPECTED


def read_side(path: Path, experiments: Sequence[Experiment]) -> Side:
    """Read the experiments' trials from a workspace, a night, committed records or a table."""
    from harness.report import arrow_tables  # noqa: PLC0415 - pyarrow takes a moment to import

    if path.is_file():
        return Side(arrow_tables.read_trials(path))
    if Archive.there(path):
        return Side(dict(_stored(Archive(path), experiments)))
    store, record = Store(path), read_record(path)
    if record is None:
        return Side(dict(_stored(store, experiments)))
    # A night records which trials belong to which experiment, so changed manifests do not matter.
    named = (
        (name, seed, store.read(trial))
        for name, entry in record.experiments.items()
        for seed, trial in entry.trials.items()
    )
    return Side({(name, seed): trial for name, seed, trial in named if trial is not None})


def _stored(
    store: Store | Archive, experiments: Sequence[Experiment]
) -> Iterator[tuple[tuple[str, int], StoredTrial]]:
    """Yield the stored trials that match today's manifests, whatever their seed."""
    registry = workloads.registry()
    wanted: list[tuple[str, TrialSpec]] = []
    for experiment in experiments:
        if experiment.compares:
            continue
        workload = experiment.workload(registry)
        (spec,) = specs(experiment, workload, Selection(seeds=(0,)))
        wanted.append((experiment.id, spec))
    for trial_id in store.trials():
        trial = store.read(trial_id)
        for name, spec in wanted:
            if (
                trial
                and replace(spec, seed=trial.spec.seed, length=trial.spec.length) == trial.spec
            ):
                yield (name, trial.spec.seed), trial
