"""The manifest of one experiment: the run that a paper reports, its claims, its seeds."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    ConfigDict,
    Field,
    NonNegativeFloat,
    PositiveFloat,
    PositiveInt,
    ValidationInfo,
    field_validator,
    model_validator,
)

from harness.manifest.claims import AnyClaim, Claim, RowKey, Takeoff, by_interest
from harness.manifest.fields import Epoch, Frozen, Line, Number, Seeds, Sourced, Text
from harness.manifest.grid import Cell
from harness.manifest.search import Search
from harness.workload import Parameters, Workload

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
    constant: Number | Annotated[Mapping[Line, Number], Field(min_length=1)] | None = None
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


def _supported(version: int) -> int:
    if version != FORMAT:
        raise ValueError(f"format {version} is unknown; this harness reads format {FORMAT}")
    return version


class Manifest(Frozen):
    """One experiment: one run that a paper reports, and every claim about it."""

    format: Annotated[int, AfterValidator(_supported), Field(json_schema_extra={"const": FORMAT})]
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
