"""The `workload` section of a manifest that runs a command: its fields, defaults and checks."""

import re
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field

from harness.errors import regular_expression
from harness.record import Json, stays_below
from harness.workload import COSTS, Metric, SectionError
from harness.workloads.command.rows import EPOCH, Patterns

_PLACE = re.compile(r"\{\{(\w+)\}\}|\{(\w+)\}")

SEED, EPOCHS, DEVICE, THREADS, CHECKPOINT = "seed", "epochs", "device", "threads", "checkpoint"
"""Placeholders that the trial fills in; the others are names of parameters."""

HANDED = {SEED: "int", EPOCHS: "int", DEVICE: "str", THREADS: "int"}
"""What every trial hands over if it is asked for, each with its type."""

Name = Annotated[str, Field(pattern=r"^[^\W\d]\w*$")]


class _Fields(BaseModel):
    model_config = ConfigDict(
        frozen=True, extra="forbid", allow_inf_nan=False, use_attribute_docstrings=True
    )


FORMATS = ("jsonl", "csv", "json")


@dataclass(frozen=True)
class Where:
    """Where rows come from, and how they are written: exactly one of three forms."""

    patterns: tuple[str, ...] = ()
    """Regular expressions for the lines; empty if `format` says how they are written."""
    format: str = ""
    """'jsonl', 'csv', or 'json' for a whole file."""
    file: str = ""
    """The file that holds the lines; empty for standard output."""
    events: str = ""
    """The folder of TensorBoard's event files."""

    def to_json(self) -> Json:
        """Return what this contributes to a trial's identity."""
        return {name: value for name, value in vars(self).items() if value}


def _where(value: Any) -> Where:
    """Read `rows` or `final`.

    Raises:
        ValueError: it is none of the forms.
    """
    if value in ("jsonl", "csv"):
        return Where(format=value)
    if isinstance(value, str):
        return _of_patterns([value])
    if isinstance(value, list) and value and all(isinstance(item, str) for item in value):
        return _of_patterns(value)
    if isinstance(value, dict):
        fields = {name: text for name, text in value.items() if isinstance(text, str) and text}
        if fields == value and set(value) == {"tensorboard"}:
            return Where(events=_inside(fields["tensorboard"]))
        if fields == value and "file" in value and set(value) <= {"file", "format"}:
            format_ = fields.get("format") or fields["file"].rpartition(".")[2]
            if format_ in FORMATS:
                return Where(format=format_, file=_inside(fields["file"]))
            return Where(_of_patterns([format_]).patterns, file=_inside(fields["file"]))
    raise ValueError(
        "must be a regular expression with named groups, a list of them, jsonl, csv, "
        "{file: NAME, format: jsonl, csv, json or a regular expression} or {tensorboard: FOLDER}"
    )


def _of_patterns(texts: Sequence[str]) -> Where:
    for text in texts:
        if not set(re.compile(regular_expression(text)).groupindex) - {EPOCH}:
            raise ValueError(f"{text!r} has no named group such as (?P<loss>\\S+)")
    return Where(tuple(texts))


def _without_nul(text: str) -> str:
    if "\0" in text:
        raise ValueError(f"must not hold the character \\0, got {text[:40]!a}")
    return text


def _inside(name: str) -> str:
    _without_nul(name)
    if not stays_below(name):
        raise ValueError(f"{name!r} must be a path below the folder in which the command runs")
    return name


Text = Annotated[str, Field(min_length=1), AfterValidator(_without_nul)]
"""A word, path or expression. The system takes no word with a NUL character."""
_FORM: Any = str | tuple[str, ...] | dict[str, str]
Place = Annotated[Where, BeforeValidator(_where, json_schema_input_type=_FORM)]


class MetricSection(_Fields):
    """One metric."""

    unit: Text | None = None
    """By default that of its claims, or else the manifest's."""
    final: bool = False
    """Whether it is estimated once, at the end."""
    key: Text | None = None
    """Its group, field, column or tag in the output, if that has another name."""
    description: str = ""


class CheckpointSection(_Fields):
    """The file that the command goes on from, and the words that make it do so."""

    file: Annotated[Text, AfterValidator(_inside)]
    resume: Annotated[tuple[Text, ...], Field(min_length=1)]
    """Words that are added to `argv`; "{checkpoint}" is the file's path."""


class CommandSection(_Fields):
    """A command and how its output is read. Only `argv` has no default."""

    # Through a dataclass, which pydantic cannot describe.
    model_config = ConfigDict(arbitrary_types_allowed=True)

    argv: Annotated[tuple[Text, ...], Field(min_length=1)]
    """The program and its arguments as a list, such as [python, train.py, --seed, "{seed}"]. It is
    not read by a shell. "{seed}", "{epochs}", "{device}", "{threads}" and "{NAME}" of a parameter
    are filled in; "{{NAME}}" stands for "{NAME}"."""
    root: Text = "."
    """The folder of the code, relative to the manifest's."""
    code: tuple[Text, ...] | None = None
    """Files and folders that travel to the workers; by default those that `argv` names."""
    rows: Place | None = None
    """What the command prints after each epoch. By default lines with a JSON object (jsonl)."""
    final: Place | None = None
    """What the command prints or writes at its end. By default it is read like the rows."""
    metrics: Annotated[Mapping[Name, MetricSection], Field(min_length=1)] | None = None
    """The metrics and their units. By default the named groups; or else the metrics of the claims,
    of which a metric with one reported number is final."""
    first_epoch: Literal[0, 1] = 1
    """The number that the command gives its first epoch."""
    seeded: bool = True
    """Whether the command takes a seed. If not, trials are only numbered."""
    infrastructure: Annotated[Text, AfterValidator(regular_expression)] | None = None
    """A regular expression for lines of standard error. If one has it and the command fails, the
    machine is at fault and not the method."""
    environment: tuple[Name, ...] = ()
    """Names of environment variables of yours that the command reads."""
    checkpoint: CheckpointSection | None = None
    """What a trial that lost its worker goes on from. By default it starts again."""

    @property
    def where_rows(self) -> Where:
        """Where the rows are."""
        return self.rows or Where(format="jsonl")

    @property
    def where_final(self) -> Where:
        """Where the final estimates are."""
        return self.final or self.where_rows


class FunctionSection(_Fields):
    """A generator function of a Python file. Only `file` has no default."""

    file: Annotated[Text, Field(pattern=r"\.py$")]
    """The Python file that holds the function."""
    function: Name | None = None
    """The function's name, if several functions of the file are marked with @harness.workload."""
    root: Text = "."
    """The folder of the code, relative to the manifest's."""
    code: tuple[Text, ...] = ()
    """More files and folders that travel to the workers, such as the modules that the file
    imports."""
    infrastructure: Annotated[Text, AfterValidator(regular_expression)] | None = None
    """A regular expression for lines of standard error. If one has it and the function fails, the
    machine is at fault and not the method."""
    environment: tuple[Name, ...] = ()
    """Names of environment variables of yours that the function reads."""


def fill(words: Sequence[str], values: Mapping[str, Json]) -> Iterator[str]:
    """Yield the words with their placeholders filled in. A list fills a whole word with several."""
    for word in words:
        match = _PLACE.fullmatch(word)
        value = values.get(match[2]) if match and match[2] else None
        if isinstance(value, list | tuple):
            yield from map(_spelled, value)
        else:
            yield _PLACE.sub(lambda m: "{" + m[1] + "}" if m[1] else _spelled(values[m[2]]), word)


def _spelled(value: Json) -> str:
    """Write a value as a command line has it."""
    return str(value).lower() if isinstance(value, bool) else str(value)


def placeholders(words: Sequence[str]) -> Iterator[tuple[int, str]]:
    """Yield the placeholders of some words, each with the place of its word."""
    for at, word in enumerate(words):
        yield from ((at, match[2]) for match in _PLACE.finditer(word) if match[2])


def check_placeholders(section: CommandSection, parameters: Mapping[str, Json]) -> None:
    """Check placeholders and parameters against one another.

    Raises:
        SectionError: with every fault.
    """
    faults: dict[tuple[str | int, ...], str] = {}
    own = HANDED.keys()
    resume = section.checkpoint.resume if section.checkpoint else ()
    used = set()
    for path, words, known in (
        (("argv",), section.argv, own),
        (("checkpoint", "resume"), resume, own | {CHECKPOINT}),
    ):
        for at, name in placeholders(words):
            used.add(name)
            if name not in known | parameters.keys():
                faults[(*path, at)] = _unknown(name, known | parameters.keys())
    for name, value in parameters.items():
        if name in own | {CHECKPOINT}:
            faults["parameters", name] = "the trial fills this in; give the parameter another name"
        elif name not in used:
            faults["parameters", name] = f'unused: put "{{{name}}}" into argv, or leave it out'
        elif fault := _fault_of_value(value):
            faults["parameters", name, "value"] = fault
    if section.seeded and SEED not in used:
        faults[("argv",)] = (
            'nowhere has "{seed}"; add it, or say seeded: false if the command takes no seed '
            "(then trials are only numbered)"
        )
    if not section.seeded and SEED in used:
        faults[("seeded",)] = 'argv has "{seed}", so the command takes a seed'
    if section.checkpoint and not all(
        EPOCH in re.compile(text).groupindex for text in section.where_rows.patterns
    ):
        faults[("checkpoint",)] = "every pattern of rows needs a group (?P<epoch>...)"
    if section.checkpoint and CHECKPOINT not in {name for _, name in placeholders(resume)}:
        faults["checkpoint", "resume"] = 'nowhere has "{checkpoint}"'
    if faults:
        raise SectionError(faults)


def _fault_of_value(value: Json) -> str:
    """Say why a parameter's value cannot be a word of a command; empty if it can be."""
    if not isinstance(value, str | int | float | list):
        return "must be text, a number, true, false or a list"
    words = value if isinstance(value, list) else [value]
    return "must not hold the character \\0" if any("\0" in str(word) for word in words) else ""


def _unknown(name: str, known: Collection[str]) -> str:
    near = get_close_matches(name, known, n=1)
    hint = (
        f"; did you mean {{{near[0]}}}?" if near else f"; write {{{{{name}}}}} for the text itself"
    )
    return f"no parameter is called {name}{hint}"


_MEASURED = (
    "the harness measures {0} itself; give the number of the script another name, as in "
    "metrics: {{own_{0}: {{key: {0}}}}}"
)


def metrics_of(section: CommandSection, manifest: Mapping[str, Json]) -> dict[str, Metric]:
    """Return the metrics that the section declares or implies.

    Raises:
        SectionError: a metric is in no pattern, or nothing says what the metrics are.
    """
    rows, final = _groups(section.where_rows), _groups(section.final or Where())
    declared = dict(section.metrics or {})
    keys = {each.key or name for name, each in declared.items()}
    implied = {name: MetricSection() for name in sorted(rows or ()) if name not in keys}
    implied |= {name: MetricSection(final=True) for name in sorted(final or ()) if name not in keys}
    if not declared and not implied:
        implied = dict(_claimed(manifest))
    if not declared and not implied and not _only_costs(manifest):
        raise SectionError({("metrics",): "required: neither a named group nor a claim names one"})
    faults: dict[tuple[str | int, ...], str] = {}
    for name, each in declared.items():
        groups = (final if section.final else rows) if each.final else rows
        if groups is not None and (each.key or name) not in groups:
            source = "final" if each.final else "rows"
            faults["metrics", name] = f"no group (?P<{each.key or name}>...) in {source} gives it"
    for name, each in (declared | implied).items():
        if name in COSTS:
            place = ("metrics", name) if name in declared else ("final" if each.final else "rows",)
            faults[place] = _MEASURED.format(name)
    if faults:
        raise SectionError(faults)
    units = _units(manifest)
    found = {}
    for name, each in (declared | implied).items():
        unit, *others = [each.unit] if each.unit else units(name)
        if others:
            several = " and ".join([unit, *others])
            faults["metrics", name] = (
                f"claims report it in {several}; add the unit in which it is recorded"
            )
        found[name] = Metric(unit, each.description, final=each.final, sparse=True)
    if faults:
        raise SectionError(faults)
    return found


def _units(manifest: Mapping[str, Json]) -> Callable[[str], list[str]]:
    """Return a function that lists the units in which a manifest states numbers of a metric."""
    claims, own = manifest.get("claims"), manifest.get("unit")
    stated: dict[str, list[str]] = {}
    for claim in claims if isinstance(claims, list) else ():
        if isinstance(claim, dict) and isinstance(claim.get("unit"), str):
            stated.setdefault(str(claim.get("metric")), []).append(claim["unit"])
    default = own if isinstance(own, str) else ""
    return lambda metric: list(dict.fromkeys(stated.get(metric, [default])))


def _groups(where: Where) -> frozenset[str] | None:
    """Return the names that patterns give, without the epoch; None if there are no patterns."""
    return Patterns(where.patterns).groups - {EPOCH} if where.patterns else None


def _claimed(manifest: Mapping[str, Json]) -> Iterator[tuple[str, MetricSection]]:
    """Yield the metrics of the claims, without those that the harness measures itself."""
    claims = manifest.get("claims")
    for claim in claims if isinstance(claims, list) else ():
        metric = claim.get("metric") if isinstance(claim, dict) else None
        if isinstance(metric, str) and metric not in COSTS:
            number = isinstance(claim.get("reported"), int | float)
            yield metric, MetricSection(final=number)


def _only_costs(manifest: Mapping[str, Json]) -> bool:
    """Whether every claim is about what the harness measures itself."""
    claims = manifest.get("claims")
    return (
        bool(claims)
        and isinstance(claims, list)
        and all(isinstance(claim, dict) and claim.get("metric") in COSTS for claim in claims)
    )
