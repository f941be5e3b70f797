"""What a manifest is made of: frozen models, and values that say how they are known."""

from enum import StrEnum
from typing import Annotated, Generic, TypeVar

from pydantic import BaseModel, ConfigDict, Field, model_validator

T = TypeVar("T")

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
