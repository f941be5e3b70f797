"""A user id that the system does not know and that has no home folder, as in many containers."""

import os
import pwd
import site
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from harness.errors import DataError, Exit
from harness.options import data_folder
from harness.variables import NO_HOME, name_home_and_user
from tests.cli.conftest import REPOSITORY, TINY
from tests.waiting import HANG_S

STRANGER = 12345
GAUSSIAN = REPOSITORY / "experiments" / "gaussian-2d-rho-50.yaml"

Run = Callable[..., subprocess.CompletedProcess[str]]


def reachable(path: Path) -> bool:
    """Whether any user may go as far as to this file, and read it."""
    folders = path.resolve().parents
    return all(folder.stat().st_mode & 0o001 for folder in folders) and bool(
        path.resolve().stat().st_mode & 0o004
    )


@pytest.fixture
def as_stranger() -> Run:
    """Runs a command under the unknown user id, with nothing in its environment but paths."""
    if os.geteuid() != 0:
        pytest.skip("only root may run a process under another user id")
    version = f"python{sys.version_info.major}.{sys.version_info.minor}"
    pythons = [Path(sys.executable), Path("/usr/bin") / version]
    python = next((path for path in pythons if path.exists() and reachable(path)), None)
    packages = [str(REPOSITORY), *site.getsitepackages()]
    if python is None or not all(reachable(Path(each)) for each in packages):
        pytest.skip("no interpreter, or no clone, that other users may read")

    def run(*arguments: str | Path, **variables: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [python, "-c", "from harness.cli import main; main()", *map(str, arguments)],
            env={"PATH": os.defpath, "PYTHONPATH": os.pathsep.join(packages), **variables},
            cwd="/",
            user=STRANGER,
            group=STRANGER,
            extra_groups=[],
            capture_output=True,
            text=True,
            check=False,
            timeout=HANG_S,
        )

    return run


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """A folder for every user. Another pytest that starts closes pytest's own to other users."""
    with tempfile.TemporaryDirectory() as name:
        Path(name).chmod(0o777)
        yield Path(name)


def test_commands_work_without_a_home(as_stranger: Run) -> None:
    for arguments in (["--help"], ["check", GAUSSIAN, "--committed"]):
        done = as_stranger(*arguments)
        assert done.returncode == Exit.AS_EXPECTED, done.stderr
    done = as_stranger("data", REPOSITORY / "experiments")
    assert done.returncode == Exit.INCOMPLETE
    assert done.stderr.startswith("no folder for data sets: user 12345 has no home folder; name")
    assert "HARNESS_DATA" in done.stderr


@pytest.mark.chaos
def test_a_whole_run_works_without_a_home(as_stranger: Run, open_folder: Path) -> None:
    results = open_folder / "results"
    done = as_stranger("run", TINY, "--seeds", "0", "--workspace", results)
    assert done.returncode == Exit.AS_EXPECTED, done.stderr
    assert "not tracked" not in done.stderr
    assert (results / "mlflow" / "mlflow.db").exists()
    assert (results / "report" / "report.html").exists()


def unknown(_: int) -> None:
    raise KeyError("getpwuid(): uid not found")


def test_an_unknown_user_gets_a_home_that_nothing_is_written_to(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name in ("HOME", "USER", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(pwd, "getpwuid", unknown)
    name_home_and_user()
    assert Path.home() == Path(NO_HOME)
    assert os.environ["USER"] == f"uid-{os.getuid()}"
    assert data_folder(Path("given")) == Path("given")
    with pytest.raises(DataError, match="HARNESS_DATA"):
        data_folder(None)


def test_a_known_user_and_a_home_that_is_set_stay_as_they_are(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    before = dict(os.environ)
    name_home_and_user()
    assert dict(os.environ) == before
    assert data_folder(None).is_relative_to(tmp_path)
