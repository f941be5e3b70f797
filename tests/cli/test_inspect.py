"""What the commands that only look print."""

from pathlib import Path

import pytest
from typer.testing import CliRunner

from harness.cli.app import app
from tests.cli.conftest import REPOSITORY


@pytest.mark.parametrize(
    ("command", "heads"),
    [
        ("list", "experiment title epochs seeds claims"),
        ("plan", "experiment trials done epochs CPUs GPUs threads"),
        ("status", "experiment seed trial epochs state"),
    ],
)
def test_eighty_columns_cut_no_head_and_no_id(command: str, heads: str, tmp_path: Path) -> None:
    where = () if command == "list" else ("--workspace", str(tmp_path / "nothing"))
    words = [command, str(REPOSITORY / "experiments"), *where]
    shown = CliRunner().invoke(app, words, env={"COLUMNS": "80"})
    assert shown.exit_code == 0, shown.output
    assert {*heads.split(), "sequence-pair-16-independent"} <= set(shown.output.split())
