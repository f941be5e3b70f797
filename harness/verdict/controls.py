"""Controls: if one fails, no other verdict on its paper counts.

A control could pass because nothing was learnt at all. Its twin, a dependent run with the same
seeds, must therefore learn.
"""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from harness.manifest import of_seeds
from harness.manifest.experiment import TWIN, Twin, twin_row_name
from harness.verdict.evidence import CENSORED, NEVER, Evidence, Takeoffs
from harness.verdict.results import ClaimResult, ExperimentVerdict, Outcome


def judge_twin(twin: Twin, unit: str, control: Evidence) -> ClaimResult:
    """Judge whether the twin's curve takes off with each of the control's seeds.

    The result is INCONCLUSIVE if the twin is not judged in the same call.

    Args:
        twin: as the control's manifest states it.
        unit: that of the twin's metric.
        control: the control's evidence; the twin's is in `control.beside`.
    """
    other = control.beside.get(twin.experiment)
    curves = other.curves.get(twin.metric) if other else None
    if other is None or curves is None:
        outcome, why = Outcome.INCONCLUSIVE, f"{twin.experiment} is not judged beside the control"
        highest: dict[int, float] = {}
    else:
        outcome, why = _learnt(twin, control, other)
        highest = {
            seed: float(np.nanmax(curve))
            for seed, curve in zip(other.seeds, curves, strict=True)
            if seed in control.seeds and not np.isnan(curve).all()
        }
    return ClaimResult(
        name=twin_row_name(twin.experiment),
        claim=TWIN,
        kind=TWIN,
        metric=twin.metric,
        unit=unit,
        epoch=None,
        reported=twin.takeoff.threshold,
        measured=min(highest.values(), default=None),
        tolerance=0.0,
        n=len(highest),
        spread=None,
        by_seed=highest,
        verdict=outcome,
        note=why,
        method="every seed reaches the threshold",
    )


def _learnt(twin: Twin, control: Evidence, other: Evidence) -> tuple[Outcome, str]:
    takeoffs = Takeoffs.of(twin.metric, twin.takeoff.threshold, other)
    asked = np.isin(other.seeds, control.seeds)
    broken = other.named(asked & takeoffs.absent & other.failed)
    never = other.named(asked & takeoffs.never)
    lacking = set(control.seeds) - set(other.named(asked & ~takeoffs.absent))
    lacking -= set(broken)
    if broken:
        return Outcome.NOT_REPRODUCED, f"{of_seeds(broken)} failed before taking off"
    if never and not other.partial and len(control.seeds) > 1:
        return Outcome.NOT_REPRODUCED, NEVER.format(of_seeds(never))
    if lacking:
        return Outcome.INCOMPLETE, f"{of_seeds(lacking)} missing"
    if never:  # or one seed ran in full, and others may take off
        return Outcome.INCONCLUSIVE, CENSORED.format(of_seeds(never), other.epochs)
    return Outcome.REPRODUCED, ""


def gate(verdicts: Sequence[ExperimentVerdict]) -> tuple[ExperimentVerdict, ...]:
    """Turn verdicts that hold into INCONCLUSIVE if a control of their paper fails.

    They may hold for a wrong reason.
    """
    return tuple(_gated(verdict, verdicts) for verdict in verdicts)


def _gated(verdict: ExperimentVerdict, all_: Sequence[ExperimentVerdict]) -> ExperimentVerdict:
    controls = [
        other
        for other in sorted(all_, key=lambda other: other.id)
        if other.control and other.paper == verdict.paper and other.id != verdict.id
    ]
    failed = [other.id for other in controls if other.verdict is Outcome.NOT_REPRODUCED]
    open_ = [f"control {other.id} is {other.verdict}" for other in controls if _open(other)]
    lost = [f"control {', '.join(failed)} failed"] if failed else []
    noted = replace(verdict, notes=(*verdict.notes, *lost, *open_))
    if not failed or not verdict.verdict.holds:
        return noted
    still = False if verdict.as_expected is False else None
    return replace(noted, verdict=Outcome.INCONCLUSIVE, as_expected=still)


def _open(control: ExperimentVerdict) -> bool:
    return not control.verdict.holds and control.verdict is not Outcome.NOT_REPRODUCED
