"""What a manifest says: every run that a paper reports, and how near is near enough."""

import re
from collections.abc import Mapping
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, Generic, Literal, TypeVar

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    NonNegativeFloat,
    NonNegativeInt,
    PositiveFloat,
    PositiveInt,
    model_validator,
)

from harness.workload import Parameters

T = TypeVar("T")

FORMAT = 1
"""Version of the manifest's own form."""

IDENTIFIER = re.compile(r"[a-z0-9]+(-[a-z0-9]+)*")
"""A plain name: an experiment's id, which is its file's name, must match it in full."""


class Frozen(BaseModel):
    """Base of the manifest's parts: immutable, and refuses the unknown."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class Basis(StrEnum):
    """How the value of a parameter is known."""

    STATED = "stated"
    INFERRED = "inferred"
    ASSUMED = "assumed"


class Sourced(Frozen, Generic[T]):
    """A value together with how it is known: exactly one of stated, inferred and assumed."""

    value: T
    stated: str | None = None
    """Where the paper says so."""
    inferred: str | None = None
    """What it follows from, though the paper does not say so."""
    assumed: str | None = None
    """Why this value, where the paper leaves it open."""

    @property
    def basis(self) -> Basis:
        """Which of the three it is."""
        return next(basis for basis in Basis if getattr(self, basis) is not None)

    @property
    def why(self) -> str:
        """The text that goes with it."""
        return str(getattr(self, self.basis))

    @model_validator(mode="after")
    def _one_basis(self) -> "Sourced[T]":
        given = [basis for basis in Basis if getattr(self, basis) is not None]
        if len(given) != 1:
            said = " and ".join(given) or "none"
            raise ValueError(f"say one of stated, inferred or assumed, got {said}")
        return self


class Paper(Frozen):
    """Where the reported values stand."""

    title: str
    author: str
    listing: str
    """Which listing of the paper, in words."""
    command: str
    """The command that the paper ran."""
    url: str | None = None


class Resources(Frozen):
    """What one trial needs."""

    cpus: PositiveFloat = 1
    gpus: NonNegativeFloat = 0
    """A fraction shares a GPU between trials."""
    threads: PositiveInt = 1


class Tolerance(Frozen):
    """Half-width of the agreement band, in the claim's unit, and the reason for it."""

    value: PositiveFloat
    reason: str


Epoch = PositiveInt
Rows = Annotated[Mapping[Epoch, float], Field(min_length=1)]
"""Reported values by epoch, as printed."""


class BaseClaim(Frozen):
    """What all claims share."""

    name: str
    metric: str
    """One of the workload's metrics."""
    source: str
    """Where the paper says so: the listing and the column or line."""


class ExactClaim(BaseClaim):
    """Values that must agree to the last printed decimal in every seed."""

    kind: Literal["exact"]
    reported: Rows | float
    decimals: NonNegativeInt


class ValueClaim(BaseClaim):
    """Values compared one by one: a final estimate, or rows at their own epochs."""

    kind: Literal["value"]
    reported: Rows | float
    tolerance: Tolerance


class Takeoff(Frozen):
    """Where a curve leaves its plateau: the first crossing of `threshold`, in the metric's unit."""

    threshold: PositiveFloat
    reason: str


class CurveClaim(BaseClaim):
    """A listing's rows; with `takeoff`, compared after lining both curves up where they take off."""

    kind: Literal["curve"]
    reported: Rows
    tolerance: Tolerance
    takeoff: Takeoff | None = None


class OnsetClaim(BaseClaim):
    """The epoch at which a curve takes off; tolerance in epochs."""

    kind: Literal["onset"]
    reported: PositiveFloat
    tolerance: Tolerance
    takeoff: Takeoff


class BandClaim(BaseClaim):
    """A control: every recorded epoch of every seed stays within the tolerance of the reported."""

    kind: Literal["band"]
    reported: Rows | float
    tolerance: Tolerance


Claim = Annotated[
    ExactClaim | ValueClaim | CurveClaim | OnsetClaim | BandClaim, Field(discriminator="kind")
]


class Expected(Frozen):
    """Claims that are known not to hold, and why; any other outcome is red, a pass too."""

    not_reproduced: Annotated[tuple[str, ...], Field(min_length=1)]
    """Names of claims of this manifest."""
    reason: str


class WorkloadChoice(Frozen):
    """A workload by name, with every one of its parameters sourced."""

    name: str
    parameters: Mapping[str, Sourced[Any]]


class Manifest(Frozen):
    """One experiment of a paper: one run that it reports, and all that it claims of it."""

    format: Literal[1]
    title: str
    paper: Paper
    unit: str
    workload: WorkloadChoice
    epochs: Sourced[PositiveInt]
    seeds: Annotated[tuple[NonNegativeInt, ...], Field(min_length=1)]
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
