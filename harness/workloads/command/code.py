"""The files of a command, and the definition of a function in one of them.

The files are read beside the manifest, carried to the workers and written in a folder.

A function that is marked with `@harness.workload` needs no more in a manifest than is in the text
of its file, which is read and not executed: the metrics in the decorator, and the parameters in the
annotations. So the decorator's arguments and all defaults must be written out.
"""

import ast
import hashlib
import os
import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from functools import lru_cache
from math import isfinite
from pathlib import Path, PurePosixPath
from sys import float_info
from typing import Any

from harness.errors import Fault, number_of
from harness.record import stays_below
from harness.workload import COSTS, Metric, Parameters, SectionError
from harness.workloads.command.rows import EPOCH
from harness.workloads.command.section import HANDED

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


def read_code(folder: Path, entries: Sequence[str]) -> tuple[tuple[File, ...], dict[int, str]]:
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


def digest_of(files: Sequence[File]) -> str:
    """Return the SHA-256 over the names, modes and contents of the files."""
    whole = hashlib.sha256()
    for file in files:
        content = hashlib.sha256(file.content).hexdigest()
        whole.update(f"{file.name}\0{int(file.executable)}\0{content}\n".encode())
    return whole.hexdigest()


def write_code(files: Sequence[File], folder: Path) -> None:
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


_ENDINGS: Mapping[str, tuple[str, ...]] = {
    "torchrun": (".py",),
    "node": (".js", ".mjs", ".cjs", ".ts"),
    "Rscript": (".R", ".r"),
    "bash": (".sh", ".bash"),
    "sh": (".sh",),
    "zsh": (".sh", ".zsh"),
    "perl": (".pl",),
    "ruby": (".rb",),
    "julia": (".jl",),
    "php": (".php",),
}
"""How the names of scripts end, by the program that runs them. A name without such an ending may
mean something else to the program: a command of its own, or a file whose name it completes."""

_PYTHON = re.compile(r"(python|pypy)[0-9.]*")
_PYTHON_FLAGS = re.compile(r"-[bBdEiIOPqRsSuvx]+")
"""Options of Python that take no value."""

_TORCHRUN_OTHERS = frozenset(("-m", "--module", "--no_python", "--no-python", "--run_path"))
"""Options of torchrun after which its first argument is no Python file."""

_TORCHRUN_FLAGS = frozenset(("--standalone", "--virtual-local-rank", "--virtual_local_rank"))
"""Options of torchrun that take no value."""

_WRAPPERS = frozenset(("nice", "nohup", "stdbuf", "time", "timeout"))
"""Programs that run another program, which their arguments name, in the same folder."""


def missing_script(files: Sequence[File], words: Sequence[str]) -> int | None:
    """Find a script that a command is sure to run and that is not in its code.

    In doubt nothing is found: an option that is not known may take the next word as its value.

    Args:
        files: the code.
        words: the command. A word with a brace in it is not known yet.

    Returns:
        The place of the script's name among the words.
    """
    place = _script(words)
    if place is None or "{" in words[place] or not stays_below(words[place]):
        return None
    paths = [PurePosixPath(file.name) for file in files]
    # Python also runs a folder or an archive.
    names = {str(each) for path in paths for each in (path, *path.parents)}
    return None if str(PurePosixPath(words[place])) in names else place


def _script(words: Sequence[str]) -> int | None:
    """Return the place of the script's name in a command; None if that is not certain."""
    start = 0
    if PurePosixPath(words[0]).name in _WRAPPERS:
        known = (at for at, word in enumerate(words) if _is_interpreter(PurePosixPath(word).name))
        start = next(known, 0)
    program = PurePosixPath(words[start]).name
    if not _is_interpreter(program):
        return start if "/" in words[start] else None  # else it is looked for on the PATH
    place = start + 1
    while place < len(words) and words[place].startswith("-"):
        word = words[place]
        if program == "torchrun":
            if word in _TORCHRUN_OTHERS:
                return None
            takes_value = "=" not in word and word not in _TORCHRUN_FLAGS
        elif _PYTHON.fullmatch(program) and word in ("-W", "-X"):
            takes_value = True
        elif _PYTHON.fullmatch(program) and _PYTHON_FLAGS.fullmatch(word):
            takes_value = False
        else:
            return None
        place += 1 + takes_value
    if place >= len(words):
        return None
    return place if words[place].endswith(_ENDINGS.get(program, "")) else None


def _is_interpreter(program: str) -> bool:
    return bool(_PYTHON.fullmatch(program)) or program in _ENDINGS


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


TYPES: Mapping[str, type] = {each.__name__: each for each in (int, float, bool, str)}
"""The types that a parameter may have."""

_FORM = '@harness.workload(metrics={"loss": "nats"}, final={"accuracy": "%"})'

_Function = ast.FunctionDef | ast.AsyncFunctionDef


@dataclass(frozen=True)
class Definition:
    """What the text of a file says about one function."""

    name: str
    metrics: Mapping[str, Metric]
    parameters: Mapping[str, tuple[type, Any]]
    """The type of each parameter and its default, which is `...` if it has none."""
    arguments: Mapping[str, str]
    """The names of all arguments that the function takes, each with the name of its type."""


def read_definition(content: bytes, file: str, wanted: str | None) -> Definition:
    """Read the definition of a marked function.

    Args:
        content: the bytes of the file.
        file: the path of the file, for messages.
        wanted: the name of the function; None if the file has only one.

    Raises:
        SectionError: with every fault.
    """
    try:
        module = ast.parse(content)
    except SyntaxError as error:
        raise SectionError({}, [Fault(file, error.lineno or 0, "", str(error.msg))]) from None
    except (ValueError, RecursionError, MemoryError) as error:
        raise SectionError({}, [Fault(file, 0, "", f"cannot be read: {error}")]) from None
    names = set(_names(module))
    marked = {
        node.name: (node, mark)
        for node in module.body
        if isinstance(node, _Function)
        for mark in node.decorator_list
        if ast.unparse(mark.func if isinstance(mark, ast.Call) else mark) in names
    }
    if not marked:
        raise SectionError({}, [Fault(file, 0, "", f"no function is marked with {_FORM}")])
    if wanted is None and len(marked) > 1:
        raise SectionError({("function",): f"required: say which of {', '.join(marked)} to run"})
    if wanted is not None and wanted not in marked:
        near = get_close_matches(wanted, marked, n=1) or marked
        hint = f"did you mean {' or '.join(near)}?"
        raise SectionError({("function",): f"no marked function has this name; {hint}"})
    reader = _Reader(file)
    definition = reader.read(*marked[wanted or next(iter(marked))])
    if reader.faults:
        raise SectionError({}, reader.faults)
    return definition


def hidden_modules(
    script: PurePosixPath, contents: Mapping[str, bytes]
) -> dict[tuple[str | int, ...], str]:
    """Find code that hides a module which a trial needs, because it has the same name.

    Args:
        script: the file of the function.
        contents: the bytes of all files of the code, by name. The script can be parsed.

    Returns:
        The messages by the field of the section.
    """
    imported = set(_imported(ast.parse(contents[str(script)])))
    if script.stem in {"harness", *sys.stdlib_module_names, *imported}:
        message = f"hides the module {script.stem}, which a trial imports; rename the file"
        return {("file",): message}
    for name in ("harness.py", "harness/__init__.py"):
        if str(script.parent / name) in contents:
            return {
                ("code",): f"{name} hides the package harness, which a trial imports; rename it"
            }
    return {}


def _imported(module: ast.Module) -> Iterator[str]:
    """Yield the top-level names of the modules that a file imports."""
    for node in ast.walk(module):
        if isinstance(node, ast.Import):
            yield from (alias.name.partition(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and not node.level and node.module:
            yield node.module.partition(".")[0]


def _names(module: ast.Module) -> Iterator[str]:
    """Yield how the file spells the decorator."""
    for node in ast.walk(module):
        if isinstance(node, ast.Import):
            for alias in node.names:
                if alias.name == "harness":
                    yield f"{alias.asname or alias.name}.workload"
        elif isinstance(node, ast.ImportFrom) and (node.module, node.level) == ("harness", 0):
            yield from (each.asname or each.name for each in node.names if each.name == "workload")


class _Reader:
    """Reads one function, and collects every fault."""

    def __init__(self, file: str) -> None:
        self._file = file
        self.faults: list[Fault] = []

    def read(self, node: _Function, mark: ast.expr) -> Definition:
        if isinstance(node, ast.AsyncFunctionDef) or not any(_yields(node.body)):
            self._say(node, node.name, "must be a generator: yield a dict of metrics each epoch")
        types, parameters = {}, {}
        for argument, default in _arguments(node.args):
            kind = self._type(argument)
            types[argument.arg] = kind
            if argument.arg not in HANDED and kind in TYPES:
                parameters[argument.arg] = (TYPES[kind], self._default(argument, kind, default))
        for star in (node.args.vararg, node.args.kwarg, *node.args.posonlyargs):
            if star:
                self._say(star, star.arg, "must be a plain argument, which can be given by name")
        return Definition(node.name, self._metrics(mark), parameters, types)

    def _say(self, node: ast.AST, field: str, message: str) -> None:
        self.faults.append(Fault(self._file, getattr(node, "lineno", 0), field, message))

    def _type(self, argument: ast.arg) -> str:
        """Return the name of an argument's type; it may be one that is not allowed."""
        name, annotation = argument.arg, argument.annotation
        kind = ast.unparse(annotation).strip("'\"") if annotation else ""
        if name in HANDED:
            if kind not in ("", HANDED[name]):
                self._say(argument, name, f"the trial hands over {HANDED[name]}, got {kind}")
            return HANDED[name]
        if name.startswith("_") or hasattr(Parameters, name):
            self._say(argument, name, "cannot be the name of a parameter; take another")
        if kind not in TYPES:
            got = f"got {kind}" if kind else "it has no annotation"
            self._say(argument, name, f"must be annotated as {_either(TYPES)}; {got}")
        return kind

    def _default(self, argument: ast.arg, kind: str, default: ast.expr | None) -> Any:
        """Return the default of a parameter; `...` if it has none."""
        if default is None:
            return ...
        value = _literal(default)
        if kind == "float" and type(value) is int:
            value = float(value) if abs(value) <= float_info.max else ...
        if type(value) is not TYPES[kind] or (isinstance(value, float) and not isfinite(value)):
            got = ast.unparse(default)
            self._say(
                default, argument.arg, f"its default must be written out as {kind}, got {got}"
            )
        return value

    def _metrics(self, mark: ast.expr) -> dict[str, Metric]:
        """Return the metrics that the decorator names."""
        found: dict[str, Metric] = {}
        keywords = mark.keywords if isinstance(mark, ast.Call) else []
        if not isinstance(mark, ast.Call) or mark.args or not keywords:
            self._say(mark, "harness.workload", f"must be called by names, as in {_FORM}")
        for keyword in keywords:
            if keyword.arg not in ("metrics", "final"):
                self._say(keyword, keyword.arg or "**", f"unknown argument; write {_FORM}")
                continue
            units = _literal(keyword.value)
            if not isinstance(units, dict) or not all(
                isinstance(text, str) and text for text in (*units, *units.values())
            ):
                message = 'must be written out as {"name": "unit"}, since the file is not executed'
                self._say(keyword.value, keyword.arg, message)
                continue
            for name, unit in units.items():
                if not name.isidentifier() or name == EPOCH or name in found:
                    message = f"{name!r} is taken, or cannot be the name of a metric"
                    self._say(keyword.value, keyword.arg, message)
                elif name in COSTS:
                    message = f"the harness measures {name} itself; give yours another name"
                    self._say(keyword.value, keyword.arg, message)
                final = keyword.arg == "final"
                found[name] = Metric(unit, "", final=final, sparse=True)
        if keywords and not found and not self.faults:
            self._say(mark, "harness.workload", f"must name a metric, as in {_FORM}")
        return found


def _arguments(arguments: ast.arguments) -> Iterator[tuple[ast.arg, ast.expr | None]]:
    """Yield the arguments that have names of their own, each with its default."""
    plain = [*arguments.posonlyargs, *arguments.args]
    defaults: list[ast.expr | None] = [None] * len(plain)
    defaults[len(plain) - len(arguments.defaults) :] = arguments.defaults
    yield from zip(plain, defaults, strict=True)
    yield from zip(arguments.kwonlyargs, arguments.kw_defaults, strict=True)


def _literal(node: ast.expr) -> Any:
    """Return the value that an expression writes out; `...` if it must be computed."""
    try:
        return ast.literal_eval(node)
    except (ValueError, TypeError, SyntaxError, MemoryError, RecursionError):
        return ...


def _yields(nodes: list[ast.stmt]) -> Iterator[bool]:
    """Yield True for each `yield` of a function's body, but not of functions within it."""
    waiting: list[ast.AST] = [*nodes]
    while waiting:
        node = waiting.pop()
        if isinstance(node, ast.Yield | ast.YieldFrom):
            yield True
        elif not isinstance(node, _Function | ast.Lambda | ast.ClassDef):
            waiting.extend(ast.iter_child_nodes(node))


def _either(words: Mapping[str, object]) -> str:
    *most, last = words
    return f"{', '.join(most)} or {last}"
