"""Read, write and merge archives: finished trials in a compact form, committed with the manifests.

    <folder>/<experiment>.jsonl   line 1: the format, and the digest of the lines after it
                                  line 2: what the manifest declared when the records were made
                                  then one line per trial, in the order of the seeds

All cells of a grid are in one file, `<folder>/<grid>.jsonl`. There each cell has a line like
line 2, which also names the experiment, and then its trials.

The files are text, so a commit's diff shows which seeds were added, and git compresses the
unchanged lines. Equal records give equal bytes. Every float is read back bit for bit. A file may
come from anybody, so every line is validated even if the digest matches.
"""

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import pairwise
from pathlib import Path
from typing import Annotated, Any, TypeVar

from pydantic import ConfigDict, Field, TypeAdapter, ValidationError
from pydantic.dataclasses import dataclass as validated

from harness.errors import StoreError
from harness.record import (
    Declaration,
    EpochRecord,
    Failure,
    FailureKind,
    FinalRecord,
    Json,
    PastFailure,
    Provenance,
    StoredTrial,
    TrialSpec,
    canonical_json,
)
from harness.store import files
from harness.store.files import CorruptError

T = TypeVar("T")

FORMAT = 1
"""Version of these files. It increases when an older reader would misread a new file."""
GRID_FORMAT = 2
"""Version of the files that hold a grid. Readers that know no grids refuse it."""
ENDING = ".jsonl"

_TEXT_LIMIT = 100
"""Most characters that an error message quotes from a file."""


@dataclass(frozen=True)
class Kept:
    """The records of one experiment in an archive."""

    declared: Declaration = field(default_factory=Declaration)
    """What the manifest declared when the records were made; empty if unknown."""
    trials: tuple[StoredTrial, ...] = ()
    """The trials, in the order of their seeds."""


class _LineError(CorruptError):
    """A line of a file of committed records is invalid."""

    def __init__(self, line: int, message: str) -> None:
        super().__init__(message)
        self.line = line


_STRICT = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False)
_Count = Annotated[int, Field(ge=0, le=2**31)]
_Milliseconds = Annotated[int, Field(ge=0, le=253_402_300_799_999)]
"""Unix milliseconds, up to the end of the year 9999: Python has no later dates."""


@validated(frozen=True, config=_STRICT)
class _Head:
    format: int
    sha256: str


@validated(frozen=True, config=_STRICT)
class _Declared:
    declared: Mapping[str, float]
    judged: Mapping[str, Any] | None = None
    """Left out if unknown, so that files from before this field existed keep their bytes."""
    origin: str = ""

    @property
    def declaration(self) -> Declaration:
        return Declaration(self.declared, self.judged, self.origin)


@validated(frozen=True, config=_STRICT, kw_only=True)
class _Section(_Declared):
    """The line that begins a cell of a grid."""

    experiment: str


@validated(frozen=True, config=_STRICT)
class _Line:
    """A trial stored by columns, so that no name is repeated."""

    spec: TrialSpec
    done: _Count
    metrics: Mapping[str, tuple[float | None, ...]]
    """None where the row lacks the metric."""
    ended_ms: tuple[_Milliseconds, ...]
    seconds: tuple[Annotated[float, Field(ge=0)], ...]
    finals: Mapping[int, FinalRecord]
    failure: Failure | None
    provenance: tuple[Provenance, ...]
    history: tuple[PastFailure, ...] = ()
    """Left out if empty, so that files from before this field existed keep their bytes."""
    epochs: tuple[_Count, ...] | None = None
    """The epoch of each entry. Left out if entry i belongs to epoch i + 1."""

    def faults(self) -> Iterator[str]:
        """Yield the contradictions in this line, one message per field."""
        rows = epochs = len(self.ended_ms)
        columns: dict[str, Sequence[object]] = {"seconds": self.seconds}
        columns |= {f"metrics.{name}": column for name, column in self.metrics.items()}
        if self.epochs is not None:
            columns["epochs"] = self.epochs
            epochs = max((self.done, *self.epochs))
            if any(one >= next_ for one, next_ in pairwise((0, *self.epochs))):
                yield "epochs: must rise from 1 on"
        for name, column in columns.items():
            if len(column) != rows:
                yield f"{_printable(name)}: {len(column)} values for {rows} epochs"
        if self.done > epochs:
            yield f"done: {self.done}, but there are {epochs} epochs"
        for epoch, final in self.finals.items():
            if epoch != final.epoch or not 0 < epoch <= epochs:
                yield f"finals.{epoch}: of epoch {final.epoch}, and there are {epochs} epochs"
        if not 0 <= self.spec.seed < 2**32:
            yield f"spec.seed: must be from 0 to 4294967295, got {self.spec.seed}"
        free = {"spec.parameters": self.spec.parameters, "spec.settings": self.spec.settings}
        for at, one in enumerate(self.provenance):
            free[f"provenance.{at}.environment.settings"] = one.environment.settings
        yield from _infinite(free)


def _infinite(free: Mapping[str, Json]) -> Iterator[str]:
    """Yield the places of free JSON that hold a number which JSON does not have.

    The parser reads NaN, Infinity and 1e999 there: only fields with a type refuse them.
    """
    for name, value in free.items():
        try:
            canonical_json(value)
        except ValueError:
            yield f"{name}: must hold finite numbers, got NaN or infinity"


D = TypeVar("D", bound=_Declared)

_ANY = TypeAdapter(Any)
_HEAD, _DECLARED, _LINE = TypeAdapter(_Head), TypeAdapter(_Declared), TypeAdapter(_Line)
_SECTION = TypeAdapter(_Section)
_SECTION_START = b'{"declared":'
"""How a section's line begins: keys are sorted."""


class Archive:
    """A folder of committed records. A folder that does not exist reads as empty.

    Each file is read once. A damaged file or an unknown format raises a StoreError that names the
    file and the line.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self._read: dict[str, Mapping[str, Kept]] = {}
        """The records of each file by experiment, by the file's name without its ending."""

    @classmethod
    def there(cls, root: Path) -> bool:
        """Whether a folder holds committed records."""
        return any(root.glob(f"*{ENDING}"))

    def file(self, experiment_id: str) -> Path:
        """The file that holds an experiment's records: its own, or that of its grid."""
        own = self.root / f"{experiment_id}{ENDING}"
        grid, bracket, _ = experiment_id.partition("[")
        # A study's variant, whose id looks like that of a cell, has a file of its own.
        in_grid = bracket and not own.exists() and experiment_id in self._sections(grid)
        return self.root / f"{grid}{ENDING}" if in_grid else own

    def experiments(self) -> list[str]:
        """The ids of the experiments that have records, sorted."""
        stems = [path.name.removesuffix(ENDING) for path in self.root.glob(f"*{ENDING}")]
        return sorted(name for stem in stems for name in self._sections(stem))

    def kept(self, experiment_id: str) -> Kept:
        """Read all records of one experiment.

        Raises:
            StoreError: its file is damaged or has another format. The message names file and line.
        """
        stem = self.file(experiment_id).name.removesuffix(ENDING)
        return self._sections(stem).get(experiment_id, Kept())

    def count(self, file: Path) -> int:
        """The number of trials in one of its files, of whatever experiment."""
        sections = self._sections(file.name.removesuffix(ENDING))
        return sum(len(kept.trials) for kept in sections.values())

    def write(self, experiment_id: str, kept: Kept) -> None:
        """Replace an experiment's records atomically."""
        self._replace(experiment_id, {experiment_id: kept}, encoded(kept))

    def write_grid(self, grid: str, cells: Mapping[str, Kept]) -> None:
        """Replace the records of some cells of a grid, all of them atomically.

        Args:
            grid: the grid's id.
            cells: records by the experiment's id. Cells that are not named keep their records.
        """
        whole = {**self._sections(grid), **cells}
        self._replace(grid, whole, encoded_grid(whole))

    def _replace(self, stem: str, kept: Mapping[str, Kept], content: bytes) -> None:
        with files.faults_named(self.root):
            self.root.mkdir(parents=True, exist_ok=True)
        files.replace(self.root / f"{stem}{ENDING}", content)
        files.sync_folder(self.root)
        self._read[stem] = kept

    def _sections(self, stem: str) -> Mapping[str, Kept]:
        """The records of one file, by experiment; a file that does not exist has none."""
        if stem not in self._read:
            file = self.root / f"{stem}{ENDING}"
            data = files.read_file(file)
            try:
                self._read[stem] = {} if data is None else decoded(data, stem)
            except _LineError as error:
                raise StoreError(f"{file}:{error.line}: {error}") from None
        return self._read[stem]

    def declared(self, experiment_id: str) -> Declaration:
        """What the manifest declared when the records were made; empty if unknown."""
        return self.kept(experiment_id).declared

    def trials(self) -> Iterator[str]:
        """The ids of all trials, sorted."""
        return iter(sorted(self._by_id))

    def read(self, trial_id: str) -> StoredTrial | None:
        """One trial, or None if the archive does not hold it."""
        return self._by_id.get(trial_id)

    @cached_property
    def _by_id(self) -> dict[str, StoredTrial]:
        kept = map(self.kept, self.experiments())
        return {trial.spec.id: trial for each in kept for trial in each.trials}


def encoded(kept: Kept) -> bytes:
    """Encode records as a file's bytes. The order of the trials does not change the bytes."""
    return _sealed(FORMAT, [canonical_json(_begin(kept.declared)), *_lines(kept)])


def encoded_grid(cells: Mapping[str, Kept]) -> bytes:
    """Encode the records of a grid's cells as a file's bytes, in the order of their ids."""
    lines: list[str] = []
    for experiment_id, kept in sorted(cells.items()):
        begin = {"experiment": experiment_id, **_begin(kept.declared)}
        lines += [canonical_json(begin), *_lines(kept)]
    return _sealed(GRID_FORMAT, lines)


def _lines(kept: Kept) -> Iterator[str]:
    return map(_line, sorted(kept.trials, key=lambda trial: (trial.spec.seed, trial.spec.id)))


def _sealed(format_: int, lines: Iterable[str]) -> bytes:
    """Put the format and the digest of the lines before them."""
    body = "".join(f"{line}\n" for line in lines).encode()
    head = canonical_json({"format": format_, "sha256": hashlib.sha256(body).hexdigest()})
    return head.encode() + b"\n" + body


def decoded(data: bytes, experiment_id: str = "") -> Mapping[str, Kept]:
    """Decode the bytes that `encoded` or `encoded_grid` returned; return the records by experiment.

    Args:
        data: the file's bytes.
        experiment_id: whose records it holds, if it is no grid's.

    Raises:
        CorruptError: the digest does not match, the format is another one, or a line is invalid.
            Its attribute `line` holds the line number.
    """
    head, _, body = data.partition(b"\n")
    try:
        header = _HEAD.validate_json(head)
    except ValidationError:
        raise _LineError(1, "not the first line of a file of committed records") from None
    if header.format not in (FORMAT, GRID_FORMAT):
        known = f"{FORMAT} or {GRID_FORMAT}"
        raise _LineError(1, f"format {header.format} is not {known}, which this version reads")
    if hashlib.sha256(body).hexdigest() != header.sha256:
        raise _LineError(1, "truncated or damaged; take the file from version control again")
    lines = list(enumerate(body.removesuffix(b"\n").split(b"\n"), start=2))
    if header.format == FORMAT:
        (number, declared), *trials = lines
        return {experiment_id: _kept(_declared(number, declared, _DECLARED), trials)}
    starts = [at for at, (_, text) in enumerate(lines) if text.startswith(_SECTION_START)]
    if starts[:1] != [0]:
        raise _LineError(2, "names no experiment")
    cells: dict[str, Kept] = {}
    for start, end in pairwise([*starts, len(lines)]):
        number, text = lines[start]
        section = _declared(number, text, _SECTION)
        if section.experiment in cells:
            raise _LineError(number, f"{_printable(section.experiment)} is in the file already")
        cells[section.experiment] = _kept(section, lines[start + 1 : end])
    return cells


def _declared(number: int, text: bytes, schema: TypeAdapter[D]) -> D:
    line = _parsed(number, text, schema)
    for fault in _infinite({"judged": line.judged}):
        raise _LineError(number, fault)
    return line


def _kept(declared: _Declared, lines: Sequence[tuple[int, bytes]]) -> Kept:
    seeds: dict[int, int] = {}
    trials = list[StoredTrial]()
    for number, text in lines:
        trial = _trial(number, text)
        first = seeds.setdefault(trial.spec.seed, number)
        if first != number:
            raise _LineError(number, f"seed {trial.spec.seed} is on line {first} already")
        trials.append(trial)
    return Kept(declared.declaration, tuple(trials))


def _begin(declared: Declaration) -> dict[str, Json]:
    line: dict[str, Json] = {"declared": dict(declared.tolerances)}
    if declared.judged is not None:
        line["judged"] = dict(declared.judged)
    if declared.origin:
        line["origin"] = declared.origin
    return line


def _line(trial: StoredTrial) -> str:
    names = dict.fromkeys(name for each in trial.epochs for name in each.metrics)
    epochs = tuple(each.epoch for each in trial.epochs)
    columns = {
        "spec": trial.spec,
        "done": trial.done,
        "metrics": {name: tuple(each.metrics.get(name) for each in trial.epochs) for name in names},
        "ended_ms": tuple(each.ended_ms for each in trial.epochs),
        "seconds": tuple(each.seconds for each in trial.epochs),
        "finals": trial.finals,
        "failure": trial.failure,
        "provenance": trial.provenance,
    }
    if epochs != tuple(range(1, trial.reached + 1)):
        columns["epochs"] = epochs
    if trial.history:
        columns["history"] = trial.history
    line = _ANY.dump_python(columns, mode="json")
    _drop_empty(line["spec"], "settings")
    for final in line["finals"].values():
        for name in ("peak_memory_bytes", "cpu_seconds", "peak_gpu_memory_bytes"):
            _drop_empty(final, name)
    for provenance in line["provenance"]:
        _drop_empty(provenance, "workload_code")
        _drop_empty(provenance["source"], "unknown_because")
    return canonical_json(line)


def _drop_empty(fields: dict[str, Json], name: str) -> None:
    """Leave out an empty field that older records lack, so that these records keep their bytes."""
    if fields[name] is None:
        del fields[name]


def _trial(number: int, text: bytes) -> StoredTrial:
    line = _parsed(number, text, _LINE)
    for fault in line.faults():
        raise _LineError(number, fault)
    return StoredTrial(
        spec=line.spec,
        epochs=tuple(_epochs(line)),
        finals=line.finals,
        done=line.done,
        failure=line.failure,
        provenance=line.provenance,
        history=line.history,
    )


def _epochs(line: _Line) -> Iterable[EpochRecord]:
    epochs = range(1, len(line.ended_ms) + 1) if line.epochs is None else line.epochs
    rows = zip(epochs, line.ended_ms, line.seconds, strict=True)
    for at, (epoch, ended_ms, seconds) in enumerate(rows):
        values = ((name, column[at]) for name, column in line.metrics.items())
        metrics = {name: value for name, value in values if value is not None}
        yield EpochRecord(epoch, metrics, ended_ms, seconds)


def _parsed(number: int, text: bytes, schema: TypeAdapter[T]) -> T:
    """Parse and validate one line."""
    try:
        value = schema.validate_json(text)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        where = _printable(".".join(map(str, first["loc"])))
        message = _printable(first["msg"])
        raise _LineError(number, f"{where}: {message}" if where else message) from None
    # This must come after pydantic's check: it refuses JSON that is nested too deeply for Python's
    # own parser.
    json.loads(text, object_pairs_hook=lambda pairs: _refuse_repeated(number, pairs))
    return value


def _refuse_repeated(number: int, pairs: list[tuple[str, Any]]) -> None:
    """Refuse an object with a repeated key: parsers silently keep only the last value."""
    names = [name for name, _ in pairs]
    if len(set(names)) < len(names):
        again = next(name for name in names if names.count(name) > 1)
        raise _LineError(number, f"{_printable(again)}: twice in one object")


def _printable(text: str) -> str:
    """Shorten and escape text of unknown origin, so that it is safe to print in a terminal."""
    return text[:_TEXT_LIMIT].encode("unicode_escape").decode("ascii")


@dataclass(frozen=True)
class Merged:
    """The outcome of adding trials to the records of one experiment."""

    kept: Kept
    added: tuple[int, ...]
    """Seeds that are new, or whose trials now have more epochs."""
    superseded: tuple[int, ...]
    """Seeds whose old records were replaced, because parameters, data or revision changed."""
    conflicts: tuple[str, ...]
    """One message per trial that the archive already holds with other results. If there is any,
    nothing may be written."""


def merge(kept: Kept, trials: Sequence[StoredTrial], declared: Declaration) -> Merged:
    """Add new trials to the records of one experiment.

    Args:
        kept: the records so far.
        trials: the new trials. Their specs differ only in the seed.
        declared: what the manifest declared when the new trials were made.
    """
    by_id = {trial.spec.id: trial for trial in kept.trials}
    new_seeds = {trial.spec.seed: trial.spec.id for trial in trials}
    stale = {
        trial_id
        for trial_id, trial in by_id.items()
        if new_seeds.get(trial.spec.seed, trial_id) != trial_id
    }
    superseded = tuple(sorted(by_id.pop(trial_id).spec.seed for trial_id in stale))
    # If records of the same spec remain, what was declared with them remains too. So a later change
    # of the manifest is always compared with what the oldest records were made for.
    stands = any(_alike(old.spec, new.spec) for old in by_id.values() for new in trials[:1])
    added, conflicts = list[int](), list[str]()
    for trial in trials:
        old = by_id.get(trial.spec.id)
        if old is not None and (why := differs(old, trial)):
            conflicts.append(f"trial {trial.spec.id} (seed {trial.spec.seed}): {why}")
        elif old is None or _reach(trial) > _reach(old):
            by_id[trial.spec.id] = trial
            added.append(trial.spec.seed)
    whole = Kept(
        _oldest(kept.declared, declared) if stands else declared,
        tuple(sorted(by_id.values(), key=lambda trial: (trial.spec.seed, trial.spec.id))),
    )
    return Merged(whole, tuple(sorted(added)), superseded, tuple(conflicts))


def _oldest(before: Declaration, now: Declaration) -> Declaration:
    """What was declared first; a claim that is new since then adds its tolerance."""
    return replace(before, tolerances={**now.tolerances, **before.tolerances})


def differs(one: StoredTrial, other: StoredTrial) -> str:
    """Describe the first difference between two recordings of one trial; empty if they agree.

    Only the epochs that both have are compared. When and where the trials ran is ignored.
    """
    for ours, theirs in zip(one.epochs, other.epochs, strict=False):
        if (ours.epoch, ours.metrics) != (theirs.epoch, theirs.metrics):
            return f"other results from epoch {ours.epoch} on"
    for epoch in sorted(one.finals.keys() & other.finals.keys()):
        if one.finals[epoch].metrics != other.finals[epoch].metrics:
            return f"other final estimates at epoch {epoch}"
    for trial, longer in ((one, other), (other, one)):
        failure = trial.failure
        if failure is None or failure.kind is not FailureKind.SCIENTIFIC:
            continue
        known = any(past.failure == failure for past in longer.history)
        if longer.reached > trial.reached and not known:
            return f"one failed after epoch {trial.reached}, where the other went on"
    return ""


def _alike(one: TrialSpec, other: TrialSpec) -> bool:
    """Whether two trials differ at most in their seed."""
    return replace(one, seed=other.seed) == other


def _reach(trial: StoredTrial) -> tuple[int, int, int]:
    """Sort key: of two recordings that agree, prefer the longer one."""
    return (trial.done, trial.reached, len(trial.history))
