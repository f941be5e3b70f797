"""Run commands in forks of one process that has already imported what commands import.

A command then starts in a few milliseconds rather than two seconds of CPU time, or five if it runs
and tracks trials. It is a process of its own in all else: its output and its exit code.

Each line of the standard input is one command, as JSON. Its exit code is printed once it has ended.
"""

import importlib
import json
import os
import sys
from typing import Any

from harness import workloads
from harness.cli import main

IMPORTED = (
    *("harness.engine", "harness.report.figures", "harness.report.interactive"),
    *("harness.tracking", "mlflow.store.tracking.sqlalchemy_store", "alembic.command"),
)
"""Modules that commands import when they need them. None of them starts a thread."""


def become(command: dict[str, Any]) -> None:
    """Turn this fork into the process that the command asks for."""
    sys.argv = ["harness", *command["arguments"]]
    files = (
        (os.devnull, os.O_RDONLY),
        (command["stdout"], os.O_WRONLY),
        (command["stderr"], os.O_WRONLY),
    )
    for number, (path, mode) in enumerate(files):
        opened = os.open(path, mode)
        os.dup2(opened, number)
        os.close(opened)


if __name__ == "__main__":
    workloads.registry()  # first: pydantic looks for docstrings in every module that is loaded
    for name in IMPORTED:
        importlib.import_module(name)
    for line in sys.stdin:
        child = os.fork()
        if child == 0:
            become(json.loads(line))
            main()  # and then to the interpreter's ordinary end
            break
        _, status = os.waitpid(child, 0)
        print(os.waitstatus_to_exitcode(status), flush=True)
