"""The statistics behind verdicts: arrays in, numbers out. Nothing here knows papers or records.

Quantiles come from `scipy.special`, because importing `scipy.stats` takes a second.
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
from harness.stats.curves import Array, Crossing, crossing, onset, value_at
from harness.stats.intervals import (
    Sample,
    equivalence_p,
    howe_factor,
    mean_interval,
    range_confidence,
    sd_bounds,
    share_within,
    summarise,
    two_runs_differ,
)
from harness.stats.ordered import (
    above_p,
    best_of,
    extreme_difference_p,
    none_p,
    positive_p,
    positive_t_p,
    too_extreme_p,
)
from harness.stats.paired import Paired, familywise, paired
from harness.stats.sample_size import (
    ASSURANCE,
    Question,
    first_size,
    more_for_equivalence,
    more_for_sd,
    more_for_side,
    more_to_settle,
)
from harness.stats.samples import (
    larger_sd_p,
    more_for_welch,
    more_for_welch_equivalence,
    rank_p,
    scale_p,
    welch_equivalence_p,
    welch_interval,
    welch_p,
)

__all__ = [
    "ASSURANCE",
    "Array",
    "Consistency",
    "Crossing",
    "Family",
    "Paired",
    "Question",
    "Sample",
    "above_p",
    "best_of",
    "consistency",
    "crossing",
    "equivalence_p",
    "extreme_difference_p",
    "familywise",
    "first_size",
    "holm",
    "howe_factor",
    "larger_sd_p",
    "left_out",
    "mean_interval",
    "more_for_equivalence",
    "more_for_sd",
    "more_for_side",
    "more_for_welch",
    "more_for_welch_equivalence",
    "more_to_settle",
    "none_p",
    "not_normal",
    "onset",
    "paired",
    "positive_p",
    "positive_t_p",
    "prediction_p",
    "range_confidence",
    "rank_p",
    "scale_p",
    "sd_bounds",
    "share_within",
    "summarise",
    "too_extreme_p",
    "two_runs_differ",
    "value_at",
    "welch_equivalence_p",
    "welch_interval",
    "welch_p",
]
