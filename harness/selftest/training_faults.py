"""Faults in real training: the workload's own planted faults run on Ray and are judged.

A planted workload wraps a sound one. Its trials have other ids and the same claims.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from harness.manifest import Experiment, change
from harness.plan import Selection
from harness.record import Environment
from harness.selftest.cases import Case, Detector, false_alarm, noted, rejected
from harness.selftest.drawn_runs import Subject
from harness.workload import (
    Arrays,
    Context,
    DataSet,
    Metric,
    Parameters,
    PlantedFault,
    Row,
    Run,
    Workload,
    planted_faults,
)

NONE = "none"
"""Name of the null: a planted workload without a fault."""


@dataclass
class PlantedRun:
    """A run with one planted fault. The fault is removed after each call."""

    run: Run
    fault: PlantedFault
    environment: Environment = field(init=False)

    def __post_init__(self) -> None:
        self.environment = self.run.environment

    def epoch(self) -> Mapping[str, float] | Row | None:
        """Run the next epoch with the fault."""
        with self.fault.plant():
            return self.run.epoch()

    def final(self) -> Mapping[str, float]:
        """Return the final estimates with the fault."""
        with self.fault.plant():
            return self.run.final()

    def save(self) -> bytes | Path:
        """Return the checkpoint of the sound run."""
        return self.run.save()

    def load(self, payload: Any) -> None:
        """Load the checkpoint into the sound run."""
        self.run.load(payload)


@dataclass
class PlantedWorkload:
    """A workload with one planted fault; implements the protocol `harness.workload.Workload`.

    It differs from the sound workload by its name only. Metrics, revision and data sets are equal.
    """

    sound: Workload
    fault_name: str
    fault: PlantedFault
    name: str = field(init=False)
    revision: int = field(init=False)
    parameters: type[Parameters] = field(init=False)
    metrics: Mapping[str, Metric] = field(init=False)
    prefix: bool = field(init=False)

    def __post_init__(self) -> None:
        self.name = f"{self.sound.name}_{self.fault_name}"
        self.revision, self.prefix = self.sound.revision, self.sound.prefix
        self.parameters, self.metrics = self.sound.parameters, self.sound.metrics

    def data_sets(self, parameters: Any) -> tuple[DataSet, ...]:
        """Return the data sets of the sound workload, whatever the fault does to them."""
        return self.sound.data_sets(parameters)

    def load_data(self, name: str, cache: Path) -> Arrays:
        """Load a data set of the sound workload."""
        return self.sound.load_data(name, cache)

    def start(self, parameters: Any, context: Context) -> Run:
        """Start a run with the fault."""
        parameters = parameters.model_copy(update=dict(self.fault.parameters))
        if self.fault.data is not None:
            context = replace(context, data=self.fault.data(context.data))
        with self.fault.plant():
            return PlantedRun(self.sound.start(parameters, context), self.fault)


@dataclass(frozen=True)
class Training:
    """The trials to train, and the case of each."""

    experiments: tuple[Experiment, ...]
    cases: tuple[Case, ...]
    """One case for each experiment."""
    registry: Mapping[str, Workload]
    selection: Selection

    @classmethod
    def short(cls, subject: Subject) -> "Training":
        """Plan a null, one fault that the estimates show, and those that a digest shows.

        They run up to the first epoch that is judged, in two seeds, which suffice to show whether
        runs differ. The other faults show in the same way, so they are left to `others`.
        """
        null = {NONE: PlantedFault("an honest run")}
        return cls._of(subject, _early(subject), null | _split(subject)[0])

    @classmethod
    def others(cls, subject: Subject) -> "Training":
        """Plan the other faults that show early, in the same way as `short`."""
        return cls._of(subject, _early(subject), _split(subject)[1])

    @classmethod
    def whole(cls, subject: Subject) -> "Training":
        """Plan the faults that show late and a null, over all epochs of the manifest.

        Seven seeds are needed: three leave the verdict open at the corrected level.
        """
        faults = planted_faults(subject.workload)
        late = {name: fault for name, fault in faults.items() if fault.late}
        null = {NONE: PlantedFault("an honest run, in full")}
        return cls._of(subject, Selection(seeds=subject.seeds[:7]), null | late)

    @classmethod
    def _of(
        cls, subject: Subject, selection: Selection, faults: Mapping[str, PlantedFault]
    ) -> "Training":
        planted = [PlantedWorkload(subject.workload, *named) for named in faults.items()]
        registry = {**subject.registry, **{workload.name: workload for workload in planted}}
        return cls(
            experiments=tuple(
                _planted(subject.experiment, workload, registry) for workload in planted
            ),
            cases=tuple(_case(name, fault) for name, fault in faults.items()),
            registry=registry,
            selection=selection,
        )


def _early(subject: Subject) -> Selection:
    """Two seeds up to the first epoch that is judged."""
    manifest = subject.experiment.manifest
    rows = (
        epoch or manifest.epochs.value
        for claim in manifest.claims
        if not claim.exact
        for epoch in claim.values
    )
    epochs = min(rows, default=manifest.epochs.value)
    return Selection(seeds=subject.seeds[:2], epochs=epochs)


def _split(subject: Subject) -> tuple[dict[str, PlantedFault], dict[str, PlantedFault]]:
    """The faults that show early: those that `Training.short` plants, and the others."""
    faults = planted_faults(subject.workload)
    early = {name: fault for name, fault in faults.items() if not fault.late}
    first = next((name for name, fault in early.items() if fault.data is None), None)
    chosen = {name: fault for name, fault in early.items() if name == first or fault.data}
    return chosen, {name: fault for name, fault in early.items() if name not in chosen}


def _case(name: str, fault: PlantedFault) -> Case:
    """Return the case of one fault. It writes no records, because Ray's workers make them."""
    detect: Detector = rejected
    if name == NONE:
        detect = false_alarm
    elif fault.data is not None:
        detect = noted("other data than its digest names", "digest")
    return Case(fault.title, lambda *_: (), detect, is_fault=name != NONE)


def _planted(
    experiment: Experiment, workload: PlantedWorkload, registry: Mapping[str, Workload]
) -> Experiment:
    made, faults = change(
        experiment,
        {("workload", "name"): workload.name},
        registry,
        id=f"{experiment.id}[{workload.fault_name}]",
        varied=(),
    )
    if made is None:
        raise ValueError(f"{experiment.id}: {faults}")
    return made
