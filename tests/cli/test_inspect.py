"""What the commands that only look print."""

from pathlib import Path

import pytest
from typer.testing import CliRunner

from harness.cli import app
from harness.store import Store
from tests.cli.conftest import REPOSITORY


@pytest.mark.parametrize(
    ("command", "heads"),
    [
        ("list", "experiment title epochs seeds claims"),
        ("plan", "experiment trials done epochs CPUs GPUs threads"),
        ("status", "experiment epochs done failed lost started"),
        ("status --all", "experiment seed trial epochs state"),
    ],
)
def test_eighty_columns_cut_no_head_and_no_id(command: str, heads: str, tmp_path: Path) -> None:
    with Store(tmp_path).lock():
        pass  # makes an empty workspace
    where = () if command == "list" else ("--workspace", str(tmp_path))
    words = [*command.split(), str(REPOSITORY / "experiments"), *where]
    shown = CliRunner().invoke(app, words, env={"COLUMNS": "80"})
    assert shown.exit_code == 0, shown.output
    assert {*heads.split(), "sequence-pair-16-independent"} <= set(shown.output.split())
