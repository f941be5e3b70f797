"""The view in which an experiment opens: saved as MLflow's own interface saves views.

Left to itself, MLflow draws what is under a prefix first and the metrics of the listing last, and
shows ten runs. A saved view says which charts come first, and which columns a table has; it is
found under 'Views' too. That a browser draws it so is tested with the version that is pinned.
"""

from mlflow.entities import Experiment as Found

from harness.manifest import Experiment, by_interest
from harness.record import Json, canonical_json
from harness.tracking.image import REFERENCES, Tag

NAME = "curves"
TAG = f"mlflow.sharedViewState.{NAME}"

_MOST_RUNS = 20
"""MLflow draws the first ten, the first twenty, or all, however many."""

_HEADLINE, _REST = "Model metrics", ("detail", "time")
"""Sections: MLflow's own name for metrics without a prefix, and our prefixes."""

_COLUMNS = ("compared", "reported", "measured", "difference", Tag.VERDICT, Tag.SEED, "device")


def view_tag(experiment: Experiment) -> str:
    """The value of the experiment's tag `TAG`; depends on the manifest alone."""
    # MLflow lists views by their age; ours has none, so that a replay changes nothing.
    return canonical_json(
        {"name": "Curves", "createdAt": 0, "state": canonical_json(_state(experiment))}
    )


def chart_url(base: str, experiment: Found) -> str:
    """The view with the curves; without `workflowType` MLflow opens its page for language models.

    Args:
        base: the server's address, as 'http://127.0.0.1:5000'.
        experiment: as MLflow has it; one that another version made may have no view of ours.
    """
    view = "workflowType=machine_learning&compareRunsMode=CHART"
    if TAG in experiment.tags:
        view += f"&viewStateShareKey={NAME}"
    return f"{base.rstrip('/')}/#/experiments/{experiment.experiment_id}/runs?{view}"


def _state(experiment: Experiment) -> dict[str, Json]:
    return {
        "selectedColumns": [f"tags.`{name}`" for name in _COLUMNS],
        "runsHiddenMode": f"FIRST_{_MOST_RUNS}_RUNS",
        # What comes last is drawn on top, which should be the paper; but what comes after the
        # first twenty is not drawn, and there it has to come first.
        "orderByKey": "attributes.start_time",
        "orderByAsc": len(experiment.manifest.seeds) <= _MOST_RUNS - len(REFERENCES),
        "compareRunSections": _sections(),
        "compareRunCharts": [_chart(metric) for metric in _by_interest(experiment)],
        "isAccordionReordered": True,
    }


def _by_interest(experiment: Experiment) -> list[str]:
    """The claimed metrics: those recorded every epoch first, and of these the most telling."""
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


def _chart(metric: str) -> dict[str, Json]:
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
        "range": {},
        "xAxisKey": "step",
        "selectedXAxisMetricKey": "",
        "yAxisKey": "metric",
        "yAxisExpressions": [],
        "ignoreOutliers": False,
        "useGlobalXaxisKey": True,
        "useGlobalLineSmoothing": True,
    }
