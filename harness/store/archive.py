"""Finished trials in a compact form, to be committed beside the manifests that they answer.

    <folder>/<experiment>.jsonl   line 1: the format, and the digest of all that follows
                                  line 2: the tolerances that stood when the records were made
                                  then one line a trial, in the order of the seeds

Text, so that a commit's diff shows which seeds came and git packs what does not change; equal
records give equal bytes; and every float is spelt so that it is read back bit for bit.
"""

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from pydantic import TypeAdapter

from harness.errors import StoreError
from harness.record import (
    EpochRecord,
    Failure,
    FinalRecord,
    Provenance,
    StoredTrial,
    TrialSpec,
    canonical_json,
)
from harness.store import files
from harness.store.schemas import CorruptError

FORMAT = 1
"""Version of these files; raised when an older reader would misread one."""
ENDING = ".jsonl"


@dataclass(frozen=True)
class Kept:
    """What an archive holds of one experiment."""

    declared: Mapping[str, float] = field(default_factory=dict)
    """Each claim's tolerance when the records were made; empty where that is not known."""
    trials: tuple[StoredTrial, ...] = ()
    """In the order of their seeds."""


@dataclass(frozen=True)
class _Line:
    """A trial by columns, which repeat no name; entry i is of epoch i + 1."""

    spec: TrialSpec
    done: int
    metrics: Mapping[str, tuple[float, ...]]
    ended_ms: tuple[int, ...]
    seconds: tuple[float, ...]
    finals: Mapping[int, FinalRecord]
    failure: Failure | None
    provenance: tuple[Provenance, ...]


_LINE = TypeAdapter(_Line)
_DECLARED = TypeAdapter(dict[str, float])


class Archive:
    """A folder of committed records; one that is not there reads as empty.

    Each file is read once; damage, or another format, is a StoreError that names the file.
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
            StoreError: its file is damaged, or of another format.
        """
        if experiment_id not in self._kept:
            file = self.file(experiment_id)
            data = files.read(file)
            try:
                self._kept[experiment_id] = Kept() if data is None else decoded(data)
            except CorruptError as error:
                raise StoreError(f"{file}: {error}") from None
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
    """What `encoded` was given.

    Raises:
        CorruptError: it is of another format, or not one byte of it may differ and one does.
    """
    head, _, body = data.partition(b"\n")
    try:
        said = json.loads(head)
        form, sha256 = said["format"], said["sha256"]
    except (ValueError, TypeError, KeyError):
        raise CorruptError("no committed records: its first line is not theirs") from None
    if form != FORMAT:
        raise CorruptError(f"format {form} is not {FORMAT}, which this version reads")
    if hashlib.sha256(body).hexdigest() != sha256:
        raise CorruptError("truncated or damaged; take it from version control again")
    declared, *trials = body.splitlines()
    return Kept(
        _DECLARED.validate_python(json.loads(declared)["declared"]), tuple(map(_trial, trials))
    )


def _line(trial: StoredTrial) -> str:
    names = trial.epochs[0].metrics if trial.epochs else ()
    line = _Line(
        spec=trial.spec,
        done=trial.done,
        metrics={name: tuple(each.metrics[name] for each in trial.epochs) for name in names},
        ended_ms=tuple(each.ended_ms for each in trial.epochs),
        seconds=tuple(each.seconds for each in trial.epochs),
        finals=trial.finals,
        failure=trial.failure,
        provenance=trial.provenance,
    )
    return canonical_json(_LINE.dump_python(line, mode="json"))


def _trial(text: bytes) -> StoredTrial:
    line = _LINE.validate_json(text)
    return StoredTrial(
        spec=line.spec,
        epochs=tuple(_epochs(line)),
        finals=line.finals,
        done=line.done,
        failure=line.failure,
        provenance=line.provenance,
    )


def _epochs(line: _Line) -> Iterable[EpochRecord]:
    for at, (ended_ms, seconds) in enumerate(zip(line.ended_ms, line.seconds, strict=True)):
        metrics = {name: column[at] for name, column in line.metrics.items()}
        yield EpochRecord(at + 1, metrics, ended_ms, seconds)
