"""The list of commands, and the command line that is built from it."""

from collections.abc import Callable
from typing import Annotated

import typer

from harness.cli import (
    calibrate,
    check,
    compare,
    data,
    doctor,
    export,
    infer,
    init,
    logs,
    nightly,
    plan,
    report,
    run,
    selftest,
    status,
    study,
    sync,
    trial,
    ui,
    validate,
)
from harness.cli import list as list_
from harness.cli.options import expand
from harness.source import __version__

_COMMANDS: dict[str, Callable[..., None]] = {
    "list": list_.list_,
    "validate": validate.validate,
    "plan": plan.plan,
    "run": run.run,
    "check": check.check,
    "trial": trial.trial,
    "report": report.report,
    "status": status.status,
    "logs": logs.logs,
    "export": export.export,
    "calibrate": calibrate.calibrate,
    "sync": sync.sync,
    "ui": ui.ui,
    "study": study.study,
    "infer": infer.infer,
    "selftest": selftest.selftest,
    "nightly": nightly.nightly,
    "compare": compare.compare,
    "init": init.init,
    "doctor": doctor.doctor,
    "data": data.data,
}


def _print_version(asked: bool) -> None:
    if asked:
        typer.echo(f"harness {__version__}")
        raise typer.Exit


def _root(
    version: Annotated[
        bool,
        typer.Option(
            "--version", callback=_print_version, is_eager=True, help="Print the version."
        ),
    ] = False,
) -> None:
    """Take the options of the command line as a whole; they act by their callbacks."""


def build() -> typer.Typer:
    """Build the command line from its commands and the registered output formats."""
    built = typer.Typer(
        no_args_is_help=True,
        pretty_exceptions_enable=False,
        help="Re-run a paper's experiments and learn which of its numbers hold.",
        epilog="Exit codes: 0 every result is as reported or expected; 1 a result is not; 2 wrong "
        "usage or a faulty manifest; 3 inconclusive; 4 incomplete, or a machine failed; "
        "70 a bug in the harness; 130 or 143 interrupted.",
    )
    built.callback()(_root)
    for name, command in _COMMANDS.items():
        built.command(name)(expand(command))
    return built


app = build()
