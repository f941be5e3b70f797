"""What is asked of some experiments, what the store holds of it, and what is found."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

from harness import workloads
from harness.manifest import Experiment
from harness.plan import Job, Selection, jobs, specs
from harness.record import StoredTrial
from harness.store import Store
from harness.verdict import Case, ExperimentVerdict, judge


@dataclass(frozen=True)
class Evidence:
    """Some experiments, what the command line asks of them, and the store that answers."""

    experiments: tuple[Experiment, ...]
    selection: Selection
    store: Store
    apart: bool = False
    """Whether each is judged by itself: the variants of a control do not gate one another."""

    @cached_property
    def trials(self) -> Mapping[str, Mapping[int, str]]:
        """The id of each trial, by experiment and seed."""
        registry = workloads.registry()
        return {
            experiment.id: {
                spec.seed: spec.id
                for spec in specs(
                    experiment, registry[experiment.manifest.workload.name], self.selection
                )
            }
            for experiment in self.experiments
        }

    def jobs(self) -> Sequence[Job]:
        """Every trial that is asked for, done or not; two experiments may share one."""
        return tuple(jobs(self.experiments, workloads.registry(), self.selection))

    def left(self) -> Sequence[Job]:
        """The trials that are still to be run."""
        return [job for job in self.jobs() if not self.store.settled(job.spec.id, job.epochs)]

    def trial(self, experiment: Experiment, seed: int) -> StoredTrial | None:
        """What the store holds of one trial."""
        return self.store.read(self.trials[experiment.id][seed])

    def verdicts(self) -> tuple[ExperimentVerdict, ...]:
        """The verdict on each experiment, from the stored records alone."""
        cases = [
            Case(
                experiment,
                self.selection.seeds_of(experiment),
                self.selection.epochs_of(experiment),
            )
            for experiment in self.experiments
        ]
        if self.apart:
            return tuple(verdict for case in cases for verdict in judge([case], self.trial))
        return judge(cases, self.trial)
