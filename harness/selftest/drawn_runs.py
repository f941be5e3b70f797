"""The subject of the self-test, and simulated runs drawn around the values that it reports."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from harness.manifest import Experiment, ToleratedClaim, change, declaration
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
"""SD of the drawn runs as a share of the tolerance. A run three SDs off is still within it."""

COMMON = 0.7
"""Share of the variance of a run that is common to all of its epochs."""

PRINTED = 4
"""Decimals of a reported value if the manifest does not state them."""

PAPER_DRAW = 20_000
"""First seed of the generators of the runs that a paper with an SD reports."""

FEWEST_SEEDS = 10
"""With fewer seeds a sound run may be inconclusive. Then `DRAWN_SEEDS` replace them."""
DRAWN_SEEDS = tuple(range(20))


@dataclass(frozen=True)
class DrawnRun:
    """The values of one simulated run."""

    curves: Mapping[str, Array]
    """Values by metric, each of shape (epochs,)."""
    finals: Mapping[str, float]
    """Final values by metric."""
    epochs: int

    def at(self, metric: str, epoch: int | None) -> float:
        """Return the value of a metric at an epoch; None stands for the final value."""
        return float(self.finals[metric] if epoch is None else self.curves[metric][epoch - 1])

    def moved(self, by: Mapping[str, float]) -> "DrawnRun":
        """Return the run with some metrics shifted."""
        return DrawnRun(
            {name: curve + by.get(name, 0.0) for name, curve in self.curves.items()},
            {name: value + by.get(name, 0.0) for name, value in self.finals.items()},
            self.epochs,
        )


@dataclass(frozen=True)
class Subject:
    """The experiment whose verdict must detect planted faults."""

    experiment: Experiment
    registry: Mapping[str, Workload]
    other: Experiment | None = None
    """Another experiment with claims of the same names; None if there is none."""
    recorded: Mapping[str, Sequence[StoredTrial]] = field(default_factory=dict)
    """Committed trials that ran with the parameters of a planted fault, by fault."""

    @property
    def seeds(self) -> tuple[int, ...]:
        """The seeds of the manifest."""
        return tuple(sorted(set(self.experiment.manifest.seeds)))

    @property
    def workload(self) -> Workload:
        """The workload of the experiment, without a fault."""
        return self.experiment.workload(self.registry)

    def specs(self) -> dict[int, TrialSpec]:
        """Return the trials of the manifest, by seed."""
        return {spec.seed: spec for spec in specs(self.experiment, self.workload, Selection())}

    def sound_runs(self) -> dict[int, DrawnRun]:
        """Return a run without a fault for each seed of the manifest."""
        return {seed: draw(self.experiment, seed) for seed in self.seeds}

    def changed(self, changes: Mapping[Place, Json]) -> Experiment:
        """Return the experiment with other values in its manifest, and the same id."""
        made, faults = change(
            self.experiment, changes, self.registry, id=self.experiment.id, varied=()
        )
        if made is None:
            raise ValueError(f"{self.experiment.id}: {faults}")
        return made


def prepared(subject: Subject) -> Subject:
    """Return the subject with the changes that the cases need.

    Every claim about a mean gets a limit for the run-to-run SD, equal to its tolerance. A claim
    whose paper reports an SD gets a tolerance that is large enough for it, and reports drawn runs,
    which are normally distributed like those of the cases. A manifest with few seeds gets twenty.
    The twin of a control, the bands for one seed, the rivals and the expected verdict are removed,
    because they apply to the manifest's own runs only.
    """
    # Drawn runs have no hardware, and changing claims would change their places.
    whole = subject.experiment.manifest
    claims = tuple(claim for claim in whole.claims if claim.hardware is None) or whole.claims
    reduced = whole.model_copy(
        update={
            "twin": None,
            "calibration": None,
            "expected": None,
            "rivals": (),
            "claims": claims,
        }
    )
    subject = replace(
        subject, experiment=subject.experiment.model_copy(update={"manifest": reduced})
    )
    reason = "single runs may differ by what matters, and not by more"
    changes: dict[Place, Json] = {
        ("claims", at, "largest_spread"): {"value": claim.margin, "reason": reason}
        for at, claim in enumerate(reduced.claims)
        if isinstance(claim, ToleratedClaim)
    }
    if len(subject.seeds) < FEWEST_SEEDS:
        changes["seeds",] = f"{DRAWN_SEEDS[0]}-{DRAWN_SEEDS[-1]}"
    subject = replace(subject, experiment=subject.changed(changes))
    return replace(subject, experiment=_with_drawn_samples(subject))


def _with_drawn_samples(subject: Subject) -> Experiment:
    """Return the experiment in which papers that report an SD report drawn runs."""
    claims = list(enumerate(subject.experiment.manifest.claims))
    spread = [(at, claim) for at, claim in claims if claim.reported_sd is not None]
    if not spread:
        return subject.experiment
    wide: dict[Place, Json] = {
        ("claims", at, field, "value"): max(claim.margin, (claim.reported_sd or 0.0) / SD_SHARE)
        for at, claim in spread
        for field in ("tolerance", "largest_spread")
    }
    wider = subject.changed(wide)
    most = max(claim.averaged for _, claim in spread)
    drawn = reporting(wider, [draw(wider, PAPER_DRAW + run) for run in range(most)])
    places: set[Place] = {("claims", at, "reported") for at, _ in spread}
    changes = {place: value for place, value in drawn.items() if place in places}
    return replace(subject, experiment=wider).changed(changes)


def reporting(experiment: Experiment, runs: Sequence[DrawnRun]) -> dict[Place, Json]:
    """Return the changes of a manifest that make its claims report the values of these runs.

    A claim whose paper averages fewer runs reports the first of them.
    """
    changes: dict[Place, Json] = {}
    for at, claim in enumerate(experiment.manifest.claims):
        values = {
            epoch: [run.at(claim.metric, epoch) for run in runs[: claim.averaged]]
            for epoch in claim.values
        }
        decimals = getattr(claim, "decimals", None)
        if values:
            printed = PRINTED if decimals is None else decimals
            changes["claims", at, "reported"] = claim.reporting(values, printed)
    return changes


def margins(experiment: Experiment) -> dict[str, float]:
    """Return the smallest tolerance of the claims about each metric, without exact claims."""
    smallest: dict[str, float] = {}
    for claim in experiment.manifest.claims:
        if not claim.exact and not claim.counts_epochs:
            smallest[claim.metric] = min(claim.margin, smallest.get(claim.metric, claim.margin))
    return smallest


def draw(experiment: Experiment, seed: int, *, wider: float = 1.0) -> DrawnRun:
    """Draw one run around the reported values; equal arguments give equal runs.

    Args:
        experiment: the experiment. Straight lines join its reported rows.
        seed: seed of NumPy's generator.
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
    """Return the reported values of each metric by epoch; the final one has the key None."""
    reported: dict[str, dict[int | None, float]] = {}
    for claim in experiment.manifest.claims:
        if claim.values:
            reported.setdefault(claim.metric, {}).update(claim.values)
    return reported


def messages(
    run: DrawnRun, spec: TrialSpec, *, upto: int | None = None, failure: Failure | None = None
) -> list[Message]:
    """Return the messages that a worker would have sent.

    Args:
        run: the values of the trial.
        spec: the trial.
        upto: the epoch at which the trial stopped, with a checkpoint but without an end.
        failure: the failure with which it ended, instead of a final estimate.
    """
    records: list[Message] = [
        EpochRecord(
            epoch + 1,
            {name: float(curve[epoch]) for name, curve in run.curves.items()},
            ended_ms=1000 * epoch,
            seconds=1.0,
        )
        for epoch in range(run.epochs if upto is None else upto)
    ]
    sent = [Started(0, _provenance(spec)), *records]
    if failure is not None:
        return [*sent, failure]
    if upto is not None:
        return [*sent, Checkpoint(upto, "drawn", b"")] if upto else sent
    final = FinalRecord(run.epochs, dict(run.finals), ended_ms=1000 * run.epochs, seconds=1.0)
    return [*sent, final, Finished(run.epochs)]


def replayed(trial: StoredTrial, spec: TrialSpec) -> list[Message]:
    """Return the messages of a recorded trial, as if another trial had sent them."""
    finals = [trial.finals[epoch] for epoch in sorted(trial.finals)]
    return [Started(0, _provenance(spec)), *trial.epochs, *finals, Finished(trial.done)]


def write_records(
    store: Store, experiment: Experiment, sent: Iterable[tuple[TrialSpec, Sequence[Message]]]
) -> None:
    """Write what the manifest declares and then the messages, like the driver."""
    with store.lock():
        store.declare(experiment.id, declaration(experiment.manifest))
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
