"""What a paper claims: numbers by kind, and how near is near enough."""

from collections.abc import Mapping
from typing import Annotated, Literal

from pydantic import (
    Discriminator,
    Field,
    NonNegativeInt,
    PositiveFloat,
    PositiveInt,
    Tag,
    ValidationInfo,
    field_validator,
)

from harness.manifest.sources import Frozen, Line, Text


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
