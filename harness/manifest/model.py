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

Identifier = Annotated[str, Field(pattern=f"^{IDENTIFIER.pattern}$")]


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


class SpreadLimit(Frozen):
    """The largest standard deviation over the seeds that is allowed, in the claim's unit, and why.

    A claim fails where the spread is shown to be larger, and is open where it may be.
    """

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


class ComparedClaim(BaseClaim):
    """What the claims share whose values are compared with the seeds as one more run of them."""

    tolerance: Tolerance
    decimals: NonNegativeInt | None = None
    """How many the paper prints: half a unit of the last does not count as a difference."""
    runs: PositiveInt = 1
    """How many runs the paper averages in each value."""
    largest_spread: SpreadLimit | None = None


class Registered(Frozen):
    """The few rows that carry most of the test for consistency where seeds are few.

    They are chosen before the run; the default is at most four, spread evenly over the listing.
    """

    rows: Annotated[tuple[Epoch, ...], Field(min_length=1, max_length=4)]
    reason: Text


class ValueClaim(ComparedClaim):
    """Values compared one by one: a final estimate, or rows at their own epochs."""

    kind: Literal["value"]
    reported: Reported
    registered: Registered | None = None


class Takeoff(Frozen):
    """Where a curve leaves its plateau: the first crossing of `threshold`, in the metric's unit."""

    threshold: PositiveFloat
    reason: Text


class CurveClaim(ComparedClaim):
    """A listing's rows; with `takeoff`, compared after lining both curves up at their take-off."""

    kind: Literal["curve"]
    reported: Rows
    registered: Registered | None = None
    takeoff: Takeoff | None = None

    @field_validator("takeoff")
    @classmethod
    def _reached(cls, takeoff: Takeoff | None, info: ValidationInfo) -> Takeoff | None:
        """Without a take-off of its own the reported curve could be lined up with nothing."""
        reported = info.data.get("reported")
        if takeoff and reported and max(reported.values()) < takeoff.threshold:
            raise ValueError(f"the reported rows never reach {takeoff.threshold:g}")
        return takeoff


class OnsetClaim(ComparedClaim):
    """The epoch at which a curve takes off; tolerance in epochs."""

    kind: Literal["onset"]
    reported: PositiveFloat
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


class Twin(Frozen):
    """The dependent run beside a control: it must learn with the control's own seeds.

    Without it a network that never learns would pass the control.
    """

    experiment: Identifier
    """Its id."""
    metric: Line
    """The curve that must take off."""
    takeoff: Takeoff


Share = Annotated[float, Field(gt=0, lt=1)]


class SecondStage(Frozen):
    """Seeds that may be added once, and what of alpha the second look may spend.

    The manifest's own seeds alone are judged at alpha (1 - share), both together at alpha share.
    """

    seeds: Seeds
    alpha_share: Share


def _rising(band: tuple[float, float]) -> tuple[float, float]:
    if band[0] >= band[1]:
        raise ValueError(f"the lower limit comes first, got {list(band)}")
    return band


class Calibration(Frozen):
    """Bands for a verdict on one seed, as `harness calibrate` proposes them from a study."""

    seeds: Seeds
    """Of the study."""
    records: Line
    """SHA-256 of the values that the bands were made of."""
    coverage: Share
    """Share of all runs that lie in every band at once, as the seeds show."""
    confidence: Share
    """Chance that the seeds show no more than the truth."""
    bands: Annotated[
        Mapping[Line, Annotated[tuple[float, float], AfterValidator(_rising)]], Field(min_length=1)
    ]
    """Lower and upper limit by row, named as reports name it: 'late rows @ 20'."""


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
    twin: Twin | None = None
    """Of a control: the run beside it that must learn."""
    second_stage: SecondStage | None = None
    calibration: Calibration | None = None
    claims: Annotated[tuple[Claim, ...], Field(min_length=1)]
    expected: Expected | None = None

    @field_validator("twin")
    @classmethod
    def _of_a_control(cls, twin: Twin | None, info: ValidationInfo) -> Twin | None:
        if twin and not info.data.get("control", True):
            raise ValueError("only a control has a twin; say control: true")
        return twin

    @field_validator("second_stage")
    @classmethod
    def _further(cls, stage: SecondStage | None, info: ValidationInfo) -> SecondStage | None:
        if stage and set(stage.seeds) & set(info.data.get("seeds", ())):
            raise ValueError("its seeds come on top of the manifest's own: none may be both")
        return stage


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
