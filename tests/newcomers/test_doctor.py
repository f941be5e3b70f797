"""What is missing is named, with what to do about it."""

import subprocess
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

import pytest
from packaging.specifiers import SpecifierSet
from typer.testing import CliRunner

from harness.cli import app
from harness.errors import Exit
from harness.session import doctor
from harness.session.doctor import Health, Requirement

REPOSITORY = Path(__file__).parents[2]


def answers(code: int, out: str = "", error: str = "") -> "subprocess.CompletedProcess[str]":
    return subprocess.CompletedProcess([], code, out, error)


@pytest.fixture
def sound(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every package imports, and no process is started for it."""
    monkeypatch.setattr(doctor, "_ask", lambda code: answers(0, "1.0\n"))


@pytest.mark.usefixtures("sound")
def test_a_sound_machine_is_told_so_and_where_to_go(tmp_path: Path) -> None:
    done = CliRunner().invoke(
        app, ["doctor", "--workspace", str(tmp_path / "results"), "--data", str(tmp_path)]
    )
    assert done.exit_code == 0, done.output
    assert "next: harness run" in done.output
    assert not (tmp_path / "results").exists()


def test_what_cannot_be_imported_is_named_with_its_error_and_exits_4(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def ask(code: str) -> "subprocess.CompletedProcess[str]":
        broken = code.startswith("import torchvision")
        return (
            answers(1, error="Traceback\nRuntimeError: operator nms")
            if broken
            else answers(0, "1\n")
        )

    monkeypatch.setattr(doctor, "_ask", ask)
    done = CliRunner().invoke(app, ["doctor", "--data", str(tmp_path)], env={"COLUMNS": "200"})
    assert done.exit_code == Exit.INCOMPLETE
    assert "missing: torchvision" in done.output
    assert "operator nms" in done.output


def test_a_package_is_imported_for_real() -> None:
    assert doctor._package("numpy").health is Health.GOOD
    assert doctor._package("no_such_package").detail.endswith("No module named 'no_such_package'")


@pytest.mark.usefixtures("sound")
def test_the_data_cache_is_looked_at_and_not_filled(tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    assert doctor._data(cache).health is Health.NOTE
    assert "harness data" in doctor._data(cache).remedy
    (cache / "MNIST" / "raw").mkdir(parents=True)
    assert doctor._data(cache).health is Health.NOTE
    (cache / "MNIST" / "raw" / "images").touch()
    assert doctor._data(cache).detail == f"MNIST in {cache}"


def test_little_room_is_no_room(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert doctor._disk("data", tmp_path / "not" / "yet").health is Health.GOOD
    monkeypatch.setattr(doctor, "ROOM_GB", 1e9)
    found = doctor._disk("data", tmp_path)
    assert found.health is Health.MISSING
    assert "HARNESS_DATA" in found.remedy


def test_a_file_in_the_folders_place_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "results").touch()
    assert doctor._disk("workspace", tmp_path / "results").health is Health.MISSING


def test_a_long_temporary_folder_is_too_long_for_sockets(monkeypatch: pytest.MonkeyPatch) -> None:
    assert doctor._temporary(Path("/short")).health is Health.GOOD
    long = Path("/" + 60 * "x")
    assert doctor._temporary(long).health is Health.NOTE
    monkeypatch.setattr(doctor.os, "access", lambda *_: False)
    found: Requirement = doctor._temporary(long)
    assert (found.health, "TMPDIR" in found.remedy) == (Health.MISSING, True)


def test_every_pinned_version_installs_on_the_first_python_3_11() -> None:
    """The README asks for 3.11 or later, and Debian 12 has 3.11.2."""
    pins = (REPOSITORY / "ci" / "constraints.txt").read_text().splitlines()
    pinned = {
        name: version for name, is_pin, version in (p.partition("==") for p in pins) if is_pin
    }
    checked = []
    for name, version in pinned.items():
        try:
            found = distribution(name)
        except PackageNotFoundError:  # a pin for another platform
            continue
        if found.version == version:
            accepted = SpecifierSet(found.metadata.get("Requires-Python", ""))
            assert accepted.contains("3.11.0"), f"{name}=={version} requires Python {accepted}"
            checked.append(name)
    # Another platform, or newer versions on trial, may leave some out, but not most.
    assert len(checked) > len(pinned) / 2, f"installed as pinned: {checked}"
