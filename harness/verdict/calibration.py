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
    inside: int
    """Leave-one-out check: how many seeds lie in every band computed from the other seeds."""
    without: Mapping[str, str]
    """Rows that get no band, and why; the tolerance still decides them."""


def propose(verdict: ExperimentVerdict, *, coverage: float, confidence: float) -> Proposal | None:
    """Propose bands that contain one more run in every row at once.

    Each row gets a tolerance interval (Howe). Bonferroni's correction divides 1 - coverage and
    1 - confidence by the number of rows. Only rows that hold get a band: a band says that a run is
    like those of the study, which says something about the paper only if the study agrees with it.

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
    factor = _factor(len(verdict.seeds), len(fit), coverage, confidence)
    wide = {row.name: why for row in fit if (why := _too_wide(row, factor))}
    fit = [row for row in fit if row.name not in wide]
    if not fit:
        return None
    values = np.array([list(row.by_seed.values()) for row in fit]).T
    return Proposal(
        seeds=verdict.seeds,
        records=_digest(fit),
        coverage=coverage,
        confidence=confidence,
        bands={
            row.name: _outwards(*band)
            for row, band in zip(fit, zip(*_bands(values, factor), strict=True), strict=True)
        },
        factor=factor,
        inside=_inside(values, coverage, confidence),
        without=wide | {row.name: why for row in compared if (why := _unfit(row, verdict))},
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
    values = np.array(list(row.by_seed.values()))
    return "the seeds are not normally distributed" if stats.not_normal(values) else ""


def _too_wide(row: ClaimResult, factor: float) -> str:
    """Why a row gets no band: it would pass what the tolerance refuses. Empty if it gets one."""
    half = factor * (row.spread or 0.0)
    return f"the band would be ±{half:.3g}, the tolerance is less" if half > row.tolerance else ""


def _by_seed(row: ClaimResult) -> dict[str, float]:
    return {str(seed): value for seed, value in row.by_seed.items()}


def _factor(n: int, rows: int, coverage: float, confidence: float) -> float:
    return stats.howe_factor(n, 1 - (1 - coverage) / rows, 1 - (1 - confidence) / rows)


def _bands(values: Array, factor: float) -> tuple[Array, Array]:
    """Lower and upper limits, shape (rows,), of values of shape (seeds, rows)."""
    mean, reach = values.mean(axis=0), factor * values.std(axis=0, ddof=1)
    return mean - reach, mean + reach


def _inside(values: Array, coverage: float, confidence: float) -> int:
    """How many seeds lie in every band computed from the other seeds."""
    n, rows = values.shape
    factor = _factor(n - 1, rows, coverage, confidence)
    count = 0
    for seed in range(n):
        low, high = _bands(np.delete(values, seed, axis=0), factor)
        count += bool(((low <= values[seed]) & (values[seed] <= high)).all())
    return count


def _outwards(low: float, high: float) -> tuple[float, float]:
    """Round outwards to four decimals, or to more if the width needs them for two digits."""
    unit = 10.0 ** -max(4, 2 - floor(log10(high - low)))
    digits = round(-log10(unit))
    return round(floor(low / unit) * unit, digits), round(ceil(high / unit) * unit, digits)
