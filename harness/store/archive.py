"""Finished trials in a compact form, committed to version control beside their manifests.

    <folder>/<experiment>.jsonl   line 1: the format, and the digest of all that follows
                                  line 2: the tolerances that stood when the records were made
                                  then one line per trial, in the order of the seeds

The files are text, so that a commit's diff shows which seeds were added and git packs what does not
change. Equal records give equal bytes, and every float is written so that it is read back bit for
bit. A file may come from anybody, so every line is validated, whatever its digest says.
"""

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, TypeVar

from pydantic import ConfigDict, Field, TypeAdapter, ValidationError
from pydantic.dataclasses import dataclass as validated

from harness.errors import StoreError
from harness.record import (
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
from harness.store.schemas import CorruptError

T = TypeVar("T")

FORMAT = 1
"""Version of these files; raised when an older reader would misread one."""
ENDING = ".jsonl"

_TEXT_LIMIT = 100
"""Characters of somebody else's text in a message of ours."""


@dataclass(frozen=True)
class Kept:
    """What an archive holds of one experiment."""

    declared: Mapping[str, float] = field(default_factory=dict)
    """Each claim's tolerance when the records were made; empty where that is not known."""
    trials: tuple[StoredTrial, ...] = ()
    """In the order of their seeds."""


class _LineError(CorruptError):
    """A line of a file of committed records that is not what belongs there."""

    def __init__(self, line: int, message: str) -> None:
        super().__init__(message)
        self.line = line


_STRICT = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False)
_Count = Annotated[int, Field(ge=0, le=2**31)]
_Milliseconds = Annotated[int, Field(ge=0, le=253_402_300_799_999)]
"""Since 1970, up to the year 9999, after which Python has no dates."""


@validated(frozen=True, config=_STRICT)
class _Head:
    format: int
    sha256: str


@validated(frozen=True, config=_STRICT)
class _Declared:
    declared: Mapping[str, float]


@validated(frozen=True, config=_STRICT)
class _Line:
    """A trial by columns, so that no name is repeated; entry i is of epoch i + 1."""

    spec: TrialSpec
    done: _Count
    metrics: Mapping[str, tuple[float, ...]]
    ended_ms: tuple[_Milliseconds, ...]
    seconds: tuple[Annotated[float, Field(ge=0)], ...]
    finals: Mapping[int, FinalRecord]
    failure: Failure | None
    provenance: tuple[Provenance, ...]
    history: tuple[PastFailure, ...] = ()
    """Left out where it is empty, as it was before there was a history."""

    def faults(self) -> Iterator[str]:
        """What contradicts itself, field by field."""
        epochs = len(self.ended_ms)
        columns = {"seconds": self.seconds} | {f"metrics.{k}": v for k, v in self.metrics.items()}
        for name, column in columns.items():
            if len(column) != epochs:
                yield f"{_printable(name)}: {len(column)} values for {epochs} epochs"
        if self.done > epochs:
            yield f"done: {self.done}, but there are {epochs} epochs"
        for epoch, final in self.finals.items():
            if epoch != final.epoch or not 0 < epoch <= epochs:
                yield f"finals.{epoch}: of epoch {final.epoch}, and there are {epochs} epochs"
        if not 0 <= self.spec.seed < 2**32:
            yield f"spec.seed: must be from 0 to 4294967295, got {self.spec.seed}"
        try:
            _ = self.spec.id
        except ValueError as error:  # a number in the parameters that JSON does not have
            yield f"spec.parameters: {error}"


_ANY = TypeAdapter(Any)
_HEAD, _DECLARED, _LINE = TypeAdapter(_Head), TypeAdapter(_Declared), TypeAdapter(_Line)


class Archive:
    """A folder of committed records. A folder that does not exist reads as empty.

    Each file is read once. Damage, or another format, is a StoreError with file and line.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self._kept: dict[str, Kept] = {}

    @classmethod
    def there(cls, root: Path) -> bool:
        """Whether a folder holds committed records."""
        return bool(cls(root).experiments())

    def file(self, experiment_id: str) -> Path:
        """Where an experiment's records lie."""
        return self.root / f"{experiment_id}{ENDING}"

    def experiments(self) -> list[str]:
        """The experiments of which there are records, in order."""
        return sorted(path.stem for path in self.root.glob(f"*{ENDING}"))

    def kept(self, experiment_id: str) -> Kept:
        """All that there is of one experiment.

        Raises:
            StoreError: its file is damaged, or of another format; names file and line.
        """
        if experiment_id not in self._kept:
            file = self.file(experiment_id)
            data = files.read(file)
            try:
                self._kept[experiment_id] = Kept() if data is None else decoded(data)
            except _LineError as error:
                raise StoreError(f"{file}:{error.line}: {error}") from None
        return self._kept[experiment_id]

    def write(self, experiment_id: str, kept: Kept) -> None:
        """Put an experiment's records in place of those that are there, whole or not at all."""
        with files.faults_named(self.root):
            self.root.mkdir(parents=True, exist_ok=True)
        files.replace(self.file(experiment_id), encoded(kept))
        files.sync_folder(self.root)
        self._kept[experiment_id] = kept

    def declared(self, experiment_id: str) -> Mapping[str, float]:
        """Each claim's tolerance when the records were made; empty where that is not known."""
        return self.kept(experiment_id).declared

    def trials(self) -> Iterator[str]:
        """The ids of all trials, in order."""
        return iter(sorted(self._by_id))

    def read(self, trial_id: str) -> StoredTrial | None:
        """One trial; None if it is not there."""
        return self._by_id.get(trial_id)

    @cached_property
    def _by_id(self) -> dict[str, StoredTrial]:
        kept = map(self.kept, self.experiments())
        return {trial.spec.id: trial for each in kept for trial in each.trials}


def encoded(kept: Kept) -> bytes:
    """The file's bytes: the same for the same records, in whatever order they come."""
    trials = sorted(kept.trials, key=lambda trial: (trial.spec.seed, trial.spec.id))
    lines = [canonical_json({"declared": dict(kept.declared)}), *map(_line, trials)]
    body = "".join(f"{line}\n" for line in lines).encode()
    head = canonical_json({"format": FORMAT, "sha256": hashlib.sha256(body).hexdigest()})
    return head.encode() + b"\n" + body


def decoded(data: bytes) -> Kept:
    """Read back what `encoded` was given.

    Raises:
        CorruptError: the digest does not match, the format is another one, or a line does not hold
            what belongs there. Its `line` says where.
    """
    head, _, body = data.partition(b"\n")
    try:
        said = _HEAD.validate_json(head)
    except ValidationError:
        raise _LineError(1, "not the first line of a file of committed records") from None
    if said.format != FORMAT:
        raise _LineError(1, f"format {said.format} is not {FORMAT}, which this version reads")
    if hashlib.sha256(body).hexdigest() != said.sha256:
        raise _LineError(1, "truncated or damaged; take the file from version control again")
    declared, *lines = body.removesuffix(b"\n").split(b"\n")
    seeds: dict[int, int] = {}
    trials = list[StoredTrial]()
    for number, text in enumerate(lines, start=3):
        trial = _trial(number, text)
        first = seeds.setdefault(trial.spec.seed, number)
        if first != number:
            raise _LineError(number, f"seed {trial.spec.seed} is on line {first} already")
        trials.append(trial)
    return Kept(_parsed(2, declared, _DECLARED).declared, tuple(trials))


def _line(trial: StoredTrial) -> str:
    names = trial.epochs[0].metrics if trial.epochs else ()
    columns = {
        "spec": trial.spec,
        "done": trial.done,
        "metrics": {name: tuple(each.metrics[name] for each in trial.epochs) for name in names},
        "ended_ms": tuple(each.ended_ms for each in trial.epochs),
        "seconds": tuple(each.seconds for each in trial.epochs),
        "finals": trial.finals,
        "failure": trial.failure,
        "provenance": trial.provenance,
    }
    if trial.history:
        columns["history"] = trial.history
    line = _ANY.dump_python(columns, mode="json")
    for provenance in line["provenance"]:
        _drop_empty(provenance, "workload_code")
        _drop_empty(provenance["source"], "unknown_because")
    return canonical_json(line)


def _drop_empty(fields: dict[str, Json], name: str) -> None:
    """Leave out a field that older records lack, so that they keep their bytes."""
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
    for at, (ended_ms, seconds) in enumerate(zip(line.ended_ms, line.seconds, strict=True)):
        metrics = {name: column[at] for name, column in line.metrics.items()}
        yield EpochRecord(at + 1, metrics, ended_ms, seconds)


def _parsed(number: int, text: bytes, schema: TypeAdapter[T]) -> T:
    """One line by its schema."""
    try:
        value = schema.validate_json(text)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        where = _printable(".".join(map(str, first["loc"])))
        message = _printable(first["msg"])
        raise _LineError(number, f"{where}: {message}" if where else message) from None
    # Only now, since pydantic has refused what is nested too deeply for Python's own parser.
    json.loads(text, object_pairs_hook=lambda pairs: _refuse_repeated(number, pairs))
    return value


def _refuse_repeated(number: int, pairs: list[tuple[str, Any]]) -> None:
    """Refuse an object that has a key twice, of which parsers keep the last without a word."""
    names = [name for name, _ in pairs]
    if len(set(names)) < len(names):
        again = next(name for name in names if names.count(name) > 1)
        raise _LineError(number, f"{_printable(again)}: twice in one object")


def _printable(text: str) -> str:
    """Text of unknown origin, so that it can stand in a line of a terminal."""
    return text[:_TEXT_LIMIT].encode("unicode_escape").decode("ascii")


@dataclass(frozen=True)
class Merged:
    """What comes of adding trials of one experiment to what an archive holds of it."""

    kept: Kept
    added: tuple[int, ...]
    """Seeds that are new, or that went on to more epochs."""
    superseded: tuple[int, ...]
    """Seeds whose records were made with other parameters, data or revision, and gave way."""
    conflicts: tuple[str, ...]
    """Trials that are there already with other results, each in words; then nothing may be
    written."""


def merge(kept: Kept, trials: Sequence[StoredTrial], declared: Mapping[str, float]) -> Merged:
    """Add trials of one experiment as it now stands.

    Args:
        kept: what is there.
        trials: the new ones, all of one spec but for the seed.
        declared: the tolerances that stood when these were made.
    """
    by_id = {trial.spec.id: trial for trial in kept.trials}
    new_seeds = {trial.spec.seed: trial.spec.id for trial in trials}
    stale = {
        trial_id
        for trial_id, trial in by_id.items()
        if new_seeds.get(trial.spec.seed, trial_id) != trial_id
    }
    superseded = tuple(sorted(by_id.pop(trial_id).spec.seed for trial_id in stale))
    # The tolerances of the oldest records that stand are the ones that a change is held against.
    stands = any(_alike(old.spec, new.spec) for old in by_id.values() for new in trials[:1])
    before = kept.declared if stands else {}
    added, conflicts = list[int](), list[str]()
    for trial in trials:
        old = by_id.get(trial.spec.id)
        if old is not None and (why := differs(old, trial)):
            conflicts.append(f"trial {trial.spec.id} (seed {trial.spec.seed}): {why}")
        elif old is None or _reach(trial) > _reach(old):
            by_id[trial.spec.id] = trial
            added.append(trial.spec.seed)
    whole = Kept(
        {**declared, **before},
        tuple(sorted(by_id.values(), key=lambda trial: (trial.spec.seed, trial.spec.id))),
    )
    return Merged(whole, tuple(sorted(added)), superseded, tuple(conflicts))


def differs(one: StoredTrial, other: StoredTrial) -> str:
    """Where the results of two recordings of one trial part, as far as both go; empty if nowhere.

    When and where they ran does not enter.
    """
    for ours, theirs in zip(one.epochs, other.epochs, strict=False):
        if ours.metrics != theirs.metrics:
            return f"other results from epoch {ours.epoch} on"
    for epoch in sorted(one.finals.keys() & other.finals.keys()):
        if one.finals[epoch].metrics != other.finals[epoch].metrics:
            return f"other final estimates at epoch {epoch}"
    for trial, longer in ((one, other), (other, one)):
        failure = trial.failure
        if failure is None or failure.kind is not FailureKind.SCIENTIFIC:
            continue
        known = any(past.failure == failure for past in longer.history)
        if len(longer.epochs) > len(trial.epochs) and not known:
            return f"one failed after epoch {len(trial.epochs)}, where the other went on"
    return ""


def _alike(one: TrialSpec, other: TrialSpec) -> bool:
    """Whether two trials differ by their seed at most."""
    return replace(one, seed=other.seed) == other


def _reach(trial: StoredTrial) -> tuple[int, int, int]:
    """Sort key: of two recordings that agree, prefer the longer one."""
    return (trial.done, len(trial.epochs), len(trial.history))
