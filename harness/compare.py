"""Compare two sets of stored trials, to tell whether a result changed.

If the digests of the records are equal, nothing changed and nothing is tested. Otherwise every row
of every claim is compared seed by seed, and the largest studentised difference decides
(`harness.stats.two_samples`). So rows that move up and rows that move down do not cancel, and
differences of the size of rounding are no move. Because the seeds are few, each result also says
how small a change it could have shown. The same seeds on many nights are one sample. So two sides
are compared, and more are never pooled.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from math import sqrt

import numpy as np
from scipy.special import stdtrit  # scipy.stats takes a second to import

from harness.manifest import Experiment, of_seeds
from harness.record import WORKLOAD_CODE, StoredTrial, canonical_json, digest, in_words
from harness.stats import Array, Paired, familywise, paired
from harness.verdict import Case, ClaimResult, ExperimentVerdict, Outcome, judge

__all__ = [
    "ALPHA",
    "POWER",
    "Change",
    "Comparison",
    "Side",
    "Standing",
    "compare_experiments",
    "detectable",
    "results_digest",
    "sentence",
]

ALPHA = 0.05
"""Error rate of all tests of one comparison together (family-wise)."""
POWER = 0.8
"""Probability of finding a change of the size that `detectable` returns."""


class Standing(StrEnum):
    """Result of the comparison of one experiment."""

    UNCHANGED = "unchanged"
    """All records of all seeds are equal, bit for bit."""
    MOVED = "moved"
    """The values of some claim differ by more than chance explains."""
    NOT_SHOWN = "no move shown"
    """Records differ, but chance may explain the differences of the claims."""
    UNTESTED = "differs, untested"
    """Records differ, but a test needs more than one seed."""
    NOTHING = "nothing to compare"
    """No seed has records on both sides."""


ROUNDING = 1e-3
"""Share of the tolerance that counts as rounding if the manifest does not say how many decimals."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """Change of the values of one claim, shown by the row with the smallest p-value."""

    claim: str
    unit: str
    tolerance: float
    row: str
    n: int
    """Number of seeds that have a value of the row on both sides."""
    difference: float
    """New minus base in the row, as the mean over the seeds."""
    sd: float | None
    """Standard deviation of the differences of the seeds; None for one seed."""
    p: float | None = None
    """p-value of the row's paired t-test before any correction; None for one seed."""
    p_holm: float | None = None
    """p-value after the correction for all rows of the comparison; None for one seed."""
    tests: int = 0
    """Number of rows in the correction."""
    method: str = ""
    """The test that gives `p_holm`."""

    @property
    def share(self) -> float:
        """The difference as a share of the claim's tolerance."""
        return self.difference / self.tolerance

    @property
    def effect(self) -> float | None:
        """The difference in standard deviations; None if the SD is zero or unknown."""
        return self.difference / self.sd if self.sd else None

    @property
    def detectable(self) -> float | None:
        """The smallest difference that this test finds with probability `POWER`."""
        if self.sd is None or not self.tests:
            return None
        return self.sd * detectable(self.n, self.tests)

    @property
    def moved(self) -> bool:
        """Whether the change is larger than chance explains."""
        return self.p_holm is not None and self.p_holm <= ALPHA


@dataclass(frozen=True)
class _Rows:
    """The rows of one experiment that differ between the sides."""

    after: tuple[ClaimResult, ...]
    differences: Array
    """New minus base, shape (seeds, rows); NaN where a side has no value."""
    test: Paired | None
    """None with fewer than two seeds."""


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """Comparison of one experiment between two sides."""

    id: str
    seeds: tuple[int, ...]
    """Seeds with records on both sides."""
    identical: tuple[int, ...]
    """Seeds whose records are equal bit for bit on both sides."""
    only_base: tuple[int, ...]
    only_new: tuple[int, ...]
    epochs: int
    """Number of compared epochs: as many as both sides have."""
    cut_short: tuple[int, ...]
    """Seeds that ended earlier on one side or on both."""
    verdict: Outcome | None
    """Verdict on the compared seeds and epochs of the new side; None without seeds."""
    changes: tuple[Change, ...]
    """Changes of the claims whose values differ."""
    conditions: Mapping[str, tuple[str, str]] | None
    """Differing versions, hardware, code and so on, as base and new. None if one side did not
    record them."""

    @property
    def standing(self) -> Standing:
        """The result in one word."""
        if not self.seeds:
            return Standing.NOTHING
        if self.seeds == self.identical:
            return Standing.UNCHANGED
        if any(change.moved for change in self.changes):
            return Standing.MOVED
        untested = self.changes and all(change.p is None for change in self.changes)
        return Standing.UNTESTED if untested else Standing.NOT_SHOWN


@dataclass(frozen=True)
class Side:
    """The trials of one side, by experiment and seed."""

    trials: Mapping[tuple[str, int], StoredTrial]

    def seeds(self, experiment: str) -> set[int]:
        """Return the seeds of one experiment that have run at least one epoch."""
        return {
            seed
            for (name, seed), trial in self.trials.items()
            if name == experiment and trial.reached
        }

    def trial(self, experiment: Experiment, seed: int) -> StoredTrial | None:
        """Return one trial, or None if this side has none."""
        return self.trials.get((experiment.id, seed))


def compare_experiments(
    experiments: Iterable[Experiment], base: Side, new: Side
) -> tuple[Comparison, ...]:
    """Compare each experiment by the claims of its manifest, and correct all tests together.

    The claims say which values to compare. The paper's own numbers are not used.
    """
    compared = [_compared(experiment, base, new) for experiment in experiments]
    tests = [rows.test for _, rows in compared if rows and rows.test]
    return tuple(
        replace(comparison, changes=tuple(_changes(rows, tests))) if rows else comparison
        for comparison, rows in compared
    )


def results_digest(trial: StoredTrial, epochs: int) -> str:
    """Return the SHA-256 of a trial's metrics in its first epochs; times are left out."""
    metrics = {
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
    return digest(canonical_json(metrics))


def _compared(experiment: Experiment, base: Side, new: Side) -> tuple[Comparison, _Rows | None]:
    """Compare one experiment; its changes are added once all rows are known."""
    in_base, in_new = base.seeds(experiment.id), new.seeds(experiment.id)
    seeds = tuple(sorted(in_base & in_new))
    pairs = [(base.trials[experiment.id, seed], new.trials[experiment.id, seed]) for seed in seeds]
    epochs = _common_epochs(experiment, pairs)
    before, after = (_judged(experiment, side, seeds, epochs) for side in (base, new))
    equal = [results_digest(one, epochs) == results_digest(other, epochs) for one, other in pairs]
    comparison = Comparison(
        id=experiment.id,
        seeds=seeds,
        identical=tuple(seed for seed, same in zip(seeds, equal, strict=True) if same),
        only_base=tuple(sorted(in_base - in_new)),
        only_new=tuple(sorted(in_new - in_base)),
        epochs=epochs,
        cut_short=tuple(
            seed
            for seed, pair in zip(seeds, pairs, strict=True)
            if min(trial.reached for trial in pair) < epochs
        ),
        verdict=after.verdict if after else None,
        changes=(),
        conditions=_differing_conditions(pairs),
    )
    return comparison, _rows(before.results, after.results, seeds) if before and after else None


def _judged(
    experiment: Experiment, side: Side, seeds: tuple[int, ...], epochs: int
) -> ExperimentVerdict | None:
    """Judge one side by itself. The controls of other experiments have no influence."""
    if not seeds:
        return None
    (verdict,) = judge([Case(_without_costs(experiment), seeds, epochs)], side.trial)
    return verdict


def _without_costs(experiment: Experiment) -> Experiment:
    """Leave out the claims about time and memory, which are no results: they differ by chance."""
    manifest = experiment.manifest
    kept = tuple(claim for claim in manifest.claims if claim.hardware is None)
    return experiment.model_copy(update={"manifest": manifest.model_copy(update={"claims": kept})})


def _common_epochs(experiment: Experiment, pairs: Sequence[tuple[StoredTrial, StoredTrial]]) -> int:
    """Return the number of epochs that both sides have. A seed that ended early is ignored."""
    reached = [max((pair[side].reached for pair in pairs), default=1) for side in (0, 1)]
    return min(*reached, experiment.manifest.epochs.value)


def _rows(
    before: Iterable[ClaimResult], after: Iterable[ClaimResult], seeds: Sequence[int]
) -> _Rows:
    """Pair the rows of both sides, and test those that differ."""
    rows_before = {result.key: result for result in before}
    pairs = [
        (row, _paired(rows_before[row.key], row, seeds)) for row in after if row.key in rows_before
    ]
    differing = [
        (row, values) for row, values in pairs if row.about and np.nan_to_num(values).any()
    ]
    rows = tuple(row for row, _ in differing)
    differences = np.array([values for _, values in differing]).reshape(len(rows), len(seeds)).T
    floor = np.array([_rounding(row) for row in rows])
    test = paired(differences, floor) if rows and len(seeds) > 1 else None
    return _Rows(rows, differences, test)


def _paired(before: ClaimResult, after: ClaimResult, seeds: Sequence[int]) -> list[float]:
    """Return new minus base of one row; NaN for seeds that lack one of them."""
    nan = float("nan")
    return [after.by_seed.get(seed, nan) - before.by_seed.get(seed, nan) for seed in seeds]


def _rounding(row: ClaimResult) -> float:
    """Half a unit of the last printed digit, or `ROUNDING` if the manifest does not name it."""
    half = row.about.half_unit if row.about else 0.0
    return half or ROUNDING * row.tolerance


def _changes(rows: _Rows, tests: list[Paired]) -> Iterator[Change]:
    """Yield the claims whose values changed, in the order of the manifest."""
    by_claim: dict[str, list[int]] = {}
    for place, row in enumerate(rows.after):
        by_claim.setdefault(row.claim, []).append(place)
    for places in by_claim.values():
        yield _change(rows, places, tests)


def _change(rows: _Rows, places: Sequence[int], tests: list[Paired]) -> Change:
    """Describe a claim by its row with the smallest p-value; of equal ones the largest change."""
    means = np.abs(np.nanmean(rows.differences[:, places], axis=0))
    p = rows.test.p[list(places)] if rows.test else np.ones(len(places))
    at = places[int(np.lexsort((-means, p))[0])]
    row, values = rows.after[at], rows.differences[:, at]
    values = values[~np.isnan(values)]
    tested = rows.test is not None and len(values) > 1
    smallest = float(rows.test.p[at]) if rows.test and tested else None
    return Change(
        claim=row.claim,
        unit=row.unit,
        tolerance=row.tolerance,
        row=row.name,
        n=len(values),
        difference=float(values.mean()),
        sd=float(values.std(ddof=1)) if len(values) > 1 else None,
        p=smallest,
        p_holm=None if smallest is None else familywise(tests, smallest),
        tests=sum(len(test.p) for test in tests) if tested else 0,
        method=rows.test.method if rows.test and tested else "",
    )


def _differing_conditions(
    pairs: Iterable[tuple[StoredTrial, StoredTrial]],
) -> dict[str, tuple[str, str]] | None:
    """Return the recorded conditions that differ between the sides, as base and new.

    None if one side did not record them, like an exported table.
    """
    sides: tuple[dict[str, set[str]], dict[str, set[str]]] = ({}, {})
    for pair in pairs:
        for side, trial in zip(sides, pair, strict=True):
            for name, value in _conditions(trial):
                side.setdefault(name, set()).add(value)
    if not all(sides):
        return None
    # Older records do not have the workload's code, and the commit may be unknown.
    unknown = {name for name in ("commit", WORKLOAD_CODE) if not all(name in s for s in sides)}
    return {
        name: (_joined(sides[0].get(name)), _joined(sides[1].get(name)))
        for name in sorted((sides[0] | sides[1]).keys() - unknown)
        if sides[0].get(name) != sides[1].get(name)
    }


def _conditions(trial: StoredTrial) -> Iterator[tuple[str, str]]:
    """Yield the conditions that may explain a change, by name: not times or the host's name."""
    if not trial.provenance:
        return
    yield "revision", str(trial.spec.revision)
    for name, value in trial.spec.parameters.items():
        yield f"parameter {name}", in_words(value)
    for name, value in (trial.spec.settings or {}).items():
        yield f"workload {name}", in_words(value)
    for name, value in trial.spec.data.items():
        yield f"data {name}", value[:8]
    latest = trial.provenance[-1]
    if latest.source.commit:  # an unknown commit cannot be compared
        yield "commit", latest.source.commit[:8] + "+" * bool(latest.source.dirty)
    yield from latest.conditions()


def _joined(values: set[str] | None) -> str:
    return " / ".join(sorted(values)) if values else "-"


def detectable(n: int, tests: int) -> float:
    """Return the smallest mean difference that a test finds with probability `POWER`.

    The result is in standard deviations of the differences: (t(1 - alpha / 2 tests) + t(power)) /
    sqrt(n), with n - 1 degrees of freedom. Each test has the level of Bonferroni's correction,
    `ALPHA` / tests.

    Source:
        Bloom (1995), Minimum detectable effects, Evaluation Review 19(5).
    """
    critical, power = stdtrit(n - 1, 1 - ALPHA / (2 * tests)), stdtrit(n - 1, POWER)
    return float((critical + power) / sqrt(n))


SHOWN = 6
"""Number of differing conditions to name. The others are counted only."""


def sentence(comparison: Comparison) -> str:
    """Describe a comparison in one sentence: first the result, then what may explain it."""
    return "; ".join([_standing(comparison), *_remarks(comparison)])


def _standing(comparison: Comparison) -> str:
    count = f"{len(comparison.seeds)} seed{'s' if len(comparison.seeds) != 1 else ''}"
    match comparison.standing:
        case Standing.NOTHING:
            return "nothing to compare: no seed has records on both sides"
        case Standing.UNCHANGED:
            epochs = f"{comparison.epochs} epoch{'s' if comparison.epochs != 1 else ''}"
            return f"unchanged bit for bit, {count}, {epochs}"
        case Standing.MOVED:
            within = comparison.verdict is not None and comparison.verdict.holds
            moved = [change for change in comparison.changes if change.moved]
            text = ", ".join(map(_change_text, moved))
            return f"moved{', still within tolerance' if within else ''}: {text}"
        case Standing.UNTESTED:
            return f"differs; one seed is too few for a test: {_largest(comparison)}"
        case Standing.NOT_SHOWN:
            return f"differs, but chance may explain it with {count}: {_largest(comparison)}"


def _largest(comparison: Comparison) -> str:
    if not comparison.changes:
        return "the claims' values are equal where both sides have them"
    return "at most " + _change_text(max(comparison.changes, key=lambda change: abs(change.share)))


def _change_text(change: Change) -> str:
    text = f"{change.row} {change.difference:+.4f} {change.unit}, "
    text += f"{abs(change.share):.2f} of the tolerance"
    if change.p_holm is None or change.detectable is None:
        return text
    effect = "" if change.effect is None else f"effect {change.effect:+.2f}, "
    tests = f"over {change.tests} row{'s' if change.tests != 1 else ''}, {change.method}"
    shown = f"a change of {change.detectable:.4f} {change.unit} would have shown"
    return f"{text} ({effect}p {change.p_holm:.2g} {tests}; {shown})"


def _remarks(comparison: Comparison) -> Iterator[str]:
    if comparison.cut_short:
        yield f"{of_seeds(comparison.cut_short)} ended early on one side"
    if comparison.only_base:
        yield f"{of_seeds(comparison.only_base)} missing in the new records"
    if comparison.only_new:
        yield f"{of_seeds(comparison.only_new)} missing in the base records"
    if comparison.standing in (Standing.UNCHANGED, Standing.NOTHING):
        return
    if comparison.conditions is None:
        yield "one side did not record versions, hardware and code"
        return
    conditions = [f"{name} {base} → {new}" for name, (base, new) in comparison.conditions.items()]
    if conditions:
        more = f" and {len(conditions) - SHOWN} more" if len(conditions) > SHOWN else ""
        yield "differing conditions: " + ", ".join(conditions[:SHOWN]) + more
    else:
        yield "the recorded versions, hardware and code are equal"
