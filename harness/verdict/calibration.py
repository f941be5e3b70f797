"""Propose bands for verdicts on one seed, from a study of several seeds."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from math import ceil, floor, log10

import numpy as np

from harness import stats
from harness.manifest import Manifest
from harness.record import canonical_json, digest
from harness.stats import Array
from harness.verdict.results import ClaimResult, ExperimentVerdict

FEWEST = 10
"""With fewer seeds the bands are many SDs wide (54 SDs with three seeds and 30 rows)."""


@dataclass(frozen=True)
class Proposal:
    """Bands as a manifest's `calibration` takes them, and how well they cover the seeds."""

    seeds: tuple[int, ...]
    records: str
    """SHA-256 of the values that the bands were computed from."""
    coverage: float
    confidence: float
    bands: Mapping[str, tuple[float, float]]
    """Lower and upper limit by the row's printed name; rounded outwards."""
    factor: float
    """Half the width of a band, in SDs of the row."""
    ranges: tuple[str, ...]
    """Rows that are not normally distributed. Their band is the smallest to the largest seed."""
    inside: int
    """Leave-one-out check: how many seeds lie in every band computed from the other seeds."""
    without: Mapping[str, str]
    """Rows that get no band, and why; the tolerance still decides them."""


def propose(verdict: ExperimentVerdict, *, coverage: float, confidence: float) -> Proposal | None:
    """Propose bands that contain one more run in every row at once.

    Each row gets a tolerance interval: Howe's, or the seeds' whole range (Wilks) if the row is not
    normally distributed and there are enough seeds. Bonferroni's correction divides 1 - coverage
    and 1 - confidence by the number of rows. Only rows that hold get a band: a band says that a run
    is like those of the study, which says something about the paper only if the study agrees with
    it.

    Args:
        verdict: on the study.
        coverage: share of runs that lie in every band.
        confidence: probability that the bands cover that share.

    Returns:
        None if there are too few seeds, or if no row holds.
    """
    compared = [row for row in verdict.results if row.p_consistency is not None]
    fit = [row for row in compared if not _unfit(row, verdict)]
    if len(verdict.seeds) < FEWEST or not fit:
        return None
    limits = _Limits(1 - (1 - coverage) / len(fit), 1 - (1 - confidence) / len(fit))
    without = {row.name: why for row in compared if (why := _unfit(row, verdict))}
    columns = [_Column.of(row) for row in fit]
    without |= {each.row.name: why for each in columns if (why := limits.refused(each))}
    columns = [each for each in columns if each.row.name not in without]
    if not columns:
        return None
    return Proposal(
        seeds=verdict.seeds,
        records=_digest(each.row for each in columns),
        coverage=coverage,
        confidence=confidence,
        bands={each.row.name: _outwards(*limits.of(each.values, each.skewed)) for each in columns},
        factor=limits.factor(len(verdict.seeds)),
        ranges=tuple(each.row.name for each in columns if each.skewed),
        inside=sum(
            all(limits.hold(each, seed) for each in columns) for seed in range(len(verdict.seeds))
        ),
        without=without,
    )


def stale(manifest: Manifest, results: Iterable[ClaimResult], seeds: tuple[int, ...]) -> bool:
    """Whether the manifest's bands were computed from other values than today's.

    Known only if all seeds that the calibration names were judged, in every row that has a band.
    """
    calibration, bands = manifest.calibration, manifest.bands()
    if calibration is None or calibration.seeds != seeds:
        return False
    rows = [row for row in results if row.key in bands and row.n == len(seeds)]
    return len(rows) == len(calibration.bands) and _digest(rows) != calibration.records


def _digest(rows: Iterable[ClaimResult]) -> str:
    return digest(canonical_json({row.name: _by_seed(row) for row in rows}))


def _unfit(row: ClaimResult, verdict: ExperimentVerdict) -> str:
    """Why a row that is compared with the seeds gets no band; empty if it gets one."""
    if not row.verdict.holds:
        return str(row.verdict)
    if row.n < len(verdict.seeds):
        return f"{row.n} of {len(verdict.seeds)} seeds have a value"
    if not row.spread:
        return "all seeds are equal"
    return ""


@dataclass(frozen=True)
class _Column:
    """The values of a row, shape (seeds,), and whether they are shown not to be normal."""

    row: ClaimResult
    values: Array
    skewed: bool

    @classmethod
    def of(cls, row: ClaimResult) -> "_Column":
        values = np.array(list(row.by_seed.values()))
        return cls(row, values, stats.not_normal(values))


@dataclass(frozen=True)
class _Limits:
    """Tolerance intervals of one row, at the level that all rows together need."""

    coverage: float
    confidence: float

    def of(self, values: Array, whole: bool) -> tuple[float, float]:
        """The limits by a row's values, shape (seeds,): the whole range, or Howe's."""
        if whole:
            return float(values.min()), float(values.max())
        mean, reach = float(values.mean()), self.factor(len(values)) * float(values.std(ddof=1))
        return mean - reach, mean + reach

    def factor(self, seeds: int) -> float:
        return stats.howe_factor(seeds, self.coverage, self.confidence)

    def refused(self, column: _Column) -> str:
        """Why a row gets no band; empty if it gets one."""
        row = column.row
        if column.skewed and stats.range_confidence(row.n, self.coverage) < self.confidence:
            more = stats.first_size(
                row.n,
                lambda n: np.asarray(stats.range_confidence(n, self.coverage) >= self.confidence),
            )
            enough = f"{row.n + more} seeds would be enough" if more else "more seeds do not help"
            return f"the {row.n} seeds are not normally distributed; {enough}"
        low, high = self.of(column.values, column.skewed)
        if (half := (high - low) / 2) > row.tolerance:  # it would pass what the tolerance refuses
            return f"the band would be ±{half:.3g}, the tolerance is less"
        return ""

    def hold(self, column: _Column, seed: int) -> bool:
        """Whether the seed in this place lies within the limits by the other seeds."""
        low, high = self.of(np.delete(column.values, seed), column.skewed)
        return bool(low <= column.values[seed] <= high)


def _by_seed(row: ClaimResult) -> dict[str, float]:
    return {str(seed): value for seed, value in row.by_seed.items()}


def _outwards(low: float, high: float) -> tuple[float, float]:
    """Round outwards to four decimals, or to more if the width needs them for two digits."""
    unit = 10.0 ** -max(4, 2 - floor(log10(high - low)))
    digits = round(-log10(unit))
    return round(floor(low / unit) * unit, digits), round(ceil(high / unit) * unit, digits)
