"""The kinds of claims: everything that the harness knows of a kind before it looks at any seed.

One class holds one kind: its fields, unit, rows, tolerance and rounding, and how reports draw it.
No other module asks which kind a claim is. How the seeds are judged by a claim stands in
`harness.verdict.kinds`, which has one rule for each class here.
"""

import re
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from math import sqrt
from statistics import fmean, pstdev, stdev
from typing import Annotated, Any, ClassVar, Literal, NamedTuple, cast, get_args

from pydantic import (
    AfterValidator,
    ConfigDict,
    Discriminator,
    Field,
    GetCoreSchemaHandler,
    NonNegativeFloat,
    PositiveInt,
    Tag,
    ValidationInfo,
    field_validator,
)
from pydantic_core import CoreSchema

from harness.errors import regular_expression
from harness.manifest.fields import (
    Decimals,
    Epoch,
    Frozen,
    Line,
    Number,
    PositiveNumber,
    Text,
    of_a_size,
)
from harness.record import Environment, Json

NamePattern = Annotated[Text, AfterValidator(regular_expression)]
"""A name, or a regular expression that matches all of it."""


class Hardware(Frozen):
    """The hardware on which the paper measured a time or a size of memory."""

    cpu: NamePattern | None = None
    """The CPU's model as trials record it: the model name in Linux's /proc/cpuinfo."""
    gpu: NamePattern | None = None
    """The GPU's model as trials record it: 'NVIDIA H100.*'. Without it, only trials that ran on the
    CPU count."""

    @field_validator("gpu")
    @classmethod
    def _something(cls, gpu: str | None, info: ValidationInfo) -> str | None:
        if gpu is None and info.data.get("cpu", "") is None:
            raise ValueError("name the cpu, the gpu or both")
        return gpu

    model_config = ConfigDict(validate_default=True)

    def fits(self, environment: Environment) -> bool:
        """Whether a trial ran on this hardware."""
        if self.gpu is None and environment.device != "cpu":
            return False
        gpu = environment.hardware.get("gpu", environment.device)
        return _fits(self.gpu, gpu) and _fits(self.cpu, environment.hardware.get("cpu", ""))

    def __str__(self) -> str:
        return ", ".join(filter(None, (self.gpu, self.cpu)))


def _fits(pattern: str | None, name: str) -> bool:
    return pattern is None or pattern == name or re.fullmatch(pattern, name) is not None


class Tolerance(Frozen):
    """Half-width of the agreement band, in the claim's unit, and the reason for it."""

    value: PositiveNumber
    reason: Text

    def around(self, reported: float) -> float:
        """The half-width around a reported value."""
        return self.value


class RelativeTolerance(Frozen):
    """Half-width of the agreement band as a share of each reported value, and the reason for it."""

    relative: PositiveNumber
    reason: Text

    def around(self, reported: float) -> float:
        """The half-width around a reported value."""
        return self.relative * abs(reported)


def _tolerance_shape(tolerance: object) -> str:
    given = isinstance(tolerance, Mapping) and "relative" in tolerance
    return "<relative>" if given or isinstance(tolerance, RelativeTolerance) else "<value>"


AnyTolerance = Annotated[
    Annotated[Tolerance, Tag("<value>")] | Annotated[RelativeTolerance, Tag("<relative>")],
    Discriminator(_tolerance_shape),
]
"""A tolerance in the claim's unit, or as a share of the reported value."""


class SpreadLimit(Frozen):
    """The largest standard deviation over the seeds that is allowed, in the claim's unit, and why.

    A claim fails if the SD is shown to be larger. It is inconclusive if the SD may be larger.
    """

    value: PositiveNumber
    reason: Text


class Takeoff(Frozen):
    """Where a curve leaves its plateau: the first crossing of `threshold`, in the metric's unit."""

    threshold: PositiveNumber
    reason: Text


Rows = Annotated[Mapping[Epoch, Number], Field(min_length=1)]
"""Reported values by epoch, as printed."""


class Registered(Frozen):
    """The few rows that carry most of the test for consistency where seeds are few.

    They are chosen before the run. By default they are at most four, spaced evenly over the rows.
    """

    rows: Annotated[tuple[Epoch, ...], Field(min_length=1, max_length=4)]
    reason: Text


MAX_RUNS = 1_000_000
"""More runs than this no paper averages."""


def _shape(reported: object) -> str:
    return "<rows>" if isinstance(reported, Mapping) else "<number>"


# The tags make pydantic report the faults of the shape that was meant, and not those of both.
Reported = Annotated[
    Annotated[Rows, Tag("<rows>")] | Annotated[Number, Tag("<number>")], Discriminator(_shape)
]
"""Rows for a metric recorded every epoch, one number for a final one."""


class MeanAndSd(Frozen):
    """Mean and standard deviation over several runs, as a table prints them."""

    mean: Number
    sd: Annotated[NonNegativeFloat, AfterValidator(of_a_size)]
    """As printed."""
    runs: Annotated[int, Field(ge=2, le=MAX_RUNS)]
    """How many runs they are computed from."""
    ddof: Literal[0, 1]
    """0 if the printed SD divides by the number of runs n (NumPy's default), 1 if it divides by
    n - 1 (that of pandas and R)."""

    @property
    def printed(self) -> tuple[float, ...]:
        """The numbers that the paper prints."""
        return self.mean, self.sd

    @property
    def unbiased_sd(self) -> float:
        """The SD that divides by n - 1."""
        return self.sd if self.ddof else self.sd * sqrt(self.runs / (self.runs - 1))

    @property
    def known_values(self) -> tuple[float, ...] | None:
        """The values of all runs: an SD of 0 says that they are equal; else they are not known."""
        return None if self.sd else (self.mean,) * self.runs


class AllValues(Frozen):
    """The value of every run."""

    values: Annotated[tuple[Number, ...], Field(min_length=2, max_length=MAX_RUNS)]

    @property
    def printed(self) -> tuple[float, ...]:
        """The numbers that the paper prints."""
        return self.values

    @property
    def mean(self) -> float:
        """The mean over the runs."""
        return fmean(self.values)

    @property
    def runs(self) -> int:
        """How many runs there are."""
        return len(self.values)

    @property
    def unbiased_sd(self) -> float:
        """The SD that divides by n - 1."""
        return stdev(self.values)

    @property
    def known_values(self) -> tuple[float, ...] | None:
        """The values of all runs."""
        return self.values


def _sample_shape(reported: object) -> str:
    given = isinstance(reported, Mapping) and "values" in reported
    return "<values>" if given or isinstance(reported, AllValues) else "<summary>"


ReportedSample = Annotated[
    Annotated[MeanAndSd, Tag("<summary>")] | Annotated[AllValues, Tag("<values>")],
    Discriminator(_sample_shape),
]
"""Several runs of the paper's: mean and SD, or all values."""


class RowKey(NamedTuple):
    """Identifies a row within an experiment. Printed names are for people only."""

    claim: str
    """The claim's name, which is unique in its manifest."""
    epoch: int | None
    """None for a final estimate, and for a row about all epochs together."""


@dataclass(frozen=True, slots=True)
class ReportedNumber:
    """One number that the paper reports: a row of its claim, not compared with any seed yet."""

    key: RowKey
    name: str
    """As reports print it: 'late rows @ 20'."""
    value: float
    tolerance: float
    half_unit: float = 0.0
    """Half a unit of the last printed digit: a difference below it is only rounding."""

    @property
    def epoch(self) -> int | None:
        """The epoch at which the paper reports the number."""
        return self.key.epoch


Members = Annotated[tuple[Line, ...], Field(min_length=1)]
"""Ids of experiments. A grid writes them as labels: `{shape: 1*64, mode: [full, hidden]}`."""


class BaseClaim(Frozen, ABC):
    """What every kind of claim has, and what it must tell the rest of the harness."""

    kind: str
    name: Line
    """Unique in its manifest."""
    metric: Line
    """One of the workload's metrics."""
    source: Text
    """Where the paper says so: the listing and the column or line."""
    unit: Line | None = None
    """The unit of the reported numbers. It is needed only if it is not the metric's own: '%' of a
    metric that is recorded as a fraction."""
    hardware: Hardware | None = None
    """Of a claim about `seconds` or `peak_memory_mib`: it is judged only by trials that ran on this
    hardware."""
    reduce: Literal["max", "min", "last", "mean"] | None = None
    """Makes one number of a metric that is recorded every epoch. The best epoch is the `max` of an
    accuracy and the `min` of a loss."""

    needs_every_epoch: ClassVar[bool] = False
    """Whether the kind makes sense only for a metric that is recorded after every epoch."""
    compared: ClassVar[bool] = False
    """Whether the reported values are compared with the seeds by statistical tests."""
    exact: ClassVar[bool] = False
    """Whether values must be equal, so that the tolerance only shows how they are rounded."""
    of_every_seed: ClassVar[bool] = False
    """Whether it must hold in every seed, so that their number does not matter."""
    estimate: ClassVar[bool] = True
    """Whether the values are estimates, which a reader asks for first; not truths or epochs."""
    counted_in: ClassVar[str] = ""
    """The unit of what the claim reports, if that is not a value of the metric: 'epochs'."""
    one_number: ClassVar[bool] = False
    """Whether the kind is always about one number for each seed, and not about epochs."""

    @field_validator("decimals", "reported", check_fields=False)
    @classmethod
    def _printed_so(cls, value: Any, info: ValidationInfo) -> Any:
        """No reported value has more decimals than the paper prints."""
        given = {**info.data, str(info.field_name): value}
        decimals, reported = given.get("decimals"), given.get("reported")
        if decimals is None or reported is None:
            return value
        for number in _printed(reported):
            if _decimals(number) > decimals:
                raise ValueError(f"{number!r} has more decimals than the {decimals} of `decimals`")
        return value

    @classmethod
    def kind_name(cls) -> str:
        """The kind as manifests write it."""
        (name,) = get_args(cls.model_fields["kind"].annotation)
        return str(name)

    @classmethod
    def between_cells(cls) -> bool:
        """Whether the kind compares cells of a grid, so that it stands under `comparisons`."""
        return bool(cls.model_fields.keys() & SETS)

    @property
    @abstractmethod
    def values(self) -> Mapping[int | None, float]:
        """The metric's values that the paper reports, by epoch; None stands for the final one.

        Empty if the paper reports no value of the metric itself (but an epoch, say).
        """

    @property
    @abstractmethod
    def margin(self) -> float:
        """How far off a value may be, in the claim's unit."""

    @property
    def half_unit(self) -> float:
        """Half a unit of the last printed digit; 0 if no `decimals` say how many are printed."""
        decimals: int | None = getattr(self, "decimals", None)  # not every kind has the field
        return 0.0 if decimals is None else _half_unit(decimals)

    @property
    def series(self) -> str:
        """The name of what the claim reads: its metric, or what `reduce` makes of it."""
        return f"{self.reduce} of {self.metric}" if self.reduce else self.metric

    def margin_at(self, value: float) -> float:
        """How far off a value may be from this reported one, in the claim's unit."""
        return self.margin

    @property
    def every_epoch(self) -> bool:
        """Whether the claim is about values of every epoch, and not about the final estimate."""
        return self.needs_every_epoch or None not in self.values

    @property
    def line_up_at(self) -> float | None:
        """The threshold at whose crossing curves are lined up before they are compared."""
        return None

    @property
    def crossing(self) -> float | None:
        """The threshold whose crossing is what the claim reports; None for all other kinds."""
        return None

    @property
    def counts_epochs(self) -> bool:
        """Whether the reported number is an epoch, and not a value of the metric."""
        return self.counted_in == "epochs"

    def numbers(self) -> tuple[ReportedNumber, ...]:
        """The reported numbers, in the order of their epochs: one for each row."""
        return tuple(
            self._number(epoch, value)
            for epoch, value in sorted(self.values.items(), key=lambda row: row[0] or 0)
        )

    @property
    def averaged(self) -> int:
        """How many runs the paper averages in each value."""
        return 1

    @property
    def reported_sd(self) -> float | None:
        """The SD of the paper's runs, divided by n - 1; None if the paper does not report it."""
        return None

    @property
    def reported_runs(self) -> tuple[float, ...]:
        """The values of the paper's single runs, if the paper reports them."""
        return ()

    def reporting(self, runs: Mapping[int | None, Sequence[float]], decimals: int) -> Json:
        """The claim's `reported` in a manifest whose paper made these runs instead.

        Args:
            runs: the values of `averaged` runs by epoch, for every epoch of `self.values`.
            decimals: how many the paper prints.
        """
        means = {epoch: round(fmean(values), decimals) for epoch, values in runs.items()}
        if None in means:
            return means[None]
        return {str(epoch): mean for epoch, mean in means.items()}

    def row_names(self) -> dict[RowKey, str]:
        """The printed name of every row that the verdict has, by its key."""
        return {number.key: number.name for number in self.numbers()}

    def reference(self, last_epoch: int) -> Mapping[int, float]:
        """The curve that MLflow draws for the paper; a final estimate stands at the last epoch."""
        return {epoch or last_epoch: value for epoch, value in self.values.items()}

    @property
    def sides(self) -> tuple[int, ...]:
        """The sides on which MLflow draws the tolerance of a reported value: -1 below, 1 above.

        Empty for exact values, and for a curve that is compared only after a shift.
        """
        return () if self.exact or self.line_up_at is not None else (-1, 1)

    @property
    def limits_of_runs(self) -> tuple[float, ...]:
        """The limits that the claim sets for every single run, in the metric's unit."""
        return ()

    @property
    def members(self) -> tuple[Members, ...]:
        """The sets of experiments that the claim compares; empty if it is about its own."""
        return ()

    def _number(self, epoch: int | None, value: float) -> ReportedNumber:
        name = self.name if epoch is None else f"{self.name} @ {epoch}"
        margin = self.margin_at(value)
        return ReportedNumber(RowKey(self.name, epoch), name, value, margin, self.half_unit)


def _by_epoch(reported: Mapping[int, float] | float) -> Mapping[int | None, float]:
    return dict(reported.items()) if isinstance(reported, Mapping) else {None: reported}


def _printed(reported: object) -> Iterable[float]:
    """The numbers of a claim's `reported`."""
    if isinstance(reported, MeanAndSd | AllValues):
        return reported.printed
    return _by_epoch(cast(float, reported)).values()


def _not_relative(reported: object, tolerance: object) -> object:
    """Check that a relative tolerance has something to be relative to."""
    if isinstance(tolerance, RelativeTolerance) and reported is not None:
        middle = [reported.mean] if isinstance(reported, MeanAndSd | AllValues) else None
        if 0.0 in (middle or _printed(reported)):
            raise ValueError("a tolerance relative to 0 allows nothing; give its value")
    return reported


def _decimals(number: float) -> int:
    """How many decimals a number needs.

    >>> _decimals(0.25), _decimals(3.0), _decimals(1e-5)
    (2, 0, 5)
    """
    return max(0, -int(Decimal(repr(float(number))).normalize().as_tuple().exponent))


def _half_unit(decimals: int) -> float:
    return 0.5 * 10.0**-decimals


class ExactClaim(BaseClaim):
    """Values that must agree to the last printed decimal in every seed."""

    kind: Literal["exact"]
    reported: Reported
    decimals: Decimals
    """How many the paper prints."""

    exact: ClassVar[bool] = True
    of_every_seed: ClassVar[bool] = True
    estimate: ClassVar[bool] = False

    @property
    def values(self) -> Mapping[int | None, float]:
        """Every reported value."""
        return _by_epoch(self.reported)

    @property
    def margin(self) -> float:
        """Half a unit of the last printed digit, for the reader: equality decides."""
        return self.half_unit


class _WithTolerance(BaseClaim, ABC):
    """What the claims share that have a tolerance."""

    tolerance: AnyTolerance

    @field_validator("reported", check_fields=False)
    @classmethod
    def _not_relative_to_zero(cls, reported: Any, info: ValidationInfo) -> Any:
        return _not_relative(reported, info.data.get("tolerance"))

    @field_validator("tolerance")
    @classmethod
    def _relative_to_something(cls, tolerance: Any, info: ValidationInfo) -> Any:
        _not_relative(info.data.get("reported"), tolerance)
        return tolerance

    @property
    def margin(self) -> float:
        """The tolerance; the largest, if it is relative to several values."""
        return max(map(self.margin_at, self._compared_with()))

    def margin_at(self, value: float) -> float:
        """The tolerance around a reported value."""
        return self.tolerance.around(value)

    def _compared_with(self) -> Iterable[float]:
        return self.values.values()


class ToleratedClaim(_WithTolerance, ABC):
    """What the claims share whose mean over the seeds is compared with a reported number."""

    decimals: Decimals | None = None
    """How many the paper prints: half a unit of the last does not count as a difference."""
    largest_spread: SpreadLimit | None = None

    @field_validator("decimals")
    @classmethod
    def _rounded_within(cls, decimals: int | None, info: ValidationInfo) -> int | None:
        """Rounding as the paper rounds must not move a value by more than the tolerance."""
        tolerance, reported = info.data.get("tolerance"), info.data.get("reported")
        if decimals is None or tolerance is None:
            return decimals
        numbers = [1.0] if reported is None else _printed(reported)
        least = min(map(tolerance.around, numbers))
        if least >= _half_unit(decimals):
            return decimals
        raise ValueError(
            f"half a unit of decimal {decimals} is {_half_unit(decimals):g}, more than the "
            f"tolerance {least:g}; raise the tolerance, or use kind exact"
        )


class ComparedClaim(ToleratedClaim, ABC):
    """What the claims share whose values are compared with the seeds as one more run of them."""

    runs: Annotated[PositiveInt, Field(le=MAX_RUNS)] = 1
    """How many runs the paper averages in each value."""

    compared: ClassVar[bool] = True

    @property
    def averaged(self) -> int:
        """`runs`."""
        return self.runs

    @property
    def registered_epochs(self) -> tuple[int, ...] | None:
        """The epochs that the manifest registers; None if it leaves the choice to the default."""
        return None


class ListedClaim(ComparedClaim, ABC):
    """Compared values that the paper lists: rows, or one final number."""

    reported: Reported
    registered: Registered | None = None

    @property
    def values(self) -> Mapping[int | None, float]:
        """Every reported value."""
        return _by_epoch(self.reported)

    @property
    def registered_epochs(self) -> tuple[int, ...] | None:
        """The registered rows."""
        return self.registered.rows if self.registered else None


class ValueClaim(ListedClaim):
    """Values compared one by one: a final estimate, or rows at their own epochs."""

    kind: Literal["value"]


class CurveClaim(ListedClaim):
    """A listing's rows; with `takeoff`, compared after lining both curves up at their take-off."""

    kind: Literal["curve"]
    reported: Rows
    takeoff: Takeoff | None = None

    needs_every_epoch: ClassVar[bool] = True

    @property
    def line_up_at(self) -> float | None:
        """The threshold of the take-off."""
        return self.takeoff.threshold if self.takeoff else None

    @field_validator("takeoff")
    @classmethod
    def _reached(cls, takeoff: Takeoff | None, info: ValidationInfo) -> Takeoff | None:
        """The reported curve must take off, or no other curve can be lined up with it."""
        reported = info.data.get("reported")
        if takeoff and reported and max(reported.values()) < takeoff.threshold:
            raise ValueError(f"the reported rows never reach {takeoff.threshold:g}")
        return takeoff


class OnsetClaim(ComparedClaim):
    """The epoch at which a curve takes off; tolerance in epochs."""

    kind: Literal["onset"]
    reported: PositiveNumber
    takeoff: Takeoff

    needs_every_epoch: ClassVar[bool] = True
    estimate: ClassVar[bool] = False
    counted_in: ClassVar[str] = "epochs"

    @property
    def values(self) -> Mapping[int | None, float]:
        """None: the paper reports an epoch."""
        return {}

    @property
    def crossing(self) -> float:
        """The threshold of the take-off."""
        return self.takeoff.threshold

    def _compared_with(self) -> Iterable[float]:
        return (self.reported,)

    def numbers(self) -> tuple[ReportedNumber, ...]:
        """The epoch of the take-off, as one row."""
        return (self._number(None, self.reported),)


class SampleClaim(ToleratedClaim):
    """Several runs of the paper's, by mean and SD or by all values, compared with the seeds.

    Two samples are compared, each with its own random error. The tolerance is that of the mean.
    """

    kind: Literal["sample"]
    reported: ReportedSample

    one_number: ClassVar[bool] = True

    @property
    def values(self) -> Mapping[int | None, float]:
        """The reported mean."""
        return {None: self.reported.mean}

    @property
    def averaged(self) -> int:
        """How many runs the paper made."""
        return self.reported.runs

    @property
    def reported_sd(self) -> float | None:
        """The SD of the paper's runs."""
        return self.reported.unbiased_sd

    @property
    def reported_runs(self) -> tuple[float, ...]:
        """The values of the runs; empty if only mean and SD are known."""
        return self.reported.known_values or ()

    def reporting(self, runs: Mapping[int | None, Sequence[float]], decimals: int) -> Json:
        """Mean and SD, or all values, of the runs."""
        values = runs[None]
        if isinstance(self.reported, AllValues):
            return {"values": [round(value, decimals) for value in values]}
        sd = stdev(values) if self.reported.ddof else pstdev(values)
        printed = {"mean": round(fmean(values), decimals), "sd": round(sd, decimals)}
        return self.reported.model_dump(mode="json") | printed


class BandClaim(_WithTolerance):
    """A control: every recorded epoch of every seed stays within the tolerance of the reported."""

    kind: Literal["band"]
    reported: Reported

    of_every_seed: ClassVar[bool] = True

    @property
    def values(self) -> Mapping[int | None, float]:
        """Every reported value."""
        return _by_epoch(self.reported)

    @property
    def throughout(self) -> tuple[RowKey, str] | None:
        """Key and printed name of the row about all epochs; None for a final estimate."""
        if not self.every_epoch:
            return None
        return RowKey(self.name, None), f"{self.name} @ every epoch"

    def row_names(self) -> dict[RowKey, str]:
        """The reported rows, and the row about all epochs."""
        return super().row_names() | dict([self.throughout] if self.throughout else [])

    def reference(self, last_epoch: int) -> Mapping[int, float]:
        """The reported rows; one number holds from the first epoch to the last."""
        ends = {1: self.values[None], last_epoch: self.values[None]} if not self.every_epoch else {}
        return ends or super().reference(last_epoch)


class LimitClaim(_WithTolerance, ABC):
    """What the claims share that give a limit for the mean over the seeds, on one side."""

    reported: Reported
    decimals: Decimals | None = None
    """How many the paper prints: half a unit of the last does not count as a difference."""

    upper: ClassVar[bool]
    """Whether the mean must not lie above the limit."""

    @property
    def sides(self) -> tuple[int, ...]:
        """Only the side on which the mean must not lie."""
        return (1,) if self.upper else (-1,)

    @property
    def values(self) -> Mapping[int | None, float]:
        """Every reported limit."""
        return _by_epoch(self.reported)


class AtLeastClaim(LimitClaim):
    """The mean is at least as large as reported; the tolerance is how far below does not matter."""

    kind: Literal["at_least"]

    upper: ClassVar[bool] = False


class AtMostClaim(LimitClaim):
    """The mean is at most as large as reported; the tolerance is how far above does not matter."""

    kind: Literal["at_most"]

    upper: ClassVar[bool] = True


class ExtremeClaim(_WithTolerance):
    """The highest or lowest of several runs of the paper's, compared with that of as many of ours.

    Of n seeds, every choice of `runs` is as good as another, so the mean over all choices is
    compared. With fewer seeds than `runs` it is not known.
    """

    kind: Literal["extreme"]
    reported: Number
    which: Literal["highest", "lowest"]
    runs: Annotated[PositiveInt, Field(le=MAX_RUNS)]
    """The number of the paper's runs among which it is the highest or lowest."""
    decimals: Decimals | None = None
    """How many the paper prints: half a unit of the last does not count as a difference."""
    normal: Text | None = None
    """Why single runs may be taken to be normally distributed. Only then can few seeds show that a
    reported extreme is too extreme: else one outlying run of the paper's explains it."""

    one_number: ClassVar[bool] = True

    @property
    def values(self) -> Mapping[int | None, float]:
        """The reported extreme."""
        return {None: self.reported}

    @property
    def averaged(self) -> int:
        """How many runs the paper made."""
        return self.runs

    def reporting(self, runs: Mapping[int | None, Sequence[float]], decimals: int) -> Json:
        """The extreme of the runs."""
        return round((max if self.which == "highest" else min)(runs[None]), decimals)


class NeverClaim(BaseClaim):
    """No run gets above a limit, or below it: at the end, or at any epoch.

    If the paper says so of its own runs, `runs` is their number: a single run of ours beyond the
    limit may then be chance. Without `runs` the claim holds for all runs, and one refutes it.
    """

    kind: Literal["never"]
    reported: Number
    """The limit. Reaching it is allowed."""
    beyond: Literal["above", "below"] = "above"
    every: bool = False
    """Whether it holds at every epoch, of a metric that is recorded so."""
    runs: Annotated[PositiveInt, Field(le=MAX_RUNS)] | None = None
    """How many runs the paper made; leave it out if the claim is about all runs there can be."""
    decimals: Decimals | None = None
    """How many the paper prints: half a unit of the last beyond the limit is only rounding."""

    estimate: ClassVar[bool] = False
    one_number: ClassVar[bool] = True

    @property
    def values(self) -> Mapping[int | None, float]:
        """None: the paper reports no value of the metric itself."""
        return {}

    @property
    def every_epoch(self) -> bool:
        """Whether it holds at every epoch."""
        return self.every

    @property
    def margin(self) -> float:
        """Nothing beyond the limit is allowed."""
        return 0.0

    def numbers(self) -> tuple[ReportedNumber, ...]:
        """The limit, as one row."""
        return (self._number(None, self.reported),)


class CombinedClaim(ListedClaim, ABC):
    """A number made of several experiments' values, seed by seed, and then compared like a value.

    Trials with the same seed are combined, so that what they share (the order of the data, say)
    cancels out. If they share nothing, this is still right, with fewer degrees of freedom.

    If the paper averages several runs, the error of its number follows from the SDs of its runs,
    which the experiments' own claims (kind `sample`) report.
    """

    normal: Text | None = None
    """Why single runs may be taken to be normally distributed. It is needed only if the paper
    averages several runs and the experiments' own claims do not report their SDs: then our SD
    stands for the paper's. Without it, one outlying run of the paper's explains any number."""

    @property
    @abstractmethod
    def members(self) -> tuple[Members, ...]:
        """The sets of experiments that are combined."""


class DifferenceClaim(CombinedClaim):
    """How far the mean of some experiments lies above that of others: `of` minus `minus`."""

    kind: Literal["difference"]
    of: Members
    minus: Members

    @property
    def members(self) -> tuple[Members, ...]:
        """Both sets."""
        return self.of, self.minus


class RatioClaim(CombinedClaim):
    """How many times as large as others some experiments are: `of` divided by `to`.

    The ratio of the means, by seed. Not for values near zero, whose ratios have no mean.
    """

    kind: Literal["ratio"]
    of: Members
    to: Members

    estimate: ClassVar[bool] = False
    counted_in: ClassVar[str] = "times"

    @property
    def members(self) -> tuple[Members, ...]:
        """Both sets."""
        return self.of, self.to


class MeanOverClaim(CombinedClaim):
    """The average over several experiments."""

    kind: Literal["mean_over"]
    over: Members

    @property
    def members(self) -> tuple[Members, ...]:
        """The one set."""
        return (self.over,)


class ExtremeDifferenceClaim(_WithTolerance):
    """How far the best or worst run of some experiments lies above that of others.

    The extreme of `runs` runs of `of`, minus that of as many of `minus`. One outlying run of the
    paper's explains any difference of two extremes, so only all its runs can refute the claim: the
    experiments' own claims (kind `sample` with all values) report them. Without them, a difference
    that is farther off than the tolerance is inconclusive.
    """

    kind: Literal["extreme_difference"]
    of: Members
    minus: Members
    which: Literal["highest", "lowest"]
    reported: Number
    runs: Annotated[PositiveInt, Field(le=MAX_RUNS)]
    """The number of the paper's runs in each set, of which the highest or lowest counts."""
    decimals: Decimals | None = None
    """How many the paper prints: half a unit of the last does not count as a difference."""

    one_number: ClassVar[bool] = True

    @property
    def members(self) -> tuple[Members, ...]:
        """Both sets."""
        return self.of, self.minus

    @property
    def values(self) -> Mapping[int | None, float]:
        """The reported difference."""
        return {None: self.reported}


class SetClaim(BaseClaim, ABC):
    """What the claims share that are about sets of experiments and report no number to be near."""

    epoch: Epoch | None = None
    """The epoch whose values are compared; by default the final estimates."""

    estimate: ClassVar[bool] = False

    @property
    @abstractmethod
    def members(self) -> tuple[Members, ...]:
        """The sets of experiments."""

    @property
    def values(self) -> Mapping[int | None, float]:
        """None: the paper reports no value of the metric itself."""
        return {}

    @property
    def every_epoch(self) -> bool:
        """Whether the claim is about an epoch."""
        return self.epoch is not None

    @property
    def margin(self) -> float:
        """Nothing: no difference is allowed."""
        return 0.0


class OrderClaim(SetClaim):
    """The mean of every experiment of `below` is smaller than that of every one of `above`.

    With one experiment in `above`, that is the best of all.
    """

    kind: Literal["order"]
    below: Members
    above: Members
    reported: Number = 0.0
    """The smallest distance between the two sets that the paper reports. It decides nothing."""

    @property
    def members(self) -> tuple[Members, ...]:
        """Both sets."""
        return self.below, self.above

    def numbers(self) -> tuple[ReportedNumber, ...]:
        """The smallest distance, as one row."""
        return (self._number(self.epoch, self.reported),)


class AllWithinClaim(SetClaim):
    """Every seed of every experiment lies between two limits: "no trial ever exceeds 11 %".

    If the paper says so of its own runs, `runs` is their number in all of these experiments: a
    single run of ours beyond a limit may then be chance. Without `runs`, one refutes the claim.
    """

    kind: Literal["all_within"]
    of: Members
    low: Number | None = None
    high: Number | None = None
    decimals: Decimals | None = None
    """How many the paper prints: half a unit of the last beyond a limit is only rounding."""
    runs: Annotated[PositiveInt, Field(le=MAX_RUNS)] | None = None
    """How many runs of these experiments the paper made; leave it out if the claim is about all
    runs there can be."""

    @field_validator("high")
    @classmethod
    def _a_limit(cls, high: float | None, info: ValidationInfo) -> float | None:
        low = info.data.get("low")
        if high is None and low is None:
            raise ValueError("give a limit: low, high or both")
        if high is not None and low is not None and high < low:
            raise ValueError(f"must not be below low, {low:g}")
        return high

    model_config = ConfigDict(validate_default=True)

    @property
    def members(self) -> tuple[Members, ...]:
        """The one set."""
        return (self.of,)

    @property
    def limits_of_runs(self) -> tuple[float, ...]:
        """The lower limit and the upper one, those that there are."""
        return tuple(limit for limit in (self.low, self.high) if limit is not None)

    def numbers(self) -> tuple[ReportedNumber, ...]:
        """The upper limit, or else the lower one, as one row."""
        limit = self.high if self.high is not None else self.low
        return (self._number(self.epoch, float(limit or 0.0)),)


class SometimesClaim(SetClaim):
    """Some seeds get above a value, as some of the paper's runs did, although others do not."""

    kind: Literal["sometimes"]
    of: Members
    exceed: Number
    """The value that some seeds exceed."""
    reported: PositiveInt
    """How many of the paper's runs exceed it."""
    runs: Annotated[PositiveInt, Field(le=MAX_RUNS)]
    """How many runs the paper has."""

    counted_in: ClassVar[str] = "runs"

    @property
    def members(self) -> tuple[Members, ...]:
        """The one set."""
        return (self.of,)

    @property
    def limits_of_runs(self) -> tuple[float, ...]:
        """The value that some runs exceed."""
        return (self.exceed,)

    def numbers(self) -> tuple[ReportedNumber, ...]:
        """How many runs exceed the value, as one row."""
        return (self._number(self.epoch, float(self.reported)),)


SETS = frozenset({"of", "minus", "to", "over", "below", "above"})
"""Fields that hold sets of a grid's cells. Claims between cells have them, and no others."""

MEASURED = (ToleratedClaim, ExtremeClaim)
"""The kinds that report what runs of the paper measured, and neither a limit nor a known value."""

Claim = (
    CurveClaim
    | BandClaim
    | OnsetClaim
    | ValueClaim
    | ExactClaim
    | SampleClaim
    | AtLeastClaim
    | AtMostClaim
    | ExtremeClaim
    | NeverClaim
    | DifferenceClaim
    | RatioClaim
    | MeanOverClaim
    | ExtremeDifferenceClaim
    | OrderClaim
    | AllWithinClaim
    | SometimesClaim
)
"""A claim of any kind, for mypy, which fails in `harness.verdict.kinds` if one has no rule."""


def _kinds(*kinds: type[BaseClaim]) -> list[type[Claim]]:
    """The classes as given; mypy fails for one that leaves something abstract."""
    return cast(list[type[Claim]], [*kinds])


KINDS = _kinds(
    CurveClaim,
    BandClaim,
    OnsetClaim,
    ValueClaim,
    ExactClaim,
    SampleClaim,
    AtLeastClaim,
    AtMostClaim,
    ExtremeClaim,
    NeverClaim,
    DifferenceClaim,
    RatioClaim,
    MeanOverClaim,
    ExtremeDifferenceClaim,
    OrderClaim,
    AllWithinClaim,
    SometimesClaim,
)
"""The same for the program: every kind, the one whose curve tells a reader most first."""


def by_interest(claim: BaseClaim) -> tuple[bool, int]:
    """Sort key: curves come before final estimates, and then the most telling kind first."""
    rank = next(place for place, kind in enumerate(KINDS) if type(claim) is kind)
    return not claim.every_epoch, rank


class _OfAnyKind:
    """Makes pydantic read a claim as the class in `KINDS` that its `kind` names."""

    def __get_pydantic_core_schema__(self, _: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        union: Any = KINDS[0]
        for kind in KINDS[1:]:
            union |= kind
        return handler.generate_schema(Annotated[union, Discriminator("kind")])


AnyClaim = Annotated[Claim, _OfAnyKind()]
"""A claim of any kind, as a field of a model."""
