"""Compare two sets of stored trials, to tell whether a result changed.

Where the digests of the records are equal, nothing changed and nothing is tested. Otherwise each
claim is compared seed by seed, as paired differences. The tests are corrected for their number, and
each result says how small a change so few seeds could have shown. The same seeds on many nights are
one sample, so two sides are compared and never more are pooled.
"""

from harness.compare.comparison import compare, results_digest
from harness.compare.presentation import sentence
from harness.compare.results import Change, Comparison, Side, Standing

__all__ = [
    "Change",
    "Comparison",
    "Side",
    "Standing",
    "compare",
    "results_digest",
    "sentence",
]
