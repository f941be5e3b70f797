"""What a manifest says: every run that a paper reports, and how near is near enough."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    ConfigDict,
    Discriminator,
    Field,
    NonNegativeFloat,
    NonNegativeInt,
    PositiveFloat,
    PositiveInt,
    Tag,
    ValidationInfo,
    field_validator,
)

from harness.manifest.seeds import Seeds
from harness.manifest.sources import Frozen, Line, Sourced, Text
from harness.workload import Parameters

FORMAT = 1
"""Version of the manifest's own form."""

IDENTIFIER = re.compile(r"[a-z0-9]+(-[a-z0-9]+)*")
"""A plain name: an experiment's id, which is its file's name, must match it in full."""


class Paper(Frozen):
    """Where the reported values stand."""

    title: Line
    author: Line
    listing: Text
    """Which listing of the paper, in words."""
    command: Text
    """The command that the paper ran."""
    url: Line | None = None


def _shareable(gpus: float) -> float:
    if gpus > 1 and not gpus.is_integer():
        raise ValueError(f"a fraction below 1, or a whole number of GPUs, got {gpus:g}")
    return gpus


class Resources(Frozen):
    """What one trial needs."""

    cpus: PositiveFloat = 1
    gpus: Annotated[NonNegativeFloat, AfterValidator(_shareable)] = 0
    """A fraction below 1 shares a GPU between trials; otherwise a whole number."""
    threads: PositiveInt = 1


class Tolerance(Frozen):
    """Half-width of the agreement band, in the claim's unit, and the reason for it."""

    value: PositiveFloat
    reason: Text


Epoch = PositiveInt
Rows = Annotated[Mapping[Epoch, float], Field(min_length=1)]
"""Reported values by epoch, as printed."""


def _shape(reported: object) -> str:
    return "<rows>" if isinstance(reported, Mapping) else "<number>"


# Told apart by hand, so that a fault speaks of the one that was meant and not of both.
Reported = Annotated[
    Annotated[Rows, Tag("<rows>")] | Annotated[float, Tag("<number>")], Discriminator(_shape)
]
"""Rows for a metric recorded every epoch, one number for a final one."""


class BaseClaim(Frozen):
    """What all claims share."""

    name: Line
    """Unique in its manifest."""
    metric: Line
    """One of the workload's metrics."""
    source: Text
    """Where the paper says so: the listing and the column or line."""


class ExactClaim(BaseClaim):
    """Values that must agree to the last printed decimal in every seed."""

    kind: Literal["exact"]
    reported: Reported
    decimals: NonNegativeInt
    """How many the paper prints."""


class ValueClaim(BaseClaim):
    """Values compared one by one: a final estimate, or rows at their own epochs."""

    kind: Literal["value"]
    reported: Reported
    tolerance: Tolerance


class Takeoff(Frozen):
    """Where a curve leaves its plateau: the first crossing of `threshold`, in the metric's unit."""

    threshold: PositiveFloat
    reason: Text


class CurveClaim(BaseClaim):
    """A listing's rows; with `takeoff`, compared after lining both curves up at their take-off."""

    kind: Literal["curve"]
    reported: Rows
    tolerance: Tolerance
    takeoff: Takeoff | None = None

    @field_validator("takeoff")
    @classmethod
    def _reached(cls, takeoff: Takeoff | None, info: ValidationInfo) -> Takeoff | None:
        """Without a take-off of its own the reported curve could be lined up with nothing."""
        reported = info.data.get("reported")
        if takeoff and reported and max(reported.values()) < takeoff.threshold:
            raise ValueError(f"the reported rows never reach {takeoff.threshold:g}")
        return takeoff


class OnsetClaim(BaseClaim):
    """The epoch at which a curve takes off; tolerance in epochs."""

    kind: Literal["onset"]
    reported: PositiveFloat
    tolerance: Tolerance
    takeoff: Takeoff


class BandClaim(BaseClaim):
    """A control: every recorded epoch of every seed stays within the tolerance of the reported."""

    kind: Literal["band"]
    reported: Reported
    tolerance: Tolerance


Claim = Annotated[
    ExactClaim | ValueClaim | CurveClaim | OnsetClaim | BandClaim, Field(discriminator="kind")
]


class Expected(Frozen):
    """Claims that are known not to hold, and why; any other outcome is red, a pass too."""

    not_reproduced: Annotated[tuple[Line, ...], Field(min_length=1)]
    """Names of claims of this manifest."""
    reason: Text


class WorkloadChoice(Frozen):
    """A workload by name, with every one of its parameters sourced."""

    name: Line
    """One of the installed workloads."""
    parameters: Mapping[str, Sourced[Any]]
    """Typed by the workload; all of them, for there are no defaults."""


def _supported(version: int) -> int:
    if version != FORMAT:
        raise ValueError(f"format {version} is unknown; this harness reads format {FORMAT}")
    return version


class Manifest(Frozen):
    """One experiment of a paper: one run that it reports, and all that it claims of it."""

    format: Annotated[int, AfterValidator(_supported), Field(json_schema_extra={"const": FORMAT})]
    """Version of the manifest's own form."""
    title: Line
    paper: Paper
    unit: Line
    """Of every claim that is not an epoch: 'bits', 'accuracy', '%'."""
    workload: WorkloadChoice
    epochs: Sourced[PositiveInt]
    """How many the paper ran."""
    seeds: Seeds
    """As `0-9`, as `0-2,5` or as a list."""
    resources: Resources = Resources()
    control: bool = False
    """Whether this is a control: if it fails, nothing of its paper is reproduced."""
    claims: Annotated[tuple[Claim, ...], Field(min_length=1)]
    expected: Expected | None = None


class Experiment(Frozen):
    """A manifest as loaded: checked against its workload, and with its place."""

    model_config = ConfigDict(frozen=True, extra="forbid", arbitrary_types_allowed=True)

    id: str
    """The file's name without its ending."""
    path: Path
    digest: str
    """SHA-256 of the file's bytes."""
    manifest: Manifest
    parameters: Parameters
    """The workload's typed parameters; their sources stand in the manifest."""
    varied: tuple[str, ...] = ()
    """What a study changed of the file, each as its --vary would say it; usually nothing."""

    def command(self, name: str) -> list[str]:
        """The words of a command on this experiment; what a study changed, only `study` runs."""
        if not self.varied:
            return ["harness", name, str(self.path)]
        options = [word for option in self.varied for word in ("--vary", option)]
        grid = ["--grid"] if len(self.varied) > 1 else []
        return ["harness", "study", str(self.path), *options, *grid]
