"""Faults in real training: a workload's own planted faults, run on Ray and judged as any trial.

A planted workload wraps a sound one. Its trials have ids of their own, and the same claims.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from harness.manifest import Experiment, change
from harness.plan import Selection
from harness.record import Environment
from harness.selftest.cases import Case, Detector, false_alarm, noted, rejected
from harness.selftest.drawn import Subject
from harness.workload import (
    Arrays,
    Context,
    DataSet,
    Metric,
    Parameters,
    PlantedFault,
    Run,
    Workload,
    planted_faults,
)

NONE = "none"
"""The name of the fault that is none: a null."""


@dataclass
class PlantedRun:
    """A run that computes with one fault, and leaves none behind."""

    run: Run
    fault: PlantedFault
    environment: Environment = field(init=False)

    def __post_init__(self) -> None:
        self.environment = self.run.environment

    def epoch(self) -> Mapping[str, float]:
        """The next epoch, with the fault."""
        with self.fault.plant():
            return self.run.epoch()

    def final(self) -> Mapping[str, float]:
        """The final estimates, with the fault."""
        with self.fault.plant():
            return self.run.final()

    def save(self) -> bytes:
        """As the sound run does."""
        return self.run.save()

    def load(self, payload: bytes) -> None:
        """As the sound run does."""
        self.run.load(payload)


@dataclass
class PlantedWorkload:
    """A workload with one fault; keeps the protocol `harness.workload.Workload`.

    Only its name tells of the fault: it has the same metrics, revision and data sets.
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
        """As the sound workload says: the fault is not announced."""
        return self.sound.data_sets(parameters)

    def load_data(self, name: str, cache: Path) -> Arrays:
        """As the sound workload does."""
        return self.sound.load_data(name, cache)

    def start(self, parameters: Any, context: Context) -> Run:
        """A run with the fault."""
        parameters = parameters.model_copy(update=dict(self.fault.parameters))
        if self.fault.data is not None:
            context = replace(context, data=self.fault.data(context.data))
        with self.fault.plant():
            return PlantedRun(self.sound.start(parameters, context), self.fault)


@dataclass(frozen=True)
class Training:
    """The trials to train, and how the fault of each is to be detected."""

    experiments: tuple[Experiment, ...]
    cases: tuple[Case, ...]
    """One for each experiment."""
    registry: Mapping[str, Workload]
    selection: Selection

    @classmethod
    def short(cls, subject: Subject) -> "Training":
        """The faults that show at once, beside a null; up to the first epoch that is judged.

        Two seeds show whether runs differ.
        """
        manifest = subject.experiment.manifest
        rows = (
            epoch or manifest.epochs.value
            for claim in manifest.claims
            if not claim.exact
            for epoch in claim.values
        )
        epochs = min(rows, default=manifest.epochs.value)
        return cls._of(subject, Selection(seeds=subject.seeds[:2], epochs=epochs), late=False)

    @classmethod
    def whole(cls, subject: Subject) -> "Training":
        """The faults that show late, beside a null, over the manifest's whole run.

        With seven seeds, since three leave it open at the level that all rows share.
        """
        return cls._of(subject, Selection(seeds=subject.seeds[:7]), late=True)

    @classmethod
    def _of(cls, subject: Subject, selection: Selection, *, late: bool) -> "Training":
        null = PlantedFault("an honest run, in full" if late else "an honest run")
        faults = {
            NONE: null,
            **{
                name: fault
                for name, fault in planted_faults(subject.workload).items()
                if fault.late == late
            },
        }
        planted = [PlantedWorkload(subject.workload, *named) for named in faults.items()]
        registry = {**subject.registry, **{each.name: each for each in planted}}
        return cls(
            experiments=tuple(_planted(subject.experiment, each, registry) for each in planted),
            cases=tuple(_case(name, fault) for name, fault in faults.items()),
            registry=registry,
            selection=selection,
        )


def _case(name: str, fault: PlantedFault) -> Case:
    """The case of one fault. It writes no records: Ray's workers make those."""
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
