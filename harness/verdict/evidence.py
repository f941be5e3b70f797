"""The stored trials of one experiment as arrays: what was asked for, what is there, what is not."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from harness.manifest import Experiment, OnsetClaim
from harness.record import Failure, FailureKind, PastFailure, Provenance, StoredTrial
from harness.stats import Array

Mask = NDArray[np.bool_]

TrialOf = Callable[[Experiment, int], StoredTrial | None]
"""Reads the trial of an experiment and a seed; None if the store has none."""


@dataclass(frozen=True)
class Case:
    """One experiment to judge, and what was asked of it."""

    experiment: Experiment
    seeds: tuple[int, ...]
    epochs: int
    """At most the manifest's."""
    declared: Mapping[str, float] = field(default_factory=dict)
    """Each claim's tolerance when its records were made; empty where that is not known."""


@dataclass
class Evidence:
    """What the seeds of one case left behind; the rows of every array are the seeds, in order."""

    seeds: tuple[int, ...]
    epochs: int
    full: int
    """The manifest's number of epochs; final estimates belong to it alone."""
    curves: Mapping[str, Array]
    """By metric, shape (seeds, epochs); NaN where nothing was recorded."""
    finals: Mapping[str, Array]
    """By metric, shape (seeds,); NaN where there is none."""
    recorded: NDArray[np.int64]
    """The last epoch looked at, shape (seeds,)."""
    failed: Mask
    """Seeds with a scientific failure, shape (seeds,)."""
    missing: Mask
    """Seeds absent, unfinished or lost to infrastructure, shape (seeds,)."""
    failures: dict[int, Failure] = field(default_factory=dict)
    distrusted: dict[int, str] = field(default_factory=dict)
    """Why a seed's records are not believed; they count as missing."""
    later_failures: dict[int, Failure] = field(default_factory=dict)
    """Of trials that have all the epochs that were asked for, and broke when they went on."""
    past_failures: dict[int, tuple[PastFailure, ...]] = field(default_factory=dict)
    """By seed, failures that are not the trial's outcome."""
    environments: dict[str, set[str]] = field(default_factory=dict)
    """What the attempts ran on and with: each thing's values."""
    provenance: dict[int, tuple[Provenance, ...]] = field(default_factory=dict)
    """Each seed's attempts, the latest last."""
    ended_ms: dict[int, int] = field(default_factory=dict)
    """When each seed's last record was taken, in Unix milliseconds."""

    @property
    def partial(self) -> bool:
        """Whether fewer epochs were asked for than the paper ran."""
        return self.epochs < self.full

    def named(self, mask: Mask) -> tuple[int, ...]:
        """The seeds under a mask of shape (seeds,)."""
        return tuple(np.asarray(self.seeds)[mask].tolist())


def gather(case: Case, trial_of: TrialOf) -> Evidence:
    """Read a case's trials one by one, so that never more than one is held."""
    curve_metrics, final_metrics = _metrics(case.experiment)
    seeds = tuple(sorted(set(case.seeds)))
    shape = (len(seeds), case.epochs)
    evidence = Evidence(
        seeds=seeds,
        epochs=case.epochs,
        full=case.experiment.manifest.epochs.value,
        curves={metric: np.full(shape, np.nan) for metric in curve_metrics},
        finals={metric: np.full(len(seeds), np.nan) for metric in final_metrics},
        recorded=np.zeros(len(seeds), dtype=np.int64),
        failed=np.zeros(len(seeds), dtype=np.bool_),
        missing=np.zeros(len(seeds), dtype=np.bool_),
    )
    for row, seed in enumerate(seeds):
        trial = trial_of(case.experiment, seed)
        if trial is None:
            evidence.missing[row] = True
        elif other := _other_data(trial):
            evidence.missing[row] = True
            evidence.distrusted[seed] = f"read other data than its digest names: {other}"
        else:
            _enter(evidence, row, trial)
    return evidence


def _metrics(experiment: Experiment) -> tuple[set[str], set[str]]:
    """The claims' metrics: those recorded every epoch, and the final ones."""
    curves: set[str] = set()
    finals: set[str] = set()
    for claim in experiment.manifest.claims:
        every_epoch = isinstance(claim, OnsetClaim) or isinstance(claim.reported, Mapping)
        (curves if every_epoch else finals).add(claim.metric)
    return curves, finals


def _other_data(trial: StoredTrial) -> str:
    """The data sets of which an attempt read something else than the trial is defined by."""
    found = {
        name
        for provenance in trial.provenance
        for name, digest in provenance.environment.data.items()
        if trial.spec.data.get(name, digest) != digest
    }
    return ", ".join(sorted(found))


def _enter(evidence: Evidence, row: int, trial: StoredTrial) -> None:
    records = trial.epochs[: evidence.epochs]
    evidence.recorded[row] = len(records)
    for metric, curve in evidence.curves.items():
        curve[row, : len(records)] = [record.metrics.get(metric, np.nan) for record in records]
    final = trial.finals.get(evidence.full)
    if final is not None:
        for metric, values in evidence.finals.items():
            values[row] = final.metrics.get(metric, np.nan)
    _place(evidence, row, trial)
    seed = evidence.seeds[row]
    evidence.provenance[seed] = trial.provenance
    if trial.history:
        evidence.past_failures[seed] = trial.history
    if trial.epochs:
        evidence.ended_ms[seed] = trial.epochs[-1].ended_ms
    for provenance in trial.provenance:
        for thing, value in provenance.surroundings():
            evidence.environments.setdefault(thing, set()).add(value)


def _place(evidence: Evidence, row: int, trial: StoredTrial) -> None:
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
