"""How each kind of claim is judged: one rule for each class in `harness.manifest.claims`.

A rule turns a claim and the seeds' evidence into rows, and decides a row. Rows are identified by
their key (claim, epoch). The test for consistency is made over all rows of all claims together, in
`harness.verdict.consistency`; a rule says which of its rows join it.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from typing import Any, ClassVar, Generic, TypeVar, assert_never

import numpy as np

from harness import stats
from harness.manifest import (
    KINDS,
    BandClaim,
    BaseClaim,
    Claim,
    ComparedClaim,
    CurveClaim,
    ExactClaim,
    OnsetClaim,
    ReportedNumber,
    RowKey,
    ValueClaim,
    of_seeds,
)
from harness.stats import Array
from harness.verdict.consistency import Tested, weights
from harness.verdict.decision import Decision, Terms, compare
from harness.verdict.evidence import Evidence, Mask, MeasuredRow, Takeoffs
from harness.verdict.results import Outcome

BEYOND = "beyond the first {} epochs"
OUTSIDE = "{} recorded nothing here once the curves are lined up at take-off"

C = TypeVar("C", bound=BaseClaim)
Compared = TypeVar("Compared", bound=ComparedClaim)


class Rule(ABC, Generic[C]):
    """How claims of one kind are judged."""

    method: ClassVar[str] = "every seed has a value"
    """What decides a row that some seed fails on its own."""

    @abstractmethod
    def rows(self, claim: C, evidence: Evidence) -> Iterator[MeasuredRow]:
        """The claim's rows, in the order in which reports print them, not judged yet."""

    @abstractmethod
    def decide(self, claim: C, row: MeasuredRow, terms: Terms) -> Decision:
        """Judge a row that was run and that no seed fails or lacks."""

    def tested(self, claim: C, rows: Sequence[MeasuredRow]) -> list[Tested]:
        """The rows that join the experiment's test for consistency; by default none."""
        return []

    def guards(self, claim: C) -> int:
        """How many rows have a limit on the SD over the seeds; by default none."""
        return 0


class _EverySeed(Rule[C]):
    """Judges seed by seed: a row holds unless some seed is off."""

    def decide(self, claim: C, row: MeasuredRow, terms: Terms) -> Decision:
        """No seed is off, so the row holds."""
        return Decision(outcome=Outcome.REPRODUCED, method=self.method)


class _ComparedRule(Rule[Compared]):
    """Judges by statistics over the seeds: equivalence and consistency."""

    def decide(self, claim: Compared, row: MeasuredRow, terms: Terms) -> Decision:
        """The four-way decision, or that of one seed."""
        return compare(claim, row, terms)

    def tested(self, claim: Compared, rows: Sequence[MeasuredRow]) -> list[Tested]:
        """Every row that was run and that all seeds have a value of."""
        joining = [row for row in rows if not (row.not_run or row.fails or row.absent.any())]
        shares = weights(joining, claim.registered_epochs)
        return [Tested(row, share, claim.runs) for row, share in zip(joining, shares, strict=True)]

    def guards(self, claim: Compared) -> int:
        """All rows, if the manifest limits the SD."""
        return len(claim.numbers()) if claim.largest_spread else 0


class ExactRule(_EverySeed[ExactClaim]):
    """Equality after rounding to the printed decimals, in every seed."""

    method = "every seed, to the last decimal"

    def rows(self, claim: ExactClaim, evidence: Evidence) -> Iterator[MeasuredRow]:
        """Each reported value."""

        def off(number: ReportedNumber, values: Array) -> Mask:
            rounded = np.round(values, claim.decimals) != np.round(number.value, claim.decimals)
            return np.asarray(rounded)

        return _at_own_epochs(claim, evidence, off)


class BandRule(_EverySeed[BandClaim]):
    """Every seed within the tolerance, at every epoch of the run."""

    method = "every seed inside the tolerance"

    def rows(self, claim: BandClaim, evidence: Evidence) -> Iterator[MeasuredRow]:
        """Each reported value, and one row about all epochs."""

        def off(number: ReportedNumber, values: Array) -> Mask:
            return np.asarray(np.abs(values - number.value) > number.tolerance)

        yield from _at_own_epochs(claim, evidence, off)
        if claim.throughout:
            yield self._throughout(claim, *claim.throughout, evidence)

    def _throughout(
        self, claim: BandClaim, key: RowKey, name: str, evidence: Evidence
    ) -> MeasuredRow:
        """Each seed's value farthest from the reported ones, which are joined by straight lines."""
        reported = claim.numbers()
        epochs = np.arange(1, evidence.epochs + 1)
        centre = np.interp(
            epochs,
            [number.epoch or 0 for number in reported],
            [number.value for number in reported],
        )
        curves = evidence.curves[claim.metric]
        distance = np.where(np.isnan(curves), -1.0, np.abs(curves - centre))
        worst = distance.argmax(axis=1)
        seeds = np.arange(len(evidence.seeds))
        farthest = int(distance[seeds, worst].argmax())
        epoch = int(worst[farthest])
        recorded, seed = bool((distance >= 0).any()), evidence.seeds[farthest]
        return MeasuredRow(
            number=ReportedNumber(key, name, float(centre[epoch]), claim.margin),
            values=curves[seeds, worst],
            absent=(evidence.recorded < evidence.epochs) | np.isnan(curves).all(axis=1),
            off=distance.max(axis=1) > claim.margin,
            note=f"farthest off: seed {seed}, epoch {epoch + 1}" if recorded else "",
            farthest=float(curves[farthest, epoch]) if recorded else None,
        )


class ValueRule(_ComparedRule[ValueClaim]):
    """Values compared at their own epochs."""

    def rows(self, claim: ValueClaim, evidence: Evidence) -> Iterator[MeasuredRow]:
        """Each reported value."""
        return _at_own_epochs(claim, evidence)


class CurveRule(_ComparedRule[CurveClaim]):
    """A curve's rows, at their own epochs or lined up at the take-off."""

    def rows(self, claim: CurveClaim, evidence: Evidence) -> Iterator[MeasuredRow]:
        """Each reported row."""
        if claim.line_up_at is None:
            return _at_own_epochs(claim, evidence)
        return self._lined_up(claim, claim.line_up_at, evidence)

    def _lined_up(
        self, claim: CurveClaim, threshold: float, evidence: Evidence
    ) -> Iterator[MeasuredRow]:
        """Rows compared after each curve is shifted so that its take-off is the reported one's."""
        takeoffs = Takeoffs.of(claim.metric, threshold, evidence)
        numbers = claim.numbers()
        listed = np.array([number.epoch for number in numbers], dtype=float)
        reported = np.array([number.value for number in numbers])
        shifts = takeoffs.onsets - stats.onset(listed, reported, threshold)
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
            # Beyond its last record a seed that broke off should have a value; one that is done
            # should not.
            owed = (place > evidence.recorded) & (place <= evidence.epochs)
            absent = takeoffs.absent | (np.isnan(here) & owed)
            outside = np.isnan(here) & ~absent & ~takeoffs.never
            yield MeasuredRow(
                number=number,
                values=here,
                absent=absent,
                fails=takeoffs.fault(evidence),
                undecided=takeoffs.doubt(evidence),
                note=self._excuses(takeoffs, outside, evidence),
            )

    def _excuses(self, takeoffs: Takeoffs, outside: Mask, evidence: Evidence) -> str:
        """Names the seeds that rightly have no value here, so that n never shrinks unexplained."""
        named = evidence.named(outside)
        parts = [
            OUTSIDE.format(of_seeds(named)) if named else "",
            takeoffs.censored(evidence) if evidence.partial else "",
        ]
        return "; ".join(filter(None, parts))


class OnsetRule(_ComparedRule[OnsetClaim]):
    """The epoch of the take-off, compared with the seeds' epochs."""

    def rows(self, claim: OnsetClaim, evidence: Evidence) -> Iterator[MeasuredRow]:
        """One row."""
        takeoffs = Takeoffs.of(claim.metric, claim.takeoff.threshold, evidence)
        fault = takeoffs.fault(evidence, latest=claim.reported + claim.margin)
        (number,) = claim.numbers()
        yield MeasuredRow(
            number=number,
            values=takeoffs.onsets,
            absent=takeoffs.absent,
            fails=fault,
            undecided=takeoffs.doubt(evidence),
            censored=takeoffs.never,
            # A mean over those that did take off would come out too early.
            not_run=takeoffs.censored(evidence) if evidence.partial and not fault else "",
        )


def rule_for(kind: type[Claim]) -> Rule[Any]:
    """The rule of a kind; mypy fails at the last line and names a kind that is forgotten."""
    if issubclass(kind, ExactClaim):
        return ExactRule()
    if issubclass(kind, BandClaim):
        return BandRule()
    if issubclass(kind, ValueClaim):
        return ValueRule()
    if issubclass(kind, CurveClaim):
        return CurveRule()
    if issubclass(kind, OnsetClaim):
        return OnsetRule()
    assert_never(kind)


RULES: dict[type[BaseClaim], Rule[Any]] = {kind: rule_for(kind) for kind in KINDS}
"""The rule of each kind."""


def _at_own_epochs(
    claim: BaseClaim, evidence: Evidence, off: Callable[[ReportedNumber, Array], Mask] | None = None
) -> Iterator[MeasuredRow]:
    """Rows at their own epochs, or the one row of a final estimate.

    Args:
        claim: whose numbers are values of its metric.
        evidence: of the seeds.
        off: says which values, shape (seeds,), fail a row on their own; None if none does.
    """
    for number in claim.numbers():
        if number.epoch is None and not evidence.partial:
            values = evidence.finals[claim.metric]
        elif number.epoch is not None and number.epoch <= evidence.epochs:
            values = evidence.curves[claim.metric][:, number.epoch - 1]
        else:
            yield _beyond(number, evidence)
            continue
        absent = np.isnan(values)
        yield MeasuredRow(
            number=number,
            values=values,
            absent=absent,
            off=off(number, values) & ~absent if off else None,
        )


def _beyond(number: ReportedNumber, evidence: Evidence) -> MeasuredRow:
    """A row that needs more epochs than were asked for."""
    count = len(evidence.seeds)
    return MeasuredRow(
        number=number,
        values=np.full(count, np.nan),
        absent=np.zeros(count, dtype=np.bool_),
        not_run=BEYOND.format(evidence.epochs),
    )
