"""What an MLflow run should hold, as plain data: the store's side of the projection."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum


class Kind(StrEnum):
    """What a run stands for; 'group by' this tag gives the seeds' mean and band."""

    SEED = "seed"
    PAPER = "paper"
    TRUE = "true"


REFERENCES = (Kind.PAPER, Kind.TRUE)
"""The kinds that no trial of ours stands behind."""


class Status(StrEnum):
    """A run's status, by MLflow's names."""

    RUNNING = "RUNNING"
    FINISHED = "FINISHED"
    FAILED = "FAILED"
    KILLED = "KILLED"


class Tag(StrEnum):
    """The tags by which runs are found again and told apart."""

    KEY = "harness.trial"
    """The trial's id; of a reference, its kind."""
    KIND = "harness.kind"
    EXPERIMENT = "harness.experiment"
    WORKSPACE = "harness.workspace"
    """Whose run it is: several workspaces may share a server, and an experiment there."""
    SEED = "harness.seed"
    ORIGIN = "harness.origin"
    """Which recording the points are of; a run of another recording is replaced."""
    EPOCHS = "harness.epochs"
    """The last epoch that the run holds."""
    FINALS = "harness.finals"
    """The epochs of the final estimates that the run holds."""
    REPORT = "harness.report"
    """Digest of the report and files that the run holds."""
    MANIFEST = "manifest"
    VERDICT = "verdict"
    AS_EXPECTED = "verdict.as_expected"
    COLOUR = "mlflow.runColor"
    NOTE = "mlflow.note.content"
    """MLflow shows it as the run's description."""


FAILURE = "failure."
"""Prefix of the tags that a failure leaves; they go when a later attempt gets further."""


@dataclass(frozen=True, slots=True)
class Row:
    """What one epoch, or one final estimate, adds to a run."""

    epoch: int
    metrics: Mapping[str, float]
    time_ms: int | None = None
    """When it was recorded; None in a reference, which was not."""
    final: bool = False


@dataclass(frozen=True)
class Image:
    """One run as it should be."""

    key: str
    kind: Kind
    name: str
    origin: str
    note: str
    """Markdown: what does not change."""
    rows: tuple[Row, ...]
    status: Status
    params: Mapping[str, str]
    """Only what never changes: MLflow refuses a parameter's second value."""
    tags: Mapping[str, str]
    data: Mapping[str, str] = field(default_factory=dict)
    """Digest of each data set by name."""
    start_ms: int | None = None
    """None where no record bears a time: then it is when the run is created."""
    end_ms: int | None = None
    story: str = ""
    """Markdown that goes before the note; without one, what a run tells already stays."""
