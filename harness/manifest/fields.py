"""Types of a manifest's fields: frozen models, sourced values, bounded numbers and seeds."""

import re
from collections.abc import Iterable
from enum import StrEnum
from typing import Annotated, Generic, TypeVar
from unicodedata import category

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
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


def of_a_size(value: float) -> float:
    """Check that verdicts can calculate with a number.

    Raises:
        ValueError: it is too large.
    """
    if abs(value) > LARGEST:
        raise ValueError(f"must lie between {-LARGEST:g} and {LARGEST:g}, got {value:g}")
    return value


def _not_too_small(value: float) -> float:
    if value < SMALLEST:
        raise ValueError(f"must be at least {SMALLEST:g}, got {value:g}")
    return value


Number = Annotated[float, AfterValidator(of_a_size)]
"""A number that verdicts can calculate with."""
PositiveNumber = Annotated[PositiveFloat, AfterValidator(of_a_size), AfterValidator(_not_too_small)]
"""A positive number that verdicts can divide by."""
Decimals = Annotated[NonNegativeInt, Field(le=MAX_DECIMALS)]
"""A number of digits after the decimal point."""
Epoch = Annotated[PositiveInt, Field(le=MAX_EPOCHS)]
"""An epoch, counted from 1, or a number of epochs."""

_FILLERS = "\u115f\u1160\u2800\u3164\uffa0"
"""Characters that Unicode counts among letters and symbols and that are drawn as blanks."""


def _visible(text: str) -> str:
    if not any(category(char)[0] in "LNPS" and char not in _FILLERS for char in text):
        raise ValueError("must not be empty: no character of it is visible")
    return text


Line = Annotated[str, Field(pattern=r"^\S(.*\S)?$"), AfterValidator(_visible)]
"""A name or title: one line without blanks around it."""
Text = Annotated[str, Field(pattern=r"\S"), AfterValidator(_visible)]
"""A reason or a source; it must not be blank."""


def of_format(known: int) -> AfterValidator:
    """Return a check that a file's `format` is the version that this harness reads."""

    def check(version: int) -> int:
        if version != known:
            raise ValueError(f"format {version} is unknown; this harness reads format {known}")
        return version

    return AfterValidator(check)


class Frozen(BaseModel):
    """Base of the manifest's parts: immutable, and refuses unknown fields."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", allow_inf_nan=False, use_attribute_docstrings=True
    )


class Basis(StrEnum):
    """How the value of a parameter is known."""

    STATED = "stated"
    INFERRED = "inferred"
    ASSUMED = "assumed"


class Sourced(Frozen, Generic[T]):
    """A value and how it is known: exactly one of stated, inferred and assumed."""

    model_config = ConfigDict(
        json_schema_extra={"oneOf": [{"required": [basis.value]} for basis in Basis]}
    )

    value: T
    stated: Text | None = None
    """Where the paper states it."""
    inferred: Text | None = None
    """What it follows from, although the paper does not state it."""
    assumed: Text | None = None
    """Why this value was chosen, if the paper leaves it open."""

    @property
    def basis(self) -> Basis:
        """How the value is known."""
        return next(basis for basis in Basis if getattr(self, basis) is not None)

    @property
    def why(self) -> str:
        """The text beside `stated`, `inferred` or `assumed`."""
        return str(getattr(self, self.basis))

    @model_validator(mode="after")
    def _one_basis(self) -> "Sourced[T]":
        given = [basis for basis in Basis if getattr(self, basis) is not None]
        if len(given) != 1:
            got = " and ".join(given) or "none"
            raise ValueError(f"say one of stated, inferred or assumed, got {got}")
        return self


LIMIT = 2**32
"""Seeds are below this, because every generator accepts such seeds."""
MAX_SEEDS = 1_000_000
PATTERN = r"^\s*[0-9]+(-[0-9]+)?(\s*,\s*[0-9]+(-[0-9]+)?)*\s*$"

_RANGE = re.compile(r"([0-9]{1,40})(?:-([0-9]{1,40}))?")


def parse_seeds(text: str) -> tuple[int, ...]:
    """Read seeds as people write them: in order, each once.

    >>> parse_seeds("0-2,5")
    (0, 1, 2, 5)

    Raises:
        ValueError: the text names no seeds; the message says why in one line.
    """
    seeds: set[int] = set()
    for part in text.split(","):
        match = _RANGE.fullmatch(part.strip())
        if match is None:
            raise ValueError(f"seeds are written as 0-9 or 0-2,5, got {text[:40]!a}")
        first, last = int(match[1]), int(match[2] or match[1])
        if last < first:
            raise ValueError(f"a range of seeds must rise, got {part.strip()}")
        check_seeds((first, last))
        if len(seeds) + last - first >= MAX_SEEDS:
            raise ValueError(f"at most {MAX_SEEDS} seeds, got {text[:40]!a}")
        seeds.update(range(first, last + 1))
    return tuple(sorted(seeds))


def check_seeds(seeds: Iterable[int]) -> None:
    """Refuse seeds that no generator takes.

    Raises:
        ValueError: a seed is outside the bounds; the message names them.
    """
    for seed in seeds:
        if not 0 <= seed < LIMIT:
            raise ValueError(f"seeds lie between 0 and {LIMIT - 1}, got {seed}")


def _listed(seeds: object) -> object:
    if isinstance(seeds, str):
        return parse_seeds(seeds)
    if isinstance(seeds, list | tuple):
        return tuple(seeds)
    if seeds is None:
        raise ValueError("left blank: must be a list, or a range such as 0-9")
    hint = f"; write [{seeds}]" if type(seeds) is int else ""
    raise ValueError(f"must be a list, or a range such as 0-9, got {str(seeds)[:40]}{hint}")


def _ordered(seeds: tuple[int, ...]) -> tuple[int, ...]:
    return tuple(sorted(set(seeds)))


Seed = Annotated[NonNegativeInt, Field(lt=LIMIT)]
Seeds = Annotated[
    tuple[Seed, ...],
    Field(min_length=1),
    BeforeValidator(
        _listed, json_schema_input_type=Annotated[str, Field(pattern=PATTERN)] | tuple[Seed, ...]
    ),
    AfterValidator(_ordered),
]
"""A manifest's seeds, however they are written: in order, each once."""


def spell(numbers: Iterable[int]) -> str:
    """Write seeds as the command line reads them.

    >>> spell([0, 1, 2, 5])
    '0-2,5'
    """
    runs: list[list[int]] = []
    for number in sorted(set(numbers)):
        if runs and number == runs[-1][-1] + 1:
            runs[-1][1:] = [number]
        else:
            runs.append([number])
    return ",".join("-".join(map(str, run)) for run in runs)


def of_seeds(seeds: Iterable[int]) -> str:
    """Name seeds in a sentence: 'seed 3', or 'seeds 0-2,5'."""
    named = sorted(set(seeds))
    return f"seed{'s' if len(named) != 1 else ''} {spell(named)}"
