"""Every command of the command line, each in the module that says what it is about."""

from collections.abc import Callable

import typer

from harness.cli import (
    calibrate,
    check,
    compare,
    data,
    doctor,
    export,
    init,
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

app = typer.Typer(
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    help="Does a paper's result reproduce, and does it still reproduce tonight?",
    epilog="Exit codes: 0 as claimed or expected, 1 something not, 2 usage or manifest, "
    "3 inconclusive, 4 incomplete or infrastructure, 70 our own bug, 130/143 interrupted.",
)

_COMMANDS: dict[str, Callable[..., None]] = {
    "list": list_.list_,
    "validate": validate.validate,
    "plan": plan.plan,
    "run": run.run,
    "check": check.check,
    "trial": trial.trial,
    "report": report.report,
    "status": status.status,
    "export": export.export,
    "calibrate": calibrate.calibrate,
    "sync": sync.sync,
    "ui": ui.ui,
    "study": study.study,
    "selftest": selftest.selftest,
    "nightly": nightly.nightly,
    "compare": compare.compare,
    "init": init.init,
    "doctor": doctor.doctor,
    "data": data.data,
}
for _name, _command in _COMMANDS.items():
    app.command(_name)(_command)
