"""Did a result change since last time? Two sets of stored trials, compared; pure.

First the digests of the records: where they are equal nothing changed, and no test is made. Else
each claim is compared seed by seed, as paired differences; what the tests find is corrected for
how many they are; and it is said how small a change so few seeds could have shown. The same seeds
run on many nights are one sample, so two sets are compared and never more pooled.
"""

from harness.compare.comparison import compare, results_digest
from harness.compare.model import Change, Comparison, Side, Standing

__all__ = ["Change", "Comparison", "Side", "Standing", "compare", "results_digest"]
