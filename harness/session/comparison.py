"""Compare the trials of two folders or tables, seed by seed."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from harness import workloads
from harness.compare import Comparison, Side, Standing, compare
from harness.errors import Exit, UsageError
from harness.manifest import Experiment
from harness.nightly import read_record
from harness.nightly.history import MANIFESTS
from harness.plan import Selection, specs
from harness.record import StoredTrial, TrialSpec
from harness.session.session import load
from harness.store import Archive, Store

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
    experiments = load(manifests or [own if own.is_dir() else DEFAULT_EXPERIMENTS])
    compared = compare(experiments, read_side(base, experiments), read_side(new, experiments))
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
        return Side(arrow_tables.read(path))
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
