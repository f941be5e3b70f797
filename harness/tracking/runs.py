"""One workspace's runs in one MLflow experiment, brought up to date by the fewest calls."""

import time
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from mlflow import MlflowClient
from mlflow.entities import Metric, Param, Run, RunTag

from harness.record import canonical_json, digest
from harness.tracking.image import FAILURE, Image, Kind, Status, Tag
from harness.tracking.view import View, data_inputs, points

_METRICS_A_CALL = 800
"""MLflow takes 1000 entities in all, up to 100 of them parameters and 100 tags."""

_AHEAD_MS = 100 * 365 * 86_400_000
"""References start a century ahead: the view shows the ten newest runs, and they must be there."""


class Runs:
    """The runs that one workspace has in one experiment; only one driver may write them.

    Every method may raise what MLflow raises. What this then believes to be there may not be, so
    a new one has to be made, which looks again.
    """

    def __init__(self, client: MlflowClient, experiment_id: str, workspace: str) -> None:
        self._client = client
        self._experiment_id = experiment_id
        self._workspace = workspace
        self._views: dict[str, View] = {}
        for run in search(client, [experiment_id], workspace):
            self._adopt(View.of(run))

    def project(self, image: Image) -> int:
        """Send what the image's run lacks; returns the number of points."""
        view = self._views.get(image.key)
        if view and view.is_of_another_recording(image):
            self._client.delete_run(view.run_id)
            view = None
        view = view or self._create(image)
        sent = self._log(view, image)
        self._clear_failure(view, image)
        self._settle(view, image)
        return sent

    def running(self) -> list[str]:
        """The keys of the runs that MLflow shows as running."""
        return [key for key, view in self._views.items() if view.status == Status.RUNNING]

    def attach(self, key: str, *, pages: Mapping[str, str], files: Iterable[Path]) -> None:
        """Give a run that was projected before its pages and files, unless it has the same."""
        view = self._views[key]
        files = tuple(files)
        content = [*map(digest, pages.values()), *(digest(path.read_bytes()) for path in files)]
        mark = digest(canonical_json(content))
        if view.tags.get(Tag.REPORT) == mark:
            return
        for name, text in pages.items():
            self._client.log_text(view.run_id, text, name)
        for path in files:
            self._client.log_artifact(view.run_id, str(path))
        self._client.set_tag(view.run_id, Tag.REPORT, mark)
        view.tags[Tag.REPORT] = mark

    def _adopt(self, view: View) -> None:
        """Take up a run that was found. A second one of a key was made by a call given up on."""
        if self._views.setdefault(view.tags[Tag.KEY], view) is not view:
            self._client.delete_run(view.run_id)

    def _create(self, image: Image) -> View:
        start_ms = image.start_ms or time.time_ns() // 1_000_000
        run = self._client.create_run(
            self._experiment_id,
            start_time=start_ms if image.kind is Kind.SEED else start_ms + _AHEAD_MS,
            tags={Tag.KEY: image.key, Tag.KIND: image.kind, Tag.WORKSPACE: self._workspace},
            run_name=image.name,
        )
        view = self._views[image.key] = View.of(run)
        return view

    def _log(self, view: View, image: Image) -> int:
        """Send points, parameters, tags and data; last the tags that say that the points are there.

        Cut off in between, the same points are sent again: MLflow knows them by their times.
        """
        rows = view.missing_rows(image)
        metrics = list(points(rows, view.start_ms - _AHEAD_MS))
        last = max(len(metrics) - 1, 0) // _METRICS_A_CALL * _METRICS_A_CALL
        for start in range(0, last, _METRICS_A_CALL):
            self._client.log_batch(view.run_id, metrics[start : start + _METRICS_A_CALL])
        if image.data and not view.has_data:
            self._client.log_inputs(view.run_id, datasets=data_inputs(image))
            view.has_data = True
        params, tags = view.missing_params(image), view.changed_tags(image, rows)
        self._finish_log(view, metrics[last:], params, tags)
        return len(metrics)

    def _finish_log(
        self, view: View, metrics: list[Metric], params: dict[str, str], tags: dict[str, str]
    ) -> None:
        if not (metrics or params or tags):
            return
        self._client.log_batch(
            view.run_id,
            metrics,
            [Param(name, text) for name, text in params.items()],
            [RunTag(name, text) for name, text in tags.items()],
        )
        view.params |= params.keys()
        view.tags |= tags

    def _clear_failure(self, view: View, image: Image) -> None:
        """A failure that a later attempt got past is the run's no more."""
        for name in [name for name in view.tags if name.startswith(FAILURE)]:
            if name not in image.tags:
                self._client.delete_tag(view.run_id, name)
                del view.tags[name]

    def _settle(self, view: View, image: Image) -> None:
        """Set the status, and the end as recorded."""
        end_ms = image.end_ms if image.kind is Kind.SEED else view.start_ms
        if image.status is Status.RUNNING:
            if view.status != Status.RUNNING:
                self._client.update_run(view.run_id, status=Status.RUNNING)
        elif view.status != image.status or end_ms not in (None, view.end_ms):
            self._client.set_terminated(view.run_id, status=image.status, end_time=end_ms)
            view.end_ms = end_ms
        view.status = image.status


def search(
    client: MlflowClient, experiment_ids: list[str], workspace: str, *, running: bool = False
) -> Iterator[Run]:
    """A workspace's runs in some experiments, or those still running, the oldest first."""
    condition = f"tags.`{Tag.WORKSPACE}` = '{workspace}'"
    if running:
        condition += f" and attributes.status = '{Status.RUNNING}'"
    token: str | None = None
    while token != "":
        page = client.search_runs(
            experiment_ids, condition, order_by=["attributes.start_time ASC"], page_token=token
        )
        yield from page
        token = page.token or ""
