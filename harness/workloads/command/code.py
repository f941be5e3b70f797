"""The files of a command: read beside the manifest, carried to the workers, written in a folder."""

import hashlib
import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path, PurePosixPath

from harness.errors import number_of
from harness.record import stays_below

LARGEST_BYTES = 64 << 20
"""Largest size of all files together. They travel to every node, and `check` reads them."""
MOST_FILES = 5000

_LEFT_OUT = frozenset(("__pycache__", ".git", ".mypy_cache", ".pytest_cache", ".ipynb_checkpoints"))
"""Folders that hold no code."""

_UNNOTICED = (
    "so a change of it goes unnoticed; if it is part of the method, put it below the folder of the "
    "manifest and into code"
)

_WORDS = re.compile(r"[\w./-]+")
"""What may be the name of a file or module in a text of code."""


@dataclass(frozen=True)
class File:
    """One file of the code."""

    name: str
    """Its path below the folder, with slashes."""
    content: bytes
    executable: bool


class CodeError(Exception):
    """An entry of `code` cannot be read; the message says why."""


def read(folder: Path, entries: Sequence[str]) -> tuple[tuple[File, ...], dict[int, str]]:
    """Read files, and all files of folders.

    Args:
        folder: where the entries are.
        entries: names of files and folders below the folder.

    Returns:
        The files in the order of their names, and the faults by the place of their entry.
    """
    found: dict[str, File] = {}
    faults: dict[int, str] = {}
    for place, entry in enumerate(entries):
        try:
            for path in _files(folder, entry):
                file = _file(folder, path)
                found[file.name] = file
                if len(found) > MOST_FILES:
                    raise CodeError(f"more than {number_of(MOST_FILES, 'file')}; name fewer")
        except CodeError as error:
            faults[place] = str(error)
        except OSError as error:
            faults[place] = f"{error.filename}: cannot be read: {error.strerror}"
        size = sum(len(file.content) for file in found.values())
        if size > LARGEST_BYTES:
            limit = f"{LARGEST_BYTES >> 20} MiB"
            faults[place] = f"code is for programs: all files together exceed {limit}"
            break
    return tuple(found[name] for name in sorted(found)), faults


def digest(files: Sequence[File]) -> str:
    """Return the SHA-256 over the names, modes and contents of the files."""
    whole = hashlib.sha256()
    for file in files:
        content = hashlib.sha256(file.content).hexdigest()
        whole.update(f"{file.name}\0{int(file.executable)}\0{content}\n".encode())
    return whole.hexdigest()


def write(files: Sequence[File], folder: Path) -> None:
    """Write the files below an existing folder."""
    for file in files:
        path = folder / file.name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(file.content)
        if file.executable:
            path.chmod(0o755)


def outside(folder: Path, files: Sequence[File], words: Sequence[str]) -> Iterator[tuple[int, str]]:
    """Find what a command executes or reads that is not in its code, so that no digest has it.

    Args:
        folder: the folder of the code.
        files: the code.
        words: the command.

    Yields:
        The place of a word, and what is wrong with it.
    """
    paths = [PurePosixPath(file.name) for file in files]
    names = {str(each) for path in paths for each in (path, *path.parents)}
    for place, word in enumerate(words):
        before = words[place - 1] if place else ""
        if before == "-m" and _runs_module(words[: place - 1]):
            path = word.replace(".", "/")
            found = [] if {f"{path}.py", f"{path}/__main__.py"} & names else [f"the module {word}"]
        elif before == "-c":
            texts = (text.rstrip(".") for text in _WORDS.findall(word))
            named = (name for text in texts for name in (text, f"{text.replace('.', '/')}.py"))
            found = [name for name in named if os.path.exists(folder / name)]
        else:
            name = word.partition("=")[2] if word.startswith("-") else word
            found = [name] if name.startswith("/") or os.path.exists(folder / name) else []
        for name in found:
            if name.strip("/.") and not (stays_below(name) and str(PurePosixPath(name)) in names):
                yield place, f"{name} is not in code, {_UNNOTICED}"
                break


def _runs_module(words: Sequence[str]) -> bool:
    """Whether the option -m after these words names a module of Python."""
    program, *options = words or ("",)
    return PurePosixPath(program).name.startswith(("python", "torchrun")) and all(
        option.startswith("-") for option in options
    )


def _files(folder: Path, entry: str) -> Iterator[Path]:
    """Yield the files of one entry.

    Raises:
        CodeError: it does not exist, or leads out of the folder.
    """
    if not stays_below(entry):
        raise CodeError(f"must be below {folder}; name another folder under root")
    path = folder / entry
    if not path.exists():
        raise CodeError(f"no such file or folder: {path}")
    if not path.is_dir():
        yield path
        return
    for parent, folders, files in os.walk(path):
        folders[:] = sorted(set(folders) - _LEFT_OUT)
        yield from (Path(parent) / each for each in sorted(files))


def _file(folder: Path, path: Path) -> File:
    """Read one file. A symbolic link is followed if its file is below the folder too.

    Raises:
        CodeError: the link leads out of the folder, it is no file, or it is too large.
    """
    name = path.relative_to(folder).as_posix()
    if not path.resolve().is_relative_to(folder.resolve()):
        raise CodeError(f"{name} is a link out of {folder}")
    if not path.is_file():
        raise CodeError(f"{name} is no file")
    status = path.stat()
    if status.st_size > LARGEST_BYTES:
        raise CodeError(
            f"{name} has {status.st_size >> 20} MiB; code is for programs, not for data"
        )
    content = _content(path, status.st_mtime_ns, status.st_size)
    return File(name, content, bool(status.st_mode & 0o100))


@lru_cache(maxsize=256)
def _content(path: Path, changed_ns: int, size: int) -> bytes:
    """Read a file; a grid has hundreds of experiments with the same code."""
    return path.read_bytes()
