"""Send the store's trials to MLflow in steps, each of which may be repeated."""

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from mlflow import MlflowClient
from mlflow.entities import Experiment as MlflowExperiment
from mlflow.entities import LifecycleStage

from harness.manifest import Experiment
from harness.record import StoredTrial
from harness.tracking.experiments import DeletedError, open_experiment, ours
from harness.tracking.identity import identify
from harness.tracking.images import (
    Image,
    Kind,
    Status,
    Tag,
    ended_ms,
    reference_images,
    seed_image,
)
from harness.tracking.local_store import (
    artifact_location,
    default_uri,
    follow_folder,
    require_answer,
    set_wal,
)
from harness.tracking.runs import Runs, search

_TRIAL_ID = re.compile(r"[0-9a-f]{20}")
"""A digest, as `TrialSpec.id` is; the key of a reference is none, nor what somebody typed."""

Read = Callable[[str], StoredTrial | None]
"""The durable part of a trial by its id; None if the store has nothing of it."""


@dataclass(frozen=True)
class Tracked:
    """An experiment and the ids of its trials; two experiments may share a trial."""

    experiment: Experiment
    trials: tuple[str, ...]


@dataclass(frozen=True)
class Telling:
    """What one run shows of a conclusion."""

    story: str = ""
    """Markdown; begins the run's description."""
    tags: Mapping[str, str] = field(default_factory=dict)
    """MLflow shows them as columns."""


@dataclass(frozen=True)
class Conclusion:
    """The verdict on an experiment and its report, for its runs to show."""

    experiment: str
    verdict: str
    as_expected: bool
    pages: Mapping[str, str]
    """The report as artifacts of the paper's run, by file name."""
    files: tuple[Path, ...] = ()
    """Further artifacts of the paper's run: figures."""
    whole: Telling = Telling()
    """For the paper's run."""
    trials: Mapping[str, Telling] = field(default_factory=dict)
    """For single trials, by the trial's id."""

    def told_by(self, image: Image) -> Image:
        """The image with the verdict and the story that its run shows."""
        of_paper = self.whole if image.kind is Kind.PAPER else Telling()
        telling = self.trials.get(image.key, of_paper)
        expected = "true" if self.as_expected else "false"
        verdict = {Tag.VERDICT.value: self.verdict, Tag.AS_EXPECTED.value: expected}
        return replace(image, tags={**image.tags, **verdict, **telling.tags}, story=telling.story)


class Projector:
    """Projects a store into MLflow.

    Its methods raise what MLflow, the disk and `read` raise; after `forget` they can be called
    again, and go on where MLflow is.
    """

    def __init__(
        self, uri: str, *, workspace: Path, read: Read, tracked: Iterable[Tracked]
    ) -> None:
        self._uri = uri
        self._workspace = workspace
        self._read = read
        self._tracked = {item.experiment.id: item for item in tracked}
        self._asking: dict[str, list[str]] = {}
        """By trial, the experiments that ask for it."""
        for name, item in self._tracked.items():
            for trial_id in item.trials:
                self._asking.setdefault(trial_id, []).append(name)
        self._conclusions: dict[str, Conclusion] = {}
        self._runs: dict[str, Runs] | None = None
        self._orphans_closed = False
        self.deleted: dict[str, str] = {}
        """The experiments that were deleted in MLflow, each with how to restore it."""
        self.sent = 0
        """How many points were sent."""

    @property
    def trials(self) -> tuple[str, ...]:
        """Every trial that an experiment asks for, once."""
        return tuple(self._asking)

    def trials_of(self, experiment: str) -> tuple[str, ...]:
        """The trials of one experiment."""
        return self._tracked[experiment].trials

    def begin(self) -> dict[str, Runs]:
        """Open every experiment, with its references, unless they are open already.

        An experiment that was deleted in MLflow is left out; the others are not held up by it.
        """
        if self._runs is None:
            require_answer(self._uri)
            client = MlflowClient(self._uri)
            client.search_experiments(max_results=1)  # creates the tables of a new database
            set_wal(self._uri)
            identity = identify(self._workspace)
            if self._uri == default_uri(self._workspace):
                follow_folder(self._workspace, identity)
            known = list(ours(client, deleted_too=True))
            self._close_orphans(client, known, identity.name)
            runs: dict[str, Runs] = {}
            self.deleted = {}
            for name in self._tracked:
                try:
                    runs[name] = self._open(client, name, known, identity.name)
                except DeletedError as error:
                    self.deleted[name] = str(error)
            for name, opened in runs.items():
                self._project_references(name, opened)
            self._runs = runs
        return self._runs

    def forget(self) -> None:
        """After an error, look again at what MLflow holds before anything is sent."""
        self._runs = None

    def project(self, trial_id: str, *, live: bool) -> None:
        """Bring the runs of a trial up to date, in every experiment that asks for it."""
        runs = self.begin()
        trial = self._read(trial_id)
        if trial is None:
            return
        for name in self._asking.get(trial_id, ()):
            if name not in runs:
                continue
            image = seed_image(self._tracked[name].experiment, trial, live=live)
            if image:
                self._send(name, runs[name], image)

    def conclude(self, conclusion: Conclusion) -> None:
        """Attach the verdict and the report to the paper's run; trials show them when next sent."""
        name = conclusion.experiment
        runs = self.begin().get(name)
        self._conclusions[name] = conclusion
        if runs is None:
            return
        self._project_references(name, runs)
        runs.attach(Kind.PAPER, pages=conclusion.pages, files=conclusion.files)

    def settle(self) -> None:
        """End every run that MLflow shows as running: what is not finished by now was cut off."""
        for runs in self.begin().values():
            for key in runs.running():
                if key in self._asking:
                    self.project(key, live=False)

    def _open(
        self, client: MlflowClient, name: str, known: list[MlflowExperiment], identity: str
    ) -> Runs:
        artifacts = artifact_location(self._uri, self._workspace, name)
        number = open_experiment(client, self._tracked[name].experiment, artifacts, known)
        return Runs(client, number, identity=identity, workspace=self._workspace)

    def _project_references(self, name: str, runs: Runs) -> None:
        for image in reference_images(self._tracked[name].experiment):
            self._send(name, runs, image)

    def _send(self, name: str, runs: Runs, image: Image) -> None:
        conclusion = self._conclusions.get(name)
        if conclusion:
            image = conclusion.told_by(image)
        self.sent += runs.project(image)

    def _close_orphans(
        self, client: MlflowClient, known: list[MlflowExperiment], identity: str
    ) -> None:
        """End the runs that a killed driver left running, when the last record was taken."""
        if self._orphans_closed:
            return
        active = [
            one.experiment_id for one in known if one.lifecycle_stage == LifecycleStage.ACTIVE
        ]
        for run in list(search(client, active, identity, running=True)) if active else ():
            trial = self._read_known(run.data.tags[Tag.KEY])
            last = ended_ms(trial) if trial else None
            client.set_terminated(run.info.run_id, status=Status.KILLED, end_time=last)
        self._orphans_closed = True

    def _read_known(self, key: str) -> StoredTrial | None:
        """The trial of a run; None for a reference, or where somebody edited the tag."""
        return self._read(key) if _TRIAL_ID.fullmatch(key) else None
