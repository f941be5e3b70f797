"""From an experiment and what is to be varied to its variants: one at a time, or a grid."""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import product

from harness.errors import UsageError
from harness.manifest import Basis, Experiment, change
from harness.manifest.tree import Path
from harness.record import Json, canonical_json, digest
from harness.study.factors import Factor, says, word
from harness.workload import Workload

Registry = Mapping[str, Workload]
Settings = tuple[Json, ...]
"""A value for each factor, in their order."""

_LONGEST = 60
"""Characters of a name or value in an id; a file's name may have 255 in all."""
_UNSAFE = re.compile(r"[^A-Za-z0-9._+-]")


@dataclass(frozen=True)
class Variant:
    """The experiment with one choice of values."""

    experiment: Experiment
    settings: Settings
    changed: bool
    """False for the manifest's own values."""


def variants(
    experiment: Experiment, varied: Sequence[Factor], registry: Registry, *, grid: bool = False
) -> tuple[tuple[Factor, ...], tuple[Variant, ...]]:
    """The variants, the manifest's own first; each once.

    Args:
        experiment: as its file has it.
        varied: what is varied.
        registry: the workloads that there are, by name.
        grid: every combination of the values, rather than one change at a time.

    Returns:
        The factors with their values as the workload reads them (its own left out, each once),
        and the variants.

    Raises:
        UsageError: with every fault, a line each, of the values and of their combinations.
    """
    experiment = _alone(experiment)
    faults: list[str] = []
    read = tuple(_read(experiment, factor, registry, faults) for factor in varied)
    _refuse(faults)
    made: list[Variant] = []
    for settings in _grid(read) if grid else _one_at_a_time(read):
        made += _variant(experiment, read, settings, registry, faults)
    _refuse(faults)
    return read, tuple(made)


def _read(experiment: Experiment, factor: Factor, registry: Registry, faults: list[str]) -> Factor:
    """The factor with values as the workload reads them: 1600 for a number may become 1600.0."""
    values: dict[str, Json] = {}
    for value in factor.values:
        for variant in _variant(experiment, (factor,), (value,), registry, faults):
            own = variant.experiment.parameters.model_dump(mode="json")
            read = own[factor.name] if factor.is_parameter else value
            values[canonical_json(read)] = read
    values.pop(canonical_json(factor.own), None)
    if not values and not faults:
        said = "no other value than the manifest's own is given"
        faults.append(f"--vary {factor.name}: {said}, {word(factor.own)}")
    return replace(factor, values=tuple(values.values()))


def _alone(experiment: Experiment) -> Experiment:
    """The experiment without what goes with its own values alone.

    A control's twin is another experiment, which would need the same changes; bands for one seed
    were made of seeds that ran with the manifest's values.
    """
    alone = experiment.manifest.model_copy(update={"twin": None, "calibration": None})
    return experiment.model_copy(update={"manifest": alone})


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


def _variant(
    experiment: Experiment,
    varied: Sequence[Factor],
    settings: Settings,
    registry: Registry,
    faults: list[str],
) -> Iterator[Variant]:
    """The variant with these settings, or its faults."""
    pairs = list(zip(varied, settings, strict=True))
    changed = [(factor, value) for factor, value in pairs if value != factor.own]
    if not changed:
        yield Variant(experiment, settings, changed=False)
        return
    options = [f"{factor.name}={word(value)}" for factor, value in changed]
    found, wrong = change(
        experiment,
        _changes(experiment, changed),
        registry,
        id=_id(experiment.id, changed),
        varied=options,
    )
    said = " ".join(f"--vary {each}" for each in options)
    faults += [f"{said}: {finding.message}" for finding in wrong]
    if found is not None:
        yield Variant(found, settings, changed=True)


def _changes(experiment: Experiment, changed: Sequence[tuple[Factor, Json]]) -> dict[Path, Json]:
    """What is to stand in the manifest instead.

    What a manifest expects, it expects with its own values: of a variant nothing is expected.
    """
    words = ", ".join(says(factor.name, value) for factor, value in changed)
    changes: dict[Path, Json] = {
        ("title",): f"{experiment.manifest.title} ({words})",
        ("expected",): None,
    }
    for factor, value in changed:
        why = f"varied in a study; the manifest has {word(factor.own)}, {factor.basis}"
        new = {"value": value, Basis.ASSUMED.value: why} if factor.is_parameter else value
        changes |= dict.fromkeys(factor.places, new)
    return changes


def _id(experiment: str, changed: Sequence[tuple[Factor, Json]]) -> str:
    """As `sequence-pair-16[length=1600]`: a name for files and in MLflow, another for each variant.

    It does not depend on what else is varied in the same call, so that a variant keeps its name.
    """
    parts = (f"{_name(factor.name)}={_safe(word(value))}" for factor, value in changed)
    return f"{experiment}[{','.join(parts)}]"


def _name(text: str) -> str:
    """A hyphen stands for a blank; a name that has hyphens of its own gets a digest."""
    return _safe(text.replace(" ", "-")) if "-" not in text else _marked(text)


def _safe(text: str) -> str:
    """The text itself where a file can be called so, else what can be kept of it with a digest."""
    safe = len(text) <= _LONGEST and not _UNSAFE.search(text)
    return text if safe else _marked(text)


def _marked(text: str) -> str:
    return f"{_UNSAFE.sub('-', text)[:_LONGEST]}~{digest(text)[:8]}"
