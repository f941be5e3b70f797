"""`nightly`: run one configured night, from its empty workspace to its summary."""

import logging
import os
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from harness import nightly as nights
from harness.cli import options
from harness.cli.live import ConsoleObserver, log_to
from harness.errors import StoppedError, UsageError
from harness.nightly import Book, Night
from harness.plan import Selection
from harness.session import Session, load, run_session
from harness.session.night import NightRules, Trouble, finish_night
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
    quiet: options.Quiet = False,
) -> None:
    """Run a night in an empty workspace, judge it, compare it with the last good one, and report.

    Example: harness nightly --night light
    """
    console = Console(quiet=quiet)
    log_to(Console(stderr=True))
    if not config.exists():
        hint = "no such file; use the one in a clone of the harness, or name one with --config"
        raise UsageError(f"{config}: {hint}")
    configured = nights.load(config)
    asked = configured.night(night)
    experiments = load([config.parent / path for path in asked.experiments])
    book = Book(workspace / "nights" / night)
    book.nights()  # find out now whether earlier nights can be read, not after hours of work
    opened = book.begin(experiments, datetime.now(UTC))
    session = Session(experiments, _selection(asked), Store(opened.folder))
    console.print(f"night {night}: {opened.folder}", highlight=False, soft_wrap=True)
    how = asked.run_options(tracking_uri=tracking_uri, data=data)
    trouble = _trouble(lambda: run_session(session, how, ConsoleObserver(console)))
    rules = NightRules(
        name=night,
        keep=asked.keep,
        consistent_after=asked.consistent_after,
        quarantines=configured.quarantine,
    )
    summary = finish_night(session, book, opened, rules, trouble=trouble)
    text = nights.markdown(summary)
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
                file.write(text)
        except OSError as error:
            log.warning("GITHUB_STEP_SUMMARY: not written: %s", error.strerror)
    url = os.environ.get(webhook_env, "") if webhook_env else ""
    if url:
        fault = nights.post(url, text)
        if fault:
            log.warning("webhook: the summary was not delivered: %s", fault)


def _selection(asked: Night) -> Selection:
    return Selection(
        seeds=asked.seeds or None,
        epochs=asked.epochs,
        cpus_per_trial=asked.cpus_per_trial,
        gpus_per_trial=asked.gpus_per_trial,
    )


def _trouble(run: Callable[[], object]) -> Trouble:
    """Run the night's trials, and return what kept them from running: the night is told of it.

    Raises:
        StoppedError: a signal asked to stop, and then there is no night to tell of.
    """
    try:
        run()
    except StoppedError:
        raise
    except Exception as error:  # noqa: BLE001 - it is logged, and is part of the night's outcome
        return Trouble.of(error)
    return Trouble()
