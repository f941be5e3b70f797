"""Verdicts as one JSON document, for programs."""

from collections.abc import Iterable
from dataclasses import asdict

from harness.record import Failure, Json
from harness.verdict import ClaimResult, ExperimentVerdict

FORMAT = 1
"""Raised when a field changes its meaning or goes away."""


def document(verdicts: Iterable[ExperimentVerdict]) -> dict[str, Json]:
    """All verdicts; holds nothing that JSON cannot (no NaN), so it may be dumped strictly."""
    return {"format": FORMAT, "experiments": [_experiment(verdict) for verdict in verdicts]}


def _experiment(verdict: ExperimentVerdict) -> dict[str, Json]:
    return {
        "id": verdict.id,
        "title": verdict.title,
        "paper": verdict.paper,
        "control": verdict.control,
        "unit": verdict.unit,
        "verdict": verdict.verdict,
        "expected": verdict.expected,
        "expected_reason": verdict.expected_reason,
        "as_expected": verdict.as_expected,
        "epochs": verdict.epochs,
        "seeds": list(verdict.seeds),
        "claims": [_claim(result) for result in verdict.results],
        "failures": [_failure(seed, item) for seed, item in sorted(verdict.failures.items())],
        "missing": list(verdict.missing),
        "notes": list(verdict.notes),
        "parameters": dict(verdict.bases),
        "alpha": verdict.alpha,
        "left_out": None if verdict.left_out is None else asdict(verdict.left_out),
    }


def _claim(result: ClaimResult) -> dict[str, Json]:
    return {
        "name": result.name,
        "claim": result.claim,
        "kind": result.kind,
        "metric": result.metric,
        "unit": result.unit,
        "epoch": result.epoch,
        "reported": result.reported,
        "measured": result.measured,
        "difference": result.difference,
        "tolerance": result.tolerance,
        "verdict": result.verdict,
        "as_expected": result.as_expected,
        "n": result.n,
        "spread": result.spread,
        "note": result.note,
        "method": result.method,
        "interval": None if result.interval is None else list(result.interval),
        "p_equivalence": result.p_equivalence,
        "p_consistency": result.p_consistency,
        "more_seeds": result.more_seeds,
        "by_seed": {str(seed): value for seed, value in result.by_seed.items()},
    }


def _failure(seed: int, failure: Failure) -> dict[str, Json]:
    return {
        "seed": seed,
        "kind": failure.kind,
        "error": failure.error,
        "message": failure.message,
        "epoch": failure.epoch,
    }
