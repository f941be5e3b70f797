"""The command line: parses options, calls the library and prints.

It is built from the list of commands in this module.
"""

import sys
import traceback
from collections.abc import Callable
from typing import Annotated, NoReturn

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
from harness.cli.console import guarded
from harness.cli.options import expand_options
from harness.errors import Exit, HarnessError
from harness.source import __version__
from harness.variables import name_home_and_user

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
        built.command(name)(expand_options(command))
    return built


app = build()


def main() -> NoReturn:
    """Run one command and exit with its code, which `harness.errors.Exit` lists.

    A fault that the user can mend is printed as its message; a bug keeps its traceback.
    """
    name_home_and_user()
    with guarded() as output:
        code = output.exit_code(_run())
    sys.exit(code)


def _run() -> int:
    try:
        app(prog_name="harness")
    except SystemExit as end:
        if isinstance(end.__context__, OSError):
            # typer reads any EPIPE as a closed standard output. Ours never raises it: a bug.
            traceback.print_exception(end.__context__)
            return Exit.BUG
        return end.code if isinstance(end.code, int) else Exit.AS_EXPECTED
    except HarnessError as fault:
        print(fault, file=sys.stderr)
        return fault.exit_code
    except KeyboardInterrupt:
        return Exit.INTERRUPTED
    except Exception:  # noqa: BLE001 - printed with its traceback and exit code 70
        traceback.print_exc()
        return Exit.BUG
    return Exit.AS_EXPECTED
