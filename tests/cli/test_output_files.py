"""The one writer of the files that a command is told to write."""

import os
import stat
from pathlib import Path

import pytest
from typer.testing import CliRunner

from harness import output
from harness.cli import app
from harness.errors import Exit, HarnessError, UsageError
from harness.output import (
    OutputError,
    check_target,
    create,
    replacing,
    write_output,
)
from tests.conftest import REPOSITORY


def left(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_a_file_is_replaced_whole_and_keeps_its_mode(tmp_path: Path) -> None:
    file = tmp_path / "a.json"
    write_output(file, "old")
    file.chmod(0o640)
    write_output(str(file), "new")
    assert file.read_text() == "new"
    assert stat.S_IMODE(file.stat().st_mode) == 0o640
    assert left(tmp_path) == ["a.json"]


def test_a_link_stays_a_link_and_its_target_is_replaced(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "folder" / "file")
    write_output(tmp_path / "link", "text")
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "folder" / "file").read_text() == "text"


@pytest.mark.parametrize(
    "path",
    [
        "/nonexistent/x.json",
        "/proc/x",
        "/dev/full",
        "folder",
        "file/x.json",
        "x" * 300,
        "locked/x.json",
    ],
)
def test_a_path_that_cannot_be_written_is_one_line_and_exit_4(tmp_path: Path, path: str) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "file").write_text("text")
    (tmp_path / "locked").mkdir(mode=0o500)
    if path.startswith("locked") and os.access(tmp_path / "locked", os.W_OK):
        pytest.skip("root may write everywhere")
    with pytest.raises(OutputError) as caught:
        write_output(tmp_path / path, "text")
    assert caught.value.exit_code is Exit.INCOMPLETE
    assert path[:50] in str(caught.value)
    assert "\n" not in str(caught.value)
    assert left(tmp_path) == ["file", "folder", "locked"]


def test_a_full_disk_leaves_the_old_file_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_output(tmp_path / "a", "old")

    def full(path: Path, data: bytes) -> None:
        path.touch()
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(OutputError, match="No space left on device"):
        write_output(tmp_path / "a", "new")
    assert (tmp_path / "a").read_text() == "old"
    assert left(tmp_path) == ["a"]


def test_devices_and_pipes_are_written_to_and_never_replaced() -> None:
    write_output("/dev/null", "text")
    assert stat.S_ISCHR(Path("/dev/null").stat().st_mode)


def test_a_hyphen_is_standard_output(capfdbinary: pytest.CaptureFixture[bytes]) -> None:
    write_output("-", "µ")
    assert capfdbinary.readouterr().out == "µ".encode()


def test_an_error_of_the_caller_passes_and_leaves_the_old_file(tmp_path: Path) -> None:
    write_output(tmp_path / "a", "old")
    with pytest.raises(KeyError):
        _break_off(tmp_path / "a")
    assert (tmp_path / "a").read_text() == "old"
    assert left(tmp_path) == ["a"]


def _break_off(path: Path) -> None:
    with replacing(path) as new:
        new.write_text("half")
        raise KeyError


def test_a_new_file_never_takes_the_place_of_an_old_one(tmp_path: Path) -> None:
    create(tmp_path / "a", "old")
    with pytest.raises(UsageError, match="exists already"):
        create(tmp_path / "a", "new")
    assert (tmp_path / "a").read_text() == "old"


@pytest.mark.parametrize("path", ["/nonexistent/x.json", "."])
def test_a_path_is_refused_before_the_work_begins(path: str) -> None:
    with pytest.raises(OutputError):
        check_target(path)


@pytest.mark.parametrize(
    ("arguments", "option"),
    [
        (("check", "--workspace", "FILE"), "--workspace"),
        (("status", "--workspace", "FILE/x"), "--workspace"),
        (("report", "--out", "FILE"), "--out"),
        (("report", "--out", "/proc/x"), "--out"),
        (("export", "--records", "FILE"), "--records"),
        (("export", "--out", "/proc/x.csv", "--committed"), "--out"),
        (("check", "--json", "/proc/x"), "--json"),
        (("check", "--junit", "/nonexistent/x"), "--junit"),
        (("run", "--data", "FILE"), "--data"),
        (("run", "--workspace", "/proc/x", "--tracking-uri", "none"), "--workspace"),
        (("study", "--vary", "at=1", "--json", "/nonexistent/x"), "--json"),
    ],
)
def test_a_wrong_path_names_its_option_and_a_file_in_place_of_a_folder_exits_2(
    tmp_path: Path, arguments: tuple[str, ...], option: str
) -> None:
    file = tmp_path / "file"
    file.touch()
    command, *given = (word.replace("FILE", str(file)) for word in arguments)
    manifest = REPOSITORY / "experiments" / "gaussian-2d-rho-50.yaml"
    if "--workspace" not in given:
        given += ["--workspace", str(tmp_path / "results")]
    refused = CliRunner().invoke(app, [command, str(manifest), *given]).exception
    assert isinstance(refused, HarnessError)
    of_a_file = "FILE" in " ".join(arguments)
    assert refused.exit_code is (Exit.USAGE if of_a_file else Exit.INCOMPLETE)
    path = str(file) if of_a_file else given[given.index(option) + 1]
    assert str(refused).startswith(f"{option}: {path}")


@pytest.mark.parametrize("path", ["-", "/dev/null", "x.json"])
def test_a_path_that_can_be_written_is_not_refused(path: str) -> None:
    check_target(path)


def test_the_writer_is_one_line_for_every_name(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="a folder"):
        output.write_output(tmp_path, "text")
