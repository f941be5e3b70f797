"""A command of a manifest runs only after the user has allowed it, and nothing else runs it."""

from functools import partial
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from harness.cli import app
from harness.errors import Exit, StoreError, UsageError
from harness.manifest import Experiment
from harness.plan import Selection
from harness.session.permission import (
    FILE,
    executions,
    remember_permission,
    require_permission,
)
from harness.session.session import Session
from harness.store import Store
from tests.commands import EVERY_EPOCH, FUNCTION, REGISTRY, SOUND, write, written

MARKER = "executed"


@pytest.fixture(autouse=True)
def state(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of the user's own files."""
    folder = tmp_path_factory.mktemp("state")
    monkeypatch.setenv("XDG_STATE_HOME", str(folder))
    return folder


def require(experiments: list[Experiment], folder: Path | None, *, given: bool) -> None:
    require_permission(executions(experiments, REGISTRY), folder, given=given)


def remember(experiments: list[Experiment], folder: Path) -> None:
    remember_permission(executions(experiments, REGISTRY), folder)


def refused(experiments: list[Experiment], folder: Path | None) -> str:
    with pytest.raises(UsageError) as caught:
        require(experiments, folder, given=False)
    assert caught.value.exit_code is Exit.USAGE
    return str(caught.value)


def test_a_permission_is_remembered_until_the_command_or_its_code_changes(tmp_path: Path) -> None:
    workspace = tmp_path / "results"
    workspace.mkdir()
    first = written(tmp_path)
    said = refused([first], workspace)
    assert "  script: python train.py '{seed}' '{epochs}'" in said
    assert "add --allow-commands" in said
    require([first], workspace, given=True)
    assert not list(workspace.iterdir())  # asking writes nothing
    remember([first], workspace)
    require([first], workspace, given=False)
    require([written(tmp_path, seeds="0-99")], workspace, given=False)
    refused([first], None)
    refused([first], tmp_path / "another")
    refused([written(tmp_path, SOUND + "\n")], workspace)
    refused([written(tmp_path, argv=["python", "-u", "train.py", "{seed}"])], workspace)


def test_a_function_needs_a_permission_for_its_file_and_its_parameters(tmp_path: Path) -> None:
    text = """
import harness
@harness.workload(metrics={"loss": "%"})
def train(rate: float = 0.5):
    yield {"loss": rate}
"""
    write_function = partial(written, tmp_path, workload=FUNCTION, claims=[EVERY_EPOCH])
    first = write_function(text)
    said = refused([first], tmp_path)
    assert "  script: python -P -m harness.function train.py train rate:float=0.5" in said
    remember([first], tmp_path)
    require([write_function(text)], tmp_path, given=False)
    refused([write_function(text, parameters=parameters(rate=1.5))], tmp_path)
    refused([write_function(text + "\n")], tmp_path)


def test_a_workspace_from_elsewhere_allows_nothing(
    tmp_path: Path, state: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A repository can hold a workspace that its author has allowed everything in."""
    experiment = written(tmp_path)
    (tmp_path / "results").mkdir()
    remember([experiment], tmp_path)
    (key,) = state.rglob("*.key")
    assert key.stat().st_mode & 0o077 == 0
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "no key"))
    refused([experiment], tmp_path)
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "another key"))
    remember([experiment], tmp_path / "results")
    refused([experiment], tmp_path)
    require([experiment], tmp_path / "results", given=False)


def test_a_user_whose_key_cannot_be_stored_is_asked_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "file"))
    remember([written(tmp_path)], tmp_path)
    assert "cannot be remembered" in caplog.text
    refused([written(tmp_path)], tmp_path)


def test_nothing_hides_a_part_of_a_command(tmp_path: Path) -> None:
    said = refused([written(tmp_path, argv=["python", "train.py", "a\x1b[2K\rb", "{seed}"])], None)
    assert "\\x1b[2K\\rb" in said
    assert "\x1b" not in said


def test_every_command_is_shown_and_those_of_one_template_together(tmp_path: Path) -> None:
    """A user sees each word that he allows, however many experiments have it."""
    words = ["python", "train.py", "{seed}", "{x}", "{y}"]
    many = [
        written(tmp_path, argv=words, parameters=parameters(x=f"value {n}", y="same"))
        for n in range(30)
    ]
    others = [
        written(tmp_path, name=f"other-{n}", argv=["python", "train.py", "{seed}", str(n)])
        for n in range(12)
    ]
    lines = refused([*many, *many, *others], None).splitlines()
    (values,) = (line for line in lines if line.startswith("    x: "))
    assert values.removeprefix("    x: ").split(", ") == [f"'value {n}'" for n in range(30)]
    assert "    y: same" in lines
    assert "  script (60 experiments): python train.py '{seed}' '{x}' '{y}'" in lines
    for n in range(12):
        assert f"  other-{n}: python train.py '{{seed}}' {n}" in lines
    assert len(lines) == 1 + 3 + 12 + 1


def parameters(**values: Any) -> dict[str, Any]:
    return {name: {"value": value, "assumed": "so"} for name, value in values.items()}


def test_a_session_asks_once_what_its_experiments_execute(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[object] = []
    monkeypatch.setattr("harness.session.permission.execution_of", asked.append)
    session = Session((written(tmp_path),), Selection(), Store(tmp_path), registry=REGISTRY)
    for _ in range(3):
        assert session.executions == ()
    assert len(asked) == 1


@pytest.mark.parametrize("text", ["{", "[]", '{"allowed": 3}', "\x00"])
def test_a_damaged_memory_allows_nothing(tmp_path: Path, text: str) -> None:
    (tmp_path / FILE).write_text(text)
    with pytest.raises(StoreError, match=rf"{FILE}: damaged"):
        require([written(tmp_path)], tmp_path, given=False)


SEARCH = """
search:
  parameters: {x: {low: 0, high: 3}}
  rows: {loss: all}
  epochs: 3
  seeds: [100, 101]
"""
COMMANDS = ("validate", "plan", "check", "report", "status", "list", "sync", "export", "data")


def test_no_command_but_those_that_run_trials_executes_anything(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    marker = tmp_path / MARKER
    script = f"open({str(marker)!r}, 'w').close()\n" + SOUND
    words = ["python", "train.py", "{seed}", "{epochs}", "{x}"]
    x = {"x": {"value": 1, "assumed": "so"}}
    manifest = str(write(tmp_path, script, argv=words, parameters=x))
    for name in COMMANDS:
        CliRunner().invoke(app, [name, manifest])
    with Path(manifest).open("a") as file:
        file.write(SEARCH)
    for words in (
        ["run", manifest, "--tracking-uri", "none"],
        ["trial", manifest, "--seed", "0"],
        ["study", manifest, "--vary", "x=2", "--tracking-uri", "none"],
        ["infer", manifest],
    ):
        done = CliRunner().invoke(app, words)
        assert isinstance(done.exception, UsageError), (words, done.output)
        assert "python train.py" in str(done.exception), words
    assert not marker.exists()
    assert not (tmp_path / "results").exists()
    CliRunner().invoke(app, ["trial", manifest, "--seed", "0", "--allow-commands"])
    assert marker.exists()


def test_the_file_of_a_night_cannot_allow_commands(tmp_path: Path) -> None:
    write(tmp_path)
    config = tmp_path / "nightly.yaml"
    night = "format: 1\nnights: {light: {experiments: [script.yaml]"
    config.write_text(night + ", allow_commands: true}}")
    words = ["nightly", "--config", str(config), "--workspace", str(tmp_path / "results")]
    done = CliRunner().invoke(app, words)
    assert "allow_commands: unknown field" in str(done.exception)
    config.write_text(night + "}}")
    done = CliRunner().invoke(app, words)
    assert "add --allow-commands" in str(done.exception)
    assert not (tmp_path / "results").exists()
