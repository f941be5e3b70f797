"""Data classes for a trial and its records, which every other package uses.

Nothing here imports Ray, MLflow or torch, so any program can read a record.
"""

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from functools import cached_property
from pathlib import Path, PurePosixPath
from typing import Any

FORMAT = 1
"""Version of the store's files. It rises when an older version would misread them."""

Json = Any
"""Any value that JSON can hold."""


def canonical_json(value: Json) -> str:
    """Write a JSON value in the canonical form for digests (sorted keys, no spaces).

    Raises:
        ValueError: a number is NaN or infinite, which JSON cannot hold.
    """
    return _CANONICAL.encode(value)


_CANONICAL = json.JSONEncoder(sort_keys=True, separators=(",", ":"), allow_nan=False)


def in_words(value: Json) -> str:
    """Write a JSON value for people: a text has no quotes."""
    return value if isinstance(value, str) else canonical_json(value)


def digest(text: str | bytes) -> str:
    """Return the SHA-256 in hexadecimal."""
    return hashlib.sha256(text.encode() if isinstance(text, str) else text).hexdigest()


def stays_below(name: str) -> bool:
    """Return whether a path leads nowhere but below the folder that it is relative to.

    >>> stays_below("lib/net.py"), stays_below("../net.py"), stays_below("/lib/net.py")
    (True, False, False)
    """
    path = PurePosixPath(name)
    return not path.is_absolute() and ".." not in path.parts


@dataclass(frozen=True)
class TrialSpec:
    """Everything that determines a trial's result, and nothing else."""

    workload: str
    revision: int
    """The workload's revision, which its author raises whenever its results change."""
    parameters: Mapping[str, Json]
    seed: int
    data: Mapping[str, str]
    """Digest of each data set by name; empty for synthetic data."""
    length: int | None = None
    """Number of epochs, if a short run is not the beginning of a longer one; else None."""
    settings: Mapping[str, Json] | None = None
    """What the manifest's `workload` section says that determines the result, such as the words of
    a command and the digest of its code; None for a workload that the manifest only names."""

    @property
    def program(self) -> str:
        """The name under which a run finds the trial's workload, among those of other manifests."""
        if self.settings is None:
            return self.workload
        return f"{self.workload}~{digest(canonical_json(dict(self.settings)))}"

    @cached_property
    def id(self) -> str:
        """Digest of the spec. Equal specs give equal results on the same machine."""
        return digest(canonical_json(self.to_json()))[:20]

    def to_json(self) -> dict[str, Json]:
        """The spec as JSON holds it; `from_json` is its inverse."""
        return {
            "workload": self.workload,
            "revision": self.revision,
            "parameters": dict(self.parameters),
            "seed": self.seed,
            "data": dict(self.data),
            "length": self.length,
            **({} if self.settings is None else {"settings": dict(self.settings)}),
        }

    @classmethod
    def from_json(cls, value: dict[str, Json]) -> "TrialSpec":
        """Read back what `to_json` wrote.

        Raises:
            TypeError: a field is missing or unknown.
        """
        return cls(**value)


@dataclass(frozen=True, slots=True)
class EpochRecord:
    """One epoch of one trial."""

    epoch: int
    """Counted from 1, as papers print it."""
    metrics: Mapping[str, float]
    """Finite numbers only; each metric's unit is declared by the workload."""
    ended_ms: int
    """The worker's clock at the end of the epoch, in Unix milliseconds."""
    seconds: float
    """How long the epoch took, by a monotonic clock."""


@dataclass(frozen=True, slots=True)
class FinalRecord:
    """The final estimates of a trial that ran to `epoch` (a test set, say)."""

    epoch: int
    metrics: Mapping[str, float]
    ended_ms: int
    seconds: float
    peak_memory_bytes: int | None = None
    """Largest resident memory during this attempt; None if it is unknown, as in a pack."""
    cpu_seconds: float | None = None
    """CPU time of the trial's process and of its ended children. None in a pack, where one process
    does the work of several trials, or if another process ran the first epochs."""
    peak_gpu_memory_bytes: int | None = None
    """Most GPU memory that this attempt's tensors took, as torch counts it; None without it."""


@dataclass(frozen=True)
class Declaration:
    """What a manifest declared before the records of its experiment were made."""

    tolerances: Mapping[str, float] = field(default_factory=dict)
    """Each claim's tolerance by its name; all that older records declare."""
    judged: Mapping[str, Json] | None = None
    """The judged part of the manifest as JSON; None if only the tolerances are known."""
    origin: str = ""
    """Where the judged part was found, if it was added to older records afterwards."""

    @property
    def digest(self) -> str | None:
        """SHA-256 of the judged part; None if it is not known."""
        return None if self.judged is None else digest(canonical_json(dict(self.judged)))


class FailureKind(StrEnum):
    """Whether the method or a machine failed."""

    SCIENTIFIC = "scientific"
    """The method failed: the workload raised, or a metric is NaN or infinite. If it fails twice in
    the same way, that is a result, and the trial is not retried."""
    INFRASTRUCTURE = "infrastructure"
    """A machine failed: a worker, a node, a GPU, a disk, a network. It says nothing about the
    paper, and the trial is retried."""


@dataclass(frozen=True, slots=True)
class Failure:
    """How a trial ended without a final estimate."""

    kind: FailureKind
    error: str
    """The exception's type, or a name for the lost worker or node."""
    message: str
    epoch: int
    """The last epoch that was recorded before it."""
    traceback: str = ""


WORKLOAD_CODE = "workload code"
"""Name in reports for a workload's code, which may explain a difference."""

UNKNOWN = "unknown"
"""Text in reports for a value that the record does not hold."""


class Overruled(StrEnum):
    """Why a failure of the method is not the trial's outcome."""

    PASSED = "passed"
    """The same epoch passed in a fresh process, so the failure counts as the machine's."""
    UNREPEATED = "unrepeated"
    """No other attempt failed in the same way, and none got past it."""
    REQUEST = "request"
    """It was the trial's outcome until a user asked to run the trial again."""


@dataclass(frozen=True, slots=True)
class PastFailure:
    """A failure of the method that a trial had and that is not its outcome."""

    failure: Failure
    overruled: Overruled
    at_ms: int
    """When it was overruled, in Unix milliseconds."""
    host: str = ""
    """Name of the machine on which it happened; empty if unknown."""
    attempt: int = 0
    """Which attempt of the run failed, counted from 1; 0 if unknown."""


@dataclass(frozen=True)
class Source:
    """Which code of the harness ran."""

    commit: str | None
    """None if unknown; older records hold an empty text."""
    dirty: bool | None
    """Whether files that git tracks differed from the commit; None if unknown."""
    digest: str
    """SHA-256 over the files of the harness package itself."""
    unknown_because: str | None = None
    """Why the commit or `dirty` is not known."""

    @property
    def commit_name(self) -> str:
        """The commit, or 'unknown'."""
        return self.commit or UNKNOWN

    @property
    def dirty_name(self) -> str:
        """'true', 'false' or 'unknown'. Without a commit it is 'unknown'."""
        return UNKNOWN if not self.commit or self.dirty is None else str(self.dirty).lower()

    @property
    def change(self) -> str:
        """Text to print after the commit: ' (changed since)', a remark, or nothing."""
        if not self.commit:
            return f" ({self.unknown_because})" if self.unknown_because else ""
        if self.dirty is None:
            return " (whether it was changed since is unknown)"
        return " (changed since)" if self.dirty else ""


@dataclass(frozen=True)
class WorkloadCode:
    """Which code of a workload ran: the distribution, or the loose module, that defines it."""

    name: str
    """Name of the distribution, or of the module if no distribution announces the workload."""
    version: str
    """Version of the distribution; empty if there is none."""
    digest: str
    """SHA-256 over the names and bytes of the files of the workload's top-level package."""

    @property
    def in_harness(self) -> bool:
        """Whether the workload is part of the harness, so that `Source.digest` covers it."""
        return self.name == "harness"

    def __str__(self) -> str:
        return " ".join(filter(None, (self.name, self.version, self.digest[:8])))


@dataclass(frozen=True)
class Environment:
    """The machine and settings of a trial, as its workload reports them."""

    device: str
    """'cpu', or the GPU's name."""
    threads: int
    form: str
    """Device, threads and form of the step. A checkpoint resumes exactly only if they are equal."""
    versions: Mapping[str, str]
    hardware: Mapping[str, str]
    settings: Mapping[str, Json]
    """Settings such as determinism."""
    data: Mapping[str, str]
    """Digest of each data set that was read, by name."""


@dataclass(frozen=True)
class Provenance:
    """Where and how an attempt at a trial ran. It is never part of the trial's identity."""

    host: str
    source: Source
    environment: Environment
    workload_code: WorkloadCode | None = None
    """None in older records, which hold only the digest of the harness."""

    def conditions(self) -> Iterator[tuple[str, str]]:
        """Yield the conditions that may explain why two trials differ (not the host's name)."""
        yield "source", self.source.digest[:8]
        if self.workload_code and not self.workload_code.in_harness:
            yield WORKLOAD_CODE, str(self.workload_code)
        environment = self.environment
        yield "device", environment.device
        yield "threads", str(environment.threads)
        yield "form", environment.form
        for things in (environment.versions, environment.hardware, environment.settings):
            for thing, value in things.items():
                yield thing, in_words(value)


PART_BYTES = 1 << 19
"""Largest part of a file that is in memory or under way at once, in bytes. Larger ones cost memory,
because Ray frees what was read a hundred parts at a time."""


@dataclass(frozen=True, slots=True)
class FileSlice:
    """A payload that is a file, or the end of a file, so that it is never in memory as a whole."""

    path: Path
    offset: int
    """Where the payload begins in the file, in bytes."""
    length: int
    """Length of the payload, in bytes."""
    sha256: str
    """Digest of the payload."""

    @classmethod
    def of(cls, path: Path) -> "FileSlice":
        """Read a whole file's length and digest."""
        with path.open("rb") as file:
            sha256 = hashlib.file_digest(file, "sha256").hexdigest()
            return cls(path, 0, file.tell(), sha256)

    def parts(self) -> Iterator[bytes]:
        """Read the payload in parts of at most `PART_BYTES`; an empty payload is one part.

        Raises:
            EOFError: the file has become shorter.
        """
        with self.path.open("rb") as file:
            file.seek(self.offset)
            left = self.length
            while True:
                part = file.read(min(left, PART_BYTES))
                if left and not part:
                    raise EOFError(f"{self.path}: {left} bytes are missing")
                left -= len(part)
                yield part
                if not left:
                    return


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A trial's whole state after `epoch`. Only its workload can read the payload."""

    epoch: int
    form: str
    payload: bytes | FileSlice = field(repr=False)


@dataclass(frozen=True, slots=True)
class CheckpointPart:
    """The next bytes of the last checkpoint, whose payload is a file on the worker."""

    data: bytes = field(repr=False)


class Printed(StrEnum):
    """A stream on which a trial prints."""

    STDOUT = "stdout"
    STDERR = "stderr"


@dataclass(frozen=True, slots=True)
class Output:
    """What a trial has printed on one stream since the last of these messages."""

    stream: Printed
    head: bytes = field(repr=False)
    skipped: int = 0
    """How many bytes between head and tail are left out."""
    tail: bytes = field(default=b"", repr=False)


@dataclass(frozen=True, slots=True)
class Artifact:
    """A file that an attempt has left. Its bytes follow in parts."""

    name: str
    """Its path below the folder of artifacts, with slashes."""
    length: int
    """In bytes."""
    sha256: str


@dataclass(frozen=True, slots=True)
class ArtifactPart:
    """The next bytes of the last artifact."""

    data: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class Started:
    """The first message of an attempt. Epochs after `resumed_from` are recorded again."""

    resumed_from: int
    provenance: Provenance


@dataclass(frozen=True, slots=True)
class Finished:
    """The last message of a successful attempt: the trial is done up to `epoch`."""

    epoch: int


Record = Started | EpochRecord | Checkpoint | CheckpointPart | FinalRecord | Finished | Failure
"""The messages about a trial's results."""

Side = Output | Artifact | ArtifactPart
"""The messages about what a trial prints and leaves beside its results."""

Message = Record | Side
"""The messages that a trial sends to the driver, in the order of the events."""


@dataclass(frozen=True)
class StoredTrial:
    """A trial as the store holds it."""

    spec: TrialSpec
    epochs: tuple[EpochRecord, ...] = ()
    """In order, each once. Only a workload whose metrics are all sparse skips epochs."""
    finals: Mapping[int, FinalRecord] = field(default_factory=dict)
    """Final estimates, by the epoch after which they were computed."""
    done: int = 0
    """The epoch up to which the trial is finished; 0 if it is not."""
    failure: Failure | None = None
    provenance: tuple[Provenance, ...] = ()
    """One for each attempt, the latest last."""
    history: tuple[PastFailure, ...] = ()
    """Failures that are not the trial's outcome, in the order in which they were overruled."""

    @property
    def reached(self) -> int:
        """The last epoch that was recorded, or up to which the trial is finished."""
        return max(self.done, self.epochs[-1].epoch if self.epochs else 0)

    def settled(self, epochs: int) -> bool:
        """Whether no epoch is left to run."""
        return settled(self.done, self.failure, epochs)


def settled(done: int, failure: Failure | None, epochs: int) -> bool:
    """Whether no epoch is left to run, because the trial is finished or the method failed.

    A scientific failure is an outcome. After an infrastructure failure the trial is retried.
    """
    failed = failure is not None and failure.kind is FailureKind.SCIENTIFIC
    return failed or done >= epochs
