"""Two sides' trials, judged by the same claims and set beside each other, seed by seed."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace

import numpy as np

from harness import stats
from harness.compare.model import Change, Comparison, Side
from harness.compare.surroundings import differing
from harness.manifest import Experiment
from harness.record import StoredTrial, canonical_json, digest
from harness.verdict import Case, ClaimResult, ExperimentVerdict, judge


def compare(experiments: Iterable[Experiment], base: Side, new: Side) -> tuple[Comparison, ...]:
    """Compare all experiments, each by the claims of its manifest; the tests are one family.

    The claims only say which values to compare: what the paper reports does not enter.
    """
    return _holm([_compared(experiment, base, new) for experiment in experiments])


def results_digest(trial: StoredTrial, epochs: int) -> str:
    """SHA-256 of what a trial found in its first epochs: of its numbers, not of its times."""
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
    there = (base.seeds(experiment.id), new.seeds(experiment.id))
    seeds = tuple(sorted(there[0] & there[1]))
    pairs = [(base.trials[experiment.id, seed], new.trials[experiment.id, seed]) for seed in seeds]
    epochs = _common_epochs(experiment, pairs)
    before, after = (_judged(experiment, side, seeds, epochs) for side in (base, new))
    equal = [results_digest(one, epochs) == results_digest(other, epochs) for one, other in pairs]
    return Comparison(
        id=experiment.id,
        seeds=seeds,
        identical=tuple(seed for seed, same in zip(seeds, equal, strict=True) if same),
        only_base=tuple(sorted(there[0] - there[1])),
        only_new=tuple(sorted(there[1] - there[0])),
        epochs=epochs,
        cut_short=tuple(
            seed
            for seed, pair in zip(seeds, pairs, strict=True)
            if min(len(trial.epochs) for trial in pair) < epochs
        ),
        verdict=after.verdict if after else None,
        changes=tuple(_changes(before.results, after.results)) if before and after else (),
        surroundings=differing(pairs),
    )


def _judged(
    experiment: Experiment, side: Side, seeds: tuple[int, ...], epochs: int
) -> ExperimentVerdict | None:
    """What the claims find on one side; the controls of others do not enter."""
    if not seeds:
        return None
    (found,) = judge([Case(experiment, seeds, epochs)], side.trial)
    return found


def _common_epochs(experiment: Experiment, pairs: Sequence[tuple[StoredTrial, StoredTrial]]) -> int:
    """As far as some seed of either side got: a seed that broke off must not shorten the rest."""
    reached = [max((len(pair[side].epochs) for pair in pairs), default=1) for side in (0, 1)]
    return min(*reached, experiment.manifest.epochs.value)


def _changes(before: Iterable[ClaimResult], after: Iterable[ClaimResult]) -> Iterator[Change]:
    """The changed claims, in the order of the listing."""
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
    """New less base of one row, by the seeds that have both."""
    common = before.by_seed.keys() & after.by_seed.keys()
    return {seed: after.by_seed[seed] - before.by_seed[seed] for seed in sorted(common)}


def _change(rows: Sequence[ClaimResult], differences: Sequence[Mapping[int, float]]) -> Change:
    """One claim's change from its rows' differences, each by seed."""
    by_seed: dict[int, list[float]] = {}
    for row in differences:
        for seed, value in row.items():
            by_seed.setdefault(seed, []).append(value)
    values = np.array([np.mean(each) for _, each in sorted(by_seed.items())])
    sizes = [max(map(abs, row.values()), default=0.0) for row in differences]
    n, mean = len(values), float(values.mean())
    spread = float(values.std(ddof=1)) if n > 1 else None
    return Change(
        claim=rows[0].claim,
        unit=rows[0].unit,
        tolerance=rows[0].tolerance,
        n=n,
        difference=mean,
        spread=spread,
        row=rows[int(np.argmax(sizes))].name,
    )


def _holm(found: Sequence[Comparison]) -> tuple[Comparison, ...]:
    """Correct every p for all tests of all experiments."""
    ps = [change.p for each in found for change in each.changes if change.p is not None]
    adjusted = iter(stats.holm(ps))

    def corrected(change: Change) -> Change:
        if change.p is None:
            return change
        return replace(change, p_holm=next(adjusted), tests=len(ps))

    return tuple(replace(each, changes=tuple(map(corrected, each.changes))) for each in found)
