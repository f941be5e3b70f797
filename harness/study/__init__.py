"""Which verdicts hinge on what a paper leaves open: variants of one experiment, compared; pure.

A paper states some of its parameters; the others are inferred or assumed, and so is how a number
that it prints was averaged. A variant is the experiment with other values for some of these. Each
is judged by itself, by the claims and tolerances of the manifest; a verdict hinges on an assumption
where it holds with one value and fails with another, all else being equal.
"""

from harness.study.factors import Factor, factors
from harness.study.results import Hinge, Result, Study, claim_outcome
from harness.study.variants import Variant, variants

__all__ = [
    "Factor",
    "Hinge",
    "Result",
    "Study",
    "Variant",
    "claim_outcome",
    "factors",
    "variants",
]
