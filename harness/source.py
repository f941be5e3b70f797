"""Which code is running: its commit, whether it was changed since, and a digest of its files."""

import hashlib
import shutil
import subprocess
from functools import cache
from pathlib import Path

from harness.record import Source

PACKAGE = Path(__file__).parent


@cache
def package_digest() -> str:
    """SHA-256 over the names and bytes of the package's own files, compiled ones left out."""
    files = (path for path in PACKAGE.rglob("*") if path.is_file())
    whole = hashlib.sha256()
    for path in sorted(path for path in files if "__pycache__" not in path.parts):
        whole.update(f"{path.relative_to(PACKAGE).as_posix()}\n".encode())
        whole.update(hashlib.sha256(path.read_bytes()).digest())
    return whole.hexdigest()


@cache
def source() -> Source:
    """The code of this process; the commit is empty where the package is not a git checkout's.

    Taken once a process, since later edits do not change what was imported.
    """
    # A virtual environment often lies inside some other repository, whose commit says nothing.
    if _git("ls-files", "--error-unmatch", "__init__.py") is None:
        return Source(commit="", dirty=False, digest=package_digest())
    commit = _git("rev-parse", "HEAD") or ""
    dirty = bool(_git("status", "--porcelain", "--untracked-files=no"))
    return Source(commit=commit, dirty=dirty, digest=package_digest())


def _git(*arguments: str) -> str | None:
    """What git answers in the package's folder, or None where it cannot."""
    git = shutil.which("git")
    if git is None:
        return None
    command = [git, "-C", str(PACKAGE), *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603 - own words only
    return done.stdout.strip() if done.returncode == 0 else None
