"""Send the store's trials to MLflow in steps. Any step may be repeated.

The runs of one experiment are updated with as few calls as possible. Users edit what they see in
MLflow: they delete runs, change tags and write descriptions. So this module never assumes that a
tag exists or holds what was sent. It does not overwrite a description that a user edited.
"""

import re
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from tempfile import TemporaryDirectory

from mlflow import MlflowClient
from mlflow.entities import (
    Dataset,
    DatasetInput,
    InputTag,
    LifecycleStage,
    Metric,
    Param,
    Run,
    RunTag,
)
from mlflow.entities import Experiment as MlflowExperiment

from harness.manifest import Experiment
from harness.record import FileSlice, StoredTrial, canonical_json, digest
from harness.tracking.experiments import (
    DeletedError,
    free_axes,
    metrics_off_chart,
    open_experiment,
    ours,
)
from harness.tracking.images import (
    FAILURE,
    REFERENCES,
    Image,
    Kind,
    LoggedMetrics,
    RunStatus,
    Tag,
    described_by_user,
    ended_ms,
    reference_images,
    reference_key,
    seed_image,
    with_mark,
)
from harness.tracking.local_store import (
    artifact_location,
    default_uri,
    follow_folder,
    identify,
    is_database,
    redate,
    require_answer,
    require_location,
    set_wal,
)

_METRICS_A_CALL = 800
"""Most metrics per call. MLflow accepts 1000 entities, at most 100 parameters and 100 tags."""

_TAG_LIMIT = 8000
_DIGEST_LIMIT = 36


@dataclass
class KnownRun:
    """One MLflow run as last read. It is updated with everything that we send."""

    run_id: str
    start_ms: int
    end_ms: int | None
    status: str
    tags: dict[str, str]
    params: set[str]
    has_data: bool
    artifacts: str
    """The URI of the run's artifacts."""

    @classmethod
    def of(cls, run: Run) -> "KnownRun":
        """Read the content of an MLflow run."""
        return cls(
            run_id=run.info.run_id,
            start_ms=run.info.start_time,
            end_ms=run.info.end_time,
            status=run.info.status,
            tags=dict(run.data.tags),
            params=set(run.data.params),
            has_data=bool(run.inputs and run.inputs.dataset_inputs),
            artifacts=run.info.artifact_uri,
        )

    def is_of_another_recording(self, image: Image) -> bool:
        """Whether its points come from another recording. A run without points has none yet."""
        return self.tags.get(Tag.ORIGIN, image.origin) != image.origin

    def missing_rows(self, image: Image) -> list[LoggedMetrics]:
        """The rows whose points MLflow has not confirmed."""
        return [row for row in image.rows if not self._holds(row)]

    def missing_params(self, image: Image) -> dict[str, str]:
        """The parameters to send: those that MLflow lacks. MLflow cannot change the others."""
        return {name: text for name, text in image.params.items() if name not in self.params}

    def changed_tags(self, image: Image, sent: Iterable[LoggedMetrics]) -> dict[str, str]:
        """The tags to send together with the last of the rows in `sent`."""
        wanted = {**image.tags, **self._own_tags(image, list(sent))}
        short = {name: text[:_TAG_LIMIT] for name, text in wanted.items() if text}
        if described_by_user(self.tags):
            del short[Tag.NOTE]
        return {n: text for n, text in with_mark(short).items() if self.tags.get(n) != text}

    def _holds(self, row: LoggedMetrics) -> bool:
        return row.epoch in self._finals() if row.final else row.epoch <= self._epochs()

    def _epochs(self) -> int:
        return max(_integers(self.tags.get(Tag.EPOCHS, "")), default=0)

    def _finals(self) -> set[int]:
        return _integers(self.tags.get(Tag.FINALS, ""))

    def _own_tags(self, image: Image, sent: list[LoggedMetrics]) -> dict[str, str]:
        """The tags that we derive: the description and the epochs that the run holds."""
        finals = self._finals() | {row.epoch for row in sent if row.final}
        last = max((row.epoch for row in sent if not row.final), default=0)
        return {
            Tag.KIND: image.kind,
            Tag.NOTE: self._description(image),
            Tag.ORIGIN: image.origin,
            Tag.EPOCHS: str(max(last, self._epochs())),
            Tag.FINALS: " ".join(map(str, sorted(finals))),
        }

    def _description(self, image: Image) -> str:
        """The description: the story, then the note.

        The story comes first because MLflow hides all but the first lines. If the image has no
        story, the run keeps the story that it has.
        """
        if image.story:
            return f"{image.story}\n\n{image.note}"
        told = self.tags.get(Tag.NOTE, "")
        return told if told.endswith(image.note) else image.note


class Runs:
    """The runs of one workspace in one experiment. Only one driver may write them.

    All methods may raise MLflow's errors. After an error the cached state may be stale: discard
    this object and create a new one.
    """

    def __init__(
        self, client: MlflowClient, experiment_id: str, *, identity: str, workspace: Path
    ) -> None:
        self._client = client
        self._experiment_id = experiment_id
        self._identity = identity
        self._workspace = workspace
        self._known: dict[str, KnownRun] = {}
        self._free_axes: set[str] = set()
        for run in search(client, [experiment_id], identity):
            self._adopt(KnownRun.of(run))

    def project(self, image: Image) -> int:
        """Send what the image's run lacks. Return the number of points sent."""
        run = self._known.get(image.key)
        if run and run.is_of_another_recording(image):
            self._client.delete_run(run.run_id)
            run = None
        run = run or self._create(image)
        sent = self._log(run, image)
        self._clear_failure(run, image)
        self._settle(run, image)
        return sent

    def free_axes(self, metrics: frozenset[str]) -> None:
        """Let the charts of these metrics fit their axes to the curves."""
        if new := metrics - self._free_axes:
            free_axes(self._client, self._experiment_id, new)
            self._free_axes |= new

    def date_after(self, key: str, references: Iterable[str]) -> None:
        """Date references just after a seed's run, unless they are newer.

        MLflow's own page lists the newest runs first and draws ten of them. The references are
        created before the first seed, so ten seeds would displace them. A server has no request
        that changes the time of a run, so there the saved view has to show them.

        Args:
            key: the seed's key. It must have been sent with `project` before.
            references: the references' keys, the one to be listed first at the end.
        """
        if not is_database(self._client.tracking_uri):
            return
        seed_ms = self._known[key].start_ms
        older = {
            run.run_id: run
            for name in references
            if (run := self._known.get(name)) and run.start_ms <= seed_ms
        }
        if older:
            starts = {run_id: seed_ms + place for place, run_id in enumerate(older, start=1)}
            redate(self._client.tracking_uri, starts)
            for run_id, run in older.items():
                run.start_ms = run.end_ms = starts[run_id]

    def running(self) -> list[str]:
        """The keys of the runs that MLflow shows as running."""
        return [key for key, run in self._known.items() if run.status == RunStatus.RUNNING]

    def attach(self, key: str, *, pages: Mapping[str, str], files: Iterable[Path]) -> None:
        """Attach pages and files to a run, unless it already has the same.

        The run must have been sent with `project` before.

        Raises:
            LocationError: the folder for the experiment's artifacts does not exist.
        """
        run = self._known[key]
        files = tuple(files)
        content = [*map(digest, pages.values()), *(digest(path.read_bytes()) for path in files)]
        mark = digest(canonical_json(content))
        if run.tags.get(Tag.REPORT) == mark:
            return
        require_location(run.artifacts, self._workspace)
        for name, text in pages.items():
            self._client.log_text(run.run_id, text, name)
        for path in files:
            self._client.log_artifact(run.run_id, str(path))
        self._client.set_tag(run.run_id, Tag.REPORT, mark)
        run.tags[Tag.REPORT] = mark

    def attach_kept(self, key: str, kept: Mapping[str, FileSlice]) -> None:
        """Attach what a trial printed and left to its run, unless the run already has the same.

        The run must have been sent with `project` before.

        Args:
            key: the trial's id.
            kept: whole files, by the path of the artifact. If there are none, nothing is sent.

        Raises:
            LocationError: the folder for the experiment's artifacts does not exist.
        """
        run = self._known[key]
        mark = digest(canonical_json({name: file.sha256 for name, file in kept.items()}))
        if not kept or run.tags.get(Tag.KEPT) == mark:
            return
        require_location(run.artifacts, self._workspace)
        with TemporaryDirectory(prefix="harness-kept-") as folder:
            # MLflow names an artifact like its file, and the store names files by their digests.
            for name, file in kept.items():
                link = Path(folder, name)
                link.parent.mkdir(parents=True, exist_ok=True)
                link.symlink_to(file.path.resolve())
            self._client.log_artifacts(run.run_id, folder)
        self._client.set_tag(run.run_id, Tag.KEPT, mark)
        run.tags[Tag.KEPT] = mark

    def _adopt(self, run: KnownRun) -> None:
        """Remember a run. Delete a second run with its key: a call that timed out created it."""
        if self._known.setdefault(run.tags[Tag.KEY], run) is not run:
            self._client.delete_run(run.run_id)

    def _create(self, image: Image) -> KnownRun:
        run = self._client.create_run(
            self._experiment_id,
            start_time=image.start_ms or time.time_ns() // 1_000_000,
            tags={Tag.KEY: image.key, Tag.KIND: image.kind, Tag.WORKSPACE: self._identity},
            run_name=image.name,
        )
        known = self._known[image.key] = KnownRun.of(run)
        return known

    def _log(self, run: KnownRun, image: Image) -> int:
        """Send points, parameters, data and tags. Tags that confirm the points come last.

        If the process stops before that, the same points are sent again. MLflow recognises repeated
        points by their times.
        """
        rows = run.missing_rows(image)
        metrics = list(metric_points(rows, run.start_ms))
        last = max(len(metrics) - 1, 0) // _METRICS_A_CALL * _METRICS_A_CALL
        for start in range(0, last, _METRICS_A_CALL):
            self._client.log_batch(run.run_id, metrics[start : start + _METRICS_A_CALL])
        if image.data and not run.has_data:
            self._client.log_inputs(run.run_id, datasets=data_inputs(image))
            run.has_data = True
        params, tags = run.missing_params(image), run.changed_tags(image, rows)
        self._finish_log(run, metrics[last:], params, tags)
        return len(metrics)

    def _finish_log(
        self, run: KnownRun, metrics: list[Metric], params: dict[str, str], tags: dict[str, str]
    ) -> None:
        if not (metrics or params or tags):
            return
        self._client.log_batch(
            run.run_id,
            metrics,
            [Param(name, text) for name, text in params.items()],
            [RunTag(name, text) for name, text in tags.items()],
        )
        run.params |= params.keys()
        run.tags |= tags

    def _clear_failure(self, run: KnownRun, image: Image) -> None:
        """Remove the tags of a failure if a later attempt got past it."""
        for name in [name for name in run.tags if name.startswith(FAILURE)]:
            if name not in image.tags:
                self._client.delete_tag(run.run_id, name)
                del run.tags[name]

    def _settle(self, run: KnownRun, image: Image) -> None:
        """Set the run's status and its end time, as recorded."""
        end_ms = image.end_ms if image.kind is Kind.SEED else run.start_ms
        if image.status is RunStatus.RUNNING:
            if run.status != RunStatus.RUNNING:
                self._client.update_run(run.run_id, status=RunStatus.RUNNING)
        elif run.status != image.status or end_ms not in (None, run.end_ms):
            self._client.set_terminated(run.run_id, status=image.status, end_time=end_ms)
            run.end_ms = end_ms
        run.status = image.status


def metric_points(rows: Iterable[LoggedMetrics], unrecorded_ms: int) -> Iterator[Metric]:
    """Convert rows to MLflow's points. A row without a time gets `unrecorded_ms`."""
    for row in rows:
        time_ms = unrecorded_ms if row.time_ms is None else row.time_ms
        for key, value in row.metrics.items():
            yield Metric(key, value, time_ms, row.epoch)


def data_inputs(image: Image) -> list[DatasetInput]:
    """List the data sets. MLflow keeps 36 characters of a digest; the run's tag holds all."""
    tags = [InputTag("mlflow.data.context", "training")]
    return [
        DatasetInput(Dataset(name, digest[:_DIGEST_LIMIT], "digest", digest), tags)
        for name, digest in image.data.items()
    ]


def search(
    client: MlflowClient, experiment_ids: list[str], identity: str, *, running: bool = False
) -> Iterator[Run]:
    """Yield a workspace's runs in some experiments, the oldest first.

    A run that lost its tag `Tag.KEY` is left out, and a new run replaces it.
    If `running` is true, yield only the runs that MLflow shows as running.
    """
    condition = f"tags.`{Tag.WORKSPACE}` = '{identity}'"
    if running:
        condition += f" and attributes.status = '{RunStatus.RUNNING}'"
    token: str | None = None
    while token != "":
        page = client.search_runs(
            experiment_ids, condition, order_by=["attributes.start_time ASC"], page_token=token
        )
        yield from (run for run in page if Tag.KEY in run.data.tags)
        token = page.token or ""


def _integers(text: str) -> set[int]:
    """Read the integers in a tag. If a user edited the tag, the points are sent again."""
    found: set[int] = set()
    for word in text.split():
        with suppress(ValueError):
            found.add(int(word))
    return found


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
                if image.status is not RunStatus.RUNNING:
                    runs[name].attach_kept(trial_id, self._kept(trial_id))

    def conclude(self, conclusion: Conclusion) -> None:
        """Attach the verdict and report to the paper's run. Trials show them when next sent."""
        name = conclusion.experiment
        runs = self.begin().get(name)
        # Trials show the verdict later; the pages are large, and go to one run once.
        self._conclusions[name] = replace(conclusion, pages={}, files=())
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
        if image.kind is Kind.SEED:
            experiment = self._tracked[name].experiment
            runs.free_axes(metrics_off_chart(experiment, image))
            runs.date_after(image.key, (reference_key(experiment, kind) for kind in REFERENCES))

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
            client.set_terminated(run.info.run_id, status=RunStatus.KILLED, end_time=last)
        self._orphans_closed = True

    def _read_known(self, key: str) -> StoredTrial | None:
        """Read the trial of a run. Return None for a reference or if a user edited the tag."""
        return self._read(key) if _TRIAL_ID.fullmatch(key) else None
