"""How each kind of claim is judged: one rule for each class in `harness.manifest.claims`.

A rule turns a claim and the seeds' evidence into rows, and decides a row. Rows are identified by
their key (claim, epoch). The test for consistency is made over all rows of all claims together, in
`harness.verdict.consistency`; a rule says which of its rows join it.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Any, ClassVar, Generic, TypeVar, assert_never

import numpy as np

from harness import stats
from harness.manifest import (
    KINDS,
    AllWithinClaim,
    AtLeastClaim,
    AtMostClaim,
    BandClaim,
    BaseClaim,
    Claim,
    CombinedClaim,
    ComparedClaim,
    CurveClaim,
    DifferenceClaim,
    ExactClaim,
    ExtremeClaim,
    ExtremeDifferenceClaim,
    LimitClaim,
    MeanOverClaim,
    NeverClaim,
    OnsetClaim,
    OrderClaim,
    RatioClaim,
    ReportedNumber,
    RowKey,
    SampleClaim,
    SometimesClaim,
    ValueClaim,
    of_seeds,
)
from harness.stats import Array
from harness.verdict.between import (
    CombinedRow,
    ExtremeDifferenceRow,
    Members,
    OrderedRow,
    WithinRow,
    order,
    with_error,
)
from harness.verdict.consistency import OwnTest, RowConsistency, Tested, weights
from harness.verdict.decision import (
    Decision,
    Terms,
    compare_extreme,
    compare_extreme_difference,
    compare_means,
    compare_samples,
    extreme_of,
    mean_beside_limit,
    none_beyond,
    sample_consistency,
)
from harness.verdict.evidence import LIMIT, Alignment, Evidence, Mask, MeasuredRow, Takeoffs
from harness.verdict.results import Outcome

BEYOND = "beyond the first {} epochs"
UNALIGNED = (
    "when the curve takes off may explain the difference, and the curves cannot be lined up: {}"
)
OUTSIDE = "{} recorded nothing here once the curves are lined up at take-off"

C = TypeVar("C", bound=BaseClaim)
Compared = TypeVar("Compared", bound=ComparedClaim)
Combined = TypeVar("Combined", bound=CombinedClaim)


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

    def own_tests(self, claim: C, rows: Sequence[MeasuredRow]) -> list[OwnTest]:
        """The rows with a test for consistency of their own, and its result; by default none."""
        return []

    def guards(self, claim: C) -> int:
        """How many rows have a limit on the SD over the seeds; by default none."""
        return 0

    def first_side(
        self, claim: C, reported: float, tolerance: float, sets: Sequence[Array]
    ) -> tuple[float, float] | None:
        """Find where the first of a claim's sets lies if the claim holds, to draw it there.

        Args:
            claim: a claim that compares experiments.
            reported: the claim's number, in the metric's unit or as a ratio.
            tolerance: of that number.
            sets: the values of each set, without gaps; none is empty.

        Returns:
            The first set's mean (or extreme) that the other set and the reported number give, and
            the tolerance there. None, the default, if the claim has no such number.
        """
        return None


class _EverySeed(Rule[C]):
    """Judges seed by seed: a row holds unless some seed is off."""

    def decide(self, claim: C, row: MeasuredRow, terms: Terms) -> Decision:
        """No seed is off, so the row holds."""
        return Decision(outcome=Outcome.REPRODUCED, method=self.method)


class _ComparedRule(Rule[Compared]):
    """Judges by statistics over the seeds: equivalence and consistency."""

    def decide(self, claim: Compared, row: MeasuredRow, terms: Terms) -> Decision:
        """The four-way decision, or that of one seed."""
        return compare_means(claim, row, terms)

    def tested(self, claim: Compared, rows: Sequence[MeasuredRow]) -> list[Tested]:
        """Every row that was run and that all seeds have a value of."""
        joining = [row for row in rows if _complete(row)]
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
        margins = np.array([claim.margin_at(float(value)) for value in centre])
        worst = (distance / margins).argmax(axis=1)
        seeds = np.arange(len(evidence.seeds))
        farthest = int((distance / margins)[seeds, worst].argmax())
        epoch = int(worst[farthest])
        recorded, seed = bool((distance >= 0).any()), evidence.seeds[farthest]
        return MeasuredRow(
            number=ReportedNumber(key, name, float(centre[epoch]), float(margins[epoch])),
            values=curves[seeds, worst],
            absent=(evidence.recorded < evidence.epochs) | np.isnan(curves).all(axis=1),
            off=np.asarray((distance > margins).any(axis=1)),
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
            yield from _at_own_epochs(claim, evidence)
            return
        alignment = Alignment.of(claim, claim.line_up_at, evidence)
        if not alignment.refused:
            yield from self._lined_up(claim, alignment, evidence)
            return
        fails, open_ = alignment.takeoffs.fault(evidence), alignment.takeoffs.doubt(evidence)
        for row in _at_own_epochs(claim, evidence):
            yield replace(row, fails=fails, undecided=open_, unaligned=alignment.refused)

    def decide(self, claim: CurveClaim, row: MeasuredRow, terms: Terms) -> Decision:
        """As for other compared rows; one that cannot be lined up as it should is not failed."""
        decision = super().decide(claim, row, terms)
        if not row.unaligned or decision.outcome is not Outcome.NOT_REPRODUCED:
            return decision
        why = "; ".join(filter(None, (UNALIGNED.format(row.unaligned), decision.why)))
        return replace(decision, outcome=Outcome.INCONCLUSIVE, why=why)

    def _lined_up(
        self, claim: CurveClaim, alignment: Alignment, evidence: Evidence
    ) -> Iterator[MeasuredRow]:
        """Rows compared after each curve is shifted so that its take-off is the reported one's."""
        takeoffs, numbers = alignment.takeoffs, claim.numbers()
        listed = np.array([number.epoch for number in numbers], dtype=float)
        places = listed + alignment.shifts[:, np.newaxis]
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


class SampleRule(Rule[SampleClaim]):
    """The seeds and the paper's runs, compared as two samples."""

    def rows(self, claim: SampleClaim, evidence: Evidence) -> Iterator[MeasuredRow]:
        """One row: the mean."""
        return _at_own_epochs(claim, evidence)

    def own_tests(self, claim: SampleClaim, rows: Sequence[MeasuredRow]) -> list[OwnTest]:
        """The row, if two or more seeds have a value."""
        return [sample_consistency(claim, row) for row in rows if _complete(row, least=2)]

    def decide(self, claim: SampleClaim, row: MeasuredRow, terms: Terms) -> Decision:
        """The four-way decision with the errors of both samples, or that of one seed."""
        return compare_samples(claim, row, terms)

    def guards(self, claim: SampleClaim) -> int:
        """One row, if the manifest limits the SD."""
        return 1 if claim.largest_spread else 0


UNKNOWN_SDS = (
    "none: one outlying run of the paper's explains any mean of several, unless the claims on its "
    "experiments give the SDs of their runs, or `normal` says why there is none"
)


class _CombinedRule(_ComparedRule[Combined]):
    """A number made of several experiments' values, seed by seed, and compared like a value.

    Could the paper's number come from runs like ours? If the paper averages several runs and gives
    their SDs, Welch's t-test compares the two means. The SD of single runs of ours would not do in
    the place of the paper's: if one run in ten ends far off, either side may be without one.
    """

    def rows(self, claim: Combined, evidence: Evidence) -> Iterator[MeasuredRow]:
        """Each reported value."""
        for number in claim.numbers():
            if _not_reached(number.epoch, evidence):
                yield _beyond(number, evidence)
                continue
            members = Members.of(claim.members, claim.metric, number.epoch, evidence)
            means = [members_.mean(axis=0) for members_ in members.arrays()]
            theirs = members.reported_means() if claim.runs > 1 else None
            values = np.where(members.absent, np.nan, self.combined(means))
            yield CombinedRow(
                number=number,
                values=values,
                absent=members.absent,
                fails=members.failed,
                incomplete=members.missing,
                paper=with_error(members, self.slopes(theirs), number) if theirs else None,
                compared=self.compared(means, theirs, number.value) if theirs else values,
            )

    def tested(self, claim: Combined, rows: Sequence[MeasuredRow]) -> list[Tested]:
        """Single runs, and means of runs that are said to be normal and whose SDs are not known."""
        joint = claim.runs == 1 or claim.normal
        known = [isinstance(row, CombinedRow) and row.paper for row in rows]
        kept = [row for row, paper in zip(rows, known, strict=True) if joint and not paper]
        return super().tested(claim, kept)

    def own_tests(self, claim: Combined, rows: Sequence[MeasuredRow]) -> list[OwnTest]:
        """Welch's t-test if the SDs of the paper's runs are known. No SD of ours is tested."""
        return [
            OwnTest(
                row,
                stats.welch_p(stats.summarise(row.compared), row.paper, row.number.half_unit),
                1.0,
                "Welch's t-test with the SDs of the paper's runs",
            )
            for row in rows
            if isinstance(row, CombinedRow) and row.paper and _complete(row, least=2)
        ]

    def decide(self, claim: Combined, row: MeasuredRow, terms: Terms) -> Decision:
        """The four-way decision; where nothing can be tested, everything is plausible."""
        if len(row.values) > 1 and row.number.key not in terms.consistency:
            open_ = RowConsistency(1.0, UNKNOWN_SDS, share=0.0, ranked=False)
            terms = replace(terms, consistency={**terms.consistency, row.number.key: open_})
        return super().decide(claim, row, terms)

    def compared(self, means: Sequence[Array], theirs: Sequence[float], reported: float) -> Array:
        """The values compared with the paper's number, one for each seed, shape (seeds,)."""
        return self.combined(means)

    @abstractmethod
    def combined(self, means: Sequence[Array]) -> Array:
        """The number for each seed, shape (seeds,), of the means of the sets, of the same shape."""

    @abstractmethod
    def slopes(self, means: Sequence[float]) -> Sequence[float]:
        """How fast the number changes with the mean of each set, at these means."""


class DifferenceRule(_CombinedRule[DifferenceClaim]):
    """The difference of two means, by seed."""

    def combined(self, means: Sequence[Array]) -> Array:
        """Mean of `of` minus mean of `minus`."""
        return np.asarray(means[0] - means[1])

    def slopes(self, means: Sequence[float]) -> Sequence[float]:
        """One up, one down."""
        return 1.0, -1.0

    def first_side(
        self, claim: DifferenceClaim, reported: float, tolerance: float, sets: Sequence[Array]
    ) -> tuple[float, float] | None:
        """The reported difference above the mean of the second set."""
        return float(sets[1].mean()) + reported, tolerance


class RatioRule(_CombinedRule[RatioClaim]):
    """The ratio of two means, with a part of it for each seed.

    A paper divides means, and the mean of the seeds' ratios is another number. So a seed's part is
    R + (a - R b) / B, with B the mean below the line and R the ratio of the means: the mean of the
    parts is R, and their SD gives its error.

    Source:
        Cochran (1977), Sampling Techniques, section 6.3.
    """

    def combined(self, means: Sequence[Array]) -> Array:
        """The parts; a mean of zero below the line counts as the smallest positive number."""
        above, below = means
        known = ~np.isnan(above + below)
        if not known.any():
            return above
        base = float(below[known].mean()) or float(np.finfo(float).tiny)
        ratio = float(np.clip(above[known].mean() / base, -LIMIT, LIMIT))
        return np.asarray(np.clip(ratio + (above - ratio * below) / base, -LIMIT, LIMIT))

    def compared(self, means: Sequence[Array], theirs: Sequence[float], reported: float) -> Array:
        """R + (a - R b) / B with the paper's R and B: their mean is R if R is the true ratio.

        This is linear in the means, so Welch's t-test holds as it does for a difference, even if
        one run in ten decides how large a mean is.

        Source:
            Fieller (1954), Some problems in interval estimation, J. R. Stat. Soc. B 16(2).
        """
        above, below = means
        base = theirs[1] or float(np.finfo(float).tiny)
        return np.asarray(np.clip(reported + (above - reported * below) / base, -LIMIT, LIMIT))

    def slopes(self, means: Sequence[float]) -> Sequence[float]:
        """1 / B and -A / B²."""
        above, below = means
        below = below or float(np.finfo(float).tiny)
        return 1 / below, -above / below / below

    def first_side(
        self, claim: RatioClaim, reported: float, tolerance: float, sets: Sequence[Array]
    ) -> tuple[float, float] | None:
        """The mean of the second set times the reported ratio."""
        base = float(sets[1].mean())
        return base * reported, abs(base) * tolerance


class MeanOverRule(_CombinedRule[MeanOverClaim]):
    """The mean over several experiments, by seed."""

    def combined(self, means: Sequence[Array]) -> Array:
        """The mean."""
        return means[0]

    def slopes(self, means: Sequence[float]) -> Sequence[float]:
        """The number is the mean."""
        return (1.0,)

    def first_side(
        self, claim: MeanOverClaim, reported: float, tolerance: float, sets: Sequence[Array]
    ) -> tuple[float, float] | None:
        """The reported mean."""
        return reported, tolerance


class ExtremeDifferenceRule(Rule[ExtremeDifferenceClaim]):
    """The difference of the extremes of k runs of two sets."""

    def rows(self, claim: ExtremeDifferenceClaim, evidence: Evidence) -> Iterator[MeasuredRow]:
        """One row; the values are differences of single seeds."""
        (number,) = claim.numbers()
        if _not_reached(number.epoch, evidence):
            yield _beyond(number, evidence)
            return
        members = Members.of(claim.members, claim.metric, number.epoch, evidence)
        sign = 1.0 if claim.which == "highest" else -1.0
        of, minus = (sign * runs for runs in members.arrays())
        ends = [extreme_of(runs.ravel(), claim.runs, highest=True) for runs in (of, minus)]
        both = members.both(0), members.both(1)
        known = [[(sign * a, sign * b) for a, b in each] for each in both if each]
        yield ExtremeDifferenceRow(
            number=number,
            values=np.where(members.absent, np.nan, sign * (of.max(axis=0) - minus.max(axis=0))),
            absent=members.absent,
            fails=members.failed,
            incomplete=members.missing,
            farthest=None if None in ends else sign * ((ends[0] or 0.0) - (ends[1] or 0.0)),
            p=stats.extreme_difference_p(*known) if len(known) == len(both) else None,
        )

    def decide(self, claim: ExtremeDifferenceClaim, row: MeasuredRow, terms: Terms) -> Decision:
        """By nearness, and by permutation if all of the paper's runs are known."""
        assert isinstance(row, ExtremeDifferenceRow), "`rows` makes no others"  # noqa: S101
        return compare_extreme_difference(claim, row, row.p, terms)

    def first_side(
        self,
        claim: ExtremeDifferenceClaim,
        reported: float,
        tolerance: float,
        sets: Sequence[Array],
    ) -> tuple[float, float] | None:
        """The reported difference above the extreme of the second set."""
        base = extreme_of(sets[1], claim.runs, highest=claim.which == "highest") or 0.0
        return base + reported, tolerance

    def guards(self, claim: ExtremeDifferenceClaim) -> int:
        """One: it shares alpha with the other claims that a test can refute."""
        return 1


class OrderRule(Rule[OrderClaim]):
    """Every experiment of one set below every one of another, on average over the seeds."""

    method = "every pair of experiments: one-sided test of the seeds' differences"

    def rows(self, claim: OrderClaim, evidence: Evidence) -> Iterator[MeasuredRow]:
        """The distance of the closest pair."""
        (number,) = claim.numbers()
        if _not_reached(claim.epoch, evidence):
            yield _beyond(number, evidence)
            return
        members = Members.of(claim.members, claim.metric, claim.epoch, evidence)
        below, above = members.sets
        distances = {
            (lower, upper): above[upper] - below[lower]
            for lower in below
            for upper in above
            if lower != upper
        }
        yield OrderedRow(
            number=number,
            values=min(distances.values(), key=lambda gap: float(gap.mean())),
            absent=members.absent,
            fails=members.failed,
            incomplete=members.missing,
            distances=distances,
        )

    def decide(self, claim: OrderClaim, row: MeasuredRow, terms: Terms) -> Decision:
        """Shown, refuted or open; one seed refutes nothing."""
        assert isinstance(row, OrderedRow), "`rows` makes no others"  # noqa: S101
        if len(row.values) > 1:
            outcome, why = order(row, terms.alpha, terms.guards)
            return Decision(outcome=outcome, why=why, method=self.method)
        holds = float(row.values[0]) > 0
        outcome = Outcome.REPRODUCED if holds else Outcome.INCONCLUSIVE
        return Decision(outcome=outcome, method="the order in one seed")

    def guards(self, claim: OrderClaim) -> int:
        """One: all claims of this kind share alpha for what refutes them."""
        return 1


class AllWithinRule(_EverySeed[AllWithinClaim]):
    """Every seed of every experiment within the limits, or about as many as of the paper's runs."""

    method = "every seed of every experiment within the limits"

    def rows(self, claim: AllWithinClaim, evidence: Evidence) -> Iterator[MeasuredRow]:
        """Each seed's value farthest beyond a limit, or nearest to it."""
        (number,) = claim.numbers()
        if _not_reached(claim.epoch, evidence):
            yield _beyond(number, evidence)
            return
        members = Members.of(claim.members, claim.metric, claim.epoch, evidence)
        (values,) = members.arrays()
        filled = np.where(np.isnan(values), number.value, values)
        low = -LIMIT if claim.low is None else claim.low - claim.half_unit
        high = LIMIT if claim.high is None else claim.high + claim.half_unit
        beyond = np.maximum(filled - high, low - filled)
        seeds = np.arange(values.shape[1])
        worst = values[beyond.argmax(axis=0), seeds]
        off = beyond.max(axis=0) > 0
        refuted = off if claim.runs is None else np.zeros_like(off)
        named = [
            f"{name}: {of_seeds(evidence.named(np.asarray(outside)))}"
            for name, outside in zip(members.sets[0], beyond > 0, strict=True)
            if outside.any()
        ]
        known = ~members.absent
        yield WithinRow(
            number=number,
            values=worst,
            absent=members.absent & ~refuted,
            off=refuted,
            fails=members.failed,
            incomplete=members.missing,
            note="; ".join(named),
            farthest=float(worst[known][beyond.max(axis=0)[known].argmax()])
            if known.any()
            else None,
            beyond=int((beyond > 0).sum()),
            runs=values.size,
        )

    def decide(self, claim: AllWithinClaim, row: MeasuredRow, terms: Terms) -> Decision:
        """If the paper made so many runs, chance may explain that one of ours is beyond."""
        assert isinstance(row, WithinRow), "`rows` makes no others"  # noqa: S101
        if not row.beyond:
            return super().decide(claim, row, terms)
        return none_beyond(row.beyond, row.runs, claim.runs, terms, self.method)

    def guards(self, claim: AllWithinClaim) -> int:
        """One if chance may explain it, which shares alpha; else none."""
        return 0 if claim.runs is None else 1


class SometimesRule(Rule[SometimesClaim]):
    """Some seeds exceed a value, or too few were run to expect one that does."""

    method = "Fisher's exact test: no run of ours, some of the paper's"

    def rows(self, claim: SometimesClaim, evidence: Evidence) -> Iterator[MeasuredRow]:
        """For each seed, in how many of the experiments it exceeds the value."""
        (number,) = claim.numbers()
        if _not_reached(claim.epoch, evidence):
            yield _beyond(number, evidence)
            return
        members = Members.of(claim.members, claim.metric, claim.epoch, evidence)
        (values,) = members.arrays()
        counts = (values > claim.exceed).sum(axis=0).astype(float)
        yield MeasuredRow(
            number=number,
            values=np.where(members.absent, np.nan, counts),
            absent=members.absent,
            fails=members.failed,
            incomplete=members.missing,
            farthest=None if members.absent.any() else float(counts.sum()),
        )

    def decide(self, claim: SometimesClaim, row: MeasuredRow, terms: Terms) -> Decision:
        """Shown by one run; refuted if chance does not explain that there is none."""
        if row.values.sum() > 0:
            return Decision(outcome=Outcome.REPRODUCED, method="one run shows it")
        runs = len(claim.of) * len(row.values)
        p = stats.none_p(runs, claim.reported, claim.runs)
        refuted = p <= terms.alpha / terms.guards
        outcome = Outcome.NOT_REPRODUCED if refuted else Outcome.INCONCLUSIVE
        theirs = f"the paper has {claim.reported} of {claim.runs}"
        why = f"none of {runs} runs, where {theirs}; p = {p:.2g}"
        return Decision(outcome=outcome, why=why, method=self.method)

    def guards(self, claim: SometimesClaim) -> int:
        """One: it shares alpha with the other claims that a test can refute."""
        return 1


class LimitRule(Rule[LimitClaim]):
    """The mean over the seeds on the right side of a limit."""

    method = "one-sided t-test of the mean against the limit and its tolerance"

    def rows(self, claim: LimitClaim, evidence: Evidence) -> Iterator[MeasuredRow]:
        """Each reported limit."""
        return _at_own_epochs(claim, evidence)

    def decide(self, claim: LimitClaim, row: MeasuredRow, terms: Terms) -> Decision:
        """Shown to hold, shown to fail, or open."""
        return mean_beside_limit(row, terms, self.method, upper=claim.upper)

    def guards(self, claim: LimitClaim) -> int:
        """All rows: they share alpha for what refutes them."""
        return len(claim.numbers())


class ExtremeRule(Rule[ExtremeClaim]):
    """The highest or lowest of k seeds, on average over all choices of k."""

    def rows(self, claim: ExtremeClaim, evidence: Evidence) -> Iterator[MeasuredRow]:
        """One row; the extreme of all seeds is shown if there are fewer than k."""
        for row in _at_own_epochs(claim, evidence):
            extreme = extreme_of(row.values, claim.runs, highest=claim.which == "highest")
            yield replace(row, farthest=extreme)

    def decide(self, claim: ExtremeClaim, row: MeasuredRow, terms: Terms) -> Decision:
        """By nearness, and by the order of the paper's runs and ours."""
        return compare_extreme(claim, row, terms)

    def guards(self, claim: ExtremeClaim) -> int:
        """One: it shares alpha with the other claims that a test can refute."""
        return 1


class NeverRule(Rule[NeverClaim]):
    """No seed beyond the limit."""

    method = "no seed beyond the limit"

    def rows(self, claim: NeverClaim, evidence: Evidence) -> Iterator[MeasuredRow]:
        """Each seed's value farthest beyond the limit."""
        (number,) = claim.numbers()
        sign = 1.0 if claim.beyond == "above" else -1.0
        if claim.every:
            curves = evidence.curves[claim.metric]
            highest = np.where(np.isnan(curves), -np.inf, sign * curves).max(axis=1)
            values = np.where(np.isinf(highest), np.nan, sign * highest)
            lacking = np.isnan(curves).any(axis=1)
        elif evidence.partial:
            yield _beyond(number, evidence)
            return
        else:
            values = evidence.finals[claim.series]
            lacking = np.isnan(values)
        over = np.nan_to_num(sign * (values - number.value), nan=-np.inf) > number.half_unit
        known = ~np.isnan(values)
        # Later epochs may still pass the limit, and cannot undo that one did.
        open_yet = claim.every and evidence.partial and not over.any()
        yield MeasuredRow(
            number=number,
            values=values,
            absent=lacking & ~over,
            off=over if claim.runs is None else None,
            not_run=BEYOND.format(evidence.epochs) if open_yet else "",
            farthest=float(sign * (sign * values[known]).max()) if known.any() else None,
        )

    def decide(self, claim: NeverClaim, row: MeasuredRow, terms: Terms) -> Decision:
        """If the paper made so many runs, chance may explain that one of ours is beyond."""
        sign = 1.0 if claim.beyond == "above" else -1.0
        over = sign * (row.values - row.number.value) > row.number.half_unit
        return none_beyond(int(over.sum()), len(over), claim.runs, terms, self.method)

    def guards(self, claim: NeverClaim) -> int:
        """One if chance may explain it, which shares alpha; else none."""
        return 0 if claim.runs is None else 1


def rule_for(kind: type[Claim]) -> Rule[Any]:  # noqa: PLR0911, PLR0912 - one for each kind
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
    if issubclass(kind, DifferenceClaim):
        return DifferenceRule()
    if issubclass(kind, RatioClaim):
        return RatioRule()
    if issubclass(kind, MeanOverClaim):
        return MeanOverRule()
    if issubclass(kind, ExtremeDifferenceClaim):
        return ExtremeDifferenceRule()
    if issubclass(kind, OrderClaim):
        return OrderRule()
    if issubclass(kind, AllWithinClaim):
        return AllWithinRule()
    if issubclass(kind, SometimesClaim):
        return SometimesRule()
    if issubclass(kind, SampleClaim):
        return SampleRule()
    if issubclass(kind, AtLeastClaim | AtMostClaim):
        return LimitRule()
    if issubclass(kind, ExtremeClaim):
        return ExtremeRule()
    if issubclass(kind, NeverClaim):
        return NeverRule()
    assert_never(kind)


RULES: dict[type[BaseClaim], Rule[Any]] = {kind: rule_for(kind) for kind in KINDS}
"""The rule of each kind."""


def _complete(row: MeasuredRow, *, least: int = 0) -> bool:
    """Whether a row was run and every seed has a value, and at least so many seeds have one."""
    lacking = row.not_run or row.fails or row.absent.any()
    return not lacking and int((~np.isnan(row.values)).sum()) >= least


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
            values = evidence.finals[claim.series]
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


def _not_reached(epoch: int | None, evidence: Evidence) -> bool:
    """Whether an epoch, or the end of the run, lies beyond the epochs that were asked for."""
    return evidence.partial if epoch is None else epoch > evidence.epochs


def _beyond(number: ReportedNumber, evidence: Evidence) -> MeasuredRow:
    """A row that needs more epochs than were asked for."""
    count = len(evidence.seeds)
    return MeasuredRow(
        number=number,
        values=np.full(count, np.nan),
        absent=np.zeros(count, dtype=np.bool_),
        not_run=BEYOND.format(evidence.epochs),
    )
