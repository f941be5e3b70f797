"""`check`, `report`, `export` and `calibrate`: what the stored records say."""

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from harness.cli import options
from harness.cli.inspect import load
from harness.errors import Exit, UsageError
from harness.record import StoredTrial
from harness.report import calibration, jsondoc, table, terminal
from harness.report.junit import junit as junit_xml
from harness.session import CommittedUse, Session
from harness.session.committed import Addition, add
from harness.session.reports import Reports
from harness.session.tracking import chart_links
from harness.store import Archive, Store
from harness.store.files import faults_named
from harness.verdict import ExperimentVerdict, exit_code, of_seeds, propose

STDOUT = "-"


def check(
    paths: options.Paths,
    seeds: options.Seeds = None,
    epochs: options.Epochs = None,
    workspace: options.Workspace = options.DEFAULT_WORKSPACE,
    committed: options.Committed = False,
    json_file: options.Json = None,
    junit: options.Junit = None,
) -> None:
    """Judge the stored records again: no Ray, no MLflow, no training.

    An experiment of which the workspace holds nothing is judged by the records committed beside
    its manifest, and says so.

    Example: harness check experiments --json -
    """
    session = _stored(paths, seeds, epochs, workspace, committed=committed)
    verdicts = session.verdicts()
    show(verdicts, Console(stderr=json_file == STDOUT))
    save(verdicts, json_file=json_file, junit=junit)
    raise typer.Exit(exit_code(verdicts))


def write_report(
    paths: options.Paths,
    out: Annotated[Path, typer.Option(help="Folder for the pages and their figures.")],
    seeds: options.Seeds = None,
    epochs: options.Epochs = None,
    workspace: options.Workspace = options.DEFAULT_WORKSPACE,
    committed: options.Committed = False,
    mlflow_url: Annotated[
        str | None,
        typer.Option(help="A running MLflow server, to link to its charts.", show_default=False),
    ] = None,
) -> None:
    """Write what was found as one HTML file, and as a Markdown page with figures.

    Committed records serve as in `harness check`.

    Example: harness report experiments --out report
    """
    session = _stored(paths, seeds, epochs, workspace, committed=committed)
    links = {} if mlflow_url is None else chart_links(mlflow_url)
    reports = Reports.write(session.verdicts(), out, links)
    typer.echo(f"{reports.html}\n{reports.page}")


def export(
    paths: options.Paths,
    out: Annotated[
        Path | None,
        typer.Option(help="A table: a file ending in .csv or .parquet.", show_default=False),
    ] = None,
    records: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR",
            help="Add the finished trials to a folder of committed records.",
            show_default=False,
        ),
    ] = None,
    seeds: options.Seeds = None,
    epochs: options.Epochs = None,
    workspace: options.Workspace = options.DEFAULT_WORKSPACE,
    committed: options.Committed = False,
) -> None:
    """Write the records of all trials as one table, or add them to the committed ones.

    A table has a row for each metric of each epoch, and committed records serve as in
    `harness check`. What is committed already is never lost or changed: other results of the
    same trial are refused.

    Example: harness export experiments --records experiments/records
    """
    if (out is None) == (records is None):
        raise UsageError("export needs one of --out FILE and --records DIR")
    if out is not None:
        session = _stored(paths, seeds, epochs, workspace, committed=committed)
        with faults_named(out):
            rows = table.write(out, _trials(session))
        typer.echo(f"{out}: {rows} rows")
    elif records is not None:
        if committed:
            raise UsageError("--committed: --records takes from the workspace alone")
        _commit(Session(load(paths), options.selection(seeds, epochs), Store(workspace)), records)


def calibrate(
    paths: options.Paths,
    seeds: options.Seeds = None,
    workspace: options.Workspace = options.DEFAULT_WORKSPACE,
    committed: options.Committed = False,
    coverage: Annotated[
        float, typer.Option(min=0.5, max=0.999, help="Share of all runs to lie in every band.")
    ] = 0.95,
    confidence: Annotated[
        float, typer.Option(min=0.5, max=0.999, help="That the bands hold so many.")
    ] = 0.95,
) -> None:
    """Propose bands for verdicts on one seed from a stored study: YAML to put into the manifest.

    Example: harness calibrate experiments/image-pair-4.yaml --seeds 0-9
    """
    session = _stored(paths, seeds, None, workspace, committed=committed)
    proposals = [
        (verdict, propose(verdict, coverage=coverage, confidence=confidence))
        for verdict in session.verdicts()
    ]
    for verdict, proposal in proposals:
        typer.echo(calibration.block(verdict, proposal))
    if all(proposal is None for _, proposal in proposals):
        raise typer.Exit(Exit.INCOMPLETE)


def _trials(session: Session) -> Iterator[tuple[str, StoredTrial]]:
    """Everything that is known, each with its experiment's id."""
    for experiment in session.experiments:
        for seed in session.trials[experiment.id]:
            trial = session.trial(experiment, seed)
            if trial is not None:
                yield experiment.id, trial


def _commit(session: Session, records: Path) -> None:
    """Add what is finished to the committed records, and say what is not."""
    additions = [
        Addition(each.id, tuple(session.finished(each)), session.store.declared(each.id))
        for each in session.experiments
    ]
    for line in add(Archive(records), [each for each in additions if each.trials]):
        typer.echo(line)
    for each in additions:
        there = {trial.spec.seed for trial in each.trials}
        if left := session.trials[each.experiment].keys() - there:
            typer.echo(f"{each.experiment}: {of_seeds(left)} left out, not finished", err=True)


def _stored(
    paths: list[Path], seeds: str | None, epochs: int | None, workspace: Path, *, committed: bool
) -> Session:
    """What a workspace holds of what the options ask for, or else what is committed of it."""
    use = CommittedUse.ALWAYS if committed else CommittedUse.WHERE_EMPTY
    return Session(load(paths), options.selection(seeds, epochs), Store(workspace), use)


def show(verdicts: Sequence[ExperimentVerdict], console: Console) -> None:
    """The claims of each experiment, then the experiments."""
    for verdict in verdicts:
        console.print(terminal.claims(verdict, width=console.width))
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
