"""Which code ran, and what is not known of it."""

import logging
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from harness import source
from harness.record import Source
from harness.workloads.gaussian import gaussian

TODAY = source.source.__wrapped__


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A small package in the harness's place, outside any repository."""
    copy = tmp_path / "clone" / "harness"
    copy.mkdir(parents=True)
    (copy / "__init__.py").write_text("")
    (copy / "errors.py").write_text("")
    monkeypatch.setattr(source, "PACKAGE", copy)
    monkeypatch.setattr(source, "package_digest", lambda: "digest")
    return copy


def git(folder: Path, *arguments: str) -> str:
    who = ("-c", "user.name=n", "-c", "user.email=e@example.org")
    done = subprocess.run(
        ["git", "-C", folder, *who, *arguments], check=True, capture_output=True, text=True
    )
    return done.stdout.strip()


@pytest.fixture
def clone(package: Path) -> Path:
    """The same with a commit of its own."""
    git(package.parent, "init", "-q")
    git(package.parent, "add", ".")
    git(package.parent, "commit", "-q", "-m", "first")
    return package.parent


def test_the_digest_follows_the_files_and_not_their_place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    package = tmp_path / "harness"
    shutil.copytree(source.PACKAGE, package)
    monkeypatch.setattr(source, "PACKAGE", package)
    before = source.package_digest.__wrapped__()
    assert re.fullmatch("[0-9a-f]{64}", before)
    (package / "__pycache__").mkdir(exist_ok=True)
    (package / "__pycache__" / "new.pyc").write_bytes(b"compiled")
    assert source.package_digest.__wrapped__() == before
    (package / "errors.py").rename(package / "faults.py")
    assert source.package_digest.__wrapped__() != before


def test_a_package_outside_any_checkout_has_no_commit_and_no_warning(
    package: Path, caplog: pytest.LogCaptureFixture
) -> None:
    found = TODAY()
    assert (found.commit, found.dirty) == (None, None)
    assert found.unknown_because == "not in a git checkout"
    assert caplog.records == []


def test_a_clean_and_a_changed_checkout(clone: Path) -> None:
    head = git(clone, "rev-parse", "HEAD")
    assert TODAY() == Source(head, False, "digest")
    (clone / "harness" / "errors.py").write_text("changed")
    assert TODAY() == Source(head, True, "digest")


def test_detached_shallow_worktree_and_submodule_all_tell_their_commit(
    clone: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    head = git(clone, "rev-parse", "HEAD")
    git(clone, "checkout", "-q", "--detach")
    git(tmp_path, "clone", "-q", "--depth", "1", f"file://{clone}", "shallow")
    git(clone, "worktree", "add", "-q", str(tmp_path / "worktree"))
    (tmp_path / "above").mkdir()
    git(tmp_path / "above", "init", "-q")
    allowed = ("-c", "protocol.file.allow=always")
    git(tmp_path / "above", *allowed, "submodule", "--quiet", "add", str(clone), "below")
    places = ("clone", "shallow", "worktree", "above/below")
    for place in places:
        monkeypatch.setattr(source, "PACKAGE", tmp_path / place / "harness")
        assert TODAY() == Source(head, False, "digest"), place


def test_a_hook_s_own_variables_name_no_other_repository(
    clone: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GIT_DIR", str(tmp_path / "elsewhere"))
    assert TODAY().commit is not None


def test_an_environment_inside_another_repository_is_not_that_repository_s(clone: Path) -> None:
    git(clone, "rm", "-r", "-q", "--cached", "harness")
    assert TODAY().unknown_because == "not in a git checkout"


@pytest.fixture
def fake_git(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A git that fails as the script in the file says."""
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", f"{folder}{os.pathsep}{os.environ['PATH']}")
    return folder / "git"


def _script(file: Path, text: str) -> None:
    file.write_text(f"#!/bin/sh\n{text}\n")
    file.chmod(0o755)


def test_a_clone_of_another_user_is_unknown_and_the_mend_is_named_once(
    clone: Path, fake_git: Path, caplog: pytest.LogCaptureFixture
) -> None:
    refusal = "fatal: detected dubious ownership in repository at"
    _script(fake_git, f"echo \"{refusal} '{clone}'\" >&2; exit 128")
    found = TODAY()
    assert (found.commit, found.dirty) == (None, None)
    assert f"git config --global --add safe.directory {clone}" in (found.unknown_because or "")
    (warning,) = caplog.records
    assert warning.levelno == logging.WARNING
    assert (found.commit_name, found.dirty_name) == ("unknown", "unknown")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a clone to another user")
def test_git_itself_refuses_the_clone_of_another_user(
    clone: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(clone))  # where no safe.directory is configured
    monkeypatch.setenv("XDG_CONFIG_HOME", str(clone))
    for path in (clone, clone / ".git"):
        os.chown(path, 65534, 65534)
    assert "belongs to another user" in (TODAY().unknown_because or "")


def test_a_git_status_that_fails_is_not_a_clean_one(
    clone: Path, fake_git: Path, caplog: pytest.LogCaptureFixture
) -> None:
    real = shutil.which("git", path=os.environ["PATH"].split(os.pathsep, 1)[1])
    broken = 'case "$*" in *" status "*) echo broken >&2; exit 1;; esac'
    _script(fake_git, f'{broken}\nexec {real} "$@"')
    found = TODAY()
    assert found.commit
    assert found.dirty is None
    assert found.unknown_because == "git: broken"
    assert "(whether it was changed since is unknown)" in found.change
    assert len(caplog.records) == 1


def test_a_checkout_without_git_says_so(clone: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(clone))
    assert TODAY().unknown_because == "git is not installed"


def test_older_records_that_lack_the_commit_are_read_as_unknown() -> None:
    old = Source("", False, "digest")
    assert (old.commit_name, old.dirty_name, old.change) == ("unknown", "unknown", "")


def test_a_workload_of_the_harness_is_the_harness_itself() -> None:
    code = source.workload_code(gaussian)
    assert code is not None
    assert code.in_harness
    assert code.digest == source.package_digest()


def test_the_code_of_a_loose_module_and_of_a_package_is_that_of_their_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "loose_walk.py").write_text("class Walk:\n    name = 'w'\n")
    (tmp_path / "packed_walk").mkdir()
    (tmp_path / "packed_walk" / "__init__.py").write_text("from packed_walk.inner import Walk\n")
    (tmp_path / "packed_walk" / "inner.py").write_text("class Walk:\n    name = 'w'\n")
    digests = []
    for change in ("", "# edited\n"):
        for name, edited in (
            ("loose_walk", "loose_walk.py"),
            ("packed_walk", "packed_walk/inner.py"),
        ):
            with (tmp_path / edited).open("a") as file:
                file.write(change)
            source._files_digest.cache_clear()
            walk = __import__(name).Walk()
            code = source.workload_code(walk)
            assert code is not None
            assert (code.name, code.version) == (name, "")
            digests.append(code.digest)
    assert len(set(digests)) == 4
    for name in ("loose_walk", "packed_walk", "packed_walk.inner"):
        sys.modules.pop(name)


def test_a_class_without_a_file_has_no_known_code() -> None:
    assert (
        source.workload_code(type("Typed", (SimpleNamespace,), {"__module__": "nowhere"})()) is None
    )


def write(folder: Path, **files: object) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        (folder / name.replace("__", ".")).write_text(f"{content}\n")


@pytest.fixture
def machine(tmp_path: Path) -> tuple[Path, Path]:
    """A machine with 8000 KiB of memory to take: its /proc, and its control groups."""
    proc, groups = tmp_path / "proc", tmp_path / "cgroup"
    write(proc, meminfo="MemTotal:       16000 kB\nMemAvailable:    8000 kB")
    return proc, groups


def test_without_limits_a_program_can_take_what_the_machine_has(machine: tuple[Path, Path]) -> None:
    assert source.available_memory_bytes(*machine) == 8000 * 1024


@pytest.mark.parametrize("path", ["/", "/on/the/host"])
@pytest.mark.parametrize("version", [1, 2])
def test_a_container_s_limit_bounds_its_memory(
    version: int, path: str, machine: tuple[Path, Path]
) -> None:
    """What the system can take back at any time, such as cached files, does not count as used."""
    proc, groups = machine
    if version == 2:
        write(proc / "self", cgroup=f"0::{path}")
        stat = "anon 2000\ninactive_file 1000"
        write(groups, memory__max=5000, memory__current=3000, memory__stat=stat)
    else:
        write(proc / "self", cgroup=f"9:cpu,cpuacct:/x\n4:memory:{path}\n0::/")
        stat = "inactive_file 5\ntotal_inactive_file 1000"
        group = groups / "memory"
        write(group, memory__limit_in_bytes=5000, memory__usage_in_bytes=3000, memory__stat=stat)
    assert source.available_memory_bytes(*machine) == 5000 - (3000 - 1000)


def test_the_tightest_of_the_groups_around_a_process_counts(machine: tuple[Path, Path]) -> None:
    proc, groups = machine
    write(proc / "self", cgroup="0::/slice/service")
    for folder, most, used in (
        (groups / "slice/service", "max", 100),
        (groups / "slice", 4000, 3000),
        (groups, 100_000, 3500),
    ):
        write(folder, memory__max=most, memory__current=used, memory__stat="inactive_file 0")
    assert source.available_memory_bytes(*machine) == 1000


def test_a_group_over_its_limit_leaves_nothing(machine: tuple[Path, Path]) -> None:
    proc, groups = machine
    write(proc / "self", cgroup="0::/")
    write(groups, memory__max=100, memory__current=300, memory__stat="inactive_file 0")
    assert source.available_memory_bytes(*machine) == 0
