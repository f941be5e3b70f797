"""From manifests and seeds to the trials that have to be run; pure, and lazy."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace

from pydantic import ValidationError

from harness.errors import UsageError
from harness.manifest import Experiment, Resources, describe
from harness.manifest.fields import check_seeds
from harness.record import TrialSpec
from harness.workload import Workload


@dataclass(frozen=True)
class Job:
    """One trial to run: what determines its result, how far to go, and what it may use."""

    spec: TrialSpec
    experiment: str
    epochs: int
    resources: Resources


@dataclass(frozen=True)
class Request:
    """Which seeds and epochs of one experiment are asked for; None keeps the manifest's own."""

    seeds: tuple[int, ...] | None = None
    epochs: int | None = None


@dataclass(frozen=True)
class Selection:
    """What the command line asks of every manifest; None keeps the manifest's own."""

    seeds: tuple[int, ...] | None = None
    epochs: int | None = None
    cpus_per_trial: float | None = None
    gpus_per_trial: float | None = None
    requests: Mapping[str, Request] = field(default_factory=dict)
    """By experiment's id, in place of `seeds` and `epochs`."""

    def __post_init__(self) -> None:
        """Refuse seeds that no generator takes.

        Raises:
            UsageError: names the seed and the bounds.
        """
        for seeds in (self.seeds, *(one.seeds for one in self.requests.values())):
            try:
                check_seeds(seeds or ())
            except ValueError as fault:
                raise UsageError(str(fault)) from None

    def request_of(self, experiment: Experiment) -> Request:
        """Which seeds and epochs are asked for, as they were given."""
        return self.requests.get(experiment.id, Request(self.seeds, self.epochs))

    def with_seeds(self, seeds: tuple[int, ...] | None) -> "Selection":
        """The same epochs of other seeds."""
        requests = {name: replace(one, seeds=seeds) for name, one in self.requests.items()}
        return replace(self, seeds=seeds, requests=requests)

    def epochs_of(self, experiment: Experiment) -> int:
        """How many epochs to run: never more than the manifest's."""
        full = experiment.manifest.epochs.value
        asked = self.request_of(experiment).epochs
        return full if asked is None else min(asked, full)

    def seeds_of(self, experiment: Experiment) -> tuple[int, ...]:
        """The seeds, in order, each once."""
        asked = self.request_of(experiment).seeds
        return tuple(sorted(set(experiment.manifest.seeds if asked is None else asked)))

    def resources_of(self, experiment: Experiment) -> Resources:
        """The manifest's resources, with what the command line changes.

        Raises:
            UsageError: no trial can have these.
        """
        asked = {"cpus": self.cpus_per_trial, "gpus": self.gpus_per_trial}
        changed = {name: value for name, value in asked.items() if value is not None}
        try:
            return Resources(**(experiment.manifest.resources.model_dump() | changed))
        except ValidationError as error:
            said = (f"{e['loc'][0]}_per_trial: {describe(e, Resources)}" for e in error.errors())
            raise UsageError("\n".join(said)) from error


def specs(experiment: Experiment, workload: Workload, selection: Selection) -> Iterator[TrialSpec]:
    """The trials of one experiment, in the order of their seeds."""
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
        )


def jobs(
    experiments: Iterable[Experiment],
    registry: Mapping[str, Workload],
    selection: Selection,
) -> Iterator[Job]:
    """Every trial that the experiments ask for, once: two that ask for the same one share it.

    A shared trial runs as far as the one that wants most epochs, which must therefore come first.
    """
    seen: set[str] = set()
    for experiment in sorted(experiments, key=selection.epochs_of, reverse=True):
        epochs = selection.epochs_of(experiment)
        resources = selection.resources_of(experiment)
        workload = registry[experiment.manifest.workload.name]
        for spec in specs(experiment, workload, selection):
            if spec.id not in seen:
                seen.add(spec.id)
                yield Job(spec, experiment.id, epochs, resources)
