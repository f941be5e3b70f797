"""The experiment that faults are planted in, and runs drawn around the values that it reports."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from harness.manifest import ComparedClaim, Experiment, change
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

SD_SHARE = 0.2
"""SD of the drawn runs as a share of the tolerance: one more run, three SDs off, is still close."""

COMMON = 0.7
"""Share of a run's variance that all of its epochs have in common."""

FEWEST_SEEDS = 10
"""With fewer seeds a manifest's verdict may stay open for a sound run, so more are drawn."""
DRAWN_SEEDS = tuple(range(20))


@dataclass(frozen=True)
class DrawnRun:
    """The values of one seed."""

    curves: Mapping[str, Array]
    """By metric, shape (epochs,)."""
    finals: Mapping[str, float]
    epochs: int

    def moved(self, by: Mapping[str, float]) -> "DrawnRun":
        """The same with some metrics shifted."""
        return DrawnRun(
            {name: curve + by.get(name, 0.0) for name, curve in self.curves.items()},
            {name: value + by.get(name, 0.0) for name, value in self.finals.items()},
            self.epochs,
        )


@dataclass(frozen=True)
class Subject:
    """The experiment that faults are planted in."""

    experiment: Experiment
    registry: Mapping[str, Workload]
    other: Experiment | None = None
    """Another experiment with claims of the same names; None if there is none."""
    recorded: Mapping[str, Sequence[StoredTrial]] = field(default_factory=dict)
    """By planted fault, committed trials that were recorded with the fault's parameters."""

    @property
    def seeds(self) -> tuple[int, ...]:
        """The manifest's."""
        return tuple(sorted(set(self.experiment.manifest.seeds)))

    @property
    def workload(self) -> Workload:
        """The experiment's, without a fault."""
        return self.registry[self.experiment.manifest.workload.name]

    def specs(self) -> dict[int, TrialSpec]:
        """The trials of the manifest, by seed."""
        return {spec.seed: spec for spec in specs(self.experiment, self.workload, Selection())}

    def sound_runs(self) -> dict[int, DrawnRun]:
        """A run for each of the manifest's seeds, in which nothing is wrong."""
        return {seed: draw(self.experiment, seed) for seed in self.seeds}

    def changed(self, changes: Mapping[Place, Json]) -> Experiment:
        """The experiment with other values in its manifest, under the same name."""
        made, faults = change(
            self.experiment, changes, self.registry, id=self.experiment.id, varied=()
        )
        if made is None:
            raise ValueError(f"{self.experiment.id}: {faults}")
        return made


def prepared(subject: Subject) -> Subject:
    """The subject with what the cases need.

    Every claim that can have one gets a limit to the run-to-run SD, as large as its tolerance, and
    a manifest of few seeds gets twenty. What goes with a manifest's own runs alone is left out: a
    control's twin, bands for one seed, an expected verdict.
    """
    alone = subject.experiment.manifest.model_copy(
        update={"twin": None, "calibration": None, "expected": None}
    )
    subject = replace(subject, experiment=subject.experiment.model_copy(update={"manifest": alone}))
    reason = "single runs may differ by what matters, and not by more"
    changes: dict[Place, Json] = {
        ("claims", at, "largest_spread"): {"value": claim.tolerance.value, "reason": reason}
        for at, claim in enumerate(alone.claims)
        if isinstance(claim, ComparedClaim)
    }
    if len(subject.seeds) < FEWEST_SEEDS:
        changes["seeds",] = f"{DRAWN_SEEDS[0]}-{DRAWN_SEEDS[-1]}"
    return replace(subject, experiment=subject.changed(changes))


def margins(experiment: Experiment) -> dict[str, float]:
    """By metric the smallest tolerance of the claims about its values; exact claims have none."""
    found: dict[str, float] = {}
    for claim in experiment.manifest.claims:
        if not claim.exact and not claim.counts_epochs:
            found[claim.metric] = min(claim.margin, found.get(claim.metric, claim.margin))
    return found


def draw(experiment: Experiment, seed: int, *, wider: float = 1.0) -> DrawnRun:
    """Draw one run around the reported values; equal arguments give equal runs.

    Args:
        experiment: whose reported rows are joined by straight lines.
        seed: of NumPy's generator.
        wider: factor on the SD.
    """
    random = np.random.default_rng([seed, 20191023])
    curves: dict[str, Array] = {}
    finals: dict[str, float] = {}
    tolerances = margins(experiment)
    for metric, rows in _reported(experiment).items():
        sd = SD_SHARE * wider * tolerances.get(metric, 0.0)
        common = random.normal() * np.sqrt(COMMON)
        if None in rows:
            own = random.normal() * np.sqrt(1 - COMMON)
            finals[metric] = rows[None] + sd * float(common + own)
        else:
            listed = {epoch: value for epoch, value in rows.items() if epoch is not None}
            epochs = np.arange(1, experiment.manifest.epochs.value + 1)
            centre = np.interp(epochs, sorted(listed), [listed[at] for at in sorted(listed)])
            own = random.normal(size=len(epochs)) * np.sqrt(1 - COMMON)
            curves[metric] = centre + sd * (common + own)
    return DrawnRun(curves, finals, experiment.manifest.epochs.value)


def _reported(experiment: Experiment) -> dict[str, dict[int | None, float]]:
    """By metric the reported values by epoch; None stands for the final one."""
    found: dict[str, dict[int | None, float]] = {}
    for claim in experiment.manifest.claims:
        if claim.values:
            found.setdefault(claim.metric, {}).update(claim.values)
    return found


def messages(
    run: DrawnRun, spec: TrialSpec, *, upto: int | None = None, failure: Failure | None = None
) -> list[Message]:
    """The messages that a worker would have sent.

    Args:
        run: its values.
        spec: the trial.
        upto: the epoch at which it was cut off, with a checkpoint and without an end.
        failure: how it ended, in place of a final estimate.
    """
    records: list[Message] = [
        EpochRecord(
            epoch + 1,
            {name: float(curve[epoch]) for name, curve in run.curves.items()},
            ended_ms=1000 * epoch,
            seconds=1.0,
        )
        for epoch in range(upto or run.epochs)
    ]
    begun = [Started(0, _provenance(spec)), *records]
    if failure is not None:
        return [*begun, failure]
    if upto is not None:
        return [*begun, Checkpoint(upto, "drawn", b"")]
    final = FinalRecord(run.epochs, dict(run.finals), ended_ms=1000 * run.epochs, seconds=1.0)
    return [*begun, final, Finished(run.epochs)]


def replayed(trial: StoredTrial, spec: TrialSpec) -> list[Message]:
    """The messages of a recorded trial, as if another trial had sent them."""
    finals = [trial.finals[epoch] for epoch in sorted(trial.finals)]
    return [Started(0, _provenance(spec)), *trial.epochs, *finals, Finished(trial.done)]


def write(
    store: Store, experiment: Experiment, sent: Iterable[tuple[TrialSpec, Sequence[Message]]]
) -> None:
    """Write the messages as the driver does, after the tolerances of today's manifest."""
    with store.lock():
        store.declare(experiment.id, experiment.manifest.tolerances())
        store.append([(spec, message) for spec, messages in sent for message in messages])


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
