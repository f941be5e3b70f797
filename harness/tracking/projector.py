"""Send the store's trials to MLflow in steps. Any step may be repeated."""

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from mlflow import MlflowClient
from mlflow.entities import Experiment as MlflowExperiment
from mlflow.entities import LifecycleStage

from harness.manifest import Experiment
from harness.record import FileSlice, StoredTrial
from harness.tracking.experiments import DeletedError, open_experiment, ours
from harness.tracking.identity import identify
from harness.tracking.images import (
    Image,
    Kind,
    Status,
    Tag,
    ended_ms,
    reference_images,
    reference_key,
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
"""Matches a `TrialSpec.id`. It matches neither a reference's key nor a tag edited by hand."""

Read = Callable[[str], StoredTrial | None]
"""Reads the durable part of a trial by its id. Returns None if the store does not have it."""

Kept = Callable[[str], Mapping[str, FileSlice]]
"""Finds what a trial printed and left, by its id: files by the path of the artifact in MLflow."""


def nothing_kept(trial_id: str) -> Mapping[str, FileSlice]:
    """Return no files."""
    return {}


@dataclass(frozen=True)
class Tracked:
    """An experiment and the ids of its trials. Two experiments may share a trial."""

    experiment: Experiment
    trials: tuple[str, ...]


@dataclass(frozen=True)
class Telling:
    """The part of a conclusion that one run shows."""

    story: str = ""
    """Markdown at the start of the run's description."""
    tags: Mapping[str, str] = field(default_factory=dict)
    """Tags of the run. MLflow shows them as columns."""


@dataclass(frozen=True)
class Conclusion:
    """The verdict on an experiment and its report, which its runs show."""

    experiment: str
    verdict: str
    as_expected: bool
    pages: Mapping[str, str]
    """The report's pages by file name. They become artifacts of the paper's run."""
    files: tuple[Path, ...] = ()
    """Figures, which also become artifacts of the paper's run."""
    whole: Telling = Telling()
    """What the paper's run shows."""
    trials: Mapping[str, Telling] = field(default_factory=dict)
    """What the run of a trial shows, by the trial's id."""

    def told_by(self, image: Image) -> Image:
        """Return the image with the verdict, tags and story that its run should show."""
        of_paper = self.whole if image.kind is Kind.PAPER else Telling()
        telling = self.trials.get(image.key, of_paper)
        expected = "true" if self.as_expected else "false"
        verdict = {Tag.VERDICT.value: self.verdict, Tag.AS_EXPECTED.value: expected}
        return replace(image, tags={**image.tags, **verdict, **telling.tags}, story=telling.story)


class Projector:
    """Sends the trials of a store to MLflow and keeps MLflow's runs up to date.

    Its methods raise any error of MLflow, the disk or `read`. After an error, call `forget`. Then
    the methods can be called again, and they continue from what MLflow holds.
    """

    def __init__(
        self,
        uri: str,
        *,
        workspace: Path,
        read: Read,
        tracked: Iterable[Tracked],
        kept: Kept = nothing_kept,
    ) -> None:
        self._uri = uri
        self._workspace = workspace
        self._read = read
        self._kept = kept
        self._tracked = {item.experiment.id: item for item in tracked}
        self._asking: dict[str, list[str]] = {}
        """The experiments that use a trial, by the trial's id."""
        for name, item in self._tracked.items():
            for trial_id in item.trials:
                self._asking.setdefault(trial_id, []).append(name)
        self._conclusions: dict[str, Conclusion] = {}
        self._runs: dict[str, Runs] | None = None
        self._orphans_closed = False
        self.deleted: dict[str, str] = {}
        """How to restore each experiment that was deleted in MLflow, by experiment."""
        self.sent = 0
        """Number of points sent."""

    @property
    def trials(self) -> tuple[str, ...]:
        """The ids of all trials that any experiment uses, without duplicates."""
        return tuple(self._asking)

    def trials_of(self, experiment: str) -> tuple[str, ...]:
        """The ids of the trials of one experiment."""
        return self._tracked[experiment].trials

    def begin(self) -> dict[str, Runs]:
        """Open all experiments in MLflow and send their references, unless this is done already.

        An experiment that was deleted in MLflow is left out. It does not affect the others.
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
            groups: dict[str, Runs] = {}  # the cells of a grid share an experiment in MLflow
            for name, item in self._tracked.items():
                group = item.experiment.group
                try:
                    if group not in groups:
                        groups[group] = self._open(client, name, known, identity.name)
                    runs[name] = groups[group]
                except DeletedError as error:
                    self.deleted[name] = str(error)
            for name, opened in runs.items():
                self._project_references(name, opened)
            self._runs = runs
        return self._runs

    def forget(self) -> None:
        """Forget the cached state after an error. The next call reads it from MLflow again."""
        self._runs = None

    def project(self, trial_id: str, *, live: bool) -> None:
        """Update the runs of a trial in all experiments that use it."""
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
                if image.status is not Status.RUNNING:
                    runs[name].attach_kept(trial_id, self._kept(trial_id))

    def conclude(self, conclusion: Conclusion) -> None:
        """Attach the verdict and report to the paper's run. Trials show them when next sent."""
        name = conclusion.experiment
        runs = self.begin().get(name)
        self._conclusions[name] = conclusion
        if runs is None:
            return
        self._project_references(name, runs)
        if conclusion.pages:  # those on a grid are attached once
            key = reference_key(self._tracked[name].experiment, Kind.PAPER)
            runs.attach(key, pages=conclusion.pages, files=conclusion.files)

    def settle(self) -> None:
        """End all runs that MLflow shows as running. A trial that is unfinished was interrupted."""
        for runs in self.begin().values():
            for key in runs.running():
                if key in self._asking:
                    self.project(key, live=False)

    def _open(
        self, client: MlflowClient, name: str, known: list[MlflowExperiment], identity: str
    ) -> Runs:
        experiment = self._tracked[name].experiment
        artifacts = artifact_location(self._uri, self._workspace, experiment.group)
        number = open_experiment(client, experiment, artifacts, known)
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
        """End the runs that a killed driver left running. Their end is the last record's time."""
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
        """Read the trial of a run. Return None for a reference or if a user edited the tag."""
        return self._read(key) if _TRIAL_ID.fullmatch(key) else None
