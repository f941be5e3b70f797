"""Which code ran."""

import re
import shutil
from pathlib import Path

import pytest

from harness import source


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the package, outside any repository."""
    copy = tmp_path / "harness"
    shutil.copytree(source.PACKAGE, copy)
    monkeypatch.setattr(source, "PACKAGE", copy)
    return copy


def test_the_digest_follows_the_files_and_not_their_place(package: Path) -> None:
    before = source.package_digest.__wrapped__()
    assert re.fullmatch("[0-9a-f]{64}", before)
    (package / "__pycache__").mkdir(exist_ok=True)
    (package / "__pycache__" / "new.pyc").write_bytes(b"compiled")
    assert source.package_digest.__wrapped__() == before
    (package / "errors.py").rename(package / "faults.py")
    assert source.package_digest.__wrapped__() != before


def test_a_package_outside_any_checkout_has_no_commit(package: Path) -> None:
    assert source.source.__wrapped__().commit == ""
