"""Read what a study varies, and make the variants: one change at a time, or a grid.

The command line names what to vary, as in `length=1200,1600` or `metric of CLAIM=NAME,NAME`.
"""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations, product

from harness.errors import UsageError, one_line
from harness.manifest import Basis, Experiment, change, suggest
from harness.manifest.tree import Path, parse, show
from harness.record import Json, canonical_json, digest
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
        raise ValueError(f"{show(text)}: {_FORM}")
    values = _values(name, listed)
    if name.startswith(METRIC_OF):
        return _of_metric(experiment, name, values)
    return parameter_factor(experiment, name, values)


def _values(name: str, listed: str) -> tuple[Json, ...]:
    """Read the values like those of a manifest: `1e-3` is a number, `true` a boolean."""
    root, faults = parse(f"values: [{listed}]", "")
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
    claims = experiment.manifest.claims
    yield from (METRIC_OF + claim.name for claim in claims)
    yield from (METRIC_OF + metric for metric in dict.fromkeys(claim.metric for claim in claims))


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
        if not factor.is_parameter and value in metrics:
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
