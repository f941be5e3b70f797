"""What a study varies, its variants, and which verdicts depend on which assumptions.

The command line names what to vary, as in `length=1200,1600` or `metric of CLAIM=NAME,NAME`. The
variants make one change at a time, or a grid.
"""

import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from itertools import combinations, product
from math import inf, isinf

from harness.errors import UsageError, one_line
from harness.manifest import Basis, Experiment, change, suggest
from harness.manifest.tree import Path, parse_yaml, quote
from harness.record import Json, canonical_json, digest
from harness.verdict import ClaimResult, ExperimentVerdict, Outcome, gravest
from harness.workload import COSTS, Workload

METRIC_OF = "metric of "
"""Prefix of a factor that is a metric. The name of a claim follows, or that of a metric: then the
factor stands for all claims of the metric."""

_FORM = "written as NAME=VALUE,VALUE"


@dataclass(frozen=True)
class Factor:
    """A parameter or metric that the paper does not state, and the values to try for it."""

    name: str
    """The name of a parameter, or 'metric of' with the name of a claim or metric."""
    places: tuple[Path, ...]
    """Its places in the manifest."""
    own: Json
    """The manifest's own value."""
    basis: Basis
    """Inferred or assumed. A stated parameter cannot be varied."""
    why: str
    """The manifest's reason for its own value."""
    values: tuple[Json, ...]
    """The values to try, as the user gave them. They may include the manifest's own."""

    @property
    def is_parameter(self) -> bool:
        """Whether it is a parameter. Other values of a parameter need other trials."""
        return not self.name.startswith(METRIC_OF)


def word(value: Json) -> str:
    """Return a value as people write it. It may be one that JSON forbids (NaN), for a message."""
    return value if isinstance(value, str) else json.dumps(value, separators=(",", ":"))


def setting(name: str, value: Json) -> str:
    """Return a factor and its value as text.

    >>> setting("length", 1600)
    'length = 1600'
    """
    return f"{name} = {one_line(word(value), 60)}"


def factors(experiment: Experiment, texts: Sequence[str]) -> tuple[Factor, ...]:
    """Read the factors from the values of `--vary`, in the same order.

    Raises:
        UsageError: a factor is stated by the paper, unknown, or given twice. The message has one
            line for each fault.
    """
    read, faults = [], []
    for text in texts:
        try:
            read.append(_factor(experiment, text))
        except ValueError as fault:
            faults.append(f"--vary {fault}")
    for one, other in combinations(read, 2):
        if set(one.places) & set(other.places):
            faults.append(f"--vary {other.name}: --vary {one.name} already varies it")
    if faults:
        raise UsageError("\n".join(faults))
    return tuple(read)


def _factor(experiment: Experiment, text: str) -> Factor:
    """Read one factor.

    Raises:
        ValueError: it cannot be varied, or its text is malformed.
    """
    name, equals, listed = (part.strip() for part in text.partition("="))
    if not (name and equals and listed):
        raise ValueError(f"{quote(text)}: {_FORM}")
    values = _values(name, listed)
    if name.startswith(METRIC_OF):
        return _of_metric(experiment, name, values)
    return parameter_factor(experiment, name, values)


def _values(name: str, listed: str) -> tuple[Json, ...]:
    """Read the values like those of a manifest: `1e-3` is a number, `true` a boolean."""
    root, faults = parse_yaml(f"values: [{listed}]", "")
    if root is None or faults or set(root.fields) != {"values"}:
        raise ValueError(f"{name}={listed}: {_FORM}, with values as in a manifest")
    return tuple(root.fields["values"].plain())


def parameter_factor(experiment: Experiment, name: str, values: tuple[Json, ...]) -> Factor:
    """Return a parameter as a factor.

    Raises:
        ValueError: the paper states it, or the manifest has no such parameter.
    """
    parameters = experiment.manifest.workload.parameters
    if name not in parameters:
        raise ValueError(f"{name}: no such parameter{suggest(name, list(_open(experiment)))}")
    own = parameters[name]
    if own.basis is Basis.STATED:
        reason = "the paper states it; only inferred or assumed parameters can be varied"
        raise ValueError(f"{name}: {reason} ({one_line(own.why)})")
    return _parameter(experiment, name, values)


def _parameter(experiment: Experiment, name: str, values: tuple[Json, ...]) -> Factor:
    own = experiment.manifest.workload.parameters[name]
    return Factor(
        name=name,
        places=(("workload", "parameters", name),),
        own=experiment.parameters.model_dump(mode="json")[name],
        basis=own.basis,
        why=own.why,
        values=values,
    )


def _of_metric(experiment: Experiment, name: str, values: tuple[Json, ...]) -> Factor:
    subject = name.removeprefix(METRIC_OF).strip()
    claims = list(enumerate(experiment.manifest.claims))
    chosen = [(at, claim) for at, claim in claims if claim.name == subject]
    chosen = chosen or [(at, claim) for at, claim in claims if claim.metric == subject]
    if not chosen:
        near = suggest(subject, [name.removeprefix(METRIC_OF) for name in _metrics(experiment)])
        raise ValueError(f"{name}: no claim has this name, and none has this metric{near}")
    return Factor(
        name=METRIC_OF + subject,
        places=tuple(("claims", at, "metric") for at, _ in chosen),
        own=chosen[0][1].metric,
        # A claim does not say how its metric is known. We infer which average a paper prints.
        basis=Basis.INFERRED,
        why=chosen[0][1].source,
        values=values,
    )


def _open(experiment: Experiment) -> Iterator[str]:
    """Yield the names of everything that can be varied."""
    for name, own in experiment.manifest.workload.parameters.items():
        if own.basis is not Basis.STATED:
            yield name
    yield from _metrics(experiment)


def _metrics(experiment: Experiment) -> Iterator[str]:
    """Yield 'metric of' with each claim's name, then with each metric, without repetition."""
    claims = experiment.manifest.claims
    names = [*(claim.name for claim in claims), *(claim.metric for claim in claims)]
    yield from (METRIC_OF + name for name in dict.fromkeys(names))


Registry = Mapping[str, Workload]
Settings = tuple[Json, ...]
"""One value for each factor, in the order of the factors."""

_LONGEST = 60
"""Most characters of a name or value in an id. A file name may have 255 in all."""
_UNSAFE = re.compile(r"[^A-Za-z0-9._+-]")


@dataclass(frozen=True)
class Variant:
    """The experiment with one value for each factor."""

    experiment: Experiment
    settings: Settings
    changed: bool
    """False for the manifest's own values."""


def variants(
    experiment: Experiment, varied: Sequence[Factor], registry: Registry, *, grid: bool = False
) -> tuple[tuple[Factor, ...], tuple[Variant, ...]]:
    """Make the variants, without repetition. The first has the manifest's own values.

    Args:
        experiment: the experiment, with the manifest's own values.
        varied: the factors.
        registry: the installed workloads, by name.
        grid: whether to try every combination of the values, not one change at a time.

    Returns:
        The factors, with their values as the workload reads them, and the variants. The values
        exclude the manifest's own and have no repetition.

    Raises:
        UsageError: a value or a combination is not allowed. The message has one line for each
            fault.
    """
    experiment = without_own_bands(experiment)
    faults: list[str] = []
    read = tuple(_read(experiment, factor, registry, faults) for factor in varied)
    _refuse(faults)
    made: list[Variant] = []
    for settings in _grid(read) if grid else _one_at_a_time(read):
        made += variant_of(experiment, read, settings, registry, faults)
    _refuse(faults)
    return read, tuple(made)


def with_parameters(
    experiment: Experiment, parameters: Mapping[str, Json], registry: Registry
) -> Experiment:
    """Make the variant with other values of some parameters, stated ones too.

    Its id, and so its committed records, are those of the study that varies the same parameters.

    Args:
        experiment: the experiment, with the manifest's own values.
        parameters: the values that differ. The manifest was checked with them.
        registry: the installed workloads, by name.

    Raises:
        UsageError: a value is not allowed after all.
    """
    factors = [_parameter(experiment, name, (value,)) for name, value in parameters.items()]
    faults: list[str] = []
    base = without_own_bands(experiment)
    made = list(variant_of(base, factors, tuple(parameters.values()), registry, faults))
    _refuse(faults)
    (variant,) = made
    return variant.experiment


def _read(experiment: Experiment, factor: Factor, registry: Registry, faults: list[str]) -> Factor:
    """Return the factor with values as the workload reads them: 1600 may become 1600.0."""
    values: dict[str, Json] = {}
    metrics = {**COSTS, **experiment.workload(registry).metrics}
    for value in factor.values:
        if not factor.is_parameter and isinstance(value, str):
            if value not in metrics:  # a claim about it would make a script's section imply it
                near = suggest(value, list(metrics))
                faults.append(f"--vary {factor.name}={value}: unknown metric {quote(value)}{near}")
                continue
            unit, own_unit = metrics[value].unit, metrics[factor.own].unit
            if unit != own_unit:
                faults.append(
                    f"--vary {factor.name}: {value} is in {unit}, the claim in {own_unit}"
                )
                continue
        for variant in variant_of(experiment, (factor,), (value,), registry, faults):
            own = variant.experiment.parameters.model_dump(mode="json")
            read = own[factor.name] if factor.is_parameter else value
            values[canonical_json(read)] = read
    values.pop(canonical_json(factor.own), None)
    if not values and not faults:
        reason = "give a value other than the manifest's own"
        faults.append(f"--vary {factor.name}: {reason}, {word(factor.own)}")
    return replace(factor, values=tuple(values.values()))


def without_own_bands(experiment: Experiment) -> Experiment:
    """Return the experiment without its twin, calibration and rivals, which need its own values.

    The twin of a control is another experiment, which would need the same changes. The bands for
    one seed come from seeds that ran with the manifest's values. A variant may be a rival itself.
    """
    manifest = experiment.manifest.model_copy(
        update={"twin": None, "calibration": None, "rivals": ()}
    )
    return experiment.model_copy(update={"manifest": manifest})


def _refuse(faults: Sequence[str]) -> None:
    if faults:
        raise UsageError("\n".join(dict.fromkeys(faults)))


def _one_at_a_time(varied: Sequence[Factor]) -> Iterator[Settings]:
    own = tuple(factor.own for factor in varied)
    yield own
    for place, factor in enumerate(varied):
        for value in factor.values:
            yield (*own[:place], value, *own[place + 1 :])


def _grid(varied: Sequence[Factor]) -> Iterator[Settings]:
    yield from product(*((factor.own, *factor.values) for factor in varied))


def variant_of(
    experiment: Experiment,
    varied: Sequence[Factor],
    settings: Settings,
    registry: Registry,
    faults: list[str],
) -> Iterator[Variant]:
    """Yield the variant with these settings, or add its faults to the list."""
    pairs = list(zip(varied, settings, strict=True))
    changed = [(factor, value) for factor, value in pairs if value != factor.own]
    if not changed:
        yield Variant(experiment, settings, changed=False)
        return
    options = [f"{factor.name}={word(value)}" for factor, value in changed]
    made, wrong = change(
        experiment,
        _changes(experiment, changed),
        registry,
        id=_id(experiment.id, changed),
        varied=options,
    )
    command = " ".join(f"--vary {option}" for option in options)
    faults += [f"{command}: {fault.message}" for fault in wrong]
    if made is not None:
        yield Variant(made, settings, changed=True)


def _changes(experiment: Experiment, changed: Sequence[tuple[Factor, Json]]) -> dict[Path, Json]:
    """Return the changes of the manifest, by place.

    A manifest states its expected verdict for its own values, so a variant has none.
    """
    words = ", ".join(setting(factor.name, value) for factor, value in changed)
    changes: dict[Path, Json] = {
        ("title",): f"{experiment.manifest.title} ({words})",
        ("expected",): None,
        ("search",): None,
    }
    for factor, value in changed:
        why = f"varied in a study; the manifest has {word(factor.own)}, {factor.basis}"
        new = {"value": value, Basis.ASSUMED.value: why} if factor.is_parameter else value
        changes |= dict.fromkeys(factor.places, new)
    return changes


def _id(experiment: str, changed: Sequence[tuple[Factor, Json]]) -> str:
    """Return an id such as `experiment[length=1600]`, for files and for MLflow.

    Each variant has another id. It does not depend on what else the same study varies.
    """
    parts = (f"{_name(factor.name)}={_safe(word(value))}" for factor, value in changed)
    return f"{experiment}[{','.join(parts)}]"


def _name(text: str) -> str:
    """Write a hyphen for a blank. A name with hyphens of its own gets a digest."""
    return _safe(text.replace(" ", "-")) if "-" not in text else _marked(text)


def _safe(text: str) -> str:
    """Return the text if a file name may contain it, else its safe characters and a digest."""
    safe = len(text) <= _LONGEST and not _UNSAFE.search(text)
    return text if safe else _marked(text)


def _marked(text: str) -> str:
    return f"{_UNSAFE.sub('-', text)[:_LONGEST]}~{digest(text)[:8]}"


class Hinge(StrEnum):
    """Whether a verdict depends on an assumption, among the values that were tried."""

    YES = "yes"
    """The verdict holds with one value and fails with another."""
    NO = "no"
    """The verdict is the same with every value."""
    OPEN = "open"
    """The verdict is undecided with some value, and no two values give opposite verdicts."""
    NOT_RUN = "not run"
    """No variant has a verdict."""


_PRECEDENCE = (Hinge.YES, Hinge.OPEN, Hinge.NO, Hinge.NOT_RUN)
"""If the groups of a grid give different answers, the first of these that occurs counts."""


@dataclass(frozen=True)
class VariantVerdict:
    """One variant and its verdict."""

    variant: Variant
    verdict: ExperimentVerdict

    @property
    def farthest(self) -> tuple[float, str]:
        """The row farthest from its reported value: its distance in tolerances, and its name.

        The distance is infinite if a row failed without a value to compare (a curve that never
        took off, for example).
        """
        rows = ((share(row), row.name) for row in self.verdict.results)
        return max(rows, default=(0.0, ""))


def share(row: ClaimResult) -> float:
    """Return the difference of a row as a multiple of its tolerance; 0 if nothing was judged."""
    if row.difference is None or not row.tolerance:
        return inf if row.verdict is Outcome.NOT_REPRODUCED else 0.0
    return abs(row.difference) / row.tolerance


def claim_outcome(verdict: ExperimentVerdict, claim: str) -> Outcome:
    """Return the most severe outcome among the rows of a claim."""
    return gravest(row.verdict for row in verdict.results if row.claim == claim)


@dataclass(frozen=True)
class Study:
    """All variants of one experiment, with their verdicts."""

    experiment: Experiment
    """The experiment with the manifest's own values."""
    factors: tuple[Factor, ...]
    results: tuple[VariantVerdict, ...]
    """The results. The first is that of the manifest's own values."""
    grid: bool
    """Whether every combination was tried, not one change at a time."""

    @property
    def claims(self) -> tuple[str, ...]:
        """Names of the claims, in the order of the manifest."""
        return tuple(claim.name for claim in self.experiment.manifest.claims)

    @property
    def incomplete(self) -> bool:
        """Whether trials of a variant are missing or lost to infrastructure."""
        return any(result.verdict.incomplete for result in self.results)

    def groups(self, factor: Factor) -> Iterator[tuple[VariantVerdict, ...]]:
        """Yield groups of variants that differ in this factor only, in the order of its values."""
        place = self.factors.index(factor)
        groups: dict[str, list[VariantVerdict]] = {}
        for result in self.results:
            settings = result.variant.settings
            others = canonical_json([*settings[:place], *settings[place + 1 :]])
            groups.setdefault(others, []).append(result)
        for group in groups.values():
            if len(group) > 1:
                yield _in_order(group, place)

    def hinge(self, factor: Factor, claim: str | None = None) -> Hinge:
        """Return whether the verdict on a claim, or on the experiment, depends on a factor."""

        def outcome(result: VariantVerdict) -> Outcome:
            whole = result.verdict
            return whole.verdict if claim is None else claim_outcome(whole, claim)

        answers = {_hinge(map(outcome, group)) for group in self.groups(factor)}
        return next(hinge for hinge in _PRECEDENCE if hinge in answers)

    def reproduced(self) -> tuple[VariantVerdict, ...]:
        """Return the variants that reproduce the experiment."""
        return tuple(result for result in self.results if result.verdict.verdict.holds)

    def nearest(self) -> VariantVerdict:
        """Return the first variant whose farthest row is closest to the paper."""
        return min(self.results, key=lambda result: result.farthest[0])


def _hinge(outcomes: Iterable[Outcome]) -> Hinge:
    """Return whether outcomes with different values of one factor differ."""
    judged = {outcome for outcome in outcomes if outcome is not Outcome.NOT_RUN}
    if not judged:
        return Hinge.NOT_RUN
    holds = any(outcome.holds for outcome in judged)
    fails = Outcome.NOT_REPRODUCED in judged
    if holds and fails:
        return Hinge.YES
    return Hinge.OPEN if any(outcome.undecided for outcome in judged) else Hinge.NO


def _in_order(group: Sequence[VariantVerdict], place: int) -> tuple[VariantVerdict, ...]:
    """Sort numbers. Keep the order of other values, with the manifest's own first."""

    def value(result: VariantVerdict) -> Json:
        return result.variant.settings[place]

    numbers = all(isinstance(value(result), int | float) for result in group)
    return tuple(sorted(group, key=value)) if numbers else tuple(group)


CAVEAT = (
    "These verdicts are exploratory: among many variants some agree by chance. Write the values "
    "into a manifest, and confirm them with seeds that this study did not use."
)


def named(study: Study, result: VariantVerdict) -> str:
    """Return the name of a variant: its changes."""
    settings = zip(study.factors, result.variant.settings, strict=True)
    changed = [setting(factor.name, value) for factor, value in settings if value != factor.own]
    return ", ".join(changed) or "the manifest's own values"


def sentences(study: Study) -> Iterator[str]:
    """Yield sentences: which verdicts depend on which parameters, and which variants reproduce."""
    yield from (_dependence(study, at) for at in range(len(study.factors)))
    yield _reproducing(study)
    yield CAVEAT


def _dependence(study: Study, at: int) -> str:
    factor = study.factors[at]
    whole = study.hinge(factor)
    claims = [name for name in study.claims if study.hinge(factor, name) is Hinge.YES]
    undecided = [name for name in study.claims if study.hinge(factor, name) is Hinge.OPEN]
    answer = {
        Hinge.YES: "the verdict on the experiment depends on it",
        Hinge.NO: "the verdict on the experiment does not depend on it",
        Hinge.OPEN: "it is open whether the verdict on the experiment depends on it",
        Hinge.NOT_RUN: "nothing was judged",
    }[whole]
    parts = [answer]
    if claims:
        parts.append(f"claims that depend on it: {', '.join(claims)}")
    if undecided:
        parts.append(f"open for: {', '.join(undecided)}")
    return f"{factor.name} ({factor.basis}): {'; '.join(parts)}."


def _reproducing(study: Study) -> str:
    reproduced = study.reproduced()
    if reproduced:
        return f"Reproduced with: {'; '.join(named(study, result) for result in reproduced)}."
    nearest = study.nearest()
    far, row = nearest.farthest
    off = "could not be compared" if isinf(far) else f"is {far:.1f} tolerances off"
    return f"No variant reproduces all claims. Nearest: {named(study, nearest)}; row {row} {off}."
