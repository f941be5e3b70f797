"""A session: some experiments, the requested trials, and the workspace that holds them."""

import time
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import Enum, auto
from functools import cached_property
from pathlib import Path
from typing import Any

from harness import manifest, workloads
from harness.errors import StoreError, UsageError, number_of
from harness.manifest import Experiment, Rival, declaration, of_seeds
from harness.manifest.loader import files_of
from harness.plan import Job, Request, Selection, jobs, specs
from harness.record import Declaration, Printed, StoredTrial, TrialSpec
from harness.session import permission
from harness.session.committed import FOLDER, Committed
from harness.source import workload_code
from harness.store import Archive, Store
from harness.study import with_parameters
from harness.verdict import (
    Case,
    ExperimentVerdict,
    Planned,
    Severity,
    TrialOf,
    alpha_of,
    judge,
    severity,
)
from harness.workload import Execution, Workload, remarks_of

LAST_WORDS = 8 << 10
"""How much of a failed trial's standard error a verdict holds, in bytes."""


class CommittedUse(Enum):
    """When to judge by the committed records instead of the workspace."""

    NEVER = auto()
    """Never: only the workspace counts, as for running and tracking."""
    WHERE_EMPTY = auto()
    """For each experiment that has no trial in the workspace."""
    ALWAYS = auto()


def load_experiments(paths: Sequence[Path]) -> tuple[Experiment, ...]:
    """Load manifests, and all manifests of folders.

    Raises:
        ManifestError: with every fault of every file.
    """
    return manifest.load(paths, workloads.registry())


def warnings(experiments: Iterable[Experiment]) -> list[str]:
    """Return the warnings of manifests, each once: cells of a grid share most of them."""
    lines = (line for experiment in experiments for line in experiment.warnings)
    return [f"warning: {line}" for line in dict.fromkeys(lines)]


@dataclass(frozen=True)
class Session:
    """Some experiments, the requested trials, and the workspace."""

    experiments: tuple[Experiment, ...]
    selection: Selection
    store: Store
    use: CommittedUse = CommittedUse.NEVER
    registry: Mapping[str, Workload] = field(
        default_factory=lambda: workloads.registry()  # noqa: PLW0108 - tests replace the function
    )
    apart: bool = False
    """Whether each experiment is judged alone, as a study's variants are."""
    allowed_in: Path | None = None
    """The folder that remembers which commands the user allowed; by default the workspace."""

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
            if not experiment.compares
            and (
                self.use is CommittedUse.ALWAYS
                or not any(map(stored.__contains__, self._ids(experiment)))
            )
        }

    def committed_of(self, experiment: Experiment) -> Committed:
        """The committed records of one experiment, whether or not it is judged by them.

        The experiment must have trials of its own.
        """
        (spec,) = self._specs(experiment, self.selection.with_seeds((0,)))
        folder = experiment.path.parent / FOLDER
        archive = self._archives.setdefault(folder, Archive(folder))
        return Committed(archive, experiment, spec)

    @cached_property
    def executions(self) -> Sequence[tuple[str, Execution]]:
        """What the experiments execute, each with the name of its manifest."""
        return permission.executions(self.experiments, self.registry)

    @cached_property
    def _archives(self) -> dict[Path, Archive]:
        """The folders of committed records. Each of their files is read once."""
        return {}

    def as_last_requested(self) -> "Session":
        """The same session with each experiment's seeds and epochs as the last run asked for them.

        An experiment keeps the selection if it is judged by committed records, or if no run
        recorded a request. A session that asks for seeds or epochs stays as it is.

        Raises:
            StoreError: a recorded request is damaged.
        """
        asked = Request(self.selection.seeds, self.selection.epochs)
        if self.use is CommittedUse.ALWAYS or asked != Request():
            return self
        recorded = ((item.id, self.store.request(item.id)) for item in self.experiments)
        requests = {name: request for name, request in recorded if request is not None}
        session = replace(self, selection=replace(self.selection, requests=requests))
        held = {name: one for name, one in requests.items() if name not in session.committed}
        return replace(self, selection=replace(self.selection, requests=held))

    def record_requests(self) -> None:
        """Record the requested seeds and epochs, so that later commands judge the same."""
        request_of = self.selection.request_of
        self.store.record_requests({item.id: request_of(item) for item in self.experiments})

    def described_requests(self) -> list[str]:
        """Say which seeds and epochs replace the manifests' own, a line per request.

        A line also says where the requested number of epochs replaces nothing.
        """
        groups: dict[Request, list[str]] = {}
        for experiment in self.experiments:
            request = self.selection.requests.get(experiment.id, Request())
            if self.selection.epochs_of(experiment) == experiment.manifest.epochs.value:
                request = replace(request, epochs=None)
            if request != Request():
                groups.setdefault(request, []).append(experiment.id)
        return [*self.selection.without_effect(self.experiments), *_described(groups)]

    def jobs(self) -> Sequence[Job]:
        """List every requested trial, done or not. A shared trial is listed once."""
        return tuple(jobs(self.experiments, self.registry, self.selection))

    @cached_property
    def programs(self) -> Mapping[str, Workload]:
        """The workloads of the trials by `TrialSpec.program`: installed ones and the manifests'."""
        found = dict(self.registry)
        for experiment in self.experiments:
            for spec in self._specs(experiment, self.selection.with_seeds((0,))):
                found[spec.program] = experiment.workload(self.registry)
        return found

    def readers(self) -> Iterator[tuple[str, Workload, Any]]:
        """Yield each experiment's id, workload and parameters, which tell its variables."""
        for experiment in self.experiments:
            workload = experiment.workload(self.registry)
            yield experiment.id, workload, experiment.parameters

    def code_changes(self, experiment: Experiment) -> Iterator[str]:
        """Warn of seeds that ran with other code of the workload under the same revision.

        Records that do not name the workload's code are skipped. Workloads of the harness itself
        are skipped too: any change of the harness would count, and tests check their results.
        """
        workload = experiment.workload(self.registry)
        today = workload_code(workload)
        if today is None or today.in_harness or experiment.compares:
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
                f"{workload.revision}: raise it if results change, or the old trials are reused"
            )

    def left(self) -> Sequence[Job]:
        """List the trials that still have to run."""
        return [job for job in self.jobs() if not self.store.settled(job.spec.id, job.epochs)]

    def reopen_failed(self) -> int:
        """Mark the recorded failures of the method to run again, and return their number.

        Each failure stays in its trial's history, and the verdict names it.
        """
        now_ms = time.time_ns() // 1_000_000
        return sum(self.store.reopen(job.spec.id, at_ms=now_ms) for job in self.jobs())

    def finished(self, experiment: Experiment) -> Iterator[StoredTrial]:
        """Yield the trials in the workspace that are complete, or that the method failed."""
        epochs = self.selection.epochs_of(experiment)
        for trial_id in self.trials[experiment.id].values():
            trial = self.store.read(trial_id)
            if trial is not None and trial.settled(epochs):
                yield trial

    def trial(self, experiment: Experiment, seed: int) -> StoredTrial | None:
        """Read one trial from the workspace or the committed records."""
        trial_id = self.trials[experiment.id].get(seed) or self._id(experiment, seed)
        committed = self.committed.get(experiment.id)
        return committed.trials.get(trial_id) if committed else self.store.read(trial_id)

    def stored_trials(self) -> Iterator[tuple[tuple[str, int], StoredTrial]]:
        """Yield each requested trial that is stored, with its experiment and seed."""
        for experiment in self.experiments:
            for seed in self.trials[experiment.id]:
                trial = self.trial(experiment, seed)
                if trial is not None:
                    yield (experiment.id, seed), trial

    def declared(self, experiment: Experiment) -> Declaration:
        """Return what was declared when the records were made; empty if unknown."""
        committed = self.committed.get(experiment.id)
        return committed.declared if committed else self.store.declared(experiment.id)

    def declare(self) -> None:
        """Record what the manifest declares of every experiment that has no records yet."""
        stored = self._stored_seeds()
        for experiment in self.experiments:
            if experiment.compares:
                continue
            today = declaration(experiment.manifest)
            if self.store.declared(experiment.id) == today or self._recorded(experiment):
                continue
            others = stored.get(self._id(experiment, 0), frozenset[int]())
            ids = (self._id(experiment, seed) for seed in others)
            if not any(_recorded(self.store.read(trial_id)) for trial_id in ids):
                self.store.declare(experiment.id, today)

    def take_over(self) -> list[str]:
        """Copy finished trials from the committed records into the workspace.

        It copies only requested trials that the workspace does not hold.

        Returns:
            Lines that say what was done.
        """
        taken, warnings = 0, list[str]()
        for experiment in self.experiments:
            if experiment.compares:
                continue
            committed = self.committed_of(experiment)
            epochs = self.selection.epochs_of(experiment)
            available = map(committed.trials.get, self.trials[experiment.id].values())
            new = [
                trial
                for trial in available
                if trial and trial.settled(epochs) and not _recorded(self.store.read(trial.spec.id))
            ]
            if new and not self._recorded(experiment):
                self.store.declare(experiment.id, committed.declared)
            for trial in new:
                self.store.adopt(trial)
            taken += len(new)
            warnings += committed.warnings()
        return [f"{number_of(taken, 'trial')} taken over from the committed records", *warnings]

    def verdicts(self) -> tuple[ExperimentVerdict, ...]:
        """Judge each experiment by the stored records, and say what the verdict could exclude.

        Raises:
            StoreError: records, or what was declared with them, are damaged.
        """
        stored = self._stored_seeds()
        return tuple(
            replace(
                verdict,
                severity=self._severity(
                    verdict.experiment, len(verdict.seeds), verdict.epochs, verdict.alpha, stored
                ),
            )
            for verdict in self._judged(stored, self.experiments, self.trial)
        )

    def judged(
        self, among: Collection[Experiment], trial_of: TrialOf
    ) -> tuple[ExperimentVerdict, ...]:
        """Judge some of the experiments, without the simulations of what verdicts could exclude.

        Args:
            among: the experiments to judge.
            trial_of: reads the trials.
        """
        return tuple(self._judged(self._stored_seeds(), among, trial_of))

    def _judged(
        self,
        stored: Mapping[str, frozenset[int]],
        among: Collection[Experiment],
        trial_of: TrialOf,
    ) -> Iterator[ExperimentVerdict]:
        cases = [self._case(experiment, stored) for experiment in among]
        families = [[case] for case in cases] if self.apart else [cases]
        for family in families:
            yield from map(self._noted, judge(family, trial_of))

    def severities(self) -> Mapping[str, Severity]:
        """What verdicts on the requested seeds and epochs could exclude, by experiment.

        Only experiments whose manifests declare rivals are listed. All stored records count, not
        only those of the requested seeds.
        """
        if not any(experiment.manifest.rivals for experiment in self.experiments):
            return {}
        stored = self._stored_seeds()
        found: dict[str, Severity] = {}
        for experiment in self.experiments:
            seeds = self.selection.seeds_of(experiment)
            epochs = self.selection.epochs_of(experiment)
            alpha = alpha_of(experiment.manifest, seeds)
            known = self._severity(experiment, len(seeds), epochs, alpha, stored)
            if known is not None:
                found[experiment.id] = known
        return found

    def _severity(
        self,
        experiment: Experiment,
        seeds: int,
        epochs: int,
        alpha: float,
        stored: Mapping[str, frozenset[int]],
    ) -> Severity | None:
        """What a verdict on so many seeds and epochs can exclude; None without declared rivals.

        Args:
            experiment: the experiment.
            seeds: how many are judged.
            epochs: how many are judged.
            alpha: level of the tests.
            stored: every seed in the workspace, by the id of the same trial of seed 0.
        """
        if not experiment.manifest.rivals or experiment.compares:
            return None
        rivals = {
            rival.name: self._all_trials(other, stored)
            for rival in experiment.manifest.rivals
            if (other := self._rival(experiment, rival)) is not None
        }
        planned = Planned(experiment, seeds, epochs, alpha)
        return severity(planned, self._all_trials(experiment, stored), rivals)

    def of_rivals(self) -> "Session":
        """The session on the rivals that differ in parameters, instead of the experiments.

        Raises:
            UsageError: there are none.
        """
        found = tuple(
            with_parameters(experiment, rival.parameters, self.registry)
            for experiment in self.experiments
            for rival in experiment.manifest.rivals
            if rival.parameters is not None
        )
        if not found:
            raise UsageError("no manifest has a rival with `parameters`, so there is none to run")
        return replace(self, experiments=found, apart=True)

    def _rival(self, experiment: Experiment, rival: Rival) -> Experiment | None:
        """The experiment whose trials are a rival's; None for a constant, or without its file."""
        if rival.parameters is not None:
            return with_parameters(experiment, rival.parameters, self.registry)
        files = files_of(rival.experiment, experiment.path.parent) if rival.experiment else []
        if not files:
            return None
        (found,) = manifest.load(files, self.registry)
        return found

    def _all_trials(
        self, experiment: Experiment, stored: Mapping[str, frozenset[int]]
    ) -> tuple[StoredTrial, ...]:
        """All trials of an experiment, committed or in the workspace: for each seed the longer."""
        found = {trial.spec.seed: trial for trial in self.committed_of(experiment).trials.values()}
        for seed in stored.get(self._id(experiment, 0), ()):
            trial = self.store.read(self._id(experiment, seed))
            if trial is not None and (seed not in found or trial.reached > found[seed].reached):
                found[seed] = trial
        return tuple(found[seed] for seed in sorted(found))

    def _case(self, experiment: Experiment, seeds_of: Mapping[str, frozenset[int]]) -> Case:
        """What to judge: what was requested, and what the manifest dropped since its records.

        Args:
            experiment: to judge.
            seeds_of: every seed in the workspace, by the id of the same trial of seed 0.
        """
        seeds, epochs = self.selection.seeds_of(experiment), self.selection.epochs_of(experiment)
        if experiment.compares:  # it has no records of its own
            return Case(experiment, seeds, epochs)
        stored = seeds_of.get(self._id(experiment, 0), frozenset())
        committed = self.committed.get(experiment.id)
        if committed:
            stored = frozenset(trial.spec.seed for trial in committed.trials.values())
        declared = self.declared(experiment) if stored else None
        study: tuple[StoredTrial, ...] = ()
        if len(seeds) == 1:
            others = self.committed_of(experiment).trials.values()
            study = tuple(trial for trial in others if trial.spec.seed != seeds[0])
        case = Case(experiment, seeds, epochs, declared, study, stored)
        try:
            then = case.as_declared
        except ValueError as error:
            file = committed.file if committed else self.store.declaration_file(experiment.id)
            raise StoreError(f"{file}: what was declared cannot be read: {error}") from None
        if then is None:
            return case
        asked = self.selection.request_of(experiment)
        if asked.seeds is None:
            seeds = tuple(sorted({*seeds, *stored.intersection(then.seeds)}))
        return replace(case, seeds=seeds, epochs=case.full if asked.epochs is None else epochs)

    def _noted(self, verdict: ExperimentVerdict) -> ExperimentVerdict:
        """Add what the records do not say.

        That is the remarks of the workload, a note if the verdict uses committed records, and the
        last words of failed trials.
        """
        (experiment,) = (item for item in self.experiments if item.id == verdict.id)
        committed = self.committed.get(verdict.id)
        added = [*remarks_of(experiment.workload(self.registry))]
        searched = self.use is CommittedUse.WHERE_EMPTY
        added += committed.notes(searched=searched) if committed else ()
        stderr = {} if committed else dict(self._last_words(experiment, verdict.failures))
        return replace(verdict, notes=(*verdict.notes, *added), stderr=stderr)

    def _last_words(
        self, experiment: Experiment, seeds: Iterable[int]
    ) -> Iterator[tuple[int, str]]:
        """Yield the end of each seed's standard error, unless it is empty."""
        for seed in seeds:
            trial_id = self.trials[experiment.id].get(seed) or self._id(experiment, seed)
            end = self.store.printed(trial_id, Printed.STDERR)[-LAST_WORDS:]
            if end:
                yield seed, end.decode(errors="replace")

    def _recorded(self, experiment: Experiment) -> bool:
        """Whether the workspace has any record of the experiment under its current spec."""
        return any(_recorded(self.store.read(trial_id)) for trial_id in self._ids(experiment))

    def _ids(self, experiment: Experiment) -> Iterator[str]:
        """Yield the ids of the requested trials, then those of the manifest's seeds."""
        yield from self.trials[experiment.id].values()
        for spec in self._specs(experiment, self.selection.with_seeds(None)):
            yield spec.id

    def _stored_seeds(self) -> Mapping[str, frozenset[int]]:
        """Every seed in the workspace, requested or not, by the id of the same trial of seed 0.

        The spec of a requested trial is known, so only those of other trials are read.
        """
        requested: dict[str, tuple[str, int]] = {}
        for experiment in self.experiments:
            if trials := self.trials[experiment.id]:
                first = self._id(experiment, 0)
                requested |= {trial_id: (first, seed) for seed, trial_id in trials.items()}
        found: dict[str, set[int]] = {}
        for trial_id in self.store.trials():
            if trial_id in requested:
                first, seed = requested[trial_id]
                found.setdefault(first, set()).add(seed)
            elif (spec := self.store.spec(trial_id)) is not None:
                found.setdefault(replace(spec, seed=0).id, set()).add(spec.seed)
        return {trial_id: frozenset(seeds) for trial_id, seeds in found.items()}

    def _id(self, experiment: Experiment, seed: int) -> str:
        (spec,) = self._specs(experiment, self.selection.with_seeds((seed,)))
        return spec.id

    def _specs(self, experiment: Experiment, selection: Selection) -> Iterator[TrialSpec]:
        workload = experiment.workload(self.registry)
        return specs(experiment, workload, selection)


def _recorded(trial: StoredTrial | None) -> bool:
    return trial is not None and (bool(trial.reached) or trial.failure is not None)


def _described(groups: Mapping[Request, Sequence[str]]) -> Iterator[str]:
    for request, names in groups.items():
        yield (
            f"{', '.join(names)}: judging {_in_words(request)}, as the last run asked; "
            "use --seeds, --epochs or --committed to judge others"
        )


def _in_words(request: Request) -> str:
    seeds = "the manifest's seeds" if request.seeds is None else of_seeds(request.seeds)
    return seeds if request.epochs is None else f"{seeds}, first {request.epochs} epochs"
