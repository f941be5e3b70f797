"""The command line as its users meet it: a process, its output, its exit code."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

HERE = Path(__file__).parent
TINY = HERE / "tiny.yaml"
REPOSITORY = HERE.parents[1]

Harness = Callable[..., subprocess.CompletedProcess[str]]


def command(*arguments: str | Path) -> list[str]:
    """The installed command's own entry, with whatever Python runs the tests."""
    entry = "from harness.cli import main; main()"
    return [sys.executable, "-c", entry, *map(str, arguments)]


@pytest.fixture(scope="session")
def environment(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Nothing of the user's own reaches the command, and it writes nothing into their home."""
    home = tmp_path_factory.mktemp("home")
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("HARNESS_", "MLFLOW_", "RAY_"))
    }
    return kept | {"HOME": str(home), "COLUMNS": "200"}


@pytest.fixture(scope="session")
def harness(environment: dict[str, str]) -> Harness:
    """Runs one command to its end."""

    def run(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            command(*arguments),
            env=environment,
            cwd=REPOSITORY,
            capture_output=True,
            text=True,
            check=False,
            timeout=240,
        )

    return run


@pytest.fixture(scope="session")
def studied(harness: Harness, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A workspace in which seeds 0 and 1 of the tiny experiment have been run."""
    workspace = tmp_path_factory.mktemp("studied") / "results"
    done = harness("run", TINY, "--workspace", workspace)
    assert done.returncode == 0, done.stderr
    return workspace
