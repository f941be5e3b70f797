"""Every claim of an experiment against its evidence: every row judged, every seed named."""

from collections.abc import Iterable, Iterator, Mapping

import numpy as np

from harness import stats
from harness.manifest import (
    Calibration,
    Claim,
    ComparedClaim,
    Manifest,
    OnsetClaim,
)
from harness.stats import Sample
from harness.verdict.draws import Drawn, drawn
from harness.verdict.evidence import Evidence
from harness.verdict.fourway import Decision, four_way
from harness.verdict.model import ClaimResult, LeftOut, Outcome
from harness.verdict.rows import Row, rows_of
from harness.verdict.wording import of_seeds

_BY_SEED = {"exact": "every seed, to the last decimal", "band": "every seed inside the tolerance"}


def judge_claims(
    said: Manifest, evidence: Evidence, alpha: float
) -> tuple[list[ClaimResult], LeftOut | None]:
    """The results of all rows, in the order of the manifest, and how the seeds fare left out."""
    judged = [(claim, list(rows_of(claim, evidence))) for claim in said.claims]
    draws, left_out = drawn(judged, evidence, alpha)
    judge = _Judge(said, evidence, alpha, draws)
    return [judge.result(claim, row) for claim, rows in judged for row in rows], left_out


class _Judge:
    """What all rows of an experiment are judged by."""

    def __init__(
        self, said: Manifest, evidence: Evidence, alpha: float, draws: Mapping[str, Drawn]
    ) -> None:
        self._unit = said.unit
        self._evidence = evidence
        self._alpha = alpha
        self._draws = draws
        self._calibration = said.calibration
        self._guards = sum(_limited(said.claims))

    def result(self, claim: Claim, row: Row) -> ClaimResult:
        there = ~np.isnan(row.values)
        sample = stats.summarise(row.values)
        found = self._decide(claim, row, sample)
        measured = sample.mean if row.farthest is None else row.farthest
        # A mean over the seeds that took off would come out too early.
        unknown = row.censored is not None and row.censored.any()
        if found.outcome is Outcome.NOT_RUN or unknown:
            measured = None
        shown = row.farthest is None and not unknown
        return ClaimResult(
            name=row.number.name,
            claim=claim.name,
            kind=claim.kind,
            metric=claim.metric,
            unit="epochs" if isinstance(claim, OnsetClaim) else self._unit,
            epoch=row.number.epoch,
            reported=row.number.reported,
            measured=measured,
            tolerance=row.number.tolerance,
            n=sample.n,
            spread=sample.spread if shown else None,
            by_seed=dict(zip(self._evidence.named(there), row.values[there].tolist(), strict=True)),
            verdict=found.outcome,
            note="; ".join(filter(None, (found.why, row.note))),
            method=found.method,
            interval=found.interval,
            p_equivalence=found.p_equivalence,
            p_consistency=found.p_consistency,
            more_seeds=found.more_seeds,
        )

    def _decide(self, claim: Claim, row: Row, sample: Sample) -> Decision:
        """What decides whatever else is missing comes first; a mean waits for all of its seeds."""
        named = self._evidence.named
        broken = named(row.absent & self._evidence.failed)
        off = named(row.off) if row.off is not None else ()
        lacking = named(row.absent & ~self._evidence.failed)
        if row.not_run:
            return Decision(outcome=Outcome.NOT_RUN, why=row.not_run)
        faults = [f"{of_seeds(broken)} failed" if broken else "", row.fails]
        faults.append(f"{of_seeds(off)} off" if off else "")
        if any(faults):
            return Decision(
                outcome=Outcome.NOT_REPRODUCED,
                why="; ".join(filter(None, faults)),
                method=_BY_SEED.get(claim.kind, "every seed has a value"),
            )
        if lacking:
            return Decision(outcome=Outcome.INCOMPLETE, why=f"{of_seeds(lacking)} missing")
        if not isinstance(claim, ComparedClaim):
            return Decision(outcome=Outcome.REPRODUCED, method=_BY_SEED[claim.kind])
        return self._compare(claim, row, sample)

    def _compare(self, claim: ComparedClaim, row: Row, sample: Sample) -> Decision:
        if sample.mean is None:
            return Decision(outcome=Outcome.NOT_RUN)
        if row.number.name in self._draws and sample.n > 1:
            draw = self._draws[row.number.name]
            return four_way(claim, row, sample, draw, alpha=self._alpha, guards=self._guards)
        return one_seed(row, sample.mean, self._calibration)


def one_seed(row: Row, value: float, calibration: Calibration | None) -> Decision:
    """By the band that a study left, else by the tolerance: one value alone shows no more."""
    number = row.number
    band = calibration.bands.get(number.name) if calibration else None
    if calibration is None or band is None:
        near = abs(value - number.reported) <= number.tolerance + number.half
        method = "tolerance only, no statistical claim"
    else:
        near = band[0] <= value <= band[1]
        method = f"band of the study of {of_seeds(calibration.seeds)}"
    if not near:
        outside = f"outside {band[0]:g} to {band[1]:g}" if band else ""
        return Decision(outcome=Outcome.NOT_REPRODUCED, why=outside, method=method)
    outcome = Outcome.INCONCLUSIVE if row.undecided else Outcome.REPRODUCED
    return Decision(outcome=outcome, why=row.undecided, method=method)


def _limited(claims: Iterable[Claim]) -> Iterator[int]:
    """How many rows of each claim have their spread limited."""
    for claim in claims:
        if isinstance(claim, ComparedClaim) and claim.largest_spread:
            yield len(claim.reported) if isinstance(claim.reported, Mapping) else 1
