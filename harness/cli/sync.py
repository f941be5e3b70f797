"""`sync`: tell MLflow later what it does not have yet."""

import typer

from harness.cli import options
from harness.plan import Request
from harness.session import Session, load
from harness.session.reports import Reports
from harness.session.tracking import TrackingError, conclusions, refuse_unusable, tracked


def sync(
    paths: options.Paths,
    request: Request,
    workspace: options.Workspace = options.DEFAULT_WORKSPACE,
    tracking_uri: options.TrackingUri = None,
) -> None:
    """Send MLflow whatever it does not have yet of the stored trials; twice does nothing more.

    Without --seeds and --epochs it sends what the last run asked for.

    Example: harness sync experiments --tracking-uri http://127.0.0.1:5000
    """
    from harness import tracking  # noqa: PLC0415 - MLflow takes seconds to import

    refuse_unusable(tracking_uri, workspace)
    store = options.existing(workspace)
    session = Session(load(paths), options.selection(request), store)
    if request == Request():
        session = session.as_last_requested()
    for line in session.described_requests():
        typer.echo(line, err=True)
    with store.lock():
        verdicts = session.verdicts()
        summary = tracking.sync(
            tracking_uri or tracking.default_uri(workspace),
            workspace=workspace,
            read=store.read,
            tracked=tracked(session),
            conclusions=conclusions(
                verdicts, Reports.write(verdicts, workspace / "report"), session
            ),
        )
    if summary.left:
        raise TrackingError(f"{summary.uri}: {summary.left} steps not done: {summary.trouble}")
    typer.echo(f"{summary.uri}: {summary.points} points sent, nothing left")
    if summary.deleted:
        raise TrackingError("\n".join(summary.deleted))
