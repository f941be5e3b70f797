"""Experiments and stored trials made by hand, so that a test says only what it is about."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from harness.manifest import (
    BandClaim,
    Claim,
    CurveClaim,
    ExactClaim,
    Expected,
    Experiment,
    Manifest,
    OnsetClaim,
    Paper,
    Sourced,
    Takeoff,
    Tolerance,
    ValueClaim,
    WorkloadChoice,
)
from harness.record import (
    Environment,
    EpochRecord,
    Failure,
    FailureKind,
    FinalRecord,
    Provenance,
    Source,
    StoredTrial,
    TrialSpec,
)
from harness.verdict import Case, ClaimResult, ExperimentVerdict, judge
from harness.workload import Parameters

LISTING = {"metric": "mi_bits", "source": "the only listing"}
TEST = {"metric": "test_mi_bits", "source": "the listing's last line"}


def near(value: float) -> Tolerance:
    return Tolerance(value=value, reason="a share of the true value")


def takeoff(threshold: float) -> Takeoff:
    return Takeoff(threshold=threshold, reason="well above the plateau")


def value(reported: Any, tolerance: float = 0.1, name: str = "late rows") -> ValueClaim:
    place = LISTING if isinstance(reported, Mapping) else TEST
    return ValueClaim(
        kind="value", name=name, reported=reported, tolerance=near(tolerance), **place
    )


def exact(reported: Any, decimals: int = 4, name: str = "true values") -> ExactClaim:
    return ExactClaim(
        kind="exact",
        name=name,
        reported=reported,
        decimals=decimals,
        metric="true_mi_bits",
        source="the listing's last column",
    )


def band(reported: Any, tolerance: float = 0.1, name: str = "stays at zero") -> BandClaim:
    place = LISTING if isinstance(reported, Mapping) else TEST
    return BandClaim(kind="band", name=name, reported=reported, tolerance=near(tolerance), **place)


def curve(
    reported: Mapping[int, float],
    tolerance: float = 0.1,
    *,
    threshold: float | None = None,
    name: str = "early rows",
) -> CurveClaim:
    return CurveClaim(
        kind="curve",
        name=name,
        reported=reported,
        tolerance=near(tolerance),
        takeoff=None if threshold is None else takeoff(threshold),
        **LISTING,
    )


def onset(reported: float, threshold: float, tolerance: float = 1.0) -> OnsetClaim:
    return OnsetClaim(
        kind="onset",
        name="take-off",
        reported=reported,
        tolerance=near(tolerance),
        takeoff=takeoff(threshold),
        **LISTING,
    )


def experiment(
    *claims: Claim,
    id: str = "made-up",
    epochs: int = 4,
    seeds: Sequence[int] = (0, 1, 2),
    control: bool = False,
    not_reproduced: Sequence[str] = (),
    paper: str = "A Paper",
) -> Experiment:
    manifest = Manifest(
        format=1,
        title=f"Title of {id}",
        paper=Paper(title=paper, author="A. Author", listing="the only one", command="./run.py"),
        unit="bits",
        workload=WorkloadChoice(
            name="toy",
            parameters={
                "rate": Sourced(value=0.1, stated="slide 1"),
                "batch": Sourced(value=100, assumed="usual"),
            },
        ),
        epochs=Sourced(value=epochs, stated="the listing ends there"),
        seeds=tuple(seeds),
        control=control,
        claims=claims,
        expected=Expected(not_reproduced=tuple(not_reproduced), reason="known not to hold")
        if not_reproduced
        else None,
    )
    return Experiment(
        id=id, path=Path(f"{id}.yaml"), digest="0" * 64, manifest=manifest, parameters=Parameters()
    )


def trial(
    mi: Sequence[float],
    *,
    test: float | None = None,
    true: Sequence[float] | None = None,
    failure: Failure | None = None,
    unfinished: bool = False,
    versions: Mapping[str, str] | None = None,
) -> StoredTrial:
    """A trial with these estimates, one an epoch; done unless it failed or is said not to be."""
    length = len(mi)
    trues: Sequence[float | None] = true or [None] * length
    records = [
        {"mi_bits": estimate} | ({} if entropy is None else {"true_mi_bits": entropy})
        for estimate, entropy in zip(mi, trues, strict=True)
    ]
    done = 0 if failure or unfinished else length
    return StoredTrial(
        spec=TrialSpec("toy", 1, {}, 0, {}),
        epochs=tuple(
            EpochRecord(epoch, metrics, ended_ms=0, seconds=1.0)
            for epoch, metrics in enumerate(records, start=1)
        ),
        finals={}
        if test is None
        else {length: FinalRecord(length, {"test_mi_bits": test}, ended_ms=0, seconds=1.0)},
        done=done,
        failure=failure,
        provenance=(_provenance(versions or {"torch": "2.1"}),),
    )


def _provenance(versions: Mapping[str, str]) -> Provenance:
    environment = Environment(
        device="cpu", threads=1, form="plain", versions=versions, hardware={}, settings={}, data={}
    )
    return Provenance("host", Source("c0ffee", False, "d" * 64), environment)


def failed(epoch: int, kind: FailureKind = FailureKind.SCIENTIFIC) -> Failure:
    return Failure(kind, "ValueError", "the estimate is NaN", epoch)


Trials = Mapping[int, StoredTrial | None]


def verdict_on(
    asked: Experiment, trials: Trials, *, epochs: int | None = None
) -> ExperimentVerdict:
    """Judge one experiment by its seeds' trials."""
    (found,) = verdicts_on([(asked, trials)], epochs=epochs)
    return found


def verdicts_on(
    asked: Sequence[tuple[Experiment, Trials]], *, epochs: int | None = None
) -> tuple[ExperimentVerdict, ...]:
    """Judge several experiments, given as pairs with their trials."""
    stored = {(item.id, seed): found for item, trials in asked for seed, found in trials.items()}
    cases = [
        Case(item, tuple(trials), epochs or item.manifest.epochs.value) for item, trials in asked
    ]
    return judge(cases, lambda item, seed: stored[item.id, seed])


def row(verdict: ExperimentVerdict, name: str) -> ClaimResult:
    (found,) = (result for result in verdict.results if result.name == name)
    return found


def with_reported(claim: Any, epoch: int, by: float) -> Any:
    """The claim with one reported row moved."""
    moved = dict(claim.reported) | {epoch: claim.reported[epoch] + by}
    return claim.model_copy(update={"reported": moved})
