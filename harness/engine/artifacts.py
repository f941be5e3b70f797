"""Send the files that a trial has left in its folder of artifacts."""

import os
from collections.abc import Iterator
from pathlib import Path

from harness.record import Artifact, ArtifactPart, FileSlice, Message, Output, Printed
from harness.workload import ARTIFACTS, MOST_ARTIFACT_BYTES

MOST_FILES = 1000
"""Largest number of artifacts of a trial."""


def artifacts(folder: Path) -> Iterator[Message]:
    """Yield the artifacts in the order of their names, each with its parts.

    What is left out is named on the trial's standard error. It never fails the trial.
    """
    left, count = MOST_ARTIFACT_BYTES, 0
    for path in _files(folder):
        name = path.relative_to(folder).as_posix()
        try:
            why = _refused(path, left, count)
            if not why:
                file = FileSlice.of(path)
                yield Artifact(name, file.length, file.sha256)
                yield from map(ArtifactPart, file.parts())
                left, count = left - file.length, count + 1
        except (OSError, EOFError, UnicodeError) as error:
            why = str(error)
        if why:
            note = f"harness: {ARTIFACTS}/{name} is not kept: {why}\n"
            yield Output(Printed.STDERR, note.encode(errors="backslashreplace"))


def _files(folder: Path) -> Iterator[Path]:
    """Yield all that is below the folder and is no folder. Links are not followed."""
    if folder.is_symlink():
        return
    for parent, folders, names in os.walk(folder):
        folders.sort()
        yield from (Path(parent, name) for name in sorted(names))


def _refused(path: Path, left: int, count: int) -> str:
    """Return why a file is not kept; empty if it is."""
    if path.is_symlink() or not path.is_file():
        return "it is no regular file"
    if count >= MOST_FILES:
        return f"a trial keeps at most {MOST_FILES} files"
    path.as_posix().encode()  # raises if the name is no Unicode
    size = path.stat().st_size
    if size > left:
        return f"it has {size} bytes, and a trial keeps at most {MOST_ARTIFACT_BYTES} in all"
    return ""
