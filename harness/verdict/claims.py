"""One claim against its evidence: every row judged, every seed without a value named."""

import numpy as np

from harness import stats
from harness.manifest import Claim, OnsetClaim
from harness.stats import Sample
from harness.verdict.evidence import Evidence
from harness.verdict.model import ClaimResult, Outcome
from harness.verdict.rows import Row, rows_of
from harness.verdict.wording import of_seeds


def judge_claim(claim: Claim, unit: str, evidence: Evidence) -> list[ClaimResult]:
    """The results of a claim's rows, in the order of the listing."""
    return [_result(claim, unit, row, evidence) for row in rows_of(claim, evidence)]


def _result(claim: Claim, unit: str, row: Row, evidence: Evidence) -> ClaimResult:
    there = ~np.isnan(row.values)
    sample = stats.summarise(row.values)
    verdict, why = _decide(row, sample, evidence)
    measured = sample.mean if row.farthest is None else row.farthest
    if verdict is Outcome.NOT_RUN:
        measured = None
    return ClaimResult(
        name=row.number.name,
        claim=claim.name,
        kind=claim.kind,
        metric=claim.metric,
        unit="epochs" if isinstance(claim, OnsetClaim) else unit,
        epoch=row.number.epoch,
        reported=row.number.reported,
        measured=measured,
        tolerance=row.number.tolerance,
        n=sample.n,
        spread=sample.spread if row.farthest is None else None,
        by_seed=dict(zip(evidence.named(there), row.values[there].tolist(), strict=True)),
        verdict=verdict,
        note="; ".join(filter(None, (why, row.note))),
    )


def _decide(row: Row, sample: Sample, evidence: Evidence) -> tuple[Outcome, str]:
    """What decides whatever else is missing comes first; a mean waits for all of its seeds."""
    broken = evidence.named(row.absent & evidence.failed)
    off = evidence.named(row.off) if row.off is not None else ()
    lacking = evidence.named(row.absent & ~evidence.failed)
    if row.not_run:
        return Outcome.NOT_RUN, row.not_run
    faults = [f"{of_seeds(broken)} failed" if broken else "", row.fails]
    faults.append(f"{of_seeds(off)} off" if off else "")
    if any(faults):
        return Outcome.NOT_REPRODUCED, "; ".join(filter(None, faults))
    if lacking:
        return Outcome.INCOMPLETE, f"{of_seeds(lacking)} missing"
    if sample.mean is None:
        return Outcome.NOT_RUN, ""
    near = row.off is not None or abs(sample.mean - row.number.reported) <= row.number.tolerance
    return (Outcome.REPRODUCED if near else Outcome.NOT_REPRODUCED), ""
