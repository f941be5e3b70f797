"""List the trials that manifests and a selection of seeds ask for."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

from pydantic import ValidationError

from harness.errors import UsageError, number_of
from harness.manifest import Experiment, Resources, plain_words
from harness.manifest.fields import check_seeds
from harness.record import TrialSpec
from harness.workload import Workload, settings_of

_MOST_NAMES = 5
"""Most experiments that a message names one by one."""


@dataclass(frozen=True)
class Job:
    """One trial to run: its spec, its number of epochs, and its resources."""

    spec: TrialSpec
    experiment: str
    epochs: int
    resources: Resources


@dataclass(frozen=True)
class Request:
    """Requested seeds and epochs of one experiment; None keeps the manifest's own."""

    seeds: tuple[int, ...] | None = None
    epochs: int | None = None


def named(experiments: Sequence[str]) -> str:
    """Name a few experiments, or count many, for a message."""
    few = len(experiments) <= _MOST_NAMES
    return ", ".join(experiments) if few else f"{len(experiments)} experiments"


@dataclass(frozen=True)
class Selection:
    """Requested seeds, epochs and resources of every experiment; None keeps the manifest's."""

    seeds: tuple[int, ...] | None = None
    epochs: int | None = None
    cpus_per_trial: float | None = None
    gpus_per_trial: float | None = None
    requests: Mapping[str, Request] = field(default_factory=dict)
    """Requests by experiment's id, which replace `seeds` and `epochs`."""

    def __post_init__(self) -> None:
        """Refuse seeds that no random generator accepts.

        Raises:
            UsageError: names the seed and the bounds.
        """
        for seeds in (self.seeds, *(one.seeds for one in self.requests.values())):
            try:
                check_seeds(seeds or ())
            except ValueError as fault:
                raise UsageError(str(fault)) from None

    def request_of(self, experiment: Experiment) -> Request:
        """Return the requested seeds and epochs of one experiment."""
        return self.requests.get(experiment.id, Request(self.seeds, self.epochs))

    def with_seeds(self, seeds: tuple[int, ...] | None) -> "Selection":
        """Return the same selection with other seeds."""
        requests = {name: replace(one, seeds=seeds) for name, one in self.requests.items()}
        return replace(self, seeds=seeds, requests=requests)

    def epochs_of(self, experiment: Experiment) -> int:
        """Return how many epochs to run, at most the manifest's."""
        full = experiment.manifest.epochs.value
        asked = self.request_of(experiment).epochs
        return full if asked is None else min(asked, full)

    def without_effect(self, experiments: Iterable[Experiment]) -> Iterator[str]:
        """Say on which experiments the requested number of epochs has no effect.

        A request over many experiments caps the longer ones, so the shorter ones are no error.
        """
        if self.epochs is None:
            return
        shorter: dict[int, list[str]] = {}
        for experiment in experiments:
            full = experiment.manifest.epochs.value
            if full < self.epochs and not experiment.compares:
                shorter.setdefault(full, []).append(experiment.id)
        for full, names in shorter.items():
            has = "its manifest has" if len(names) == 1 else "their manifests have"
            epochs = number_of(full, "epoch")
            yield f"--epochs {self.epochs} has no effect on {named(names)}: {has} {epochs}"

    def seeds_of(self, experiment: Experiment) -> tuple[int, ...]:
        """Return the seeds in order, without duplicates."""
        asked = self.request_of(experiment).seeds
        return tuple(sorted(set(experiment.manifest.seeds if asked is None else asked)))

    def resources_of(self, experiment: Experiment) -> Resources:
        """Return the manifest's resources, with the changes of this selection.

        Raises:
            UsageError: a resource is out of range.
        """
        asked = {"cpus": self.cpus_per_trial, "gpus": self.gpus_per_trial}
        changed = {name: value for name, value in asked.items() if value is not None}
        try:
            return Resources(**(experiment.manifest.resources.model_dump() | changed))
        except ValidationError as error:
            faults = (
                f"{e['loc'][0]}_per_trial: {plain_words(e, Resources)}" for e in error.errors()
            )
            raise UsageError("\n".join(faults)) from error


def specs(experiment: Experiment, workload: Workload, selection: Selection) -> Iterator[TrialSpec]:
    """Yield the specs of one experiment's trials, in the order of the seeds."""
    if experiment.compares:
        return
    parameters = experiment.parameters.model_dump(mode="json")
    data = {item.name: item.digest for item in workload.data_sets(experiment.parameters)}
    length = None if workload.prefix else selection.epochs_of(experiment)
    for seed in selection.seeds_of(experiment):
        yield TrialSpec(
            workload=workload.name,
            revision=workload.revision,
            parameters=parameters,
            seed=seed,
            data=data,
            length=length,
            settings=settings_of(workload),
        )


def jobs(
    experiments: Iterable[Experiment],
    registry: Mapping[str, Workload],
    selection: Selection,
) -> Iterator[Job]:
    """Yield every trial of the experiments once; two experiments may share a trial.

    A shared trial runs for the larger number of epochs, so longer experiments come first.
    """
    seen: set[str] = set()
    for experiment in sorted(experiments, key=selection.epochs_of, reverse=True):
        epochs = selection.epochs_of(experiment)
        resources = selection.resources_of(experiment)
        workload = experiment.workload(registry)
        for spec in specs(experiment, workload, selection):
            if spec.id not in seen:
                seen.add(spec.id)
                yield Job(spec, experiment.id, epochs, resources)
