"""`report`: write the verdicts as pages with figures."""

from pathlib import Path
from typing import Annotated

import typer

from harness.cli import options
from harness.cli.options import judged
from harness.output import given_by, make_folder
from harness.plan import Request
from harness.session.reports import Reports
from harness.session.tracking import chart_links


def report(
    paths: options.Paths,
    request: Request,
    out: Annotated[
        Path,
        typer.Option(help="Folder for the pages and their figures.", callback=options.folder),
    ],
    workspace: options.Workspace = options.DEFAULT_WORKSPACE,
    committed: options.Committed = False,
    mlflow_url: Annotated[
        str | None,
        typer.Option(help="A running MLflow server, to link to its charts.", show_default=False),
    ] = None,
) -> None:
    """Write the verdicts as one HTML file, and as a Markdown page with figures.

    It judges the same seeds, epochs and records as `harness check`.

    Example: harness report experiments --out report
    """
    with given_by("--out"):
        make_folder(out)
    session = judged(paths, request, workspace, committed=committed)
    for line in session.described_requests():
        typer.echo(line, err=True)
    links = {} if mlflow_url is None else chart_links(mlflow_url)
    reports = Reports.write(session.verdicts(), out, links)
    typer.echo(f"{reports.html}\n{reports.page}")
