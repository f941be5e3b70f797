"""Arrays in, numbers out: what verdicts rest on. Nothing here knows of papers or records.

Quantiles come from `scipy.special`: `scipy.stats` takes a second to import, so it is imported only
where it alone has what is needed.
"""

from harness.stats.consistency import (
    Consistency,
    Family,
    consistency,
    holm,
    left_out,
    not_normal,
    prediction_p,
)
from harness.stats.curves import Array, onset, value_at
from harness.stats.intervals import (
    Sample,
    equivalence_p,
    howe_factor,
    mean_interval,
    spread_bounds,
    summarise,
)
from harness.stats.sample_size import more_for_consistency, more_for_equivalence, more_for_spread

__all__ = [
    "Array",
    "Consistency",
    "Family",
    "Sample",
    "consistency",
    "equivalence_p",
    "holm",
    "howe_factor",
    "left_out",
    "mean_interval",
    "more_for_consistency",
    "more_for_equivalence",
    "more_for_spread",
    "not_normal",
    "onset",
    "prediction_p",
    "spread_bounds",
    "summarise",
    "value_at",
]
