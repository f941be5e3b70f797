"""Compare two sets of stored trials, to tell whether a result changed.

If the digests of the records are equal, nothing changed and nothing is tested. Otherwise each claim
is compared seed by seed, by a paired t-test. The p-values are corrected for the number of tests.
Because the seeds are few, each result also says how small a change they could have shown. The same
seeds on many nights are one sample. So two sides are compared, and more are never pooled.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from math import sqrt

import numpy as np
from scipy.special import stdtr, stdtrit  # scipy.stats takes a second to import

from harness.manifest import Experiment, of_seeds
from harness.record import WORKLOAD_CODE, StoredTrial, canonical_json, digest, in_words
from harness.stats import holm
from harness.verdict import Case, ClaimResult, ExperimentVerdict, Outcome, judge

__all__ = [
    "ALPHA",
    "POWER",
    "Change",
    "Comparison",
    "Side",
    "Standing",
    "compare",
    "detectable",
    "paired_p",
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


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """Change of the values of one claim. A claim with many rows counts by the mean over them."""

    claim: str
    unit: str
    tolerance: float
    n: int
    """Number of seeds that have a value on both sides."""
    difference: float
    """New minus base, as the mean over the seeds."""
    sd: float | None
    """Standard deviation of the differences of the seeds; None for one seed."""
    row: str
    """The row that differs most."""
    p_holm: float | None = None
    """p-value after Holm's correction for all tests of the comparison; None for one seed."""
    tests: int = 0
    """Number of tests in the correction."""

    @property
    def share(self) -> float:
        """The difference as a share of the claim's tolerance."""
        return self.difference / self.tolerance

    @property
    def effect(self) -> float | None:
        """The difference in standard deviations; None if the SD is zero or unknown."""
        return self.difference / self.sd if self.sd else None

    @property
    def p(self) -> float | None:
        """p-value of the paired t-test before any correction; None for one seed."""
        return None if self.sd is None else paired_p(self.difference, self.sd, self.n)

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


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """Comparison of one experiment between two sides."""

    id: str
    seeds: tuple[int, ...]
    """Seeds with records on both sides."""
    identical: tuple[int, ...]
    """Those of the seeds whose records are equal bit for bit."""
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


def compare(experiments: Iterable[Experiment], base: Side, new: Side) -> tuple[Comparison, ...]:
    """Compare each experiment by the claims of its manifest, and correct all tests together.

    The claims say which values to compare. The paper's own numbers are not used.
    """
    return _corrected([_compared(experiment, base, new) for experiment in experiments])


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
            if min(trial.reached for trial in pair) < epochs
        ),
        verdict=after.verdict if after else None,
        changes=tuple(_changes(before.results, after.results)) if before and after else (),
        conditions=_differing_conditions(pairs),
    )


def _judged(
    experiment: Experiment, side: Side, seeds: tuple[int, ...], epochs: int
) -> ExperimentVerdict | None:
    """Judge one side by itself. The controls of other experiments have no influence."""
    if not seeds:
        return None
    (verdict,) = judge([Case(experiment, seeds, epochs)], side.trial)
    return verdict


def _common_epochs(experiment: Experiment, pairs: Sequence[tuple[StoredTrial, StoredTrial]]) -> int:
    """Return the number of epochs that both sides have. A seed that ended early is ignored."""
    reached = [max((pair[side].reached for pair in pairs), default=1) for side in (0, 1)]
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
    """Combine the differences of the rows of a claim. Each row has one difference per seed."""
    by_seed: dict[int, list[float]] = {}
    for row in differences:
        for seed, value in row.items():
            by_seed.setdefault(seed, []).append(value)
    values = np.array([np.mean(of_seed) for _, of_seed in sorted(by_seed.items())])
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


def _corrected(comparisons: Sequence[Comparison]) -> tuple[Comparison, ...]:
    """Correct every p-value for all tests of all experiments (Holm)."""
    changes = [change for comparison in comparisons for change in comparison.changes]
    ps = [change.p for change in changes if change.p is not None]
    adjusted = iter(holm(ps))

    def corrected(change: Change) -> Change:
        if change.p is None:
            return change
        return replace(change, p_holm=next(adjusted), tests=len(ps))

    return tuple(
        replace(comparison, changes=tuple(map(corrected, comparison.changes)))
        for comparison in comparisons
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
    for name, value in trial.spec.data.items():
        yield f"data {name}", value[:8]
    latest = trial.provenance[-1]
    if latest.source.commit:  # an unknown commit cannot be compared
        yield "commit", latest.source.commit[:8] + "+" * bool(latest.source.dirty)
    yield from latest.conditions()


def _joined(values: set[str] | None) -> str:
    return " / ".join(sorted(values)) if values else "-"


def paired_p(mean: float, sd: float, n: int) -> float:
    """Return the two-sided p-value of the paired t-test, with n - 1 degrees of freedom.

    The statistic is t = mean / (sd / sqrt(n)).

    Args:
        mean: of the differences.
        sd: their standard deviation, with divisor n - 1. If it is zero, all seeds changed by the
            same amount, which is never chance.
        n: number of differences, at least 2.

    Source:
        Student (1908), The probable error of a mean, Biometrika 6(1).
    """
    if sd == 0.0:
        return 1.0 if mean == 0.0 else 0.0
    return float(2 * stdtr(n - 1, -abs(mean) / (sd / sqrt(n))))


def detectable(n: int, tests: int) -> float:
    """Return the smallest mean difference that a test finds with probability `POWER`.

    The result is in standard deviations of the differences: (t(1 - alpha / 2 tests) + t(power)) /
    sqrt(n), with n - 1 degrees of freedom. Each test has the strictest level of Holm's correction,
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
    text = f"{change.claim} {change.difference:+.4f} {change.unit}, "
    text += f"{abs(change.share):.2f} of the tolerance"
    if change.p_holm is None or change.detectable is None:
        return text
    effect = "" if change.effect is None else f"effect {change.effect:+.2f}, "
    tests = f"after Holm over {change.tests} test{'s' if change.tests != 1 else ''}"
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
