"""Small disks of a test's own: full, or read-only, for real."""

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest


@contextmanager
def small_disk(folder: Path, *, kib: int) -> Iterator[Path]:
    """A tmpfs of so many KiB for as long as the context lasts.

    Only root may mount one, as in CI's container; elsewhere the test is skipped.
    """
    with mounted(folder, kib=kib) as done:
        if not done:
            pytest.skip("only root may mount a disk of the test's own")
        yield folder


@contextmanager
def mounted(folder: Path, *, kib: int) -> Iterator[bool]:
    """A tmpfs at a new folder; whether it could be had."""
    folder.mkdir()
    done = os.getuid() == 0 and not _mount("-t", "tmpfs", "-o", f"size={kib}k", "tmpfs", folder)
    try:
        yield done
    finally:
        if done:
            subprocess.run(["umount", "--lazy", folder], check=True)


def resize(folder: Path, *, kib: int) -> None:
    """Give the disk another size."""
    assert not _mount("-o", f"remount,size={kib}k", folder)


def allow_no_file(folder: Path) -> None:
    """Let the disk have no space for any file or folder, however small."""
    assert not _mount("-o", "remount,nr_inodes=1", folder)


def make_writable(folder: Path, writable: bool) -> None:
    """Let nobody write, not even root, or everybody again."""
    assert not _mount("-o", "remount,rw" if writable else "remount,ro", folder)


@contextmanager
def filled(folder: Path, *, leaving: int) -> Iterator[None]:
    """Fill the disk up to so many bytes."""
    free = os.statvfs(folder)
    filler = folder / "filler"
    try:
        with suppress(OSError):  # somebody else was quicker: it is full
            filler.write_bytes(b"\0" * max(0, free.f_bavail * free.f_frsize - leaving))
        yield
    finally:
        filler.unlink()


def _mount(*words: str | Path) -> int:
    done = subprocess.run(["mount", *map(str, words)], capture_output=True, check=False)
    return done.returncode
