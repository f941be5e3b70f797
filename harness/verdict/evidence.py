"""The stored trials of one experiment as arrays, with the seeds that failed or are missing.

Two views of them serve every kind of claim: `MeasuredRow` holds the seeds' values for one reported
number, and `Takeoffs` the epochs at which their curves leave the plateau.
"""

from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from math import inf, isinf
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from harness import stats
from harness.manifest import (
    BaseClaim,
    Experiment,
    Hardware,
    Manifest,
    ReportedNumber,
    as_declared,
    of_seeds,
)
from harness.manifest.fields import LARGEST
from harness.record import (
    Declaration,
    Failure,
    FailureKind,
    FinalRecord,
    PastFailure,
    Provenance,
    StoredTrial,
)
from harness.stats import Array
from harness.workload import PEAK_MEMORY_MIB, SECONDS

Mask = NDArray[np.bool_]

LIMIT = 10 * LARGEST
"""Larger recorded values count as this large, so that verdicts can calculate with them."""

TrialOf = Callable[[Experiment, int], StoredTrial | None]
"""A function that reads the trial of an experiment and a seed; None if there is none."""


@dataclass(frozen=True)
class Case:
    """One experiment to judge, with the seeds and epochs that were asked for."""

    experiment: Experiment
    seeds: tuple[int, ...]
    epochs: int
    """At most `full`."""
    declared: Declaration | None = None
    """What was declared when the records were made; None if nothing of it is to be compared."""
    study: tuple[StoredTrial, ...] = ()
    """If a single seed is judged: the committed trials of other seeds."""
    stored: frozenset[int] = frozenset()
    """Seeds that have records, judged here or not."""

    @cached_property
    def as_declared(self) -> Manifest | None:
        """The manifest as it was declared; None if nothing that is judged has changed since.

        Raises:
            ValueError: what was declared is not part of a manifest.
        """
        if self.declared is None:
            return None
        return as_declared(self.experiment.manifest, self.declared)

    @property
    def first_seeds(self) -> tuple[int, ...]:
        """The seeds that were declared before records were made; empty if that is not known."""
        if self.declared is None or self.declared.judged is None:
            return ()
        return (self.as_declared or self.experiment.manifest).seeds

    @property
    def full(self) -> int:
        """How many epochs the manifest asks for, now or when its records were made."""
        manifests = (self.experiment.manifest, self.as_declared)
        return max(manifest.epochs.value for manifest in manifests if manifest)


@dataclass
class Evidence:
    """What the seeds of one case recorded. The first axis of every array is the seeds, in order."""

    seeds: tuple[int, ...]
    epochs: int
    full: int
    """The manifest's number of epochs; final estimates are used only after all of them."""
    curves: Mapping[str, Array]
    """By metric, shape (seeds, epochs); NaN where nothing was recorded."""
    finals: dict[str, Array]
    """By metric, shape (seeds,); NaN if there is none."""
    recorded: NDArray[np.int64]
    """The last epoch that each seed recorded or ran through, shape (seeds,)."""
    failed: Mask
    """Seeds with a scientific failure, shape (seeds,)."""
    missing: Mask
    """Seeds absent, unfinished or lost to infrastructure, shape (seeds,)."""
    failures: dict[int, Failure] = field(default_factory=dict)
    distrusted: dict[int, str] = field(default_factory=dict)
    """By seed, why its records are not used; the seed counts as missing."""
    later_failures: dict[int, Failure] = field(default_factory=dict)
    """By seed, failures after the epochs that were asked for."""
    past_failures: dict[int, tuple[PastFailure, ...]] = field(default_factory=dict)
    """By seed, failures that are not the trial's outcome."""
    environments: dict[str, set[str]] = field(default_factory=dict)
    """Versions, hardware and settings of the attempts: every value that each has."""
    clipped: set[int] = field(default_factory=set)
    """Seeds with a value beyond `LIMIT`."""
    provenance: dict[int, tuple[Provenance, ...]] = field(default_factory=dict)
    """Each seed's attempts, the latest last."""
    numbers: dict[int, "Numbers"] = field(default_factory=dict)
    """By seed with a record, all that it recorded in the epochs that were asked for."""
    ended_ms: dict[int, int] = field(default_factory=dict)
    """When each seed's last record was taken, in Unix milliseconds."""
    reports: Mapping[str, BaseClaim] = field(default_factory=dict, repr=False, compare=False)
    """By metric, the claim that gives the paper's runs, or their mean and SD."""
    beside: Mapping[str, "Evidence"] = field(default_factory=dict, repr=False, compare=False)
    """The evidence of every experiment that is judged in the same call, by its id."""

    @property
    def partial(self) -> bool:
        """Whether fewer epochs were asked for than the paper ran."""
        return self.epochs < self.full

    def on(self, hardware: Hardware, metric: str) -> "Evidence":
        """The seeds that count for a claim about time or memory: those that ran on its hardware.

        A finished seed of which the number is not known does not count either.
        """
        known = ~np.isnan(self.finals[metric]) | (self.recorded < self.epochs)
        ran = [
            bool(attempts) and all(hardware.fits(attempt.environment) for attempt in attempts)
            for attempts in (self.provenance.get(seed, ()) for seed in self.seeds)
        ]
        return self._only(np.array(ran, dtype=np.bool_) & known)

    def named(self, mask: Mask) -> tuple[int, ...]:
        """The seeds for which a mask, shape (seeds,), is true."""
        return tuple(np.asarray(self.seeds)[mask].tolist())

    def identical(self) -> tuple[int, ...]:
        """The complete seeds, if there are several and all gave the same numbers, or else none.

        Coarse numbers may agree by chance, so it takes `DIGITS` digits that are equal.
        """
        complete = self.named(~(self.failed | self.missing))
        found = {self.numbers.get(seed) for seed in complete}
        only = next(iter(found)) if len(found) == 1 < len(complete) else None
        return complete if only is not None and only.digits >= DIGITS else ()

    def lacks(self, metric: str) -> bool:
        """Whether a claim is about the metric, and no seed recorded it at any epoch."""
        found = [held[metric] for held in (self.curves, self.finals) if metric in held]
        return bool(found) and all(np.isnan(values).all() for values in found)

    def without(self, seeds: Collection[int]) -> "Evidence":
        """The evidence of the other seeds."""
        return self._only(~np.isin(self.seeds, list(seeds)))

    def _only(self, kept: Mask) -> "Evidence":
        """The evidence of the seeds for which a mask, shape (seeds,), is true."""
        return replace(
            self,
            seeds=self.named(kept),
            curves={metric: curves[kept] for metric, curves in self.curves.items()},
            finals={metric: values[kept] for metric, values in self.finals.items()},
            recorded=self.recorded[kept],
            failed=self.failed[kept],
            missing=self.missing[kept],
        )


DIGITS = 15
"""Two runs that differ by chance do not agree in so many digits: those of one float."""


class Numbers(NamedTuple):
    """All numbers that a trial recorded, to compare them with another trial's."""

    hash: int
    digits: int
    """How many significant digits they have, each different number counted once."""

    @classmethod
    def of(cls, records: Iterable[Mapping[str, float]]) -> "Numbers":
        """Reduce the metrics of records to a few numbers."""
        rows = tuple(tuple(sorted(metrics.items())) for metrics in records)
        values = {abs(value) for row in rows for _, value in row}
        return cls(hash(rows), sum(map(_significant, values)))


def _significant(value: float) -> int:
    """The number of significant digits that a float needs.

    >>> _significant(0.25), _significant(100.0), _significant(1e-7)
    (2, 1, 1)
    """
    mantissa = repr(float(value)).partition("e")[0]
    return max(1, len(mantissa.replace(".", "").strip("0")))


def gather(case: Case, trial_of: TrialOf) -> Evidence:
    """Read a case's trials one after the other, so that only one is in memory at a time."""
    compares = bool(case.experiment.compares)
    curve_metrics, final_metrics = (set(), set()) if compares else _metrics(case)
    seeds = tuple(sorted(set(case.seeds)))
    shape = (len(seeds), case.epochs)
    evidence = Evidence(
        seeds=seeds,
        epochs=case.epochs,
        full=case.full,
        curves={metric: np.full(shape, np.nan) for metric in curve_metrics},
        finals={metric: np.full(len(seeds), np.nan) for metric in final_metrics},
        recorded=np.zeros(len(seeds), dtype=np.int64),
        failed=np.zeros(len(seeds), dtype=np.bool_),
        missing=np.zeros(len(seeds), dtype=np.bool_),
        reports={
            claim.series: claim
            for claim in case.experiment.manifest.claims
            if claim.reported_sd is not None
        },
    )
    # What compares other experiments has no trials of its own: it reads what lies beside it.
    for row, seed in enumerate(() if compares else seeds):
        trial = trial_of(case.experiment, seed)
        if trial is None:
            evidence.missing[row] = True
        elif other := _other_data(trial):
            evidence.missing[row] = True
            evidence.distrusted[seed] = f"read other data than its digest names: {other}"
        else:
            _enter(evidence, row, trial)
    _reduce(case, evidence)
    return evidence


REDUCTIONS: Mapping[str, Callable[[Array], Array]] = {
    "max": lambda curves: np.asarray(np.nanmax(curves, axis=1)),
    "min": lambda curves: np.asarray(np.nanmin(curves, axis=1)),
    "mean": lambda curves: np.asarray(np.nanmean(curves, axis=1)),
    "last": lambda curves: np.asarray(curves[:, -1]),
}
"""What `reduce` of a claim makes of curves of shape (seeds, epochs): shape (seeds,)."""


def _reduce(case: Case, evidence: Evidence) -> None:
    """Add the numbers that claims make of whole curves; a seed that broke off has none."""
    done = evidence.recorded == evidence.epochs
    declared = case.as_declared.claims if case.as_declared else ()
    for claim in (*case.experiment.manifest.claims, *declared):
        if claim.reduce is None or claim.metric not in evidence.curves:
            continue
        curves = evidence.curves[claim.metric]
        known = done & ~np.isnan(curves).all(axis=1)
        values = np.full(len(evidence.seeds), np.nan)
        if known.any():
            values[known] = REDUCTIONS[claim.reduce](curves[known])
        evidence.finals[claim.series] = values


def _metrics(case: Case) -> tuple[set[str], set[str]]:
    """The metrics of the claims, also of the declared ones: of every epoch, and the final ones."""
    curves: set[str] = set()
    finals: set[str] = set()
    declared = case.as_declared.claims if case.as_declared else ()
    for claim in (*case.experiment.manifest.claims, *declared):
        (curves if claim.every_epoch or claim.reduce else finals).add(claim.metric)
    return curves, finals


def _other_data(trial: StoredTrial) -> str:
    """Names the data sets of which an attempt read another version than the trial's."""
    other = {
        name
        for provenance in trial.provenance
        for name, digest in provenance.environment.data.items()
        if trial.spec.data.get(name, digest) != digest
    }
    return ", ".join(sorted(other))


def _enter(evidence: Evidence, row: int, trial: StoredTrial) -> None:
    records = [record for record in trial.epochs if record.epoch <= evidence.epochs]
    evidence.recorded[row] = min(trial.reached, evidence.epochs)
    places = [record.epoch - 1 for record in records]
    for metric, curve in evidence.curves.items():
        curve[row, places] = [record.metrics.get(metric, np.nan) for record in records]
    final = trial.finals.get(evidence.full)
    if final is not None:
        numbers = {**_costs(trial, final), **final.metrics}
        for metric, values in evidence.finals.items():
            values[row] = numbers.get(metric, np.nan)
    final_metrics = [final.metrics] if final is not None else []
    evidence.numbers[evidence.seeds[row]] = Numbers.of(
        [*(record.metrics for record in records), *final_metrics]
    )
    _set_state(evidence, row, trial)
    _clip(evidence, row)
    seed = evidence.seeds[row]
    before = next(reversed(evidence.provenance.values()), ())
    # Most seeds ran as the seed before: keep and look at what they share once.
    same = trial.provenance == before
    evidence.provenance[seed] = before if same else trial.provenance
    if trial.history:
        evidence.past_failures[seed] = trial.history
    if trial.epochs:
        evidence.ended_ms[seed] = trial.epochs[-1].ended_ms
    for provenance in () if same else trial.provenance:
        for thing, value in provenance.conditions():
            evidence.environments.setdefault(thing, set()).add(value)


def _costs(trial: StoredTrial, final: FinalRecord) -> dict[str, float]:
    """What a finished trial cost; nothing of a pack, whose trials share their time and memory."""
    if any("pack of " in each.environment.form for each in trial.provenance):
        return {}
    epochs = [record.seconds for record in trial.epochs if record.epoch <= final.epoch]
    costs = {SECONDS: sum(epochs) + final.seconds}
    # The process of an earlier attempt may have had a higher peak.
    if final.peak_memory_bytes is not None and len(trial.provenance) == 1:
        costs[PEAK_MEMORY_MIB] = final.peak_memory_bytes / 2**20
    return costs


def _clip(evidence: Evidence, row: int) -> None:
    """Limit a seed's values to `LIMIT`, which no sound value reaches."""
    for values in (*evidence.curves.values(), *evidence.finals.values()):
        if (np.abs(values[row]) > LIMIT).any():
            values[row] = np.clip(values[row], -LIMIT, LIMIT)
            evidence.clipped.add(evidence.seeds[row])


def _set_state(evidence: Evidence, row: int, trial: StoredTrial) -> None:
    """Decide whether the seed is complete, failed or missing."""
    seed, failure = evidence.seeds[row], trial.failure
    reached = evidence.recorded[row] == evidence.epochs
    if reached and (evidence.partial or trial.done >= evidence.full):
        if failure is not None:
            evidence.later_failures[seed] = failure
        return
    if failure is not None:
        evidence.failures[seed] = failure
    scientific = failure is not None and failure.kind is FailureKind.SCIENTIFIC
    evidence.failed[row] = scientific
    evidence.missing[row] = not scientific


@dataclass(frozen=True, kw_only=True)
class MeasuredRow:
    """The seeds' values for one reported number, not judged yet.

    Arrays and masks have shape (seeds,).
    """

    number: ReportedNumber
    values: Array
    """NaN if a seed has none."""
    absent: Mask
    """Seeds that should have a value but do not (failed or missing)."""
    off: Mask | None = None
    """Seeds that fail the row on their own; None if the mean over the seeds decides."""
    not_run: str = ""
    """Why the row is not judged; empty if it is."""
    fails: str = ""
    """Why the row fails, whatever its values are."""
    undecided: str = ""
    """Why the row is open, whatever its values are."""
    unaligned: str = ""
    """Why the curves could not be lined up: then a difference may be one of the plateau's length,
    and fails no row."""
    incomplete: str = ""
    """What is missing in other experiments that the row is about."""
    censored: Mask | None = None
    """Seeds whose value is only known to lie beyond the last epoch."""
    note: str = ""
    farthest: float | None = None
    """Shown in place of the mean: the value farthest from the reported one."""

    @property
    def any_censored(self) -> bool:
        """Whether some seed's value is only known to lie beyond the last epoch."""
        return self.censored is not None and bool(self.censored.any())


NEVER = "{} never took off"
CENSORED = "{} had not taken off by epoch {}"
EARLY = "{} passed {:g} before the first record"


@dataclass(frozen=True)
class Takeoffs:
    """The epoch at which each seed's curve takes off. Arrays and masks have shape (seeds,)."""

    onsets: Array
    """NaN if the curve did not take off."""
    absent: Mask
    """Seeds whose trial ended too early to know whether the curve takes off."""
    never: Mask
    """Seeds that ran all epochs that were asked for and did not take off."""
    gaps: Array
    """How many epochs lie between the records around the take-off; infinite if it came before."""

    @classmethod
    def of(cls, metric: str, threshold: float, evidence: Evidence) -> "Takeoffs":
        """Find the take-offs of a metric's curves; `threshold` is in the metric's unit."""
        epochs = np.arange(1.0, evidence.epochs + 1)
        curves = evidence.curves[metric]
        found = [stats.crossing(epochs, curve, threshold) for curve in curves]
        onsets, gaps = np.array(found, dtype=float).reshape(-1, 2).T
        none = np.isnan(onsets)
        broke_off = (evidence.recorded < evidence.epochs) | np.isnan(curves).all(axis=1)
        return cls(onsets, none & broke_off, none & ~broke_off, gaps)

    def fault(self, evidence: Evidence, latest: float = inf) -> str:
        """Why the row fails: no seed takes off, although the paper's run did. Empty if it does not.

        If fewer epochs were asked for, it fails only if they include the latest allowed epoch. One
        seed alone fails no row: other seeds may take off.
        """
        if not self.never.all() or len(self.never) == 1:
            return ""
        if evidence.partial:
            return self.censored(evidence) if evidence.epochs >= latest else ""
        return NEVER.format(of_seeds(evidence.seeds))

    def doubt(self, evidence: Evidence) -> str:
        """Why the row is open: some seeds never took off. How long a plateau lasts is chance."""
        named = evidence.named(self.never)
        open_ = named and not evidence.partial and not self.fault(evidence)
        return NEVER.format(of_seeds(named)) if open_ else ""

    def censored(self, evidence: Evidence) -> str:
        """Names the seeds that had not taken off by the last epoch that was asked for."""
        named = evidence.named(self.never)
        return CENSORED.format(of_seeds(named), evidence.epochs) if named else ""


@dataclass(frozen=True)
class Alignment:
    """By how much each seed's curve is shifted, so that it takes off where the paper's does."""

    takeoffs: Takeoffs
    shifts: Array
    """Epochs that the seed takes off after the paper, shape (seeds,); NaN if it does not."""
    early: str
    """Names the seeds that took off before their first record. They are lined up at that record, so
    they may be shifted by up to one record too little; that is done only if they are few."""
    refused: str
    """Why no curve can be lined up; empty if some are."""

    @classmethod
    def of(cls, claim: BaseClaim, threshold: float, evidence: Evidence) -> "Alignment":
        """Find the shifts of a claim's metric.

        Both take-offs are interpolated between two records. That is the same on both sides only if
        these lie equally far apart. Where they do not, even equal curves would be shifted.
        """
        takeoffs = Takeoffs.of(claim.metric, threshold, evidence)
        numbers = claim.numbers()
        paper = stats.crossing(
            np.array([number.epoch for number in numbers], dtype=float),
            np.array([number.value for number in numbers]),
            threshold,
        )
        before = evidence.named(np.isinf(takeoffs.gaps))
        early = EARLY.format(of_seeds(before), threshold) if before else ""
        known = np.isfinite(takeoffs.gaps)
        other = evidence.named(known & (takeoffs.gaps != paper.gap))
        refused = ""
        if isinf(paper.gap):
            refused = f"the paper's first row is past {threshold:g} already"
        elif len(before) >= max(known.sum(), 1):
            refused = early
        elif other:
            refused = (
                f"the paper's rows around {threshold:g} are {paper.gap:g} epochs apart, "
                f"the records of {of_seeds(other)} are not"
            )
        return cls(takeoffs, takeoffs.onsets - paper.epoch, early, refused)

    def sentence(self, evidence: Evidence) -> str:
        """What was done to the curves; empty if no seed takes off."""
        if self.refused:
            return f"not lined up at take-off, since {self.refused}"
        if not (moved := ~np.isnan(self.shifts)).any():
            return ""
        by = [f"{0.0 - shift:+.2f}" for shift in sorted(self.shifts[moved], reverse=True)]
        span = by[0] if by[0] == by[-1] else f"{by[0]} to {by[-1]}"
        parts = [f"lined up at take-off: {of_seeds(evidence.named(moved))} moved by {span} epochs"]
        return "; ".join([*parts, *([f"{self.early}, so lined up there"] if self.early else [])])
