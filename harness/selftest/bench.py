"""Runs that might be: drawn around what a manifest reports, and put down as a worker's messages."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from harness.manifest import Experiment, change
from harness.manifest.tree import Path as Place
from harness.plan import Selection, specs
from harness.record import (
    Checkpoint,
    Environment,
    EpochRecord,
    Failure,
    FinalRecord,
    Finished,
    Json,
    Message,
    Provenance,
    Source,
    Started,
    StoredTrial,
    TrialSpec,
)
from harness.stats import Array
from harness.store import Store
from harness.workload import Workload

SPREAD = 0.2
"""Of the seeds, as a share of the tolerance: one more draw, three spreads off, is still near."""

COMMON = 0.7
"""Share of a seed's deviation that all of its epochs have in common."""


@dataclass(frozen=True)
class Run:
    """What one seed found."""

    curves: Mapping[str, Array]
    """By metric, shape (epochs,)."""
    finals: Mapping[str, float]

    def moved(self, by: Mapping[str, float]) -> "Run":
        """The same with some metrics shifted."""
        return Run(
            {name: curve + by.get(name, 0.0) for name, curve in self.curves.items()},
            {name: value + by.get(name, 0.0) for name, value in self.finals.items()},
        )


@dataclass(frozen=True)
class Bench:
    """What faults are planted in."""

    experiment: Experiment
    other: Experiment
    """Another experiment of the same paper, with the same claims."""
    registry: Mapping[str, Workload]
    memorised: Sequence[StoredTrial] = ()
    """Trials as recorded whose pairs were drawn once; none where they are not at hand."""

    @property
    def seeds(self) -> tuple[int, ...]:
        """The manifest's."""
        return tuple(sorted(set(self.experiment.manifest.seeds)))

    def specs(self, experiment: Experiment | None = None) -> dict[int, TrialSpec]:
        """The trials of the manifest, by seed."""
        asked = experiment or self.experiment
        workload = self.registry[asked.manifest.workload.name]
        return {spec.seed: spec for spec in specs(asked, workload, Selection())}

    def honest(self) -> dict[int, Run]:
        """A run for each of the manifest's seeds, in which nothing is wrong."""
        return {seed: draw(self.experiment, seed) for seed in self.seeds}

    def changed(self, changes: Mapping[Place, Json]) -> Experiment:
        """The experiment with another manifest, under the same name."""
        found, faults = change(
            self.experiment, changes, self.registry, id=self.experiment.id, varied=()
        )
        if found is None:
            raise ValueError(f"{self.experiment.id}: {faults}")
        return found


def guarded(bench: Bench) -> Bench:
    """With a limit to the spread in every claim that can have one, as large as its tolerance."""
    reason = "single runs may differ by what matters, and not by more"
    limits: dict[Place, Json] = {
        ("claims", at, "largest_spread"): {"value": claim.margin, "reason": reason}
        for at, claim in enumerate(bench.experiment.manifest.claims)
        if claim.compared
    }
    return replace(bench, experiment=bench.changed(limits))


def margins(experiment: Experiment) -> dict[str, float]:
    """By metric the smallest tolerance of the claims that the seeds are compared by."""
    found: dict[str, float] = {}
    for claim in experiment.manifest.claims:
        if claim.compared and claim.values:
            found[claim.metric] = min(claim.margin, found.get(claim.metric, claim.margin))
    return found


def draw(experiment: Experiment, seed: int, *, wider: float = 1.0) -> Run:
    """One run around the reported values; equal for equal arguments.

    Args:
        experiment: whose rows are joined by straight lines.
        seed: of NumPy's generator.
        wider: how many times the usual spread.
    """
    luck = np.random.default_rng([seed, 20191023])
    curves: dict[str, Array] = {}
    finals: dict[str, float] = {}
    spreads = margins(experiment)
    for metric, rows in _reported(experiment).items():
        spread = SPREAD * wider * spreads.get(metric, 0.0)
        common = luck.normal() * np.sqrt(COMMON)
        if 0 in rows:
            own = luck.normal() * np.sqrt(1 - COMMON)
            finals[metric] = rows[0] + spread * float(common + own)
        else:
            epochs = np.arange(1, experiment.manifest.epochs.value + 1)
            centre = np.interp(epochs, sorted(rows), [rows[at] for at in sorted(rows)])
            own = luck.normal(size=len(epochs)) * np.sqrt(1 - COMMON)
            curves[metric] = centre + spread * (common + own)
    return Run(curves, finals)


def _reported(experiment: Experiment) -> dict[str, dict[int, float]]:
    """By metric the reported rows; a final value stands at 0."""
    found: dict[str, dict[int, float]] = {}
    for claim in experiment.manifest.claims:
        if claim.values:
            rows = {epoch or 0: value for epoch, value in claim.values.items()}
            found.setdefault(claim.metric, {}).update(rows)
    return found


def messages(
    run: Run, spec: TrialSpec, *, upto: int | None = None, failure: Failure | None = None
) -> list[Message]:
    """What a worker would have sent.

    Args:
        run: what it found.
        spec: the trial.
        upto: the epoch at which it was cut off, with a checkpoint and without an end.
        failure: how it ended, in place of a final estimate.
    """
    length = len(next(iter(run.curves.values())))
    reached = upto or length
    records: list[Message] = [
        EpochRecord(
            epoch + 1,
            {name: float(curve[epoch]) for name, curve in run.curves.items()},
            ended_ms=1000 * epoch,
            seconds=1.0,
        )
        for epoch in range(reached)
    ]
    begun = [Started(0, _provenance(spec)), *records]
    if failure is not None:
        return [*begun, failure]
    if upto is not None:
        return [*begun, Checkpoint(upto, "drawn", b"")]
    final = FinalRecord(length, dict(run.finals), ended_ms=1000 * length, seconds=1.0)
    return [*begun, final, Finished(length)]


def replayed(trial: StoredTrial, spec: TrialSpec) -> list[Message]:
    """The messages of a trial as it was recorded, put to another one's account."""
    finals = [trial.finals[epoch] for epoch in sorted(trial.finals)]
    return [Started(0, _provenance(spec)), *trial.epochs, *finals, Finished(trial.done)]


def put(
    store: Store, experiment: Experiment, sent: Iterable[tuple[TrialSpec, Sequence[Message]]]
) -> None:
    """Write all of it as the driver does, with today's tolerances put down first."""
    with store.lock():
        store.declare(experiment.id, experiment.manifest.tolerances())
        store.append([(spec, message) for spec, each in sent for message in each])


def _provenance(spec: TrialSpec) -> Provenance:
    environment = Environment(
        device="none",
        threads=1,
        form="drawn",
        versions={},
        hardware={},
        settings={},
        data=spec.data,
    )
    return Provenance("selftest", Source(None, None, ""), environment)
