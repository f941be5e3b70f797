"""The manifest of one experiment: the run that a paper reports, its claims, its seeds.

It may also declare a search for `harness infer`: which parameters are searched for, on which rows.
Values that are found by a search agree with the searched rows because they were chosen to. So the
rows are declared before the search, and what it finds is judged by the other rows and by other
seeds.
"""

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    ConfigDict,
    Discriminator,
    Field,
    NonNegativeFloat,
    PositiveFloat,
    PositiveInt,
    Tag,
    ValidationInfo,
    field_validator,
    model_validator,
)

from harness.manifest.claims import (
    AnyClaim,
    BaseClaim,
    Claim,
    RowKey,
    Takeoff,
    by_interest,
)
from harness.manifest.fields import (
    MAX_EPOCHS,
    Epoch,
    Frozen,
    Line,
    Number,
    Seeds,
    Sourced,
    Text,
    of_format,
)
from harness.manifest.grid import Cell
from harness.record import Json
from harness.workload import Parameters, Workload


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


def _rows_shape(rows: object) -> str:
    return "<all>" if isinstance(rows, str) else "<epochs>"


SearchedRows = Annotated[
    Annotated[Literal["all"], Tag("<all>")]
    | Annotated[Annotated[tuple[Epoch, ...], Field(min_length=1)], Tag("<epochs>")],
    Discriminator(_rows_shape),
]
"""The epochs of a claim's rows, or `all`."""


class Search(Frozen):
    """A search for values of open parameters under which some of the reported numbers come out."""

    parameters: Annotated[Mapping[Line, Values], Field(min_length=1)]
    """The parameters to vary, none of them stated by the paper, and their values."""
    rows: Annotated[Mapping[Line, SearchedRows], Field(min_length=1)]
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
        elif not claim.compared or claim.members:
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


FORMAT = 1
"""Version of the manifest's format."""

IDENTIFIER = re.compile(r"[a-z0-9]+(-[a-z0-9]+)*")
"""An experiment's id, which is its file's name, must match this in full."""

Identifier = Annotated[str, Field(pattern=f"^{IDENTIFIER.pattern}$")]


class Paper(Frozen):
    """The paper that reports the values."""

    title: Line
    author: Line
    listing: Text
    """Which listing of the paper, in words; "none: WHY" for a run that the paper does not have."""
    command: Text
    """The command that the paper ran."""
    url: Line | None = None

    @property
    def own_run(self) -> str:
        """Why the run is ours and not the paper's, as a sentence; empty if it is the paper's."""
        first, _, why = self.listing.partition(":")
        if first.strip().lower() != "none":
            return ""
        why = why.strip().rstrip(".") or "the paper has no such run"
        return f"{why[0].upper()}{why[1:]}."


MAX_CORES = 10_000
MAX_GPUS = 1_000
"""A trial runs on one machine, and none has more."""


def _shareable(gpus: float) -> float:
    if gpus > 1 and not gpus.is_integer():
        raise ValueError(f"a fraction below 1, or a whole number of GPUs, got {gpus:g}")
    return gpus


class Resources(Frozen):
    """What one trial needs."""

    cpus: Annotated[PositiveFloat, Field(le=MAX_CORES)] = 1
    gpus: Annotated[NonNegativeFloat, Field(le=MAX_GPUS), AfterValidator(_shareable)] = 0
    """A fraction below 1 shares a GPU between trials; otherwise a whole number."""
    threads: Annotated[PositiveInt, Field(le=MAX_CORES)] = 1
    deadline_s: PositiveFloat | None = None
    """Timeout: after so many seconds without a new epoch a trial counts as lost and is retried.
    By default the run's `--deadline-s` holds."""


class Expected(Frozen):
    """Claims that are known not to hold, and why. If one passes after all, the run fails."""

    not_reproduced: Annotated[tuple[Line, ...], Field(min_length=1)]
    """Names of this manifest's claims."""
    reason: Text


TWIN = "twin"
"""The claim's name and kind in the row about a control's twin."""


def twin_row_name(experiment: str) -> str:
    """The printed name of the row about a control's twin."""
    return f"{experiment} takes off"


class Twin(Frozen):
    """The dependent run beside a control. It must learn with the control's seeds.

    Without it, a network that never learns would pass the control.
    """

    experiment: Identifier
    """The id of the dependent experiment."""
    metric: Line
    """The curve that must take off."""
    takeoff: Takeoff


LEAST_SHARE = 1e-6
"""Closer to 0 or 1, quantiles become infinite."""


def _decisive(share: float) -> float:
    """Check that the quantiles for this share are finite numbers."""
    if not LEAST_SHARE <= share <= 1 - LEAST_SHARE:
        raise ValueError(f"must lie between {LEAST_SHARE:g} and 1 - {LEAST_SHARE:g}, got {share!r}")
    return share


Share = Annotated[float, Field(gt=0, lt=1), AfterValidator(_decisive)]


class SecondStage(Frozen):
    """Seeds that may be added once, and the share of alpha that the second look uses.

    The manifest's own seeds are judged at level alpha (1 - share), all together at alpha share.
    """

    seeds: Seeds
    alpha_share: Share


def _rising(band: tuple[float, float]) -> tuple[float, float]:
    if band[0] >= band[1]:
        raise ValueError(f"the lower limit comes first, got {list(band)}")
    return band


Band = Annotated[tuple[Number, Number], AfterValidator(_rising)]


class Calibration(Frozen):
    """Bands for a verdict on one seed, as `harness calibrate` proposes them from a study."""

    seeds: Seeds
    """The seeds of the study."""
    records: Line
    """SHA-256 of the values that the bands were computed from."""
    coverage: Share
    """Share of runs that lie in every band at once."""
    confidence: Share
    """Confidence that the bands cover that share."""
    bands: Annotated[Mapping[Line, Band], Field(min_length=1)]
    """Lower and upper limit by the row's printed name ('late rows @ 20'), in the metric's unit."""


def _constant_shape(constant: object) -> str:
    return "<metrics>" if isinstance(constant, Mapping) else "<number>"


Constant = Annotated[
    Annotated[Number, Tag("<number>")]
    | Annotated[Annotated[Mapping[Line, Number], Field(min_length=1)], Tag("<metrics>")],
    Discriminator(_constant_shape),
]
"""One number, or a number for each metric that is named."""


class Rival(Frozen):
    """A variant that must not pass. A verdict that cannot reject it says little.

    Exactly one of `parameters`, `experiment` and `constant` says what the rival is.
    """

    name: Line
    reason: Text
    """Why it must not pass, or how it could be mistaken for the method."""
    parameters: Annotated[Mapping[Line, Any], Field(min_length=1)] | None = None
    """The workload's parameters that differ. Its trials are those of a study that varies them."""
    experiment: Identifier | None = None
    """The id of another manifest in the same folder, whose records are the rival's."""
    constant: Constant | None = None
    """A run that gives the same number at every epoch: one for all metrics that are estimated, or
    one for each metric that is named."""

    @model_validator(mode="after")
    def _one_source(self) -> "Rival":
        fields = ("parameters", "experiment", "constant")
        given = [name for name in fields if getattr(self, name) is not None]
        if len(given) != 1:
            got = " and ".join(given) or "none"
            raise ValueError(f"say one of parameters, experiment or constant, got {got}")
        return self


class WorkloadChoice(Frozen):
    """A workload and all of its parameters, each with its source.

    It may have more fields if the workload is one that the manifest completes
    (`harness.workload.Template`). The loader checks them.
    """

    model_config = ConfigDict(extra="allow")

    name: Line
    """One of the installed workloads."""
    parameters: Mapping[str, Sourced[Any]] = {}
    """Every parameter of the workload: there are no defaults. The workload gives the types."""


class Manifest(Frozen):
    """One experiment: one run that a paper reports, and every claim about it."""

    format: Annotated[int, of_format(FORMAT), Field(json_schema_extra={"const": FORMAT})]
    """Version of the manifest's format."""
    title: Line
    paper: Paper
    unit: Line | None = None
    """The unit of the reported numbers: 'bits', 'accuracy', '%'. A claim about a metric in another
    unit has that metric's unit, or states its own."""
    workload: WorkloadChoice
    epochs: Sourced[Epoch] = Sourced(value=1, inferred="only final estimates are reported")
    """How many the paper ran. It may be left out only if every metric is a final estimate."""
    seeds: Seeds
    """Written as `0-9`, as `0-2,5` or as a list."""
    resources: Resources = Resources()
    control: bool = False
    """Whether this is a control. If it fails, no other verdict on its paper counts."""
    deterministic: Literal[True] | None = None
    """True if the method draws no random numbers, so that every seed must give the same. Without
    it, seeds that all give the same numbers count as one run."""
    twin: Twin | None = None
    """Only for a control: the dependent run that must learn."""
    second_stage: SecondStage | None = None
    calibration: Calibration | None = None
    claims: Annotated[tuple[AnyClaim, ...], Field(min_length=1)]
    expected: Expected | None = None
    rivals: tuple[Rival, ...] = ()
    """Variants that must not pass. They change no verdict; they say what it could exclude."""
    search: Search | None = None
    """What `harness infer` varies, and on which rows. No verdict depends on it."""

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

    @field_validator("rivals")
    @classmethod
    def _named_apart(cls, rivals: tuple[Rival, ...]) -> tuple[Rival, ...]:
        names = [rival.name for rival in rivals]
        if twice := [name for name in names if names.count(name) > 1]:
            raise ValueError(f"two rivals are called {twice[0]}")
        return rivals

    @property
    def metrics(self) -> frozenset[str]:
        """The metrics that the claims are about."""
        return frozenset(claim.metric for claim in self.claims)

    def unit_of(self, metric: str) -> str:
        """The unit in which a metric is recorded."""
        named = (claim.unit for claim in self.claims if claim.metric == metric)
        return next(filter(None, named), self.unit or "")

    @property
    def main_unit(self) -> str:
        """The manifest's unit, or else that of the first claim."""
        return self.unit or self.unit_of(self.claims[0].metric)

    @property
    def headline(self) -> Claim | None:
        """The claim whose curve a reader looks at first; None if all values are final."""
        listed = [claim for claim in self.claims if claim.values.keys() - {None}]
        return min(listed, key=by_interest, default=None)

    def bands(self) -> dict[RowKey, tuple[float, float]]:
        """The calibrated bands by row; the file has them by the rows' printed names."""
        bands = self.calibration.bands if self.calibration else {}
        names = {key: name for claim in self.claims for key, name in claim.row_names().items()}
        return {key: bands[name] for key, name in names.items() if name in bands}


class Experiment(Frozen):
    """A manifest that was loaded from a file and checked against its workload."""

    model_config = ConfigDict(frozen=True, extra="forbid", arbitrary_types_allowed=True)

    id: str
    """The file's name without its ending, and the cell if the file is a grid."""
    path: Path
    digest: str
    """SHA-256 of the file's bytes; for a cell of a grid, of its own manifest."""
    manifest: Manifest
    parameters: Parameters
    """The workload's typed parameters; the manifest has their sources."""
    truths: Mapping[str, str] = {}
    """The workload's metrics that are known rather than estimated, each with its estimate."""
    converted: Mapping[str, str] = {}
    """By claim: the unit of its numbers in the file, if they were converted to the metric's."""
    completed: Any = None
    """The workload that the manifest itself describes; None if it only names an installed one."""
    varied: tuple[str, ...] = ()
    """What a study changed, each as an argument of --vary; usually nothing."""
    cell: Cell | None = None
    """The place in the grid, if the file is one."""
    tables: tuple[str, ...] = ()
    """The tables that the file reads, relative to its folder."""
    warnings: tuple[str, ...] = ()
    """What is no fault and yet deserves a look, each with file and line."""
    compares: str = ""
    """The grid between whose cells the claims are. Such an experiment has no trials of its own."""

    @property
    def group(self) -> str:
        """The id of what readers see as one: the grid of a cell, or the experiment itself."""
        return self.cell.grid if self.cell else self.compares or self.id

    @property
    def place(self) -> str:
        """Which part of its group the experiment is: '1*64, none'; empty if it is the whole."""
        if self.cell:
            return ", ".join(self.cell.labels.values())
        return "between cells" if self.compares else ""

    @property
    def argument(self) -> str:
        """The experiment as commands take it: the file, and the cell in brackets."""
        return f"{self.path}[{self.cell.name}]" if self.cell else str(self.path)

    def workload(self, registry: Mapping[str, Workload]) -> Workload:
        """Return the experiment's workload: its own, or the installed one that it names."""
        completed: Workload | None = self.completed
        return completed or registry[self.manifest.workload.name]

    def command(self, name: str) -> list[str]:
        """The words of a command on this experiment, or of `study` if a study changed it."""
        if not self.varied:
            return ["harness", name, self.argument]
        options = [word for option in self.varied for word in ("--vary", option)]
        grid = ["--grid"] if len(self.varied) > 1 else []
        return ["harness", "study", self.argument, *options, *grid]
