"""A script as it is: a workload that runs the command which the manifest spells out.

The manifest's `workload` section gives the words of the command, its code and how its output is
read (`section`). The code travels to the workers inside the workload and is written into the
trial's folder, in which the command runs (`run`).

The workload `function` is a command as well, which runs one function of a Python file
(`harness.function`). The text of the file says what else a manifest would have to (`code`).
"""

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from difflib import get_close_matches
from functools import cached_property
from pathlib import Path, PurePosixPath
from shlex import join
from typing import Any

from pydantic import BaseModel, create_model

from harness.errors import DataError
from harness.function import FINAL, ROWS
from harness.record import Json, canonical_json, digest, stays_below
from harness.workload import (
    Arrays,
    Context,
    DataSet,
    Execution,
    Metric,
    Parameters,
    SectionError,
)
from harness.workloads.command import code
from harness.workloads.command.run import CommandRun, Program
from harness.workloads.command.section import (
    SEED,
    CommandSection,
    FunctionSection,
    Where,
    check_placeholders,
    fill,
    metrics_of,
    placeholders,
)

UNSEEDED = "the {} takes no seed: its trials are numbered, and a repeated trial may differ"


@dataclass(frozen=True)
class Command:
    """A workload that runs a command. As installed it has none: each manifest completes it."""

    name: str = "command"
    revision: int = 1
    section: type[BaseModel] = CommandSection
    metrics: Mapping[str, Metric] = field(default_factory=dict)
    prefix: bool = False  # a command cannot go on from where a shorter run ended
    program: Program | None = None
    """The program that runs; None until a manifest has completed this workload."""
    values: Mapping[str, Json] = field(default_factory=dict)
    """The parameters' values in the manifest, or else their defaults."""
    types: Mapping[str, tuple[Any, Any]] = field(default_factory=dict)
    """The type of each parameter and its default, which is `...` if it has none."""
    warnings: Mapping[tuple[str | int, ...], str] = field(default_factory=dict)
    """What to look at in the manifest's section, by its place there."""

    @cached_property
    def parameters(self) -> type[Parameters]:
        """The typed parameters."""
        fields: dict[str, Any] = dict(self.types)
        return create_model("CommandParameters", __base__=Parameters, **fields)

    @property
    def settings(self) -> Mapping[str, Json]:
        """What determines the records, besides parameters and seed."""
        return self.program.settings(self.metrics) if self.program else {}

    @property
    def executes(self) -> Execution | None:
        """The command, of which the user must approve: its words, parameters and code."""
        if self.program is None:
            return None
        program = self.program
        checkpoint = program.checkpoint
        resume = checkpoint.resume if checkpoint else ()
        whole = [program.argv, resume, dict(self.values), program.code_digest, program.environment]
        more = f"; to resume also {join(resume)}" if resume else ""
        if program.environment:
            more += f"; reads {', '.join(program.environment)}"
        names = {name: f"{{{name}}}" for _, name in placeholders(program.argv)}
        text = join(fill(program.argv, names | dict(self.values))) + more
        spelled = {name: join(fill([f"{{{name}}}"], self.values)) for name in self.values}
        template = join(fill(program.argv, names)) + more
        return Execution(digest(canonical_json(whole)), text, template, spelled)

    @property
    def remarks(self) -> tuple[str, ...]:
        """Say in every verdict if the trials have no seeds."""
        return () if self.program is None or self.program.seeded else (UNSEEDED.format(self.name),)

    def complete(self, section: Any, manifest: Mapping[str, Json], folder: Path) -> "Command":
        """Return the workload that a manifest describes; see `harness.workload.Template`."""
        values = _parameter_values(manifest)
        check_placeholders(section, values)
        root = _folder_of_code(folder, section.root)
        entries = section.code
        if entries is None:  # what the command names, each file once
            below = filter(stays_below, section.argv)
            entries = tuple(dict.fromkeys(word for word in below if os.path.isfile(root / word)))
        files, faults = code.read_code(root, entries)
        if faults:
            raise SectionError({("code", place): text for place, text in faults.items()})
        _check_script(root, files, section.argv, values)
        return replace(
            self,
            metrics=metrics_of(section, manifest),
            values=values,
            types=dict.fromkeys(values, (Any, ...)),  # of any type that a word can be
            warnings=dict(_warnings(root, files, section.argv, values)),
            program=Program(
                argv=section.argv,
                files=files,
                code_digest=code.digest_of(files),
                rows=section.where_rows,
                final=section.where_final,
                keys={name: each.key for name, each in (section.metrics or {}).items() if each.key},
                first_epoch=section.first_epoch,
                seeded=section.seeded,
                infrastructure=section.infrastructure,
                environment=section.environment,
                checkpoint=section.checkpoint,
                epochs=_epochs(manifest),
            ),
        )

    def environment_variables(self, parameters: Any) -> tuple[str, ...]:
        """The variables that the manifest names."""
        return self.program.environment if self.program else ()

    def data_sets(self, parameters: Any) -> tuple[DataSet, ...]:
        """None: a command reads its data itself."""
        return ()

    def load_data(self, name: str, cache: Path) -> Arrays:
        """Refuse every name.

        Raises:
            DataError: always.
        """
        raise DataError(f"no data set {name!r}: a command reads its data itself")

    def start(self, parameters: Any, context: Context) -> CommandRun:
        """Prepare the trial's folder. The command starts with the first epoch."""
        if self.program is None:
            raise ValueError("no manifest has completed this workload")
        return CommandRun(self.program, self.metrics, parameters.model_dump(mode="json"), context)


def _parameter_values(manifest: Mapping[str, Json]) -> dict[str, Json]:
    """The values of the parameters that the manifest gives. Faults of form are found elsewhere."""
    choice = manifest.get("workload")
    given = choice.get("parameters") if isinstance(choice, dict) else None
    entries = given.items() if isinstance(given, dict) else ()
    return {
        name: item["value"] for name, item in entries if isinstance(item, dict) and "value" in item
    }


def _folder_of_code(folder: Path, name: str) -> Path:
    """Return the folder of the code.

    Raises:
        SectionError: there is no such folder.
    """
    root = folder / name
    if not os.path.isdir(root):
        message = f"no such folder: {root}; it is relative to the folder of the manifest"
        raise SectionError({("root",): message})
    return root


def _check_script(
    root: Path, files: Sequence[code.File], argv: Sequence[str], values: Mapping[str, Json]
) -> None:
    """Check that the script which a command runs is in its code.

    Raises:
        SectionError: every trial would fail, because the script does not exist there.
    """
    known = {name: value for name, value in values.items() if isinstance(value, str)}
    names = {name: f"{{{name}}}" for _, name in placeholders(argv)} | known
    words = [" ".join(fill([word], names)) for word in argv]
    place = code.missing_script(files, words)
    if place is None:
        return
    path = root / words[place]
    if path.exists():
        message = f"{words[place]} is not in code, so no trial has it; add it to code"
    else:
        beside = os.listdir(path.parent) if os.path.isdir(path.parent) else ()
        near = get_close_matches(path.name, beside, n=1)
        hint = f"; did you mean {PurePosixPath(words[place]).with_name(near[0])}?" if near else ""
        message = f"no such file: {path}{hint}"
    raise SectionError({("argv", place): message})


def _warnings(
    root: Path, files: Sequence[code.File], argv: Sequence[str], values: Mapping[str, Json]
) -> Iterator[tuple[tuple[str | int, ...], str]]:
    """Yield a warning for each word that names code outside `code`."""
    names = {name: f"{{{name}}}" for _, name in placeholders(argv)} | dict(values)
    words = [" ".join(fill([word], names)) for word in argv]
    for place, text in code.outside(root, files, words):
        yield ("argv", place), text


def _epochs(manifest: Mapping[str, Json]) -> int:
    """The number of epochs that the manifest gives. Faults of form are found elsewhere."""
    epochs = manifest.get("epochs")
    length = epochs.get("value") if isinstance(epochs, dict) else None
    return length if isinstance(length, int) else 1


@dataclass(frozen=True)
class Function(Command):
    """A workload that runs a generator function of a Python file; see `harness.function`."""

    name: str = "function"
    section: type[BaseModel] = FunctionSection

    def complete(self, section: Any, manifest: Mapping[str, Json], folder: Path) -> Command:
        """Return the workload that a manifest and the text of its file describe."""
        root = _folder_of_code(folder, section.root)
        files, faults = code.read_code(root, (section.file, *section.code))
        if faults:
            places = (("file",), *(("code", place) for place in range(len(section.code))))
            raise SectionError({places[place]: text for place, text in faults.items()})
        script = PurePosixPath(section.file).as_posix()
        contents = {file.name: file.content for file in files}
        if script not in contents:
            raise SectionError({("file",): "must be a Python file"})
        found = code.read_definition(contents[script], str(root / script), section.function)
        if wrong := code.hidden_modules(PurePosixPath(script), contents):
            raise SectionError(wrong)
        words = [f"{name}:{kind}={{{name}}}" for name, kind in found.arguments.items()]
        values = {name: value for name, (_, value) in found.parameters.items()}
        values |= _parameter_values(manifest)
        return replace(
            self,
            metrics=found.metrics,
            values={name: values[name] for name in found.parameters if values[name] is not ...},
            types=found.parameters,
            program=Program(
                argv=("python", "-P", "-m", "harness.function", script, found.name, *words),
                files=files,
                code_digest=code.digest_of(files),
                rows=Where(format="jsonl", file=ROWS),
                final=Where(format="json", file=FINAL),
                keys={},
                first_epoch=1,
                seeded=SEED in found.arguments,
                infrastructure=section.infrastructure,
                environment=section.environment,
                checkpoint=None,
                epochs=_epochs(manifest),
            ),
        )


command = Command()
function = Function()
