"""What a manifest is made of: frozen models, and values that say how they are known."""

from enum import StrEnum
from typing import Annotated, Generic, TypeVar

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    NonNegativeInt,
    PositiveFloat,
    PositiveInt,
    model_validator,
)

T = TypeVar("T")

LARGEST = 1e150
"""Largest size of a number. Verdicts square differences and sum them, which must stay finite."""
SMALLEST = 1e-100
"""Smallest tolerance: a difference divided by it must stay finite."""
MAX_DECIMALS = 17
"""A float64 holds no more significant digits."""
MAX_EPOCHS = 10_000_000
"""The records of one seed must fit into memory."""


def _of_a_size(value: float) -> float:
    if abs(value) > LARGEST:
        raise ValueError(f"must lie between {-LARGEST:g} and {LARGEST:g}, got {value:g}")
    return value


def _not_too_small(value: float) -> float:
    if value < SMALLEST:
        raise ValueError(f"must be at least {SMALLEST:g}, got {value:g}")
    return value


Number = Annotated[float, AfterValidator(_of_a_size)]
"""A number with which verdicts can calculate."""
PositiveNumber = Annotated[
    PositiveFloat, AfterValidator(_of_a_size), AfterValidator(_not_too_small)
]
"""The same, above 0."""
Decimals = Annotated[NonNegativeInt, Field(le=MAX_DECIMALS)]
"""How many digits stand after the decimal point."""
Epoch = Annotated[PositiveInt, Field(le=MAX_EPOCHS)]
"""An epoch, or how many a run has; counted from 1."""

Line = Annotated[str, Field(pattern=r"^\S(.*\S)?$")]
"""A name or title: one line, no blanks around it."""
Text = Annotated[str, Field(pattern=r"\S")]
"""A reason or a source: never left blank."""


class Frozen(BaseModel):
    """Base of the manifest's parts: immutable, and refuses the unknown."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", allow_inf_nan=False, use_attribute_docstrings=True
    )


class Basis(StrEnum):
    """How the value of a parameter is known."""

    STATED = "stated"
    INFERRED = "inferred"
    ASSUMED = "assumed"


class Sourced(Frozen, Generic[T]):
    """A value together with how it is known: exactly one of stated, inferred and assumed."""

    model_config = ConfigDict(
        json_schema_extra={"oneOf": [{"required": [basis.value]} for basis in Basis]}
    )

    value: T
    stated: Text | None = None
    """Where the paper says so."""
    inferred: Text | None = None
    """What it follows from, though the paper does not say so."""
    assumed: Text | None = None
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
