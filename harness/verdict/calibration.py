"""From a study to bands for verdicts on one seed."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from math import ceil, floor, log10

import numpy as np

from harness import stats
from harness.manifest import Manifest
from harness.record import canonical_json, digest
from harness.stats import Array
from harness.verdict.results import ClaimResult, ExperimentVerdict

FEWEST = 3
"""With fewer seeds none can be left out to see whether the bands of the others hold it."""


@dataclass(frozen=True)
class Proposal:
    """Bands as a manifest's `calibration` takes them, and what speaks for them."""

    seeds: tuple[int, ...]
    records: str
    """SHA-256 of the values that the bands are made of."""
    coverage: float
    confidence: float
    bands: Mapping[str, tuple[float, float]]
    """By row; rounded outwards."""
    factor: float
    """How many spreads a band reaches to either side of the mean."""
    inside: int
    """How many seeds lie in every band of the others, each left out in turn."""
    without: Mapping[str, str]
    """Rows that get no band, and why: there the tolerance goes on to decide."""


def propose(verdict: ExperimentVerdict, *, coverage: float, confidence: float) -> Proposal | None:
    """Bands that hold a further run in every row at once; None where too few rows or seeds do.

    Tolerance intervals of each row by Howe, at shares of 1 - coverage and of 1 - confidence that
    Bonferroni leaves each of the rows. Only rows that hold get one: a band says that a run is like
    those of the study, and that says something of the paper only where the study agrees with it.

    Args:
        verdict: on the study, by its statistics.
        coverage: share of all runs that are to lie in every band.
        confidence: that they do.
    """
    without = {row.name: why for row in verdict.results if (why := _unfit(row, verdict))}
    fit = [row for row in verdict.results if row.name not in without and _compared(row)]
    if len(verdict.seeds) < FEWEST or not fit:
        return None
    values = np.array([list(row.by_seed.values()) for row in fit]).T
    factor = _factor(len(values), len(fit), coverage, confidence)
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
        without=without,
    )


def stale(said: Manifest, results: Iterable[ClaimResult], seeds: tuple[int, ...]) -> bool:
    """Whether the manifest's bands are of other values than those of the very seeds that it names.

    Other seeds, and fewer epochs, tell nothing of it.
    """
    calibration = said.calibration
    if calibration is None or calibration.seeds != seeds:
        return False
    rows = [row for row in results if row.name in calibration.bands and row.n == len(seeds)]
    return len(rows) == len(calibration.bands) and _digest(rows) != calibration.records


def _digest(rows: Iterable[ClaimResult]) -> str:
    return digest(canonical_json({row.name: _by_seed(row) for row in rows}))


def _compared(row: ClaimResult) -> bool:
    return row.p_consistency is not None


def _unfit(row: ClaimResult, verdict: ExperimentVerdict) -> str:
    """Why a row that is compared with the seeds gets no band."""
    if not _compared(row):
        return ""
    if not row.verdict.holds:
        return str(row.verdict)
    if row.n < len(verdict.seeds):
        return f"{row.n} of {len(verdict.seeds)} seeds have a value"
    return "" if row.spread else "no spread"


def _by_seed(row: ClaimResult) -> dict[str, float]:
    return {str(seed): value for seed, value in row.by_seed.items()}


def _factor(n: int, rows: int, coverage: float, confidence: float) -> float:
    return stats.howe_factor(n, 1 - (1 - coverage) / rows, 1 - (1 - confidence) / rows)


def _bands(values: Array, factor: float) -> tuple[Array, Array]:
    """Lower and upper limits, shape (rows,), of values of shape (seeds, rows)."""
    mean, reach = values.mean(axis=0), factor * values.std(axis=0, ddof=1)
    return mean - reach, mean + reach


def _inside(values: Array, coverage: float, confidence: float) -> int:
    """How many seeds lie in every band of the others."""
    n, rows = values.shape
    factor = _factor(n - 1, rows, coverage, confidence)
    count = 0
    for seed in range(n):
        low, high = _bands(np.delete(values, seed, axis=0), factor)
        count += bool(((low <= values[seed]) & (values[seed] <= high)).all())
    return count


def _outwards(low: float, high: float) -> tuple[float, float]:
    """To four decimals, or as many as it takes to show the band's width to two digits."""
    unit = 10.0 ** -max(4, 2 - floor(log10(high - low)))
    digits = round(-log10(unit))
    return round(floor(low / unit) * unit, digits), round(ceil(high / unit) * unit, digits)
