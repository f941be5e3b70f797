"""`check`, `report` and `export`: what the stored records say."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from harness.cli import options
from harness.cli.evidence import Evidence
from harness.cli.inspect import load
from harness.cli.reports import Reports
from harness.cli.tracking import chart_links
from harness.report import jsondoc, table, terminal
from harness.report.junit import junit as junit_xml
from harness.store import Store
from harness.store.files import faults_named
from harness.verdict import ExperimentVerdict, exit_code

STDOUT = "-"


def check(
    paths: options.Paths,
    seeds: options.Seeds = None,
    epochs: options.Epochs = None,
    workspace: options.Workspace = options.DEFAULT_WORKSPACE,
    json_file: options.Json = None,
    junit: options.Junit = None,
) -> None:
    """Judge the stored records again: no Ray, no MLflow, no training.

    Example: harness check experiments --json -
    """
    evidence = _stored(paths, seeds, epochs, workspace)
    verdicts = evidence.verdicts()
    show(verdicts, Console(stderr=json_file == STDOUT))
    save(verdicts, json_file=json_file, junit=junit)
    raise typer.Exit(exit_code(verdicts))


def write_report(
    paths: options.Paths,
    out: Annotated[Path, typer.Option(help="Folder for the pages and their figures.")],
    seeds: options.Seeds = None,
    epochs: options.Epochs = None,
    workspace: options.Workspace = options.DEFAULT_WORKSPACE,
    mlflow_url: Annotated[
        str | None,
        typer.Option(help="A running MLflow server, to link to its charts.", show_default=False),
    ] = None,
) -> None:
    """Write what was found as one HTML file, and as a Markdown page with figures.

    Example: harness report experiments --out report
    """
    evidence = _stored(paths, seeds, epochs, workspace)
    links = {} if mlflow_url is None else chart_links(mlflow_url)
    reports = Reports.write(evidence.verdicts(), out, links)
    typer.echo(f"{reports.html}\n{reports.page}")


def export(
    paths: options.Paths,
    out: Annotated[Path, typer.Option(help="A file ending in .csv or .parquet.")],
    seeds: options.Seeds = None,
    epochs: options.Epochs = None,
    workspace: options.Workspace = options.DEFAULT_WORKSPACE,
) -> None:
    """Write the records of all trials as one table, a row for each metric of each epoch.

    Example: harness export experiments --out records.parquet
    """
    evidence = _stored(paths, seeds, epochs, workspace)
    stored = (
        (experiment.id, trial)
        for experiment in evidence.experiments
        for seed in evidence.trials[experiment.id]
        if (trial := evidence.trial(experiment, seed)) is not None
    )
    with faults_named(out):
        rows = table.write(out, stored)
    typer.echo(f"{out}: {rows} rows")


def _stored(paths: list[Path], seeds: str | None, epochs: int | None, workspace: Path) -> Evidence:
    """What a workspace holds of what the options ask for."""
    return Evidence(load(paths), options.selection(seeds, epochs), Store(workspace))


def show(verdicts: Sequence[ExperimentVerdict], console: Console) -> None:
    """The claims of each experiment, then the experiments."""
    for verdict in verdicts:
        console.print(terminal.claims(verdict))
    console.print(terminal.summary(verdicts))


def save(
    verdicts: Sequence[ExperimentVerdict], *, json_file: str | None, junit: Path | None
) -> None:
    """Write the verdicts where the options say.

    Raises:
        StoreError: a file cannot be written.
    """
    if json_file is not None:
        text = json.dumps(jsondoc.document(verdicts), indent=2, allow_nan=False)
        if json_file == STDOUT:
            typer.echo(text)
        else:
            with faults_named(Path(json_file)):
                Path(json_file).write_text(text + "\n", encoding="utf-8")
    if junit is not None:
        with faults_named(junit):
            junit.write_bytes(junit_xml(verdicts))
