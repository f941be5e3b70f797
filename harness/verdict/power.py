"""What seeds can show (power): the planned ones, and what a verdict on the stored ones excluded.

What planned seeds can show follows from the SD of the stored ones (`prospects`).

A verdict that a wrong method would get as well shows nothing. So the manifest names rivals, and
`severity` judges simulated runs of each with the same claims, seeds and epochs as the verdict. It
reads verdicts and changes none.

* **Runs are simulated from recorded ones** by a smoothed bootstrap: one of the recorded runs, drawn
  at random, and to a smaller part a random mixture of all of them. Mean and covariance over rows
  and epochs are those of the records; no two runs are equal. Fewer than three records of a rival
  show their mean only; they get the deviations of the method's own runs.
* **A constant** is judged once, with deviations a thousandth of the tolerance.
* **One more run of the method** stands for the paper: each reported value that is compared with the
  seeds is replaced by that of a simulated run.

Equal manifests and records give equal chances, because the generator's seed follows from them.

Source:
    Silverman and Young (1987), The bootstrap: to smooth or not to smooth?, Biometrika 74(3). Mayo
    and Spanos (2006), Severe testing as a basic concept, Brit. J. Phil. Sci. 57(2).
"""

import json
from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from math import sqrt
from typing import cast

import numpy as np
from pydantic import ValidationError
from scipy.special import ndtri

from harness import stats
from harness.manifest import (
    MEASURED,
    Claim,
    Experiment,
    ExtremeClaim,
    Manifest,
    Rival,
    ToleratedClaim,
    declaration,
)
from harness.record import Json, StoredTrial
from harness.stats import Array, Sample
from harness.verdict.evidence import Case, Evidence, gather
from harness.verdict.judgement import FEWEST, combine, judge_claims
from harness.verdict.results import ExperimentVerdict, Outcome, RivalChance, Severity

DRAWS = 50
"""How often a verdict is simulated: a chance has a standard error of at most 7 points."""
UNANIMOUS = 20
"""After so many equal outcomes the chance is near enough to 0 or 1 to stop."""

SMOOTHING = 0.5
"""The part of a simulated run's deviation that is a mixture of all records, of 1 in all."""

PRINTED = 12
"""Decimals of a simulated paper if the manifest does not state them."""
PAPERS = 20
"""How many runs are drawn until one takes off; the paper's own values stay if none does."""

QUIET = 1e-3
"""SD of a constant's runs as a share of the smallest tolerance. Seeds that are equal to the last
bit would be judged as what they seldom are: a method that ignores its seed."""


@dataclass(frozen=True)
class Planned:
    """The experiment, seeds, epochs and level of a verdict, before or after its trials have run."""

    experiment: Experiment
    seeds: int
    epochs: int
    alpha: float
    """Level of its tests."""


def severity(
    planned: Planned, own: Sequence[StoredTrial], rivals: Mapping[str, Sequence[StoredTrial]]
) -> Severity | None:
    """The chances that a verdict accepts one more run of the method, and rejects each rival.

    Args:
        planned: the verdict.
        own: recorded trials of the method, judged by it or not.
        rivals: recorded trials by the rival's name; a constant has none.

    Returns:
        None if the manifest declares no rivals.
    """
    manifest = planned.experiment.manifest
    if not manifest.rivals:
        return None
    runs = _complete(planned, own)
    if runs is not None and (len(runs.seeds) < FEWEST or runs.epochs < planned.epochs):
        runs = None
    study = runs if planned.seeds == 1 else None
    judged = _Judge(planned, _learnt(planned.experiment), study)
    own_chance = _of_method(judged, runs) if runs else Chances()
    return Severity(
        seeds=planned.seeds,
        epochs=planned.epochs,
        records=len(runs.seeds) if runs else 0,
        accepted=own_chance.accepted,
        rejected=own_chance.rejected,
        rivals=tuple(
            _of_constant(judged, rival, rival.constant)
            if rival.constant is not None
            else _of_records(judged, rival, rivals.get(rival.name, ()), runs)
            for rival in manifest.rivals
        ),
    )


@dataclass
class Chances:
    """Outcomes of simulated verdicts."""

    outcomes: Counter[Outcome] = field(default_factory=Counter)
    judged: Counter[str] = field(default_factory=Counter)
    """How often a claim was judged."""
    rejected_by: Counter[str] = field(default_factory=Counter)
    """How often some row of a claim was not reproduced."""
    open_by: Counter[str] = field(default_factory=Counter)
    """How often some row of a claim did not hold."""

    @property
    def accepted(self) -> float | None:
        """The share of verdicts that hold."""
        return self._share(lambda outcome: outcome.holds)

    @property
    def rejected(self) -> float | None:
        """The share of NOT REPRODUCED."""
        return self._share(lambda outcome: outcome is Outcome.NOT_REPRODUCED)

    def _share(self, wanted: Callable[[Outcome], bool]) -> float | None:
        total = self.outcomes.total()
        counted = sum(count for outcome, count in self.outcomes.items() if wanted(outcome))
        return counted / total if total else None

    def of(self, rival: Rival, basis: str) -> RivalChance:
        """The same, as results."""
        return RivalChance(
            name=rival.name,
            basis=basis,
            rejected=self.rejected,
            accepted=self.accepted,
            rejected_by={
                name: self.rejected_by[name] / count for name, count in self.judged.items()
            },
            accepted_by={name: 1 - self.open_by[name] / n for name, n in self.judged.items()},
            constant=rival.constant is not None,
        )


@dataclass(frozen=True)
class _Judge:
    """Judges simulated runs as the verdict judges the recorded ones."""

    planned: Planned
    manifest: Manifest
    """Without what no method can get wrong."""
    study: Evidence | None

    def chances(
        self,
        name: str,
        draw: Callable[[np.random.Generator], tuple[Manifest, Evidence]],
        *,
        draws: int = DRAWS,
    ) -> Chances:
        """Judge so many simulated cases, or fewer if all of the first have one outcome."""
        declared = declaration(self.planned.experiment.manifest).digest or ""
        text = f"{declared} {self.planned.seeds} {self.planned.epochs} {name}"
        random = np.random.default_rng(list(text.encode()))
        found = Chances()
        for number in range(draws):
            if number == UNANIMOUS and len(found.outcomes) == 1:
                break
            manifest, evidence = draw(random)
            self._judge(manifest, evidence, found)
        return found

    def _judge(self, manifest: Manifest, evidence: Evidence, found: Chances) -> None:
        alpha = self.planned.alpha
        rows, _ = judge_claims(manifest, evidence, alpha, self.study, advise=False)
        found.outcomes[combine(rows, evidence)] += 1
        ran = [row for row in rows if row.verdict is not Outcome.NOT_RUN]
        # A list, not a set: the claims keep the manifest's order, in every process.
        found.judged.update(list(dict.fromkeys(row.claim for row in ran)))
        off = {row.claim for row in ran if row.verdict is Outcome.NOT_REPRODUCED}
        found.rejected_by.update(off)
        found.open_by.update({row.claim for row in ran if not row.verdict.holds})


def _learnt(experiment: Experiment, metrics: Collection[str] | None = None) -> Manifest:
    """The manifest with the claims about estimates, by default of all metrics.

    A truth, such as the entropy of the classes, is the same whatever the method does. Time and
    memory are the machine's.
    """
    claims = [
        claim
        for claim in experiment.manifest.claims
        if claim.metric not in experiment.truths
        and (metrics is None or claim.metric in metrics)
        and claim.hardware is None
    ]
    # A copy is not validated: a manifest without claims is fine here.
    return experiment.manifest.model_copy(update={"claims": tuple(claims), "twin": None})


def _of_method(judge: _Judge, runs: Evidence) -> Chances:
    def draw(random: np.random.Generator) -> tuple[Manifest, Evidence]:
        evidence = _drawn(runs, judge.planned.seeds, random)
        return _reported_by(judge.manifest, runs, random), evidence

    return judge.chances("", draw)


def _of_records(
    judge: _Judge, rival: Rival, trials: Sequence[StoredTrial], own: Evidence | None
) -> RivalChance:
    runs = _complete(judge.planned, trials)
    if runs is None:
        return Chances().of(rival, "no records")
    count = len(runs.seeds)
    basis = f"{count} record{'s' if count > 1 else ''}"
    if runs.epochs < judge.planned.epochs:
        basis += f", first {runs.epochs} epochs"
    if count < FEWEST:
        if own is None:
            return Chances().of(rival, f"{basis}: too few, and too few of the method")
        runs, basis = _with_deviations(runs, own), f"{basis}, SD of the method's runs"

    def draw(random: np.random.Generator) -> tuple[Manifest, Evidence]:
        return judge.manifest, _drawn(runs, judge.planned.seeds, random)

    return judge.chances(rival.name, draw).of(rival, basis)


def _of_constant(judge: _Judge, rival: Rival, constant: float | Mapping[str, float]) -> RivalChance:
    named = constant if isinstance(constant, Mapping) else None
    manifest = _learnt(judge.planned.experiment, named)
    if not manifest.claims:
        return Chances().of(rival, "no claim about it")

    def draw(_: np.random.Generator) -> tuple[Manifest, Evidence]:
        return manifest, _constant(judge.planned, manifest.claims, constant)

    return judge.chances(rival.name, draw, draws=1).of(rival, "a constant")


def _complete(planned: Planned, trials: Sequence[StoredTrial]) -> Evidence | None:
    """The runs that reached the planned epochs, or else the last epoch that any reached.

    What a rival did in fewer epochs than are planned can only show that these reject it. None if no
    run is complete.
    """
    by_seed = {trial.spec.seed: trial for trial in trials}
    epochs = min(planned.epochs, max((trial.reached for trial in trials), default=0))
    if not epochs:
        return None
    case = Case(planned.experiment, tuple(by_seed), epochs)
    evidence = gather(case, lambda _, seed: by_seed[seed])
    whole = ~(evidence.failed | evidence.missing)
    if not whole.any():
        return None
    kept = np.flatnonzero(whole)
    return _evidence(
        evidence,
        {name: curves[kept] for name, curves in evidence.curves.items()},
        {name: values[kept] for name, values in evidence.finals.items()},
        len(kept),
    )


def _evidence(
    like: Evidence, curves: Mapping[str, Array], finals: dict[str, Array], count: int
) -> Evidence:
    """Complete runs with these values, over the epochs of other ones."""
    return Evidence(
        seeds=tuple(range(count)),
        epochs=like.epochs,
        full=like.full,
        curves=curves,
        finals=finals,
        recorded=np.full(count, like.epochs, dtype=np.int64),
        failed=np.zeros(count, dtype=np.bool_),
        missing=np.zeros(count, dtype=np.bool_),
    )


def _drawn(runs: Evidence, count: int, random: np.random.Generator) -> Evidence:
    """So many simulated runs (smoothed bootstrap).

    x = c + sqrt(1 - h^2) (x_i - c) sqrt(m / (m - 1)) + h sum_j w_j (x_j - c) / sqrt(m - 1), with
    the records x_1 to x_m, their mean c, a random i, and standard normal w. Its covariance is the
    records', for every h.
    """
    m = len(runs.seeds)
    chosen = random.integers(m, size=count)
    weights = random.normal(size=(count, m)) / sqrt(m - 1)
    resampled = sqrt((1 - SMOOTHING**2) * m / (m - 1))

    def mixed(values: Array) -> Array:
        centre = values.mean(axis=0)
        away = values - centre
        if not away.any():
            return values[chosen]  # equal in all records, as a truth is: to the last bit
        return np.asarray(
            centre + resampled * away[chosen] + SMOOTHING * np.tensordot(weights, away, 1)
        )

    return _evidence(
        runs,
        {name: mixed(curves) for name, curves in runs.curves.items()},
        {name: mixed(values) for name, values in runs.finals.items()},
        count,
    )


def _with_deviations(runs: Evidence, own: Evidence) -> Evidence:
    """Runs with the mean of some, and the deviations of the method's own."""

    def moved(values: Array, deviating: Array) -> Array:
        other = deviating[:, : values.shape[1]] if values.ndim > 1 else deviating
        return np.asarray(values.mean(axis=0) + other - other.mean(axis=0))

    return _evidence(
        runs,
        {name: moved(curves, own.curves[name]) for name, curves in runs.curves.items()},
        {name: moved(values, own.finals[name]) for name, values in runs.finals.items()},
        len(own.seeds),
    )


def _constant(
    planned: Planned, claims: Sequence[Claim], constant: float | Mapping[str, float]
) -> Evidence:
    """Runs that give a constant, and deviate by next to nothing."""
    count = planned.seeds
    quantiles = ndtri((np.arange(count) + 0.5) / count)
    curves: dict[str, Array] = {}
    finals: dict[str, Array] = {}
    for claim in claims:
        value = constant[claim.metric] if isinstance(constant, Mapping) else constant
        values = value + QUIET * claim.margin * quantiles
        curves.setdefault(claim.metric, np.tile(values[:, np.newaxis], planned.epochs))
        finals.setdefault(claim.series, values)
        finals.setdefault(claim.metric, values)
    full = planned.experiment.manifest.epochs.value
    like = Evidence((), planned.epochs, full, {}, {}, *np.zeros((3, 0), dtype=np.int64))
    return _evidence(like, curves, finals, count)


def _reported_by(manifest: Manifest, runs: Evidence, random: np.random.Generator) -> Manifest:
    """The manifest of a paper that reports simulated runs of the method.

    What the paper does not measure (limits, exact values) stays as it is, and so do rows beyond the
    epochs of the runs. A paper reports a run that takes off, so a run that never does is replaced.
    """
    measured = [one for one in manifest.claims if isinstance(one, MEASURED)]
    most = max((claim.averaged for claim in measured), default=1)
    for _ in range(PAPERS):
        paper = _drawn(runs, most, random)
        try:
            drawn = {claim.name: _reporting(claim, paper) for claim in measured}
        except ValidationError:
            continue
        claims = tuple(drawn.get(claim.name, claim) for claim in manifest.claims)
        return manifest.model_copy(update={"claims": claims})
    return manifest


def _reporting(claim: ToleratedClaim | ExtremeClaim, paper: Evidence) -> Claim:
    """The claim with the values of these runs.

    Raises:
        ValidationError: it cannot report them.
    """
    decimals = PRINTED if claim.decimals is None else claim.decimals
    reported: Json
    if claim.crossing is not None:
        epochs = np.arange(1.0, paper.epochs + 1)
        reported = stats.onset(epochs, paper.curves[claim.metric][0], claim.crossing)
    else:
        values = {
            epoch: _values(claim, epoch, paper) or [value] * claim.averaged
            for epoch, value in claim.values.items()
        }
        reported = claim.reporting(values, decimals)
    plain = {**claim.model_dump(mode="json"), "reported": reported}
    return cast(Claim, type(claim).model_validate_json(json.dumps(plain), strict=True))


def _values(
    claim: ToleratedClaim | ExtremeClaim, epoch: int | None, paper: Evidence
) -> list[float]:
    """The values of the paper's runs at an epoch; empty beyond their last."""
    if epoch is None and not paper.partial:
        return list(map(float, paper.finals[claim.series][: claim.averaged]))
    if epoch is not None and epoch <= paper.epochs:
        return list(map(float, paper.curves[claim.metric][: claim.averaged, epoch - 1]))
    return []


@dataclass(frozen=True)
class Prospect:
    """What the planned seeds can show in one row."""

    name: str
    tolerance: float
    stored: int
    """How many seeds the SD was computed from."""
    sd: float
    room: float
    """How far the mean may lie from the reported value and still be shown to be equivalent.

    Negative if the planned seeds cannot show it even for a mean that is equal.
    """
    needed: int | None
    """How many seeds could show it for a mean that is equal; None if a thousand could not."""

    @property
    def hopeless(self) -> bool:
        """Whether single runs differ by more than the tolerance, as the paper's run may, too."""
        return self.sd > self.tolerance


def prospects(verdict: ExperimentVerdict, seeds: int) -> tuple[Prospect, ...]:
    """What the planned seeds can show, for every row that is compared with them and has an SD.

    Args:
        verdict: on the stored seeds, complete or not.
        seeds: how many are planned.
    """
    return tuple(
        Prospect(
            name=row.name,
            tolerance=row.tolerance,
            stored=row.n,
            sd=row.spread,
            room=_room(row.tolerance, row.spread, seeds, verdict.alpha),
            needed=_needed(row.tolerance, row.spread, verdict.alpha),
        )
        for row in verdict.results
        if row.spread is not None and row.about is not None and row.about.compared
    )


def _room(tolerance: float, sd: float, seeds: int, alpha: float) -> float:
    if seeds < 2:
        return -tolerance
    low, high = stats.mean_interval(Sample(seeds, 0.0, sd), alpha)
    return tolerance - (high - low) / 2


def _needed(tolerance: float, sd: float, alpha: float) -> int | None:
    more = stats.more_for_equivalence(Sample(2, 0.0, sd), 0.0, tolerance, alpha)
    if more is None:
        return None
    two = stats.mean_interval(Sample(2, 0.0, sd), alpha)[1] <= tolerance
    return 2 if two else 2 + more
