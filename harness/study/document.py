"""A study as JSON, for programs."""

from math import isfinite

from harness.record import Json
from harness.study.factors import Factor
from harness.study.model import Result, Study, claim_outcome

FORMAT = 1
"""Raised when a field changes its meaning or goes away."""


def document(study: Study) -> dict[str, Json]:
    """What was varied, what hinges on it, and each variant; the verdicts in full stand apart."""
    return {
        "format": FORMAT,
        "experiment": study.experiment.id,
        "exploratory": True,
        "grid": study.grid,
        "factors": [_factor(study, factor) for factor in study.factors],
        "variants": [_variant(study, result) for result in study.results],
    }


def _factor(study: Study, factor: Factor) -> dict[str, Json]:
    return {
        "name": factor.name,
        "basis": factor.basis,
        "why": factor.why,
        "own": factor.own,
        "values": list(factor.values),
        "hinges": study.hinge(factor),
        "claims": {name: study.hinge(factor, name) for name in study.claims},
    }


def _variant(study: Study, result: Result) -> dict[str, Json]:
    names = (factor.name for factor in study.factors)
    far, row = result.farthest
    return {
        "id": result.variant.experiment.id,
        "settings": dict(zip(names, result.variant.settings, strict=True)),
        "own": not result.variant.changed,
        "verdict": result.verdict.verdict,
        "claims": {name: claim_outcome(result.verdict, name) for name in study.claims},
        "farthest_row": row or None,
        "farthest_tolerances": far if isfinite(far) else None,
    }
