"""Find or create MLflow's experiments, and save the view in which each experiment opens.

By default MLflow draws metrics with a prefix first and the paper's metrics last, and it shows ten
runs. A saved view sets which charts come first and which columns the table has. MLflow also lists
it under 'Views'. A browser test checks that the pinned version of MLflow draws the view correctly.
"""

import json
import math
import shlex
from collections.abc import Collection, Iterator

from mlflow import MlflowClient
from mlflow.entities import Experiment as MlflowExperiment
from mlflow.entities import LifecycleStage, ViewType
from mlflow.exceptions import MlflowException

from harness.errors import Exit, HarnessError, without_secrets
from harness.manifest import Experiment, by_interest
from harness.record import Json, canonical_json
from harness.tracking.images import REFERENCES, Image, Tag, described_by_user, with_mark

VIEW_NAME = "curves"
VIEW_TAG = f"mlflow.sharedViewState.{VIEW_NAME}"

_MOST_RUNS = 20
"""How many runs the view draws. MLflow offers the first 10, the first 20, or all."""

_HEADLINE, _REST = "Model metrics", ("detail", "time")
"""Sections of the view: MLflow's name for metrics without a prefix, then our prefixes."""

_COLUMNS = {
    "within tolerance": 120,
    "compared": 120,
    "difference": 90,
    Tag.VERDICT: 190,
    "reported": 90,
    "measured": 90,
    "device": 100,
}
"""The columns of the list of runs, in their order, with widths in pixels that show a text whole.
Those up to the verdict fit on a screen of 1280 pixels."""


class DeletedError(HarnessError):
    """An experiment was deleted in MLflow. Its runs are not tracked until it is restored."""

    exit_code = Exit.INCOMPLETE


def open_experiment(
    client: MlflowClient,
    experiment: Experiment,
    artifacts: str | None,
    known: Collection[MlflowExperiment],
) -> str:
    """Find or create an experiment in MLflow, and return MLflow's number of it.

    Several workspaces on one server share the experiment. We look for its tag first, so a user may
    rename it in MLflow. If no experiment has the tag, we look for its name. If neither exists, we
    create it.

    Args:
        client: the client of the MLflow server or database.
        experiment: the experiment, or any cell of a grid, whose cells share one in MLflow. A new
            one gets the id of the experiment or of the grid as name.
        artifacts: where a new experiment keeps its artifacts; None to let the server choose.
        known: the experiments that `ours` returned.

    Raises:
        DeletedError: the experiment was deleted in MLflow.
        mlflow.exceptions.MlflowException: the server does not answer.
    """
    found = _best(experiment.group, known) or client.get_experiment_by_name(experiment.group)
    free = found.tags.get(Tag.FREE_AXES, "").split() if found else ()
    wanted = {
        Tag.NOTE: _note(experiment),
        Tag.EXPERIMENT: experiment.group,
        VIEW_TAG: view_tag(experiment, free),
        "mlflow.experimentKind": "custom_model_development",  # avoids MLflow's page for agents
    }
    if found is None:
        try:
            return str(client.create_experiment(experiment.group, artifacts, with_mark(wanted)))
        except MlflowException as error:
            # If several drivers start at once, one creates the experiment and the others find it.
            found = client.get_experiment_by_name(experiment.group)
            if error.error_code != "RESOURCE_ALREADY_EXISTS" or found is None:
                raise
    if found.lifecycle_stage != LifecycleStage.ACTIVE:
        raise DeletedError(
            _how_to_restore(experiment.group, found.experiment_id, client.tracking_uri)
        )
    if described_by_user(found.tags):
        del wanted[Tag.NOTE]
    for name, text in with_mark(wanted).items():
        if found.tags.get(name) != text:
            client.set_experiment_tag(found.experiment_id, name, text)
    return str(found.experiment_id)


def ours(client: MlflowClient, *, deleted_too: bool = False) -> Iterator[MlflowExperiment]:
    """Yield the experiments that this program created: a server may hold others too.

    Raises:
        mlflow.exceptions.MlflowException: the server does not answer.
    """
    view = ViewType.ALL if deleted_too else ViewType.ACTIVE_ONLY
    token: str | None = None
    while token != "":
        page = client.search_experiments(view_type=view, page_token=token)
        yield from (found for found in page if Tag.EXPERIMENT in found.tags)
        token = page.token or ""


def chart_urls(uri: str, base: str) -> dict[str, str]:
    """Return the address of each of our experiments' charts, by the experiment's id.

    Args:
        uri: the MLflow server or database that holds the experiments.
        base: the address of MLflow's web page.

    Raises:
        mlflow.exceptions.MlflowException: the server does not answer.
    """
    found = list(ours(MlflowClient(uri)))
    names = sorted({one.tags[Tag.EXPERIMENT] for one in found})
    return {name: chart_url(base, best) for name in names if (best := _best(name, found))}


def _best(name: str, known: Collection[MlflowExperiment]) -> MlflowExperiment | None:
    """Choose our experiment of this id: prefer an active one, then this name, then the oldest."""

    def rank(one: MlflowExperiment) -> tuple[bool, bool, int]:
        deleted = one.lifecycle_stage != LifecycleStage.ACTIVE
        return deleted, one.name != name, one.creation_time or 0

    return min((one for one in known if one.tags[Tag.EXPERIMENT] == name), key=rank, default=None)


def _how_to_restore(name: str, number: str, uri: str) -> str:
    command = f"mlflow experiments restore --experiment-id {number}"
    return (
        f"experiment {name}: it was deleted in MLflow, so its runs are not tracked; to restore it: "
        f"MLFLOW_TRACKING_URI={shlex.quote(without_secrets(uri))} {command}; then `harness sync`"
    )


def _note(experiment: Experiment) -> str:
    cell, paper = experiment.cell, experiment.manifest.paper
    title = cell.title if cell else experiment.manifest.title
    # MLflow's list of experiments shows the description as plain text, not as Markdown.
    of_one = paper.own_run or f"{paper.listing}; the paper ran {paper.command}"
    where = "" if experiment.place else f" {of_one}"
    return (
        f"{title}.\n\n"
        f"{paper.author}: {paper.title}.{where}\n\n"
        f"The run 'paper' holds what the paper reports, in black; the runs 'seed N' are ours."
    )


def view_tag(experiment: Experiment, free: Collection[str] = ()) -> str:
    """Return the value of the experiment's tag `VIEW_TAG`.

    Args:
        experiment: the experiment.
        free: the metrics whose charts fit their vertical axes to the curves.
    """
    # MLflow sorts views by their date. We set the date to 0, so that a replay changes nothing.
    return canonical_json(
        {"name": "Curves", "createdAt": 0, "state": canonical_json(_state(experiment, free))}
    )


def metrics_off_chart(experiment: Experiment, image: Image) -> frozenset[str]:
    """Return the metrics of which a run has a value outside the limits of the vertical axis."""
    return frozenset(
        metric
        for metric in experiment.manifest.metrics
        if (limits := _range(experiment, metric))
        for row in image.rows
        if math.isfinite(value := row.metrics.get(metric, math.nan))
        and not limits["yMin"] <= value <= limits["yMax"]
    )


def free_axes(client: MlflowClient, experiment_id: str, metrics: Collection[str]) -> None:
    """Let the charts of some metrics fit their vertical axes to the curves, from now on.

    Raises:
        mlflow.exceptions.MlflowException: the server does not answer.
    """
    tags = client.get_experiment(experiment_id).tags
    free = {*tags.get(Tag.FREE_AXES, "").split(), *metrics}
    if VIEW_TAG not in tags or tags.get(Tag.FREE_AXES) == " ".join(sorted(free)):
        return
    view = json.loads(tags[VIEW_TAG])
    state = json.loads(view["state"])
    for chart in state["compareRunCharts"]:
        if chart["metricKey"] in free:
            chart["range"] = {}
    view["state"] = canonical_json(state)
    client.set_experiment_tag(experiment_id, VIEW_TAG, canonical_json(view))
    client.set_experiment_tag(experiment_id, Tag.FREE_AXES, " ".join(sorted(free)))


def chart_url(base: str, experiment: MlflowExperiment) -> str:
    """Return the address of the view with the curves.

    Without `workflowType` MLflow would open its page for language models.

    Args:
        base: the server's address, such as 'http://127.0.0.1:5000'.
        experiment: the experiment in MLflow. If another version created it, it may lack our view.
    """
    view = "workflowType=machine_learning&compareRunsMode=CHART"
    if VIEW_TAG in experiment.tags:
        view += f"&viewStateShareKey={VIEW_NAME}"
    return f"{base.rstrip('/')}/#/experiments/{experiment.experiment_id}/runs?{view}"


def _state(experiment: Experiment, free: Collection[str]) -> dict[str, Json]:
    return {
        "selectedColumns": [f"tags.`{name}`" for name in _COLUMNS],
        "columnOrder": [f"tags.`{name}`" for name in _COLUMNS],
        "columnWidths": {f"tags.`{name}`": width for name, width in _COLUMNS.items()},
        "runsHiddenMode": f"FIRST_{_MOST_RUNS}_RUNS",
        # MLflow draws the last run on top, so the paper should come last. But MLflow draws only the
        # first twenty runs, so with more runs the paper must come first.
        "orderByKey": f"tags.`{Tag.ORDER}`",
        "orderByAsc": len(experiment.manifest.seeds) <= _MOST_RUNS - len(REFERENCES),
        "compareRunSections": _sections(),
        "compareRunCharts": [
            _chart(metric, {} if metric in free else {**_range(experiment, metric)})
            for metric in _by_interest(experiment)
        ],
        "isAccordionReordered": True,
    }


def _by_interest(experiment: Experiment) -> list[str]:
    """Return the claimed metrics. Those recorded every epoch come first (see `by_interest`)."""
    claims = sorted(experiment.manifest.claims, key=by_interest)
    return list(dict.fromkeys(claim.metric for claim in claims))


def _sections() -> list[dict[str, Json]]:
    return [
        {
            "uuid": name,
            "name": name,
            "display": name == _HEADLINE,
            "isReordered": True,
            "deleted": False,
            "isGenerated": True,
            "columns": 2,
            "cardHeight": 480,
        }
        for name in (_HEADLINE, *_REST, "System metrics")
    ]


def _range(experiment: Experiment, metric: str) -> dict[str, float]:
    """Choose the limits of the vertical axis; empty if MLflow should fit them to the curves.

    Around values that are equal MLflow would zoom in until rounding looks like a difference.
    """
    claims = [claim for claim in experiment.manifest.claims if claim.metric == metric]
    if metric not in experiment.truths and not all(claim.exact for claim in claims):
        return {}
    values = [0.0, *(value for claim in claims for value in claim.values.values())]
    low, high = 1.25 * min(values), 1.25 * max(values)
    return {"yMin": low, "yMax": high} if low < high else {"yMin": -1.0, "yMax": 1.0}


def _chart(metric: str, limits: dict[str, Json]) -> dict[str, Json]:
    return {
        "uuid": metric,
        "type": "LINE",
        "runsCountToCompare": _MOST_RUNS,
        "metricSectionId": _HEADLINE,
        "deleted": False,
        "isGenerated": True,
        "displayName": metric,
        "metricKey": metric,
        "lineSmoothness": 0,
        "xAxisScaleType": "linear",
        "scaleType": "linear",
        "range": limits,
        "xAxisKey": "step",
        "selectedXAxisMetricKey": "",
        "yAxisKey": "metric",
        "yAxisExpressions": [],
        "ignoreOutliers": False,
        "useGlobalXaxisKey": True,
        "useGlobalLineSmoothing": True,
    }
