"""Where the seeds' curves leave their plateau, and which have not."""

from dataclasses import dataclass
from math import inf

import numpy as np

from harness import stats
from harness.stats import Array
from harness.verdict.evidence import Evidence, Mask
from harness.verdict.wording import of_seeds

NEVER = "{} never took off"
CENSORED = "{} had not taken off by epoch {}"


@dataclass(frozen=True)
class Takeoffs:
    """Where each seed's curve leaves its plateau. Arrays and masks have shape (seeds,)."""

    onsets: Array
    """NaN where none came."""
    absent: Mask
    """Seeds that broke off before they took off: they might have."""
    never: Mask
    """Seeds that ran all epochs that were asked for without."""

    @classmethod
    def of(cls, metric: str, threshold: float, evidence: Evidence) -> "Takeoffs":
        """Read them from a metric's curves; `threshold` is in its unit."""
        epochs = np.arange(1.0, evidence.epochs + 1)
        curves = evidence.curves[metric]
        onsets = np.array([stats.onset(epochs, curve, threshold) for curve in curves])
        none = np.isnan(onsets)
        broke_off = np.isnan(curves[:, -1])
        return cls(onsets, none & broke_off, none & ~broke_off)

    def fault(self, evidence: Evidence, latest: float = inf) -> str:
        """Why a run fails: no seed takes off as the paper's did.

        A shorter run is censored, unless it reaches the latest epoch that would still do.
        """
        if not self.never.all():
            return ""
        if evidence.partial:
            return self.censored(evidence) if evidence.epochs >= latest else ""
        return NEVER.format(of_seeds(evidence.seeds))

    def doubt(self, evidence: Evidence) -> str:
        """Which seeds of a full run never took off: how long a plateau lasts is chance."""
        named = evidence.named(self.never)
        some = named and not evidence.partial and not self.never.all()
        return NEVER.format(of_seeds(named)) if some else ""

    def censored(self, evidence: Evidence) -> str:
        """Which seeds a shorter run says nothing of."""
        named = evidence.named(self.never)
        return CENSORED.format(of_seeds(named), evidence.epochs) if named else ""
