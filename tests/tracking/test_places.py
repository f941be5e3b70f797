"""Workspaces are folders like any other, whatever they are called, moved or copied."""

import os
import shutil
from collections import OrderedDict
from dataclasses import replace
from pathlib import Path

import pytest
from mlflow import MlflowClient
from mlflow.tracking._tracking_service import utils
from sqlalchemy import create_engine
from sqlalchemy.pool import NullPool

from harness.errors import UsageError
from harness.session.tracking import LONGEST_DATABASE_PATH, refuse_unusable
from harness.tracking import Conclusion, Summary, default_uri, follow_folder, replay_store
from harness.tracking.local_store import (
    LocationError,
    Place,
    database_file,
    identify,
    is_copy,
    require_answer,
    require_location,
)
from tests.tracking.conftest import Database, Shelf, fresh_database, make_experiment, make_trial

EXPERIMENT = make_experiment("toy-4[rate=0.5]")


def send(workspace: Path, uri: str, shelf: Shelf, text: str = "# Report\n") -> Summary:
    return replay_store(
        uri,
        workspace=workspace,
        read=shelf.read,
        tracked=shelf.tracked(EXPERIMENT),
        conclusions=[Conclusion(EXPERIMENT.id, "REPRODUCED", True, {"report.md": text})],
    )


@pytest.fixture(autouse=True)
def _as_in_processes_of_their_own(monkeypatch: pytest.MonkeyPatch) -> None:
    """MLflow remembers, for as long as a process lasts, where each run's artifacts are."""
    monkeypatch.setattr(utils, "_artifact_repos_cache", Forgetful())


class Forgetful(OrderedDict[str, object]):
    def __setitem__(self, key: str, value: object) -> None:
        """Keep nothing."""


def downloaded(database: Database) -> str:
    """The report as MLflow's own client finds it."""
    run_id = database.run_id("paper")
    with_client = MlflowClient(database.uri).download_artifacts(run_id, "report.md")
    return Path(with_client).read_text()


NAMES = [
    "feature%2Fx",
    "a%20b",
    "what?",
    "a#b",
    'it\'s "quoted"',
    "-dash",
    "two\nlines",
    "ünï☃",
    "a;b&c=d+e@f:g",
    "back\\slash",
    "[bold]x[bold]",
    "%",
    "file:",
    "x" * 200,
]


def test_every_character_that_a_name_may_have_works(tmp_path: Path, migrated: Path) -> None:
    shelf = Shelf(make_trial(0, 3, done=3))
    for number, name in enumerate(NAMES):
        outside = tmp_path / str(number)
        database = fresh_database(outside / name / "results", migrated)
        for points in (3 * 4 + 16, 0):
            summary = send(database.workspace, database.uri, shelf)
            assert (summary.points, summary.left, summary.trouble) == (points, 0, None), name
        assert downloaded(database) == "# Report\n", name
        assert list(database.workspace.rglob("report.md")), name
        # Nothing was made outside the workspace.
        assert [path.name for path in outside.iterdir()] == [name]
        assert [path.name for path in (outside / name).iterdir()] == ["results"]


def test_a_new_database_can_be_opened_whatever_the_workspace_is_called(tmp_path: Path) -> None:
    for name in NAMES:
        uri = default_uri(tmp_path / name)
        require_answer(uri)
        assert database_file(tmp_path / name).is_file(), name
        with create_engine(uri, poolclass=NullPool).connect():  # as MLflow does
            pass
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(NAMES)


def test_a_name_that_mlflow_cannot_keep_is_refused_with_what_to_do(tmp_path: Path) -> None:
    bytes_too = Path(os.fsdecode(os.fsencode(tmp_path) + b"/\xff"))
    with pytest.raises(UsageError, match=r"the byte 0xff, which is not UTF-8.*--tracking-uri"):
        refuse_unusable(None, bytes_too)
    ending = len("/mlflow/mlflow.db")
    longest = tmp_path / "x"
    length = LONGEST_DATABASE_PATH - ending - len(str(longest))
    longest = Path(f"{longest}{'/y' * (length // 2)}{'z' * (length % 2)}")
    refuse_unusable(None, longest)
    with pytest.raises(UsageError, match="505 bytes long, and SQLite takes 504"):
        refuse_unusable(None, longest.with_name(longest.name + "z"))
    for elsewhere in ("none", "http://127.0.0.1:5000"):
        refuse_unusable(elsewhere, bytes_too)


def test_the_longest_path_that_is_allowed_works(tmp_path: Path, migrated: Path) -> None:
    folder = str(tmp_path)
    room = LONGEST_DATABASE_PATH - len("/mlflow/mlflow.db")
    while room - len(folder) > 1:
        folder += "/" + "y" * min(200, room - len(folder) - 1)
    database = fresh_database(Path(folder), migrated)
    summary = send(database.workspace, database.uri, Shelf(make_trial(0, 3, done=3)))
    assert (summary.left, summary.trouble) == (0, None)


def test_a_moved_workspace_goes_on_where_it_is_and_the_old_place_stays_empty(
    database: Database, tmp_path: Path
) -> None:
    shelf = Shelf(make_trial(0, 3, done=3))
    send(database.workspace, database.uri, shelf)
    moved = Database(database.workspace.rename(tmp_path / "else where"))
    before = moved.counts()
    again = send(moved.workspace, moved.uri, shelf)
    assert (again.points, again.left, again.trouble) == (0, 0, None)
    assert moved.counts() == before
    changed = send(moved.workspace, moved.uri, shelf, "# Another\n")
    assert changed.trouble is None
    assert downloaded(moved) == "# Another\n"
    assert not database.workspace.exists()


def test_ui_shows_the_artifacts_of_a_workspace_that_was_moved_before(
    database: Database, tmp_path: Path
) -> None:
    send(database.workspace, database.uri, Shelf(make_trial(0, 3, done=3)))
    moved = Database(database.workspace.rename(tmp_path / "moved"))
    follow_folder(moved.workspace)  # as `harness ui` does
    assert downloaded(moved) == "# Report\n"


def test_a_database_of_an_earlier_version_is_followed_too(
    database: Database, tmp_path: Path
) -> None:
    """It kept the workspace's name alone, and not where the workspace was."""
    shelf = Shelf(make_trial(0, 3, done=3))
    send(database.workspace, database.uri, shelf)
    name = identify(database.workspace).name
    (database.workspace / "mlflow" / "identity.json").unlink()
    (database.workspace / "mlflow" / "workspace-id").write_text(name)
    moved = Database(database.workspace.rename(tmp_path / "moved"))
    again = send(moved.workspace, moved.uri, shelf)
    assert (again.points, again.trouble) == (0, None)
    assert identify(moved.workspace).name == name
    assert downloaded(moved) == "# Report\n"


def test_a_copy_on_a_shared_server_has_runs_of_its_own_and_deletes_nobodys(
    database: Database, tmp_path: Path, migrated: Path
) -> None:
    shared = fresh_database(tmp_path / "shared", migrated)
    shelf = Shelf(make_trial(0, 3, done=3))
    send(database.workspace, shared.uri, shelf)
    copy = Path(shutil.copytree(database.workspace, tmp_path / "copy"))
    other = Shelf(make_trial(0, 4, done=4, t0_ms=1_800_000_000_000))  # it went its own way
    for _ in range(2):
        send(database.workspace, shared.uri, shelf)
        send(copy, shared.uri, other)
    rows = shared.rows("SELECT name, lifecycle_stage FROM runs WHERE name = 'seed 0'")
    assert rows == [("seed 0", "active")] * 2
    assert send(database.workspace, shared.uri, shelf).points == 0
    assert send(copy, shared.uri, other).points == 0


def test_a_copys_own_database_holds_each_run_once(database: Database, tmp_path: Path) -> None:
    shelf = Shelf(make_trial(0, 3, done=3))
    send(database.workspace, database.uri, shelf)
    copy = Database(Path(shutil.copytree(database.workspace, tmp_path / "copy")))
    again = send(copy.workspace, copy.uri, shelf, "# Of the copy\n")
    assert (again.points, again.trouble) == (0, None)
    assert copy.counts()["runs"] == database.counts()["runs"]
    assert downloaded(copy) == "# Of the copy\n"
    assert downloaded(database) == "# Report\n"
    assert identify(copy.workspace).name != identify(database.workspace).name


RECORDED = Place("/data/results", "here", 1, 10)


@pytest.mark.parametrize(
    ("changed", "original_stands", "copy"),
    [
        ({}, False, False),
        ({"path": "/data/moved"}, False, False),  # mv
        ({"path": "/disk2/moved", "device": 2, "inode": 11}, False, False),  # mv to another disk
        ({"inode": 11}, False, False),  # restored from a backup
        ({"device": 7}, False, False),  # mounted again
        ({"path": "/work", "host": "container", "device": 5}, False, False),  # a bind mount
        ({"host": "renamed"}, False, False),
        ({"path": "/data/copy", "inode": 11}, True, True),  # cp -r
        ({"path": "/snapshot/results", "device": 2}, True, True),
        ({"path": "/data/copy", "inode": 11}, False, True),  # cp -r, and the original moved on
        ({"host": "there", "inode": 11}, False, True),  # rsync to another machine
        ({"host": "there", "path": "/home/results", "inode": 11}, False, True),
    ],
)
def test_the_rule_tells_a_copy_from_a_move(
    changed: dict[str, object], original_stands: bool, copy: bool
) -> None:
    here = replace(RECORDED, **changed)  # type: ignore[arg-type]
    assert is_copy(RECORDED, here, original_stands=original_stands) is copy


def test_an_identity_that_cannot_be_read_is_made_anew(database: Database) -> None:
    identify(database.workspace)
    file = database.workspace / "mlflow" / "identity.json"
    for damage in (b"", b"{}", b"[" * 9000, b"\xff"):
        file.write_bytes(damage)
        assert identify(database.workspace) == identify(database.workspace)


def test_a_folder_for_artifacts_that_is_gone_is_named_and_not_made(
    database: Database, tmp_path: Path
) -> None:
    """Experiments of a shared database keep their artifacts with whoever made them first."""
    first, second = tmp_path / "first", tmp_path / "second"
    shelf = Shelf(make_trial(0, 3, done=3))
    assert send(first, database.uri, shelf).trouble is None
    assert send(second, database.uri, shelf).trouble is None
    shutil.rmtree(first)
    summary = send(second, database.uri, shelf, "# Another\n")
    assert summary.left == 1
    assert f"LocationError: {first}/mlflow/artifacts/" in str(summary.trouble)
    assert not first.exists()
    with pytest.raises(LocationError):
        require_location((first / "mlflow/artifacts/x/run/artifacts").as_uri(), second)
    require_location("mlflow-artifacts:/3/run/artifacts", second)
    require_location((second / "mlflow/artifacts/x/run/artifacts").as_uri(), second)
