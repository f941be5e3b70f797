"""`nightly`: run one configured night in an empty workspace and write its summary."""

import logging
import os
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from harness import nightly as nights
from harness import workloads
from harness.cli import options
from harness.cli.console import ConsoleObserver, log_to
from harness.errors import StoppedError, UsageError
from harness.nightly import History, Night
from harness.plan import Selection
from harness.session import Session, load_experiments, run_session
from harness.session.night import NightRules, Trouble, finish_night
from harness.session.permission import executions, require_permission
from harness.store import Store

log = logging.getLogger(__name__)

DEFAULT_CONFIG = Path("ci/nightly.yaml")


def nightly(
    night: Annotated[str, typer.Option(help="Name of the configured night to run.")] = "light",
    config: Annotated[
        Path, typer.Option(metavar="FILE", help="The file that configures the nights.")
    ] = DEFAULT_CONFIG,
    workspace: Annotated[
        Path,
        typer.Option(envvar="HARNESS_WORKSPACE", help="Folder whose nights/ keeps every night."),
    ] = options.DEFAULT_WORKSPACE,
    tracking_uri: options.TrackingUri = None,
    data: options.Data = None,
    allow_commands: options.AllowCommands = False,
    quiet: options.Quiet = False,
) -> None:
    """Run a night in an empty workspace, judge it, compare it with the last good one, and report.

    Example: harness nightly --night light
    """
    console = Console(quiet=quiet)
    log_to(Console(stderr=True))
    if not config.exists():
        hint = "no such file; run in a clone of the harness, or name a file with --config"
        raise UsageError(f"{config}: {hint}")
    configured = nights.load_nights(config)
    chosen = configured.night(night)
    experiments = load_experiments([config.parent / path for path in chosen.experiments])
    registry = workloads.registry()
    require_permission(executions(experiments, registry), workspace, given=allow_commands)
    history = History(workspace / "nights" / night)
    history.nights()  # fails now, not after hours of work, if earlier nights cannot be read
    opened = history.begin(experiments, datetime.now(UTC))
    store = Store(opened.folder)
    session = Session(experiments, _selection(chosen), store, allowed_in=workspace)
    console.print(f"night {night}: {opened.folder}", highlight=False, soft_wrap=True)
    how = chosen.run_options(tracking_uri=tracking_uri, data=data, allow_commands=allow_commands)
    trouble = _trouble(lambda: run_session(session, how, ConsoleObserver(console)))
    rules = NightRules(
        name=night,
        keep=chosen.keep,
        consistent_after=chosen.consistent_after,
        quarantines=configured.quarantine,
    )
    summary = finish_night(session, history, opened, rules, trouble=trouble)
    text = nights.night_markdown(summary)
    console.print(text, highlight=False, markup=False, soft_wrap=True)
    tell(text, configured.webhook_env)
    raise typer.Exit(summary.record.code)


def tell(text: str, webhook_env: str | None) -> None:
    """Send the summary to GitHub and to the webhook, if they are configured.

    A failed delivery is logged; it does not change the night's result.
    """
    page = os.environ.get("GITHUB_STEP_SUMMARY")
    if page:
        try:
            with Path(page).open("a", encoding="utf-8") as file:
                file.write(text + _artifacts())
        except OSError as error:
            log.warning("GITHUB_STEP_SUMMARY: not written: %s", error.strerror)
    url = os.environ.get(webhook_env, "") if webhook_env else ""
    if url:
        fault = nights.post(url, text)
        if fault:
            log.warning("webhook: the summary was not delivered: %s", fault)


def _artifacts() -> str:
    """Link to the files that the workflow keeps: the paths in the summary end with the runner."""
    names = ("GITHUB_SERVER_URL", "GITHUB_REPOSITORY", "GITHUB_RUN_ID")
    server, repository, run = (os.environ.get(name, "") for name in names)
    if not (server and repository and run):
        return ""
    url = f"{server}/{repository}/actions/runs/{run}#artifacts"
    return f"\n[The night's files]({url}): report, records, history. Unpack them to run these.\n"


def _selection(chosen: Night) -> Selection:
    return Selection(
        seeds=chosen.seeds or None,
        epochs=chosen.epochs,
        cpus_per_trial=chosen.cpus_per_trial,
        gpus_per_trial=chosen.gpus_per_trial,
    )


def _trouble(run: Callable[[], object]) -> Trouble:
    """Run the night's trials, and return the error that stopped them as part of the night's result.

    Raises:
        StoppedError: a signal asked to stop; such a night has no result.
    """
    try:
        run()
    except StoppedError as stopped:
        text = "stopped; this night has no result, and the same command begins a new one"
        raise StoppedError(stopped.exit_code, text) from None
    except Exception as error:  # noqa: BLE001 - it is logged, and is part of the night's result
        return Trouble.of(error)
    return Trouble()
