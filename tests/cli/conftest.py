"""The command line as its users meet it: a process, its output, its exit code."""

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

HERE = Path(__file__).parent
TINY = HERE / "tiny.yaml"
REPOSITORY = HERE.parents[1]

ONE_CORE = {"RAY_OVERRIDE_RESOURCES": '{"CPU": 1}'}
"""Runs one trial after the other, so that the second takes the worker of the first.

A process of its own would import torch again.
"""

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
    return kept | ONE_CORE | {"HOME": str(home), "COLUMNS": "200"}


@pytest.fixture(scope="session")
def harness(
    environment: dict[str, str], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Harness]:
    """Runs one command to its end, in a fork of a process that has imported what it needs."""
    folder = tmp_path_factory.mktemp("output")
    server = subprocess.Popen(
        [sys.executable, "-m", "tests.cli.fork_server"],
        env=environment,
        cwd=REPOSITORY,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert server.stdin is not None
    assert server.stdout is not None

    def run(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
        words = list(map(str, arguments))
        outputs = {name: folder / name for name in ("stdout", "stderr")}
        for path in outputs.values():
            path.write_bytes(b"")
        asked = {"arguments": words} | {name: str(path) for name, path in outputs.items()}
        print(json.dumps(asked), file=server.stdin)
        server.stdin.flush()
        code = int(server.stdout.readline())
        texts = {name: path.read_text(encoding="utf-8") for name, path in outputs.items()}
        return subprocess.CompletedProcess(words, code, **texts)

    yield run
    server.stdin.close()
    assert server.wait(60) == 0


@pytest.fixture(scope="session")
def first_run(
    harness: Harness, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, subprocess.CompletedProcess[str]]:
    """Run seeds 0 and 1 of the tiny experiment with Ray and MLflow: workspace and output."""
    workspace = tmp_path_factory.mktemp("studied") / "results"
    return workspace, harness("run", TINY, "--workspace", workspace, "--json", "-")


@pytest.fixture(scope="session")
def studied(first_run: tuple[Path, subprocess.CompletedProcess[str]]) -> Path:
    """A workspace in which seeds 0 and 1 of the tiny experiment have been run."""
    workspace, done = first_run
    assert done.returncode == 0, done.stderr
    return workspace
