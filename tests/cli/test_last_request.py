"""`check`, `report`, `status` and `sync` judge what was last asked of the workspace."""

import json
import shutil
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from harness.cli import app
from harness.errors import StoreError, UsageError
from harness.store import Store, files
from tests.cli.conftest import TINY


def harness(*arguments: str | Path) -> Result:
    """A command in this process; a fault that the user can mend is its exception."""
    return CliRunner().invoke(app, list(map(str, arguments)), env={"COLUMNS": "300"})


def verdict(*arguments: str | Path) -> dict[str, object]:
    """The one experiment of a command's JSON, without notes."""
    (experiment,) = json.loads(harness(*arguments, "--json", "-").stdout)["experiments"]
    return {name: value for name, value in experiment.items() if name != "notes"}


@pytest.fixture
def clone(studied: Path, tmp_path: Path) -> Path:
    """A manifest with its records, seeds 0 and 1, committed beside it."""
    manifest = Path(shutil.copy(TINY, tmp_path / "tiny.yaml"))
    harness("export", manifest, "--records", tmp_path / "records", "--workspace", studied)
    return manifest


@pytest.fixture
def workspace(clone: Path, tmp_path: Path) -> Path:
    """A workspace of which seed 0 was last asked; nothing is trained."""
    folder = tmp_path / "results"
    asked = ("--seeds", "0", "--workspace", folder, "--tracking-uri", "none", "--from-records")
    done = harness("run", clone, *asked)
    assert done.exit_code == 0, done.output
    return folder


def test_check_after_run_gives_what_run_gave_and_says_which_seeds(
    clone: Path, workspace: Path
) -> None:
    asked = ("--seeds", "0", "--workspace", workspace, "--tracking-uri", "none")
    assert verdict("check", clone, "--workspace", workspace) == verdict("run", clone, *asked)
    shown = harness("check", clone, "--workspace", workspace)
    assert shown.exit_code == 0
    assert "tiny: judging seed 0, as the last run asked; use --seeds, --epochs or" in shown.output


def test_first_epochs_that_were_asked_for_are_what_check_and_status_know(
    clone: Path, workspace: Path
) -> None:
    asked = ("--epochs", "2", "--workspace", workspace, "--tracking-uri", "none", "--from-records")
    done = harness("run", clone, *asked)
    again = harness("check", clone, "--workspace", workspace)
    assert again.exit_code == done.exit_code
    assert "judging the manifest's seeds, first 2 epochs" in again.output
    shown = harness("status", clone, "--workspace", workspace)
    assert "2 trials: 2 done" in shown.output


def test_options_choose_otherwise(clone: Path, workspace: Path) -> None:
    everything = verdict("check", clone, "--workspace", workspace, "--seeds", "0-1")
    assert everything["verdict"] == "INCOMPLETE"
    committed = harness("check", clone, "--workspace", workspace, "--committed")
    assert committed.exit_code == 0
    assert "last run" not in committed.output


def test_where_the_workspace_holds_nothing_committed_records_answer_for_every_seed(
    clone: Path, workspace: Path
) -> None:
    shutil.rmtree(workspace / "trials")
    (workspace / "trials").mkdir()
    shown = harness("check", clone, "--workspace", workspace)
    assert shown.exit_code == 0
    assert "last run" not in shown.output
    assert "committed records" in shown.output


def test_a_workspace_without_a_recorded_request_is_judged_by_the_manifest(
    clone: Path, workspace: Path
) -> None:
    shutil.rmtree(workspace / "requests")  # as an earlier version left it
    assert verdict("check", clone, "--workspace", workspace)["verdict"] == "INCOMPLETE"


def test_a_damaged_request_is_named_with_what_to_do(clone: Path, workspace: Path) -> None:
    file = workspace / "requests" / "tiny.json"
    file.write_bytes(file.read_bytes()[:-3])
    refused = harness("check", clone, "--workspace", workspace).exception
    assert isinstance(refused, StoreError)
    assert f"{file}: truncated or damaged; give --seeds or --epochs" in str(refused)
    assert harness("check", clone, "--workspace", workspace, "--seeds", "0").exit_code == 0


@pytest.mark.parametrize("command", ["status", "sync"])
def test_a_workspace_that_does_not_exist_is_refused_and_not_made(
    clone: Path, tmp_path: Path, command: str
) -> None:
    missing = tmp_path / "mistyped"
    refused = harness(command, clone, "--workspace", missing).exception
    assert isinstance(refused, UsageError)
    assert f"{missing}: no workspace is here" in str(refused)
    assert not missing.exists()


def test_status_counts_trials_by_what_became_of_them(clone: Path, workspace: Path) -> None:
    result = next(workspace.glob("trials/*/result.json"))
    assert "1 trial: 1 done" in harness("status", clone, "--workspace", workspace).output
    result.unlink()
    shown = harness("status", clone, "--workspace", workspace, "--seeds", "0-1")
    assert "2 trials: 1 started, 1 not started" in shown.output
    rows = harness("status", clone, "--workspace", workspace, "--all")
    assert "0/6" in rows.output
    assert next(Store(workspace).trials()) in rows.output


def test_status_opens_one_small_file_of_each_trial(
    clone: Path, studied: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened: list[Path] = []

    def read(path: Path, **options: bool) -> bytes | None:
        opened.append(path)
        return files_read(path, **options)

    files_read = files.read_file
    monkeypatch.setattr(files, "read_file", read)
    assert "2 trials: 2 done" in harness("status", clone, "--workspace", studied).output
    of_trials = sorted(path.name for path in opened if path.parent.parent.name == "trials")
    assert of_trials == ["result.json", "result.json"]
