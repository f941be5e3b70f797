"""Seeds as people write them: `0-9`, or `0-2,5`."""

import re
from typing import Annotated

from pydantic import AfterValidator, BeforeValidator, Field, NonNegativeInt

LIMIT = 2**32
"""Seeds are below this: what every generator takes."""
MAX_SEEDS = 1_000_000
PATTERN = r"^\s*[0-9]+(-[0-9]+)?(\s*,\s*[0-9]+(-[0-9]+)?)*\s*$"

_RANGE = re.compile(r"([0-9]{1,10})(?:-([0-9]{1,10}))?")


def parse_seeds(text: str) -> tuple[int, ...]:
    """The seeds that `text` names, in order, each once.

    >>> parse_seeds("0-2,5")
    (0, 1, 2, 5)

    Raises:
        ValueError: what is wrong with it, in a line.
    """
    seeds: set[int] = set()
    for part in text.split(","):
        match = _RANGE.fullmatch(part.strip())
        if match is None:
            raise ValueError(f"seeds are written as 0-9 or 0-2,5, got {text[:40]!a}")
        first, last = int(match[1]), int(match[2] or match[1])
        if last < first:
            raise ValueError(f"a range of seeds must rise, got {part.strip()}")
        if last >= LIMIT:
            raise ValueError(f"seeds lie between 0 and {LIMIT - 1}, got {last}")
        if len(seeds) + last - first >= MAX_SEEDS:
            raise ValueError(f"at most {MAX_SEEDS} seeds, got {text[:40]!a}")
        seeds.update(range(first, last + 1))
    return tuple(sorted(seeds))


def _listed(seeds: object) -> object:
    if isinstance(seeds, str):
        return parse_seeds(seeds)
    if isinstance(seeds, list | tuple):
        return tuple(seeds)
    hint = f"; write [{seeds}]" if isinstance(seeds, int) else ""
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
