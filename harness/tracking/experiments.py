"""MLflow's experiments: found by the experiment's id, made if they are not there."""

from collections.abc import Iterator

from mlflow import MlflowClient
from mlflow.entities import Experiment as Found
from mlflow.exceptions import MlflowException

from harness.manifest import Experiment
from harness.tracking import curated
from harness.tracking.image import Tag


def open_experiment(client: MlflowClient, experiment: Experiment, artifacts: str | None) -> str:
    """MLflow's number of the experiment; several workspaces on one server share it.

    Args:
        client: where to look.
        experiment: its id is the name that MLflow shows.
        artifacts: where a new one keeps its artifacts; None for the server's choice.

    Raises:
        mlflow.exceptions.MlflowException: the server does not answer, or the experiment was deleted
            there.
    """
    wanted = {
        Tag.NOTE: _note(experiment),
        Tag.EXPERIMENT: experiment.id,
        curated.TAG: curated.view_tag(experiment),
        "mlflow.experimentKind": "custom_model_development",  # not MLflow's page for agents
    }
    found = client.get_experiment_by_name(experiment.id)
    if found is None:
        try:
            return str(client.create_experiment(experiment.id, artifacts, wanted))
        except MlflowException as error:
            # Of several drivers at once, one makes it and the others find it.
            found = client.get_experiment_by_name(experiment.id)
            if error.error_code != "RESOURCE_ALREADY_EXISTS" or found is None:
                raise
    for name, text in wanted.items():
        if found.tags.get(name) != text:
            client.set_experiment_tag(found.experiment_id, name, text)
    return str(found.experiment_id)


def ours(client: MlflowClient) -> Iterator[Found]:
    """Our experiments: a server may hold others.

    Raises:
        mlflow.exceptions.MlflowException: the server does not answer.
    """
    token: str | None = None
    while token != "":
        page = client.search_experiments(page_token=token)
        yield from (found for found in page if Tag.EXPERIMENT in found.tags)
        token = page.token or ""


def chart_urls(uri: str, base: str) -> dict[str, str]:
    """Where MLflow draws each of our experiments, by name.

    Args:
        uri: the server or database that knows them.
        base: the address at which they are served.

    Raises:
        mlflow.exceptions.MlflowException: the server does not answer.
    """
    found = ours(MlflowClient(uri))
    return {
        one.name: curated.chart_url(base, one) for one in sorted(found, key=lambda one: one.name)
    }


def _note(experiment: Experiment) -> str:
    paper = experiment.manifest.paper
    return (
        f"**{experiment.manifest.title}**\n\n"
        f"{paper.author}, *{paper.title}*, {paper.listing}; the paper ran `{paper.command}`.\n\n"
        f"The run 'paper' holds what the paper reports, in black; the runs 'seed N' are ours."
    )
