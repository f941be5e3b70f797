"""A session: some experiments, the trials that are asked for, and the workspace that holds them."""

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import Enum, auto
from functools import cached_property
from pathlib import Path
from typing import Any

from harness import manifest, workloads
from harness.manifest import Experiment, of_seeds
from harness.plan import Job, Request, Selection, jobs, specs
from harness.record import StoredTrial, TrialSpec
from harness.session.committed import Committed
from harness.source import workload_code
from harness.store import Store
from harness.verdict import Case, ExperimentVerdict, judge
from harness.workload import Workload


class CommittedUse(Enum):
    """When to judge by the committed records instead of the workspace."""

    NEVER = auto()
    """Never: only the workspace counts, as for running and tracking."""
    WHERE_EMPTY = auto()
    """For each experiment of which the workspace holds nothing."""
    ALWAYS = auto()


def load(paths: Sequence[Path]) -> tuple[Experiment, ...]:
    """Load manifests, and all manifests of folders.

    Raises:
        ManifestError: with every fault of every file.
    """
    return manifest.load(paths, workloads.registry())


@dataclass(frozen=True)
class Session:
    """Some experiments, the trials of them that are asked for, and the workspace."""

    experiments: tuple[Experiment, ...]
    selection: Selection
    store: Store
    use: CommittedUse = CommittedUse.NEVER
    registry: Mapping[str, Workload] = field(
        default_factory=lambda: workloads.registry()  # noqa: PLW0108 - a test may have put in another
    )
    apart: bool = False
    """Judge each experiment by itself, as variants are: a control then gates no other one."""

    @cached_property
    def trials(self) -> Mapping[str, Mapping[int, str]]:
        """The id of each trial, by experiment and seed."""
        return {
            experiment.id: {spec.seed: spec.id for spec in self._specs(experiment, self.selection)}
            for experiment in self.experiments
        }

    @cached_property
    def committed(self) -> Mapping[str, Committed]:
        """The committed records of the experiments that are judged by them."""
        if self.use is CommittedUse.NEVER:
            return {}
        stored = frozenset(self.store.trials())
        return {
            experiment.id: self.committed_of(experiment)
            for experiment in self.experiments
            if self.use is CommittedUse.ALWAYS
            or not any(map(stored.__contains__, self._ids(experiment)))
        }

    def committed_of(self, experiment: Experiment) -> Committed:
        """The committed records of one experiment, whether or not it is judged by them."""
        (spec,) = self._specs(experiment, self.selection.with_seeds((0,)))
        return Committed.beside(experiment, spec)

    def as_last_requested(self) -> "Session":
        """The same session with each experiment's seeds and epochs as the last run asked for them.

        An experiment that committed records answer for keeps the selection, and so does one of
        which no run recorded a request.

        Raises:
            StoreError: a recorded request is damaged.
        """
        if self.use is CommittedUse.ALWAYS:
            return self
        found = ((each.id, self.store.request(each.id)) for each in self.experiments)
        requests = {name: request for name, request in found if request is not None}
        session = replace(self, selection=replace(self.selection, requests=requests))
        held = {name: one for name, one in requests.items() if name not in session.committed}
        return replace(self, selection=replace(self.selection, requests=held))

    def record_requests(self) -> None:
        """Record which seeds and epochs are asked for, so that later commands judge the same."""
        request_of = self.selection.request_of
        self.store.record_requests({each.id: request_of(each) for each in self.experiments})

    def described_requests(self) -> list[str]:
        """What is judged in place of the manifests' own seeds and epochs, a line per request."""
        groups: dict[Request, list[str]] = {}
        for name, request in self.selection.requests.items():
            if request != Request():
                groups.setdefault(request, []).append(name)
        return [
            f"{', '.join(names)}: judging {_in_words(request)}, as the last run asked; "
            "--seeds, --epochs or --committed choose otherwise"
            for request, names in groups.items()
        ]

    def jobs(self) -> Sequence[Job]:
        """Every trial that is asked for, done or not; two experiments may share one."""
        return tuple(jobs(self.experiments, self.registry, self.selection))

    def readers(self) -> Iterator[tuple[str, Workload, Any]]:
        """Each experiment's id, workload and parameters: who may read environment variables."""
        for experiment in self.experiments:
            workload = self.registry[experiment.manifest.workload.name]
            yield experiment.id, workload, experiment.parameters

    def code_changes(self, experiment: Experiment) -> Iterator[str]:
        """Warn of seeds that other code of the workload ran, under the revision of today.

        Records that do not tell the workload's code are passed over. A workload within the harness
        is too: any change of the harness would count, and tests hold its results to its revision.
        """
        workload = self.registry[experiment.manifest.workload.name]
        today = workload_code(workload)
        if today is None or today.in_harness:
            return
        stored = frozenset(self.store.trials())
        committed = self.committed_of(experiment).trials
        seeds: dict[str, set[int]] = {}
        for seed, trial_id in self.trials[experiment.id].items():
            trial = self.store.read(trial_id) if trial_id in stored else committed.get(trial_id)
            code = trial.provenance[-1].workload_code if trial and trial.provenance else None
            if code is not None and code.digest != today.digest:
                seeds.setdefault(str(code), set()).add(seed)
        for then, changed in seeds.items():
            yield (
                f"{experiment.id}: warning: the code of workload {workload.name} has changed since "
                f"{of_seeds(changed)} ran ({then} then, {today} now), and its revision is still "
                f"{workload.revision}: raise the revision if results change, or these are reused"
            )

    def left(self) -> Sequence[Job]:
        """The trials that are still to be run."""
        return [job for job in self.jobs() if not self.store.settled(job.spec.id, job.epochs)]

    def reopen_failed(self) -> int:
        """Have the recorded failures of the method run again; returns how many there are.

        Each stays in its trial's history, and the verdict names it.
        """
        now_ms = time.time_ns() // 1_000_000
        return sum(self.store.reopen(job.spec.id, at_ms=now_ms) for job in self.jobs())

    def finished(self, experiment: Experiment) -> Iterator[StoredTrial]:
        """The trials in the workspace that are complete, or failed for good."""
        epochs = self.selection.epochs_of(experiment)
        for trial_id in self.trials[experiment.id].values():
            trial = self.store.read(trial_id)
            if trial is not None and trial.settled(epochs):
                yield trial

    def trial(self, experiment: Experiment, seed: int) -> StoredTrial | None:
        """Read one trial from the workspace or the committed records."""
        trial_id = self.trials[experiment.id][seed]
        committed = self.committed.get(experiment.id)
        return committed.trials.get(trial_id) if committed else self.store.read(trial_id)

    def stored_trials(self) -> Iterator[tuple[tuple[str, int], StoredTrial]]:
        """Each stored trial that is asked for, finished or not, with its experiment and seed."""
        for experiment in self.experiments:
            for seed in self.trials[experiment.id]:
                trial = self.trial(experiment, seed)
                if trial is not None:
                    yield (experiment.id, seed), trial

    def declared(self, experiment: Experiment) -> Mapping[str, float]:
        """Each claim's tolerance when the records were made; empty where that is not known."""
        committed = self.committed.get(experiment.id)
        return committed.declared if committed else self.store.declared(experiment.id)

    def declare(self) -> None:
        """Record today's tolerances of every experiment that has no records yet."""
        for experiment in self.experiments:
            today = experiment.manifest.tolerances()
            if self.store.declared(experiment.id) != today and not self._recorded(experiment):
                self.store.declare(experiment.id, today)

    def take_over(self) -> list[str]:
        """Copy finished trials from the committed records into the workspace.

        Only trials that are asked for, and of which the workspace holds nothing.

        Returns:
            What was done, in lines.
        """
        taken, warnings = 0, list[str]()
        for experiment in self.experiments:
            committed = self.committed_of(experiment)
            epochs = self.selection.epochs_of(experiment)
            there = (committed.trials.get(each) for each in self.trials[experiment.id].values())
            new = [
                trial
                for trial in there
                if trial and trial.settled(epochs) and not _recorded(self.store.read(trial.spec.id))
            ]
            if new and not self._recorded(experiment):
                self.store.declare(experiment.id, committed.declared)
            for trial in new:
                self.store.adopt(trial)
            taken += len(new)
            warnings += committed.warnings()
        return [f"{taken} trials taken over from the committed records", *warnings]

    def verdicts(self) -> tuple[ExperimentVerdict, ...]:
        """The verdict on each experiment, from the stored records alone."""
        cases = [
            Case(
                experiment,
                self.selection.seeds_of(experiment),
                self.selection.epochs_of(experiment),
                declared=self.declared(experiment),
            )
            for experiment in self.experiments
        ]
        families = [[case] for case in cases] if self.apart else [cases]
        found = (verdict for family in families for verdict in judge(family, self.trial))
        return tuple(map(self._noted, found))

    def _noted(self, verdict: ExperimentVerdict) -> ExperimentVerdict:
        """Add a note where a verdict rests on committed records."""
        committed = self.committed.get(verdict.id)
        if committed is None:
            return verdict
        return replace(verdict, notes=(*verdict.notes, *committed.notes()))

    def _recorded(self, experiment: Experiment) -> bool:
        """Whether the workspace has any record of the experiment as it now stands."""
        return any(_recorded(self.store.read(trial_id)) for trial_id in self._ids(experiment))

    def _ids(self, experiment: Experiment) -> Iterator[str]:
        """The ids of the trials that are asked for, then those of the manifest's seeds."""
        yield from self.trials[experiment.id].values()
        for spec in self._specs(experiment, self.selection.with_seeds(None)):
            yield spec.id

    def _specs(self, experiment: Experiment, selection: Selection) -> Iterator[TrialSpec]:
        workload = self.registry[experiment.manifest.workload.name]
        return specs(experiment, workload, selection)


def _recorded(trial: StoredTrial | None) -> bool:
    return trial is not None and (bool(trial.epochs) or trial.failure is not None)


def _in_words(request: Request) -> str:
    seeds = "the manifest's seeds" if request.seeds is None else of_seeds(request.seeds)
    return seeds if request.epochs is None else f"{seeds}, first {request.epochs} epochs"
