"""The command line as a process of its own, as users run it, and the environments of processes."""

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

REPOSITORY = Path(__file__).parents[2]
HARNESS = (sys.executable, "-c", "from harness.cli import main; main()")

VERDICTS = (0, 1, 3, 4)
"""Exit codes of commands that did their work: here, no verdict is a fault."""


def harness(*arguments: object, **variables: str) -> str:
    """Run one command to its end; returns what it printed.

    Raises:
        RuntimeError: it did not do its work.
    """
    return run([*HARNESS, *map(str, arguments)], variables)


@dataclass(frozen=True)
class Spent:
    """What a process took."""

    wall_s: float
    cpu_s: float
    peak_bytes: int
    """The most memory that it had at one time."""


def measured(*arguments: object) -> Spent:
    """Run one command of the harness to its end.

    Raises:
        RuntimeError: it did not do its work.
    """
    began_s = time.perf_counter()
    with tempfile.TemporaryFile() as printed:
        command = [*HARNESS, *map(str, arguments)]
        process = subprocess.Popen(command, cwd=REPOSITORY, stdout=printed, stderr=printed)
        _, status, used = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode not in VERDICTS:
            printed.seek(0)
            raise RuntimeError(f"{' '.join(command)}: {printed.read().decode()}")
    wall_s = time.perf_counter() - began_s
    return Spent(wall_s, used.ru_utime + used.ru_stime, used.ru_maxrss * 1024)


_NOT_THE_AUTHORS = (
    *("OMP_", "MKL_", "OPENBLAS_", "KMP_", "GLIBC_TUNABLES", "MALLOC_", "LD_PRELOAD"),
    *("TORCH", "PYTORCH", "PYTHON", "HARNESS_", "RAY_", "MLFLOW_"),
)
"""What the variables begin with that tune a process, or that are the harness's own."""


def as_the_author() -> dict[str, str]:
    """Return the environment in which a paper's author runs a script: a shell that tunes nothing.

    Every bench runs the plain loop in this environment, whatever the bench's own one is.
    """
    return {
        name: value
        for name, value in os.environ.items()
        if name == "HARNESS_DATA" or not name.startswith(_NOT_THE_AUTHORS)
    }


@contextmanager
def environment(variables: Mapping[str, str]) -> Iterator[None]:
    """Give exactly these variables to the processes that start within the context."""
    before = dict(os.environ)
    os.environ.clear()
    os.environ.update(variables)
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)


def run(command: list[str], variables: Mapping[str, str] | None = None) -> str:
    """Run a command to its end; returns what it printed.

    Raises:
        RuntimeError: it did not do its work.
    """
    done = subprocess.run(
        command,
        cwd=REPOSITORY,
        env={"HARNESS_DATA": str(REPOSITORY / ".data"), **os.environ, **(variables or {})},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode not in VERDICTS:
        raise RuntimeError(f"{' '.join(command)}: {done.returncode}\n{done.stderr}")
    return done.stdout
