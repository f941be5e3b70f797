"""The command line as a process of its own, as users run it."""

import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

REPOSITORY = Path(__file__).parents[2]
HARNESS = (sys.executable, "-c", "from harness.cli import main; main()")

VERDICTS = (0, 1, 3, 4)
"""Exit codes of commands that did their work: here, no verdict is a fault."""


def harness(*arguments: object, **environment: str) -> str:
    """Run one command to its end; returns what it printed.

    Raises:
        RuntimeError: it did not do its work.
    """
    return run([*HARNESS, *map(str, arguments)], environment)


def run(command: list[str], environment: Mapping[str, str] | None = None) -> str:
    done = subprocess.run(
        command,
        cwd=REPOSITORY,
        env={"HARNESS_DATA": str(REPOSITORY / ".data"), **os.environ, **(environment or {})},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode not in VERDICTS:
        raise RuntimeError(f"{' '.join(command)}: {done.returncode}\n{done.stderr}")
    return done.stdout
