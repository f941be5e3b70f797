"""Sensitivity analysis: which verdicts change with the parameters that a paper does not state.

A paper states some of its parameters. The others are inferred or assumed, and so is the way in
which a printed number was averaged. A variant is the experiment with other values for some of
these. Each variant is judged by itself, with the claims and tolerances of the manifest. A verdict
hinges (depends) on a parameter if it holds with one value and fails with another, all else being
equal.

This package is pure: it runs no trial and reads no file.
"""

from harness.study.sensitivity import (
    Factor,
    Hinge,
    Study,
    Variant,
    VariantVerdict,
    claim_outcome,
    factors,
    variants,
    with_parameters,
)

__all__ = [
    "Factor",
    "Hinge",
    "Study",
    "Variant",
    "VariantVerdict",
    "claim_outcome",
    "factors",
    "variants",
    "with_parameters",
]
