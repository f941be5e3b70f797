"""Compare two sides' trials: judge both by the same claims, and pair them seed by seed."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace

import numpy as np

from harness import stats
from harness.compare.results import Change, Comparison, Side
from harness.manifest import Experiment
from harness.record import WORKLOAD_CODE, StoredTrial, canonical_json, digest, in_words
from harness.verdict import Case, ClaimResult, ExperimentVerdict, judge


def compare(experiments: Iterable[Experiment], base: Side, new: Side) -> tuple[Comparison, ...]:
    """Compare each experiment by the claims of its manifest; all tests are corrected together.

    The claims only tell which values to compare: the paper's numbers are not used.
    """
    return _holm([_compared(experiment, base, new) for experiment in experiments])


def results_digest(trial: StoredTrial, epochs: int) -> str:
    """Return the SHA-256 of a trial's metrics in its first epochs; times are left out."""
    found = {
        "epochs": {
            str(record.epoch): dict(record.metrics)
            for record in trial.epochs
            if record.epoch <= epochs
        },
        "finals": {
            str(epoch): dict(final.metrics)
            for epoch, final in trial.finals.items()
            if epoch <= epochs
        },
    }
    return digest(canonical_json(found))


def _compared(experiment: Experiment, base: Side, new: Side) -> Comparison:
    in_base, in_new = base.seeds(experiment.id), new.seeds(experiment.id)
    seeds = tuple(sorted(in_base & in_new))
    pairs = [(base.trials[experiment.id, seed], new.trials[experiment.id, seed]) for seed in seeds]
    epochs = _common_epochs(experiment, pairs)
    before, after = (_judged(experiment, side, seeds, epochs) for side in (base, new))
    equal = [results_digest(one, epochs) == results_digest(other, epochs) for one, other in pairs]
    return Comparison(
        id=experiment.id,
        seeds=seeds,
        identical=tuple(seed for seed, same in zip(seeds, equal, strict=True) if same),
        only_base=tuple(sorted(in_base - in_new)),
        only_new=tuple(sorted(in_new - in_base)),
        epochs=epochs,
        cut_short=tuple(
            seed
            for seed, pair in zip(seeds, pairs, strict=True)
            if min(len(trial.epochs) for trial in pair) < epochs
        ),
        verdict=after.verdict if after else None,
        changes=tuple(_changes(before.results, after.results)) if before and after else (),
        conditions=_differing_conditions(pairs),
    )


def _judged(
    experiment: Experiment, side: Side, seeds: tuple[int, ...], epochs: int
) -> ExperimentVerdict | None:
    """Measure the claims on one side; the controls of other experiments are not used."""
    if not seeds:
        return None
    (found,) = judge([Case(experiment, seeds, epochs)], side.trial)
    return found


def _common_epochs(experiment: Experiment, pairs: Sequence[tuple[StoredTrial, StoredTrial]]) -> int:
    """Return how far both sides got. A seed that ended early does not shorten the others."""
    reached = [max((len(pair[side].epochs) for pair in pairs), default=1) for side in (0, 1)]
    return min(*reached, experiment.manifest.epochs.value)


def _changes(before: Iterable[ClaimResult], after: Iterable[ClaimResult]) -> Iterator[Change]:
    """Yield the claims whose values changed, in the order of the manifest."""
    rows_before = {result.key: result for result in before}
    claims: dict[str, list[tuple[ClaimResult, ClaimResult]]] = {}
    for result in after:
        if result.key in rows_before:
            claims.setdefault(result.claim, []).append((rows_before[result.key], result))
    for rows in claims.values():
        differences = [_paired(*row) for row in rows]
        if any(value != 0.0 for row in differences for value in row.values()):
            yield _change([result for _, result in rows], differences)


def _paired(before: ClaimResult, after: ClaimResult) -> dict[int, float]:
    """Return new minus base of one row, for the seeds that have both."""
    common = before.by_seed.keys() & after.by_seed.keys()
    return {seed: after.by_seed[seed] - before.by_seed[seed] for seed in sorted(common)}


def _change(rows: Sequence[ClaimResult], differences: Sequence[Mapping[int, float]]) -> Change:
    """Combine the differences of a claim's rows, each given by seed."""
    by_seed: dict[int, list[float]] = {}
    for row in differences:
        for seed, value in row.items():
            by_seed.setdefault(seed, []).append(value)
    values = np.array([np.mean(each) for _, each in sorted(by_seed.items())])
    sizes = [max(map(abs, row.values()), default=0.0) for row in differences]
    n, mean = len(values), float(values.mean())
    sd = float(values.std(ddof=1)) if n > 1 else None
    return Change(
        claim=rows[0].claim,
        unit=rows[0].unit,
        tolerance=rows[0].tolerance,
        n=n,
        difference=mean,
        sd=sd,
        row=rows[int(np.argmax(sizes))].name,
    )


def _holm(found: Sequence[Comparison]) -> tuple[Comparison, ...]:
    """Correct every p-value for all tests of all experiments (Holm)."""
    ps = [change.p for each in found for change in each.changes if change.p is not None]
    adjusted = iter(stats.holm(ps))

    def corrected(change: Change) -> Change:
        if change.p is None:
            return change
        return replace(change, p_holm=next(adjusted), tests=len(ps))

    return tuple(replace(each, changes=tuple(map(corrected, each.changes))) for each in found)


def _differing_conditions(
    pairs: Iterable[tuple[StoredTrial, StoredTrial]],
) -> dict[str, tuple[str, str]] | None:
    """Return the recorded conditions that differ between the sides, as base and new.

    None if one side has none recorded, as an exported table has.
    """
    sides: tuple[dict[str, set[str]], dict[str, set[str]]] = ({}, {})
    for pair in pairs:
        for side, trial in zip(sides, pair, strict=True):
            for name, value in _conditions(trial):
                side.setdefault(name, set()).add(value)
    if not all(sides):
        return None
    # Older records do not tell the workload's code, and a commit is not always known.
    unknown = {name for name in ("commit", WORKLOAD_CODE) if not all(name in s for s in sides)}
    return {
        name: (_joined(sides[0].get(name)), _joined(sides[1].get(name)))
        for name in sorted((sides[0] | sides[1]).keys() - unknown)
        if sides[0].get(name) != sides[1].get(name)
    }


def _conditions(trial: StoredTrial) -> Iterator[tuple[str, str]]:
    """Yield what may explain a change. Times and the host's name may not."""
    if not trial.provenance:
        return
    yield "revision", str(trial.spec.revision)
    for name, value in trial.spec.parameters.items():
        yield f"parameter {name}", in_words(value)
    for name, value in trial.spec.data.items():
        yield f"data {name}", value[:8]
    latest = trial.provenance[-1]
    if latest.source.commit:  # where it is unknown nothing can be compared
        yield "commit", latest.source.commit[:8] + "+" * bool(latest.source.dirty)
    yield from latest.conditions()


def _joined(values: set[str] | None) -> str:
    return " / ".join(sorted(values)) if values else "-"
