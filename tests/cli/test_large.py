"""What commands on large studies cost: each file of the store is read once, at most."""

from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import CliRunner

from harness import workloads
from harness.cli import app
from harness.manifest import load
from harness.store import files
from tests.bench import grids, workspaces


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Callable[[int], list[str]]:
    """Make a grid of so many shapes with two finished trials in every cell; return its options."""
    made: dict[int, list[str]] = {}

    def make(shapes: int) -> list[str]:
        if shapes not in made:
            folder = tmp_path_factory.mktemp("grid")
            file = grids.write(folder / "grid.yaml", shapes=shapes, epochs=2, mean=90, sd=2)
            cells = load([file], workloads.registry())
            workspaces.fill(folder / "results", cells, range(2), workspaces.accuracies)
            where = ["--workspace", str(folder / "results"), "--seeds", "0-1"]
            made[shapes] = [str(file), *where]
        return made[shapes]

    return make


@pytest.mark.parametrize("command", ["plan", "status", "check", "export"])
def test_each_file_is_read_once_however_many_cells_there_are(
    command: str,
    study: Callable[[int], list[str]],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    reads: list[Path] = []
    read = files.read_file

    def counted(path: Path, *, first_line: bool = False) -> bytes | None:
        reads.append(path)
        return read(path, first_line=first_line)

    def reads_of_each_trial(shapes: int) -> float:
        words = study(shapes)
        reads.clear()
        with monkeypatch.context() as patch:
            patch.setattr(files, "read_file", counted)
            out = ("--out", str(tmp_path / "t.parquet")) if command == "export" else ()
            shown = CliRunner().invoke(app, [command, *words, *out])
        assert shown.exit_code in {0, 1, 3}, shown.output
        return sum("trials" in path.parts for path in reads) / (12 * shapes)

    assert reads_of_each_trial(4) <= 1.1 * reads_of_each_trial(1)
    assert max(Counter(path for path in reads if path.parent.parent.name == "trials").values()) == 1
