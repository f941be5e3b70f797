"""Folders of attempts: made empty, removed at the end, and also after a worker was killed."""

import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from harness.engine import worker_process
from harness.engine.worker_process import attempt_folder
from tests.waiting import HANG_S

KILLED = """
import os, signal, sys
from pathlib import Path
from harness.engine.worker_process import attempt_folder
with attempt_folder(Path(sys.argv[1])) as folder:
    (folder / "model.pt").write_bytes(b"large")
    os.kill(os.getpid(), signal.SIGKILL)
"""


def test_a_folder_is_empty_and_goes_with_its_content(tmp_path: Path) -> None:
    base = tmp_path / "trials"
    with attempt_folder(base) as first:
        (first / "deep").mkdir()
        (first / "deep" / "file").touch()
        with attempt_folder(base) as second:
            assert list(second.iterdir()) == []
    assert not first.exists()


@pytest.mark.parametrize(
    "use",
    [
        lambda folder: (folder / "left").touch(),
        lambda folder: (folder / "left").symlink_to(folder),
        lambda folder: ((folder / "gone").touch(), (folder / "gone").unlink()),
        lambda folder: folder.chmod(0o500),
        lambda folder: folder.rmdir(),
        lambda folder: (folder.rmdir(), folder.write_text("a file now")),
    ],
    ids=["file", "link", "file that is gone", "mode", "removed", "replaced"],
)
def test_only_a_folder_that_nobody_has_used_is_given_again(
    tmp_path: Path, use: Callable[[Path], object]
) -> None:
    base = tmp_path / "trials"
    with attempt_folder(base) as first:
        made = first.stat()
    with attempt_folder(base) as second:
        assert second.stat().st_ino == made.st_ino
        time.sleep(0.02)  # a file system may tell times only to some milliseconds
        use(second)
    with attempt_folder(base) as third:
        assert third != second
        assert list(third.iterdir()) == []
        assert third.stat().st_mode == made.st_mode
    assert {path.name for path in third.parent.iterdir()} == {"lock", third.name}


def test_what_comes_into_a_folder_between_two_attempts_is_not_in_the_next(tmp_path: Path) -> None:
    """As from a process that a trial has left and that nobody has found."""
    with attempt_folder(tmp_path) as first:
        pass
    (first / "late").touch()
    with attempt_folder(tmp_path) as second:
        assert list(second.iterdir()) == []
        assert not first.exists()
        first.mkdir()  # by its old name
        (first / "late").touch()
        assert list(second.iterdir()) == []


def test_the_folder_of_a_killed_worker_is_removed_and_that_of_a_living_one_is_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    base = tmp_path / "trials"
    monkeypatch.setattr(worker_process, "_SWEEP_S", 0.0)
    with attempt_folder(base) as ours:
        subprocess.run([sys.executable, "-c", KILLED, base], check=False, timeout=HANG_S)
        assert list(base.glob("*/*/model.pt"))
        with attempt_folder(base):
            assert not list(base.glob("*/*/model.pt"))
            assert ours.exists()
