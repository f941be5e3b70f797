"""Search for values of open parameters under which the searched rows come out (`harness infer`).

Optuna proposes the settings (ask and tell) and stops hopeless ones after a few epochs. The search
is a function of the manifest and of what the trials record: it keeps no state of its own. To resume
it, run it again. It then asks for the same settings in the same order, and reads from the store
what has been run.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from harness.errors import UsageError
from harness.manifest import BaseClaim, Experiment, ReportedNumber
from harness.manifest.experiment import Choices, Range, Search
from harness.record import Json
from harness.stats import Array
from harness.study.sensitivity import Factor, Settings, parameter_factor, setting
from harness.verdict.evidence import Evidence, Mask, Takeoffs
from harness.verdict.kinds import RULES

if TYPE_CHECKING:
    import optuna

FARTHEST = 10.0
"""Differences count as at most so many tolerances, so that a setting whose trials fail has a
discrepancy too, and none outweighs all others."""

DIGITS = 3
"""Significant digits of a number that the search tries, so that people can write it down."""

STARTUP = 10
"""Settings that are drawn at random before the sampler models the discrepancy."""

REFUSALS = 20
"""After so many refused settings for each one that was tried, the search gives up."""

Measure = Callable[[Sequence[Settings], int, Sequence[int]], Sequence[Array | None]]
"""Runs settings for a number of epochs with some seeds.

It returns for each setting the values of the searched rows, shape (rows, seeds): NaN where a seed
has none, infinity where its trial failed. It returns None for a setting whose trials were lost.
"""


@dataclass(frozen=True)
class Space:
    """What is searched: the parameters with their values, and the rows."""

    experiment: Experiment
    search: Search

    @classmethod
    def declared(cls, experiment: Experiment) -> "Space":
        """The space that a manifest declares.

        Raises:
            UsageError: it declares none.
        """
        search = experiment.manifest.search
        if search is None:
            why = "the manifest has no section `search`, which says what to vary and on which rows"
            raise UsageError(f"{experiment.path}: {why}")
        return cls(experiment, search)

    @cached_property
    def factors(self) -> tuple[Factor, ...]:
        """The searched parameters."""
        return tuple(parameter_factor(self.experiment, name, ()) for name in self.search.parameters)

    @cached_property
    def own(self) -> Settings:
        """The manifest's own values."""
        return tuple(factor.own for factor in self.factors)

    @cached_property
    def claims(self) -> tuple[BaseClaim, ...]:
        """The claims with searched rows."""
        return tuple(c for c in self.experiment.manifest.claims if self.search.searched(c))

    @cached_property
    def rows(self) -> tuple[ReportedNumber, ...]:
        """The searched rows."""
        return tuple(
            number
            for claim in self.claims
            for number in claim.numbers()
            if number.epoch in self.search.searched(claim)
        )

    @cached_property
    def held_out(self) -> tuple[str, ...]:
        """Names of the rows that the search does not see."""
        searched = {row.name for row in self.rows}
        numbers = (n for claim in self.experiment.manifest.claims for n in claim.numbers())
        return tuple(number.name for number in numbers if number.name not in searched)

    def values(self, evidence: Evidence) -> Array:
        """The values of the searched rows, shape (rows, seeds), as `Measure` returns them.

        A curve that does not take off has no rows to line up and no onset. Where only some seeds
        take off, these are compared with the paper's run, which took off too: how long a plateau
        lasts is chance. Where none does, the onset counts as one epoch after the last and each row
        as the curve's last value, on the plateau, so that the search can tell them from the paper.
        """
        found = [row for claim in self.claims for row in self._values(claim, evidence)]
        values = np.array(found).reshape(len(self.rows), len(evidence.seeds))
        return np.where(evidence.failed, np.inf, values)

    def _values(self, claim: BaseClaim, evidence: Evidence) -> Iterator[Array]:
        wanted = self.search.searched(claim)
        threshold = claim.line_up_at
        never = (
            Takeoffs.of(claim.metric, threshold, evidence).never if threshold is not None else None
        )
        for row in RULES[type(claim)].rows(claim, evidence):
            if row.number.epoch not in wanted:
                continue
            values = row.values
            if row.censored is not None and row.censored.all():
                values = np.full(len(values), evidence.epochs + 1.0)
            elif never is not None and never.all() and (row.number.epoch or 0) <= evidence.epochs:
                values = evidence.curves[claim.metric][:, -1]
            yield values

    def stands_in(self, values: Array, epochs: int) -> Mask:
        """Which values stand for a take-off that did not come, as `values` says; of the same shape.

        They do not show how runs differ, and those of a run that was stopped early are too small.
        """
        named = {claim.name: claim for claim in self.claims}
        claims = [named[row.key.claim] for row in self.rows]
        onset = np.array([claim.crossing is not None for claim in claims])
        late = onset[:, np.newaxis] & (values > epochs)
        found = late.copy()
        for at, claim in enumerate(claims):
            if claim.line_up_at is not None:
                its = [
                    (one.metric, one.crossing) == (claim.metric, claim.line_up_at) for one in claims
                ]
                found[at] = late[its].any(axis=0)
        return found

    def distributions(self) -> "dict[str, optuna.distributions.BaseDistribution]":
        """The parameters' values as Optuna's distributions."""
        from optuna import distributions as kinds  # noqa: PLC0415 - a second that only this needs

        found: dict[str, kinds.BaseDistribution] = {}
        for factor, values in zip(self.factors, self.search.parameters.values(), strict=True):
            if isinstance(values, Choices):
                found[factor.name] = kinds.CategoricalDistribution(values.choices)
            elif _whole(factor):
                low, high = int(values.low), int(values.high)
                found[factor.name] = kinds.IntDistribution(low, high, log=values.log)
            else:
                found[factor.name] = kinds.FloatDistribution(
                    values.low, values.high, log=values.log
                )
        return found

    def settings(self, proposed: Mapping[str, Any]) -> Settings:
        """The values of a proposal, rounded to what people write."""
        pairs = zip(self.factors, self.search.parameters.values(), strict=True)
        return tuple(_rounded(proposed[factor.name], values) for factor, values in pairs)

    def at(self, place: Sequence[float]) -> Settings:
        """The setting at a place in the unit cube, which has one axis for each parameter."""
        chosen: list[Json] = []
        for share, factor, values in zip(
            place, self.factors, self.search.parameters.values(), strict=True
        ):
            if isinstance(values, Choices):
                chosen.append(
                    values.choices[min(int(share * len(values.choices)), len(values.choices) - 1)]
                )
                continue
            low, high = (
                np.log([values.low, values.high]) if values.log else (values.low, values.high)
            )
            value = float(low + share * (high - low))
            value = float(np.exp(value)) if values.log else value
            chosen.append(round(value) if _whole(factor) else value)
        return tuple(chosen)

    def coordinates(self, settings: Settings) -> Array:
        """A setting as numbers between 0 and 1; choices that are no numbers take an axis each."""
        found: list[float] = []
        for value, values in zip(settings, self.search.parameters.values(), strict=True):
            if isinstance(values, Range):
                ends = np.array([values.low, values.high, value], dtype=float)
                low, high, here = np.log(ends) if values.log else ends
                found.append(float((here - low) / (high - low)))
            elif all(_is_number(choice) for choice in values.choices):
                ranks = sorted(values.choices)
                found.append(ranks.index(value) / (len(ranks) - 1))
            else:
                found += [float(choice == value) for choice in values.choices]
        return np.array(found)

    def place(self, name: str) -> Callable[[Json], float]:
        """Where values of a parameter stand on an axis: a choice by its place among the choices."""
        values = self.search.parameters[name]
        return values.choices.index if isinstance(values, Choices) else float

    def named(self, settings: Settings) -> dict[str, Json]:
        """A setting's values by parameter."""
        return dict(zip((factor.name for factor in self.factors), settings, strict=True))

    def words(self, tried: "Tried") -> str:
        """A setting as text, with its discrepancy."""
        values = ", ".join(setting(*pair) for pair in self.named(tried.settings).items())
        return f"{values} ({tried.discrepancy:.2f} tolerances off)"

    @property
    def own_is_inside(self) -> bool:
        """Whether the manifest's own values are among those that the search may try."""
        pairs = zip(self.own, self.search.parameters.values(), strict=True)
        return all(
            own in values.choices
            if isinstance(values, Choices)
            else values.low <= own <= values.high
            for own, values in pairs
        )


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _whole(factor: Factor) -> bool:
    return isinstance(factor.own, int) and not isinstance(factor.own, bool)


def _rounded(value: Any, values: Range | Choices) -> Json:
    if isinstance(values, Choices) or isinstance(value, int):
        return value
    return min(max(float(f"{value:.{DIGITS}g}"), values.low), values.high)


@dataclass(frozen=True, eq=False)
class Tried:
    """A setting and what its seeds gave."""

    settings: Settings
    values: Array
    """Of the searched rows, shape (rows, seeds), as `Measure` returns them."""
    epochs: int
    """How many epochs ran."""
    discrepancy: float
    """Root mean square of the rows' differences in tolerances, each at most `FARTHEST`."""
    stopped: bool = False
    """Whether it was stopped early. Then only the first seed ran, and not all epochs."""

    @property
    def failed(self) -> bool:
        """Whether the method failed in some seed."""
        return bool(np.isinf(self.values).any())

    @property
    def means(self) -> Array:
        """The mean over the seeds that have a value, shape (rows,); NaN where none has."""
        known = np.isfinite(self.values)
        total = np.where(known, self.values, 0.0).sum(axis=1)
        count = known.sum(axis=1)
        return np.asarray(np.divide(total, count, out=np.full(len(count), np.nan), where=count > 0))

    @property
    def counts(self) -> Array:
        """How many seeds have a value, shape (rows,)."""
        return np.asarray(np.isfinite(self.values).sum(axis=1))


@dataclass
class Found:
    """The settings that a search tried, in order."""

    space: Space
    study: "optuna.Study"
    """What Optuna knows of the settings."""
    tried: list[Tried] = field(default_factory=list)
    refused: int = 0
    """Settings that the workload's own rules refuse. They do not count as tried."""
    lost: int = 0
    """Settings whose trials were lost to machines."""

    @cached_property
    def importances(self) -> dict[str, float]:
        """Each parameter's share of the discrepancy's variance over the settings that ran in full.

        It is empty if they are too few. fANOVA computes it from a forest of regression trees.
        """
        import optuna  # noqa: PLC0415 - a second that only this needs

        full = [one.discrepancy for one in self.tried if not one.stopped]
        if len(full) < STARTUP or len(set(full)) < 2:
            return {}
        evaluator = optuna.importance.FanovaImportanceEvaluator(seed=0)
        return dict(optuna.importance.get_param_importances(self.study, evaluator=evaluator))

    @property
    def nearest(self) -> Tried:
        """The setting with the smallest discrepancy among those that ran in full."""
        full = [one for one in self.tried if not one.stopped] or self.tried
        return min(full, key=lambda one: one.discrepancy)

    @property
    def stopped(self) -> int:
        """How many settings were stopped early."""
        return sum(one.stopped for one in self.tried)


def discrepancy(space: Space, values: Array) -> float:
    """Root mean square of the rows' differences from the paper in tolerances.

    Rows without a value, such as those of later epochs, do not count. If none has one, or a seed
    failed, the discrepancy is `FARTHEST`.
    """
    means = Tried((), values, 0, 0.0).means
    known = ~np.isnan(means)
    if not known.any() or np.isinf(values).any():
        return FARTHEST
    reported = np.array([row.value for row in space.rows])
    tolerances = np.array([row.tolerance for row in space.rows])
    off = np.minimum(np.abs(means - reported) / tolerances, FARTHEST)[known]
    return float(np.sqrt(np.mean(off**2)))


def explore(
    space: Space,
    measure: Measure,
    *,
    settings: int,
    refused: Callable[[Settings], bool] = lambda _: False,
    note: Callable[[Found], None] = lambda _: None,
    seed: int = 0,
) -> Found:
    """Try settings, each proposed by what the earlier ones gave.

    The first setting is the manifest's own. A setting runs its first seed up to each rung. If it is
    then worse than the median of the earlier settings it is stopped; else all of its seeds run in
    full.

    Args:
        space: what is searched.
        measure: runs settings.
        settings: how many to try, refused ones not counted.
        refused: whether a setting is against the workload's own rules.
        note: is called after each round with what was found so far.
        seed: of the sampler.

    Returns:
        What was tried. It is less than was asked for if nearly every proposal is refused.
    """
    import optuna  # noqa: PLC0415 - a second that only this needs

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = optuna.create_study(
        sampler=optuna.samplers.TPESampler(seed=seed, n_startup_trials=STARTUP),
        pruner=optuna.pruners.MedianPruner(n_startup_trials=STARTUP // 2),
    )
    distributions = space.distributions()
    if space.own_is_inside:
        study.enqueue_trial(space.named(space.own))
    found = Found(space, study)
    while len(found.tried) + found.lost < settings:
        asked: list[tuple[optuna.Trial, Settings]] = []
        while len(asked) < min(space.search.at_once, settings - len(found.tried) - found.lost):
            trial = study.ask(distributions)
            proposal = space.settings(trial.params)
            if not refused(proposal):
                asked.append((trial, proposal))
                continue
            study.tell(trial, state=optuna.trial.TrialState.FAIL)
            found.refused += 1
            if found.refused > REFUSALS * settings:
                return found
        _round(space, measure, asked, found)
        note(found)
    return found


def _round(
    space: Space,
    measure: Measure,
    asked: "list[tuple[optuna.Trial, Settings]]",
    found: Found,
) -> None:
    """Run some settings side by side, and tell the study what they gave."""
    from optuna.trial import TrialState  # noqa: PLC0415 - as above

    search, study = space.search, found.study
    stages = [(rung, search.seeds[:1]) for rung in search.rungs] + [(search.epochs, search.seeds)]
    for epochs, seeds in stages:
        if not asked:
            return
        going = []
        measured = measure([proposal for _, proposal in asked], epochs, seeds)
        for (trial, proposal), values in zip(asked, measured, strict=True):
            if values is None:
                study.tell(trial, state=TrialState.FAIL)
                found.lost += 1
                continue
            far = discrepancy(space, values)
            if epochs == search.epochs:
                study.tell(trial, far)
                found.tried.append(Tried(proposal, values, epochs, far))
                continue
            trial.report(far, epochs)
            if trial.should_prune():
                study.tell(trial, state=TrialState.PRUNED)
                found.tried.append(Tried(proposal, values, epochs, far, stopped=True))
            else:
                going.append((trial, proposal))
        asked = going
