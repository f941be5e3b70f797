"""Every command of the command line, each in the module that says what it is about."""

from collections.abc import Callable

import typer

from harness.cli import (
    compare,
    inspect,
    judge,
    newcomer,
    nightly,
    run,
    selftest,
    study,
    sync,
    ui,
)

app = typer.Typer(
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    help="Does a paper's result reproduce, and does it still reproduce tonight?",
    epilog="Exit codes: 0 as claimed or expected, 1 something not, 2 usage or manifest, "
    "3 inconclusive, 4 incomplete or infrastructure, 70 our own bug, 130/143 interrupted.",
)

_COMMANDS: dict[str, Callable[..., None]] = {
    "list": inspect.list_,
    "validate": inspect.validate,
    "plan": inspect.plan,
    "run": run.run,
    "check": judge.check,
    "trial": run.trial,
    "report": judge.write_report,
    "status": inspect.status,
    "export": judge.export,
    "calibrate": judge.calibrate,
    "sync": sync.sync,
    "ui": ui.ui,
    "study": study.study,
    "selftest": selftest.selftest,
    "nightly": nightly.nightly,
    "compare": compare.compare,
    "init": newcomer.init,
    "doctor": newcomer.doctor,
    "data": inspect.data,
}
for _name, _command in _COMMANDS.items():
    app.command(_name)(_command)
