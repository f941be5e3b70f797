"""Folders of attempts: made empty, removed at the end, and also after a worker was killed."""

import subprocess
import sys
from pathlib import Path

import pytest

from harness.engine import worker_process
from harness.engine.worker_process import attempt_folder

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


def test_the_folder_of_a_killed_worker_is_removed_and_that_of_a_living_one_is_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    base = tmp_path / "trials"
    monkeypatch.setattr(worker_process, "_SWEEP_S", 0.0)
    with attempt_folder(base) as ours:
        subprocess.run([sys.executable, "-c", KILLED, base], check=False, timeout=60)
        assert list(base.glob("*/*/model.pt"))
        with attempt_folder(base):
            assert not list(base.glob("*/*/model.pt"))
            assert ours.exists()
