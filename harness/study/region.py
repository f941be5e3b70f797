"""The region of parameters that is compatible with the paper, from the settings that were tried.

A search tries points, and the true values lie between them. So for each searched row a Gaussian
process is fitted to the means of the settings, as a function of the parameters. It tells the row's
mean m(x) at any x, and how uncertain that is, with variance v(x). If x is the paper's setting, then
the reported value is one more run at x, so that

    z(x) = (reported - m(x)) / sqrt(s^2 + v(x))

has about Student's t distribution, where s is the run-to-run SD of the row, pooled over the
settings. A setting is compatible if |z| of its worst row lies below the quantile at which, by
Bonferroni's inequality over the rows, the paper's own setting is excluded in at most 5 % of
cases, however the rows depend on one another. This is known as history matching (Craig et al. 1997;
Vernon, Goldstein and Bower 2010, Bayesian Analysis 5, 619), with the quantile in place of their
cutoff 3.

What it assumes: one SD of a row for all settings, and means that are smooth in the parameters. The
region is wide where few settings were tried: v(x) is large there, so nothing is excluded that was
not looked at.
"""

import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from scipy import special

from harness.errors import UsageError
from harness.manifest import Basis, Experiment, change
from harness.manifest.experiment import held_out
from harness.manifest.tree import Path
from harness.record import Json
from harness.stats import Array
from harness.study.search import Found, Space, Tried
from harness.study.sensitivity import Registry, Settings, without_own_bands, word

ALPHA = 0.05
"""How often the paper's own setting may be excluded."""

POINTS = 2048
"""Points of a Sobol sequence at which the region is evaluated; a power of two."""

EQUAL = 1e-12
"""A smaller SD, as a share of the value or its tolerance, is rounding in sums of equal numbers."""

FEWEST = 5
"""With fewer settings that have a row's value, the row excludes nothing between the settings.

Nor does a row without run-to-run noise: a Gaussian process underestimates its error there (with the
planted problem and 20 settings it excluded the truth by 6.6 SDs). Then only the settings that were
tried are judged, by `Region.accepts`.
"""


@dataclass(frozen=True)
class Profile:
    """One parameter: how compatible its values are, whatever the others are."""

    name: str
    places: Array
    """The parameter's values at the evaluated points, shape (points,); a choice as its place."""
    compatible: tuple[Json, Json] | None
    """The smallest and the largest compatible value; None if none is."""


class Region:
    """The settings that are compatible with the paper.

    Args:
        found: what a search tried.
    """

    def __init__(self, found: Found) -> None:
        self.found = found
        self.space: Space = found.space
        usable = [one for one in found.tried if not one.failed]
        self.noise, self.freedom = _noise(found)
        scale = np.array([max(abs(row.value), row.tolerance) for row in self.space.rows])
        self.noise[self.noise <= EQUAL * scale] = 0.0
        rows = len(self.space.rows)
        known = self.freedom > 0
        least = self.freedom[known].min() if known.any() else 1
        self.cutoff = float(special.stdtrit(least, 1 - ALPHA / (2 * rows)))
        """The largest |z| of a compatible setting."""
        self._emulators = [
            _Emulator.fitted(self.space, usable, row, float(self.noise[row])) for row in range(rows)
        ]

    @property
    def known(self) -> bool:
        """Whether anything can be excluded: some row has two seeds somewhere, and settings."""
        return any(self._emulators)

    def implausibility(self, settings: Sequence[Settings]) -> Array:
        """|z| of the worst row at each setting, shape (settings,)."""
        places = np.array([self.space.coordinates(one) for one in settings])
        worst = np.zeros(len(places))
        for emulator, row in zip(self._emulators, self.space.rows, strict=True):
            if emulator is not None:
                off = np.maximum(np.abs(emulator.mean(places) - row.value) - row.half_unit, 0.0)
                worst = np.maximum(worst, off / emulator.deviation(places))
        return worst

    def off(self, tried: Tried) -> Array:
        """|z| of each row by a setting's own seeds alone, shape (rows,).

        NaN without a value, or where no setting has two seeds. If the seeds of each setting are
        all equal, there is no run-to-run noise: |z| is 0 within the claim's tolerance and infinite
        beyond it.
        """
        error = self.noise * np.sqrt(1 + 1 / np.maximum(tried.counts, 1))
        reported = np.array([row.value for row in self.space.rows])
        rounding = np.array([row.half_unit for row in self.space.rows])
        off = np.maximum(np.abs(tried.means - reported) - rounding, 0.0)
        sure = np.where(off > [row.tolerance for row in self.space.rows], np.inf, off * 0)
        sure[self.freedom == 0] = np.nan
        return np.asarray(np.divide(off, error, out=sure, where=error > 0))

    def accepts(self, tried: Tried) -> bool:
        """Whether a setting that ran in full is compatible by its own seeds: no row is rejected."""
        if tried.stopped or tried.failed or np.isnan(tried.means).any():
            return False
        off = self.off(tried)
        return bool((np.isnan(off) | (off <= self.cutoff)).all())

    @cached_property
    def accepted(self) -> tuple[Tried, ...]:
        """The tried settings that are compatible by their own seeds."""
        return tuple(one for one in self.found.tried if self.accepts(one))

    @property
    def best(self) -> Tried:
        """The nearest of the accepted settings, or else of all that ran in full."""
        return min(self.accepted, key=lambda one: one.discrepancy, default=self.found.nearest)

    @cached_property
    def within_tolerance(self) -> tuple[Tried, ...]:
        """The tried settings whose every searched row lies within its tolerance, on average."""
        reported = np.array([row.value for row in self.space.rows])
        tolerances = np.array([row.tolerance for row in self.space.rows])
        return tuple(
            one
            for one in self.found.tried
            if not one.stopped
            and not one.failed
            and bool((np.abs(one.means - reported) <= tolerances).all())
        )

    @cached_property
    def _points(self) -> list[Settings]:
        from scipy.stats import qmc  # noqa: PLC0415 - a second that only this needs

        cube = qmc.Sobol(len(self.space.factors), seed=0).random(POINTS)
        return [self.space.at(place) for place in cube]

    @cached_property
    def _plausible(self) -> Array:
        return self.implausibility(self._points)

    @property
    def share(self) -> float:
        """The share of the searched space that is compatible."""
        return float((self._plausible <= self.cutoff).mean())

    @property
    def nothing(self) -> bool:
        """Whether nothing in the searched ranges is compatible."""
        return self.share == 0 and not self.accepted

    def profiles(self) -> Iterator[Profile]:
        """Each parameter with its compatible values, over all values of the others."""
        inside = self._plausible <= self.cutoff
        kept = [one for one, fits in zip(self._points, inside, strict=True) if fits]
        kept += [one.settings for one in self.accepted]
        for at, factor in enumerate(self.space.factors):
            place = self.space.place(factor.name)
            ends = sorted((one[at] for one in kept), key=place)
            places = np.array([place(one[at]) for one in self._points])
            yield Profile(factor.name, places, (ends[0], ends[-1]) if ends else None)

    @property
    def implausibilities(self) -> Array:
        """|z| of the worst row at the points of the profiles, shape (points,)."""
        return self._plausible


def inferred(region: Region, registry: Registry) -> Experiment:
    """The experiment with the values that were found, judged only by the rows that are held out.

    The take-off at which held-out curves are lined up is judged too, even if it was searched on:
    without it any shift would pass. Another claim makes no verdict milder.

    Raises:
        UsageError: the workload refuses the values.
    """
    space, search = region.space, region.space.search
    manifest = space.experiment.manifest
    rows = ", ".join(row.name for row in space.rows)
    why = f"found by harness infer among {len(region.found.tried)} settings, by {rows}"
    kept = [claim for claim in manifest.claims if held_out(claim, search) is not None]
    guarded = {(claim.metric, claim.line_up_at) for claim in kept if claim.line_up_at is not None}
    parts = [
        claim.model_dump(mode="json")
        if (claim.metric, claim.crossing) in guarded
        else held_out(claim, search)
        for claim in manifest.claims
    ]
    pairs = list(zip(space.factors, region.best.settings, strict=True))
    changes: dict[Path, Json] = {
        ("title",): f"{manifest.title} (as inferred)",
        ("expected",): None,
        ("search",): None,
        ("claims",): [part for part in parts if part is not None],
    }
    for factor, value in pairs:
        new = {"value": value, Basis.INFERRED.value: why}
        changes |= dict.fromkeys(factor.places, new)
    made, wrong = change(
        without_own_bands(space.experiment),
        changes,
        registry,
        id=f"{space.experiment.id}[inferred]",
        varied=[f"{factor.name}={word(value)}" for factor, value in pairs if value != factor.own],
    )
    if made is None:
        raise UsageError("\n".join(fault.message for fault in wrong))
    return made


def _noise(found: Found) -> tuple[Array, Array]:
    """The run-to-run SD of each row, pooled over the settings, and its degrees of freedom."""
    rows = len(found.space.rows)
    squares, freedom = np.zeros(rows), np.zeros(rows)
    for one in found.tried:
        known = np.isfinite(one.values) & ~found.space.stands_in(one.values, one.epochs)
        several = known.sum(axis=1) > 1
        if not several.any() or one.failed:
            continue
        off = np.where(known, one.values - np.nan_to_num(one.means)[:, None], 0.0)
        squares += np.where(several, (off**2).sum(axis=1), 0.0)
        freedom += np.where(several, known.sum(axis=1) - 1, 0)
    return np.sqrt(np.divide(squares, freedom, out=np.zeros(rows), where=freedom > 0)), freedom


class _Emulator:
    """A Gaussian process that predicts the mean of one row from the parameters."""

    def __init__(self, places: Array, means: Array, errors: Array, noise: float) -> None:
        from sklearn.gaussian_process import GaussianProcessRegressor  # noqa: PLC0415 - seconds
        from sklearn.gaussian_process.kernels import ConstantKernel, Matern  # noqa: PLC0415

        self._noise = noise
        self._centre = float(means.mean())
        self._scale = float(means.std()) or 1.0
        axes = places.shape[1]
        kernel = ConstantKernel(1.0, (1e-2, 1e3)) * Matern([0.5] * axes, (0.05, 10.0), nu=2.5)
        floor = (errors / self._scale) ** 2
        self._process = GaussianProcessRegressor(kernel, alpha=np.maximum(floor, 1e-8))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # a length scale at its bound is no fault
            self._process.fit(places, (means - self._centre) / self._scale)

    @classmethod
    def fitted(
        cls, space: Space, tried: Sequence[Tried], row: int, noise: float
    ) -> "_Emulator | None":
        """Fit the settings that have a value of the row; None if they are too few."""
        have = [
            one
            for one in tried
            if one.counts[row]
            and not (one.stopped and space.stands_in(one.values, one.epochs)[row].any())
        ]
        if len(have) < FEWEST or not noise:
            return None
        places = np.array([space.coordinates(one.settings) for one in have])
        means = np.array([one.means[row] for one in have])
        errors = noise / np.sqrt([one.counts[row] for one in have])
        return cls(places, means, errors, noise)

    def mean(self, places: Array) -> Array:
        """The row's mean, shape (points,)."""
        return np.asarray(self._centre + self._scale * self._process.predict(places))

    def deviation(self, places: Array) -> Array:
        """The SD of one more run about that mean, with the mean's own uncertainty."""
        _, error = self._process.predict(places, return_std=True)
        return np.asarray(np.sqrt(self._noise**2 + (self._scale * error) ** 2))
