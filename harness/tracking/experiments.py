"""MLflow's experiments: found by the experiment's id, made if they are not there."""

from mlflow import MlflowClient

from harness.manifest.model import Experiment
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
        "mlflow.experimentKind": "custom_model_development",  # not MLflow's page for agents
    }
    found = client.get_experiment_by_name(experiment.id)
    if found is None:
        return str(client.create_experiment(experiment.id, artifacts, wanted))
    for name, text in wanted.items():
        if found.tags.get(name) != text:
            client.set_experiment_tag(found.experiment_id, name, text)
    return str(found.experiment_id)


def experiment_ids(uri: str) -> dict[str, str]:
    """MLflow's number of each experiment of ours, by name; a server may hold others.

    Raises:
        mlflow.exceptions.MlflowException: the server does not answer.
    """
    client = MlflowClient(uri)
    found: dict[str, str] = {}
    token: str | None = None
    while token != "":
        page = client.search_experiments(page_token=token)
        found |= {
            experiment.name: experiment.experiment_id
            for experiment in page
            if Tag.EXPERIMENT in experiment.tags
        }
        token = page.token or ""
    return found


def _note(experiment: Experiment) -> str:
    paper = experiment.manifest.paper
    return (
        f"**{experiment.manifest.title}**\n\n"
        f"{paper.author}, *{paper.title}*, {paper.listing}; the paper ran `{paper.command}`.\n\n"
        f"The run 'paper' holds what the paper reports, in black; the runs 'seed N' are ours."
    )
