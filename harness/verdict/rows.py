"""From a claim and the seeds' curves to rows: one for each reported number, not judged yet."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from harness import stats
from harness.manifest import (
    BandClaim,
    Claim,
    CurveClaim,
    ExactClaim,
    OnsetClaim,
    Takeoff,
    ValueClaim,
    half_unit,
    tolerance,
)
from harness.stats import Array
from harness.verdict.evidence import Evidence, Mask
from harness.verdict.takeoffs import Takeoffs
from harness.verdict.wording import of_seeds

BEYOND = "beyond the first {} epochs"
OUTSIDE = "{} recorded nothing there once lined up at take-off"


@dataclass(frozen=True)
class Number:
    """One number that the paper reports, and how near is near enough."""

    name: str
    epoch: int | None
    reported: float
    tolerance: float
    half: float = 0.0
    """Half a unit of the last digit that is printed: no difference by itself."""


@dataclass(frozen=True, kw_only=True)
class Row:
    """What the seeds say of one reported number. Arrays and masks have shape (seeds,)."""

    number: Number
    values: Array
    """NaN where a seed has none."""
    absent: Mask
    """Seeds that owe a value: failed or missing, which the evidence tells apart."""
    off: Mask | None = None
    """Seeds that fail the row on their own; None where the mean over the seeds decides."""
    not_run: str = ""
    """Why there is nothing to judge; the row is judged where this is empty."""
    fails: str = ""
    """Why the row fails whatever its values are."""
    undecided: str = ""
    """Why the row cannot hold yet, whatever its values are."""
    censored: Mask | None = None
    """Seeds whose value is only known to lie beyond the last epoch."""
    note: str = ""
    farthest: float | None = None
    """To be shown in place of the mean."""


def rows_of(claim: Claim, evidence: Evidence) -> Iterator[Row]:
    """The rows of one claim, in the order of the listing."""
    match claim:
        case OnsetClaim():
            yield _onset(claim, evidence)
        case CurveClaim(takeoff=Takeoff() as takeoff):
            yield from _lined_up(claim, takeoff, evidence)
        case _:
            yield from _plain(claim, evidence)
    if isinstance(claim, BandClaim) and isinstance(claim.reported, Mapping):
        yield _every_epoch(claim, claim.reported, evidence)


def _plain(
    claim: ExactClaim | ValueClaim | CurveClaim | BandClaim, evidence: Evidence
) -> Iterator[Row]:
    """Rows compared at their own epochs, or the one row of a final estimate."""
    for number in _numbers(claim):
        if number.epoch is None and not evidence.partial:
            yield _row(claim, number, evidence.finals[claim.metric])
        elif number.epoch is not None and number.epoch <= evidence.epochs:
            yield _row(claim, number, evidence.curves[claim.metric][:, number.epoch - 1])
        else:
            yield _beyond(number, evidence)


def _numbers(claim: ExactClaim | ValueClaim | CurveClaim | BandClaim) -> Iterator[Number]:
    half, within = half_unit(claim), tolerance(claim)
    if isinstance(claim.reported, Mapping):
        for epoch, reported in sorted(claim.reported.items()):
            yield Number(f"{claim.name} @ {epoch}", epoch, reported, within, half)
    else:
        yield Number(claim.name, None, claim.reported, within, half)


def _row(claim: Claim, number: Number, values: Array) -> Row:
    absent = np.isnan(values)
    off: Mask | None = None
    if isinstance(claim, ExactClaim):
        off = np.round(values, claim.decimals) != np.round(number.reported, claim.decimals)
    elif isinstance(claim, BandClaim):
        off = np.abs(values - number.reported) > number.tolerance
    return Row(
        number=number, values=values, absent=absent, off=None if off is None else off & ~absent
    )


def _beyond(number: Number, evidence: Evidence) -> Row:
    count = len(evidence.seeds)
    return Row(
        number=number,
        values=np.full(count, np.nan),
        absent=np.zeros(count, dtype=np.bool_),
        not_run=BEYOND.format(evidence.epochs),
    )


def _every_epoch(claim: BandClaim, reported: Mapping[int, float], evidence: Evidence) -> Row:
    """Each seed's value farthest from the reported ones, which are joined by straight lines."""
    listed = np.asarray(sorted(reported))
    epochs = np.arange(1, evidence.epochs + 1)
    centre = np.interp(epochs, listed, [reported[epoch] for epoch in listed])
    curves = evidence.curves[claim.metric]
    distance = np.where(np.isnan(curves), -1.0, np.abs(curves - centre))
    worst = distance.argmax(axis=1)
    seeds = np.arange(len(evidence.seeds))
    farthest = int(distance[seeds, worst].argmax())
    epoch = int(worst[farthest])
    none = not (distance >= 0).any()
    return Row(
        number=Number(
            f"{claim.name} @ every epoch", None, float(centre[epoch]), claim.tolerance.value
        ),
        values=curves[seeds, worst],
        absent=np.asarray(np.isnan(curves).any(axis=1)),
        off=distance.max(axis=1) > claim.tolerance.value,
        note="" if none else f"farthest off: seed {evidence.seeds[farthest]}, epoch {epoch + 1}",
        farthest=None if none else float(curves[farthest, epoch]),
    )


def _onset(claim: OnsetClaim, evidence: Evidence) -> Row:
    takeoffs = Takeoffs.of(claim.metric, claim.takeoff.threshold, evidence)
    fault = takeoffs.fault(evidence, latest=claim.reported + claim.tolerance.value)
    return Row(
        number=Number(claim.name, None, claim.reported, claim.tolerance.value, half_unit(claim)),
        values=takeoffs.onsets,
        absent=takeoffs.absent,
        fails=fault,
        undecided=takeoffs.doubt(evidence),
        censored=takeoffs.never,
        # A mean over those that did take off would come out too early.
        not_run=takeoffs.censored(evidence) if evidence.partial and not fault else "",
    )


def _lined_up(claim: CurveClaim, takeoff: Takeoff, evidence: Evidence) -> Iterator[Row]:
    """Rows compared after each curve is shifted so that its take-off falls on the reported one."""
    takeoffs = Takeoffs.of(claim.metric, takeoff.threshold, evidence)
    numbers = list(_numbers(claim))
    listed = np.asarray(sorted(claim.reported), dtype=float)
    reported = np.asarray([number.reported for number in numbers])
    shifts = takeoffs.onsets - stats.onset(listed, reported, takeoff.threshold)
    places = listed + shifts[:, np.newaxis]
    epochs = np.arange(1.0, evidence.epochs + 1)
    curves = evidence.curves[claim.metric]
    values = np.array(
        [stats.value_at(epochs, curve, at) for curve, at in zip(curves, places, strict=True)]
    )
    for column, number in enumerate(numbers):
        if listed[column] > evidence.epochs:
            yield _beyond(number, evidence)
            continue
        here, place = values[:, column], places[:, column]
        # Beyond its last record a seed that broke off owes a value; one that is done does not.
        owed = (place > evidence.recorded) & (place <= evidence.epochs)
        absent = takeoffs.absent | (np.isnan(here) & owed)
        outside = np.isnan(here) & ~absent & ~takeoffs.never
        yield Row(
            number=number,
            values=here,
            absent=absent,
            fails=takeoffs.fault(evidence),
            undecided=takeoffs.doubt(evidence),
            note=_excuses(takeoffs, outside, evidence),
        )


def _excuses(takeoffs: Takeoffs, outside: Mask, evidence: Evidence) -> str:
    """Which seeds have no value here, and rightly so: n never shrinks in silence."""
    named = evidence.named(outside)
    said = [
        OUTSIDE.format(of_seeds(named)) if named else "",
        takeoffs.censored(evidence) if evidence.partial else "",
    ]
    return "; ".join(filter(None, said))
