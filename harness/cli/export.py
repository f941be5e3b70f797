"""`export`: write records as a table, or add them to the committed ones."""

from pathlib import Path
from typing import Annotated

import typer

from harness.cli import options
from harness.cli.options import stored
from harness.errors import Exit, UsageError
from harness.manifest import of_seeds
from harness.output import given_by, make_folder
from harness.plan import Request
from harness.report import arrow_tables
from harness.session import Session, load_experiments
from harness.session.committed import Addition, add
from harness.store import Archive


def export(
    paths: options.Paths,
    request: Request,
    out: Annotated[
        Path | None,
        typer.Option(
            help="The table to write; the name ends in .csv or .parquet.", show_default=False
        ),
    ] = None,
    records: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR",
            help="Add the finished trials to a folder of committed records.",
            show_default=False,
            callback=options.folder,
        ),
    ] = None,
    rivals: Annotated[
        bool,
        typer.Option(
            "--rivals", help="With --records: add the trials of the manifests' rivals instead."
        ),
    ] = False,
    workspace: options.Workspace = options.DEFAULT_WORKSPACE,
    committed: options.Committed = False,
) -> None:
    """Write the records of all trials as one table, or add them to the committed ones.

    The table has a row for each metric of each epoch. If the workspace holds no trial of an
    experiment, the table has its committed records. Committed records never change: if the
    workspace has other results for a committed trial, nothing is added. Exit 4 if nothing is
    stored.

    Example: harness export experiments --records experiments/records
    """
    if (out is None) == (records is None):
        raise UsageError("export needs either --out FILE or --records DIR")
    if rivals and records is None:
        raise UsageError("--rivals adds trials to committed records: it needs --records DIR")
    if out is not None:
        session = stored(paths, request, workspace, committed=committed)
        _say_unused(session)
        with given_by("--out"):
            rows = arrow_tables.write_trials(
                out, ((name, trial) for (name, _), trial in session.stored_trials())
            )
        typer.echo(f"{out}: {rows} rows")
        if not rows:
            typer.echo("no trial of these is stored; --workspace names another folder", err=True)
            raise typer.Exit(Exit.INCOMPLETE)
    elif records is not None:
        if committed:
            raise UsageError("--committed excludes --records, which adds the workspace's trials")
        store = options.existing(workspace)
        session = Session(load_experiments(paths), options.selection(request), store)
        _say_unused(session)
        _commit(session.of_rivals() if rivals else session, records)


def _say_unused(session: Session) -> None:
    for line in session.selection.without_effect(session.experiments):
        typer.echo(line, err=True)


def _commit(session: Session, records: Path) -> None:
    """Add the finished trials to the committed records, and name the unfinished ones."""
    additions = [
        Addition(
            experiment,
            tuple(session.finished(experiment)),
            session.store.declared(experiment.id),
        )
        for experiment in session.experiments
    ]
    finished = [addition for addition in additions if addition.trials]
    if finished:
        with given_by("--records"):
            make_folder(records)
    for line in add(Archive(records), finished):
        typer.echo(line)
    for addition in additions:
        done = {trial.spec.seed for trial in addition.trials}
        if unfinished := session.trials[addition.experiment.id].keys() - done:
            seeds = of_seeds(unfinished)
            typer.echo(f"{addition.experiment.id}: {seeds} left out, not finished", err=True)
