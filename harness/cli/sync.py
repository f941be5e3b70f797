"""`sync`: send MLflow the stored trials that it does not have yet."""

import typer

from harness.cli import options
from harness.errors import number_of
from harness.plan import Request
from harness.session import Session, load_experiments
from harness.session.reports import Reports
from harness.session.tracking import TrackingError, conclusions, refuse_unusable, tracked


def sync(
    paths: options.Paths,
    request: Request,
    workspace: options.Workspace = options.DEFAULT_WORKSPACE,
    tracking_uri: options.TrackingUri = None,
) -> None:
    """Send MLflow the stored trials that it does not have yet. A second sync sends nothing.

    Without --seeds and --epochs, it sends the seeds and epochs of the last run.

    Example: harness sync experiments --tracking-uri http://127.0.0.1:5000
    """
    from harness import tracking  # noqa: PLC0415 - MLflow takes seconds to import

    refuse_unusable(tracking_uri, workspace)
    store = options.existing(workspace)
    session = Session(load_experiments(paths), options.selection(request), store)
    session = session.as_last_requested()
    for line in session.described_requests():
        typer.echo(line, err=True)
    with store.lock():
        verdicts = session.verdicts()
        summary = tracking.replay_store(
            tracking_uri or tracking.default_uri(workspace),
            workspace=workspace,
            read=store.read,
            kept=store.kept,
            tracked=tracked(session),
            conclusions=conclusions(
                verdicts, Reports.write(verdicts, workspace / "report"), session
            ),
        )
    if summary.left:
        steps = number_of(summary.left, "step")
        raise TrackingError(
            f"{summary.uri}: {steps} failed ({summary.trouble}); fix that, then sync again"
        )
    points = number_of(summary.points, "point")
    typer.echo(f"{summary.uri}: {points} sent; MLflow is up to date")
    if summary.deleted:
        raise TrackingError("\n".join(summary.deleted))
