"""What a manifest declares for `harness infer`: which parameters are searched for, on which rows.

Values that are found by a search agree with the searched rows because they were chosen to. So the
rows are declared before the search, and what it finds is judged by the other rows and by other
seeds.
"""

from collections.abc import Iterator, Mapping
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    Discriminator,
    Field,
    PositiveInt,
    Tag,
    ValidationInfo,
    field_validator,
)

from harness.manifest.claims import BaseClaim, CombinedClaim, ComparedClaim
from harness.manifest.fields import MAX_EPOCHS, Epoch, Frozen, Line, Number, Seeds
from harness.record import Json


class Range(Frozen):
    """Every number between two limits; whole numbers for a parameter that is one."""

    low: Number
    high: Number
    log: bool = False
    """Whether equal ratios count as equal steps, as for a learning rate."""

    @field_validator("high")
    @classmethod
    def _above(cls, high: float, info: ValidationInfo) -> float:
        if high <= info.data.get("low", -float("inf")):
            raise ValueError(f"must be larger than low, {info.data['low']:g}")
        return high

    @field_validator("log")
    @classmethod
    def _of_positive_numbers(cls, log: bool, info: ValidationInfo) -> bool:
        if log and info.data.get("low", 1) <= 0:
            raise ValueError("only a range of positive numbers can be logarithmic")
        return log


class Choices(Frozen):
    """Some values to choose from."""

    choices: Annotated[tuple[Any, ...], Field(min_length=2)]


def _shape(values: object) -> str:
    given = isinstance(values, Mapping) and "choices" in values
    return "<choices>" if given or isinstance(values, Choices) else "<range>"


Values = Annotated[
    Annotated[Range, Tag("<range>")] | Annotated[Choices, Tag("<choices>")], Discriminator(_shape)
]
"""The values that a parameter may have."""


def _several(seeds: tuple[int, ...]) -> tuple[int, ...]:
    if len(seeds) < 2:
        raise ValueError("at least two, because one seed shows nothing of the run-to-run noise")
    return seeds


class Search(Frozen):
    """A search for values of open parameters under which some of the reported numbers come out."""

    parameters: Annotated[Mapping[Line, Values], Field(min_length=1)]
    """The parameters to vary, none of them stated by the paper, and their values."""
    rows: Annotated[
        Mapping[Line, Literal["all"] | Annotated[tuple[Epoch, ...], Field(min_length=1)]],
        Field(min_length=1),
    ]
    """The rows to search on, by claim: their epochs, or `all`. The others are held out."""
    epochs: Epoch
    """How many epochs each setting runs."""
    seeds: Annotated[Seeds, AfterValidator(_several)]
    """The seeds of each setting. None of them judges what is found."""
    rungs: tuple[Epoch, ...] = ()
    """After these epochs of the first seed a setting that is worse than most before it stops."""
    at_once: PositiveInt = 1
    """How many settings run side by side. Another number makes another search."""

    @field_validator("rungs")
    @classmethod
    def _before_the_end(cls, rungs: tuple[int, ...], info: ValidationInfo) -> tuple[int, ...]:
        ends = [*rungs, info.data.get("epochs", MAX_EPOCHS + 1)]
        if ends != sorted(set(ends)):
            raise ValueError("must rise, and end before the search's epochs")
        return rungs

    def searched(self, claim: BaseClaim) -> frozenset[int | None]:
        """The epochs of a claim's searched rows; None stands for a row without an epoch."""
        rows = self.rows.get(claim.name, ())
        if rows == "all":
            return frozenset(number.epoch for number in claim.numbers())
        return frozenset(rows)

    def faults(
        self,
        claims: Mapping[str, BaseClaim],
        bases: Mapping[str, str],
        own: Mapping[str, Json],
        seeds: tuple[int, ...],
        epochs: int,
    ) -> Iterator[tuple[tuple[str | int, ...], str]]:
        """Yield each fault of the section in its manifest: the place in the section and the reason.

        Args:
            claims: the manifest's claims by name.
            bases: whether each parameter is stated, inferred or assumed.
            own: the parameters' values as the workload reads them; empty if it cannot.
            seeds: the manifest's seeds.
            epochs: the manifest's number of epochs.
        """
        for name, values in self.parameters.items():
            if bases.get(name, "stated") == "stated":
                known = "the paper states it" if name in bases else "the manifest gives no such one"
                yield ("parameters", name), f"{known}; only open parameters can be searched for"
            elif name in own and (fault := _unfit(own[name], values)):
                yield ("parameters", name), fault
        if both := set(seeds) & set(self.seeds):
            yield (
                ("seeds",),
                f"seed {min(both)} is one of the manifest's, which must judge what is found",
            )
        if self.epochs > epochs:
            yield ("epochs",), f"beyond the run of {epochs} epochs"
        for name in self.rows:
            for fault in self._faults_of_rows(claims.get(name), epochs):
                yield ("rows", name), fault
        held_out = [
            number
            for claim in claims.values()
            for number in claim.numbers()
            if number.epoch not in self.searched(claim)
        ]
        if not held_out:
            yield ("rows",), "every row is searched on, so that none is left to judge by"

    def _faults_of_rows(self, claim: BaseClaim | None, epochs: int) -> Iterator[str]:
        if claim is None:
            yield "no claim has this name"
        elif not isinstance(claim, ComparedClaim) or isinstance(claim, CombinedClaim):
            yield f"rows of kind {claim.kind} cannot be searched on"
        elif unknown := self.searched(claim) - {number.epoch for number in claim.numbers()}:
            yield f"no row {min(map(str, unknown))} is reported"
        elif late := [epoch for epoch in self.searched(claim) if (epoch or 0) > self.epochs]:
            yield f"row {min(late, key=str)} lies beyond the search's {self.epochs} epochs"
        elif not claim.every_epoch and self.epochs < epochs:
            yield f"a final estimate needs all {epochs} epochs"


def _unfit(own: Json, values: Range | Choices) -> str:
    """Say why a parameter with this value cannot have such values; empty if it can."""
    if isinstance(values, Choices):
        simple = all(isinstance(choice, str | int | float) for choice in values.choices)
        return "" if simple else "choices must be text, numbers, true or false"
    if isinstance(own, bool) or not isinstance(own, int | float):
        return f"a range is for numbers, and the manifest has {own!r}; list choices instead"
    if isinstance(own, int) and not (values.low.is_integer() and values.high.is_integer()):
        return f"the manifest has the whole number {own}, so low and high must be whole too"
    return ""


def held_out(claim: BaseClaim, search: Search) -> Json:
    """The claim with only the rows that are held out, as a manifest has it; None if none is."""
    searched = search.searched(claim)
    plain = claim.model_dump(mode="json")
    if not searched:
        return plain
    kept = {str(n.epoch): n.value for n in claim.numbers() if n.epoch not in searched}
    if not kept:
        return None
    plain["reported"] = kept
    if plain.get("registered"):
        rows = [row for row in plain["registered"]["rows"] if row not in searched]
        plain["registered"] = plain["registered"] | {"rows": rows} if rows else None
    return plain
