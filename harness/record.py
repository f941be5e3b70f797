"""What a trial is and what it leaves behind: plain, frozen data that crosses every boundary.

Nothing here imports Ray, MLflow or torch, so a record can be read by anyone, anywhere.
"""

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from functools import cached_property
from typing import Any

FORMAT = 1
"""Version of everything that the store writes; raised when an older reader would misread it."""

Json = Any
"""What JSON can hold."""


def canonical_json(value: Json) -> str:
    """The one spelling of a JSON value that digests are taken of (sorted keys, no spaces).

    Raises:
        ValueError: a number is NaN or infinite, which JSON cannot hold.
    """
    return json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False)


def in_words(value: Json) -> str:
    """A JSON value as people read it: texts without their quotes."""
    return value if isinstance(value, str) else canonical_json(value)


def digest(text: str | bytes) -> str:
    """SHA-256 in hexadecimal."""
    return hashlib.sha256(text.encode() if isinstance(text, str) else text).hexdigest()


@dataclass(frozen=True)
class TrialSpec:
    """Everything that determines a trial's result, and nothing else."""

    workload: str
    revision: int
    """The workload's own number, raised by hand whenever its results change."""
    parameters: Mapping[str, Json]
    seed: int
    data: Mapping[str, str]
    """Digest of each data set by name; empty for synthetic data."""
    length: int | None = None
    """Number of epochs, only where a run is not a prefix of a longer one."""

    @cached_property
    def id(self) -> str:
        """The content address: equal specs have equal results on the same machine."""
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


class FailureKind(StrEnum):
    """Who must look at a failure; the two are never taken for one another."""

    SCIENTIFIC = "scientific"
    """The method failed: the workload raised, or a metric is NaN or infinite. A result, once it has
    happened twice; then the trial is not retried."""
    INFRASTRUCTURE = "infrastructure"
    """A machine failed: a worker, a node, a GPU, a disk, a network. It says nothing about the
    paper, and the trial is retried."""


@dataclass(frozen=True, slots=True)
class Failure:
    """How a trial ended without a final estimate."""

    kind: FailureKind
    error: str
    """The exception's type, or the name of what was lost."""
    message: str
    epoch: int
    """The last epoch that was recorded before it."""
    traceback: str = ""


WORKLOAD_CODE = "workload code"
"""How reports name a workload's own code among what may explain a difference."""

UNKNOWN = "unknown"
"""What reports say where the record does not tell."""


class Overruled(StrEnum):
    """Why a failure of the method is not the trial's outcome."""

    PASSED = "passed"
    """The same epoch passed in a fresh process, so the failure counts as the machine's."""
    UNREPEATED = "unrepeated"
    """No other attempt failed in the same way, and none got past it."""
    REQUEST = "request"
    """It was the trial's outcome, until a user asked for the trial to be run again."""


@dataclass(frozen=True, slots=True)
class PastFailure:
    """A failure of the method that a trial had and that is not its outcome."""

    failure: Failure
    overruled: Overruled
    at_ms: int
    """When it was overruled, in Unix milliseconds."""
    host: str = ""
    """The name of the machine on which it happened; empty where that is not known."""
    attempt: int = 0
    """Which attempt of the run failed, counted from 1; 0 where that is not known."""


@dataclass(frozen=True)
class Source:
    """Which code of the harness ran."""

    commit: str | None
    """None where it is not known; older records have an empty text there."""
    dirty: bool | None
    """Whether files that git tracks differed from the commit; None where it is not known."""
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
        """'true', 'false' or 'unknown'. Without a commit nothing is known of changes either."""
        return UNKNOWN if not self.commit or self.dirty is None else str(self.dirty).lower()

    @property
    def change(self) -> str:
        """What to print after the commit: ' (changed since)', a remark, or nothing."""
        if not self.commit:
            return f" ({self.unknown_because})" if self.unknown_because else ""
        if self.dirty is None:
            return " (whether it was changed since is unknown)"
        return " (changed since)" if self.dirty else ""


@dataclass(frozen=True)
class WorkloadCode:
    """Which code of a workload ran: the distribution, or the loose module, that defines it."""

    name: str
    """Of the distribution; of the module where no distribution announces the workload."""
    version: str
    """Of the distribution; empty where there is none."""
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
    """What a trial found on the machine and set there, as its workload reports it."""

    device: str
    """'cpu', or the GPU's name."""
    threads: int
    form: str
    """What a checkpoint must share to be resumed bit for bit: device, threads, form of the step."""
    versions: Mapping[str, str]
    hardware: Mapping[str, str]
    settings: Mapping[str, Json]
    """Determinism and the like."""
    data: Mapping[str, str]
    """Digest of each data set as it was read, by name."""


@dataclass(frozen=True)
class Provenance:
    """Where and how an attempt at a trial ran: recorded, never part of the trial's identity."""

    host: str
    source: Source
    environment: Environment
    workload_code: WorkloadCode | None = None
    """None in older records, which hold the digest of the harness alone."""

    def conditions(self) -> Iterator[tuple[str, str]]:
        """Yield what may explain that two trials differ. The host's name may not."""
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


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A trial's whole state after `epoch`, opaque to everyone but its workload."""

    epoch: int
    form: str
    payload: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class Started:
    """The first message of an attempt: epochs after `resumed_from` will be recorded afresh."""

    resumed_from: int
    provenance: Provenance


@dataclass(frozen=True, slots=True)
class Finished:
    """The last message of an attempt that reached its epochs: the trial is done up to `epoch`."""

    epoch: int


Message = Started | EpochRecord | Checkpoint | FinalRecord | Finished | Failure
"""What a trial sends to the driver, in the order in which it happened."""


@dataclass(frozen=True)
class StoredTrial:
    """A trial as read back from the store."""

    spec: TrialSpec
    epochs: tuple[EpochRecord, ...] = ()
    """In order, from epoch 1, each once."""
    finals: Mapping[int, FinalRecord] = field(default_factory=dict)
    """By the epoch at which they were taken."""
    done: int = 0
    """The epoch up to which the trial is finished; 0 if it is not."""
    failure: Failure | None = None
    provenance: tuple[Provenance, ...] = ()
    """One for each attempt, the latest last."""
    history: tuple[PastFailure, ...] = ()
    """Failures that are not the trial's outcome, in the order in which they were overruled."""

    def settled(self, epochs: int) -> bool:
        """Whether there is nothing left to run."""
        return settled(self.done, self.failure, epochs)


def settled(done: int, failure: Failure | None, epochs: int) -> bool:
    """Whether there is nothing left to run: finished so far, or failed for good.

    A scientific failure is an outcome; one of infrastructure is tried again.
    """
    failed = failure is not None and failure.kind is FailureKind.SCIENTIFIC
    return failed or done >= epochs
