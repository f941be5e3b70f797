"""What is to be varied, as the command line says it: `length=1200,1600`, `metric of CLAIM=...`."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations

from harness.errors import UsageError, one_line
from harness.manifest import Basis, Experiment, suggest
from harness.manifest.tree import Path, parse, show
from harness.record import Json

METRIC_OF = "metric of "
"""Before a claim's name, or before a metric: then every claim of that metric is meant."""

_FORM = "written as NAME=VALUE,VALUE"


@dataclass(frozen=True)
class Factor:
    """One thing that the paper leaves open, and the values that are tried for it."""

    name: str
    """A parameter, or 'metric of' a claim or a metric."""
    places: tuple[Path, ...]
    """Where the manifest gives it."""
    own: Json
    """What the manifest has."""
    basis: Basis
    """Inferred or assumed: what is stated cannot be varied."""
    why: str
    """The manifest's reason for its own."""
    values: tuple[Json, ...]
    """As they were given; the manifest's own may be among them."""

    @property
    def is_parameter(self) -> bool:
        """Whether it is a parameter, of which another value needs other trials."""
        return not self.name.startswith(METRIC_OF)


def word(value: Json) -> str:
    """A value as people write it; also one that JSON cannot hold (NaN), for a fault to name it."""
    return value if isinstance(value, str) else json.dumps(value, separators=(",", ":"))


def says(name: str, value: Json) -> str:
    """A value of a factor in words.

    >>> says("length", 1600)
    'length = 1600'
    """
    return f"{name} = {one_line(word(value), 60)}"


def factors(experiment: Experiment, texts: Sequence[str]) -> tuple[Factor, ...]:
    """What the options ask to vary, in their order.

    Raises:
        UsageError: with every fault, a line each: what is stated, unknown, or named twice.
    """
    found, faults = [], []
    for text in texts:
        try:
            found.append(_factor(experiment, text))
        except ValueError as fault:
            faults.append(f"--vary {fault}")
    for one, other in combinations(found, 2):
        if set(one.places) & set(other.places):
            faults.append(f"--vary {other.name}: varied already by --vary {one.name}")
    if faults:
        raise UsageError("\n".join(faults))
    return tuple(found)


def _factor(experiment: Experiment, text: str) -> Factor:
    """One option's factor.

    Raises:
        ValueError: what is wrong with it.
    """
    name, equals, listed = (part.strip() for part in text.partition("="))
    if not (name and equals and listed):
        raise ValueError(f"{show(text)}: {_FORM}")
    values = _values(name, listed)
    if name.startswith(METRIC_OF):
        return _of_metric(experiment, name, values)
    return _of_parameter(experiment, name, values)


def _values(name: str, listed: str) -> tuple[Json, ...]:
    """The values as a manifest would read them: `1e-3` is a number, `true` a truth value."""
    root, faults = parse(f"values: [{listed}]", "")
    if root is None or faults or set(root.fields) != {"values"}:
        raise ValueError(f"{name}={listed}: {_FORM}, each as in a manifest")
    return tuple(root.fields["values"].plain())


def _of_parameter(experiment: Experiment, name: str, values: tuple[Json, ...]) -> Factor:
    parameters = experiment.manifest.workload.parameters
    if name not in parameters:
        raise ValueError(f"{name}: nothing of that name{suggest(name, list(_open(experiment)))}")
    own = parameters[name]
    if own.basis is Basis.STATED:
        said = "stated by the paper; only what is inferred or assumed may be varied"
        raise ValueError(f"{name}: {said} ({one_line(own.why)})")
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
    meant = [(at, claim) for at, claim in claims if claim.name == subject]
    meant = meant or [(at, claim) for at, claim in claims if claim.metric == subject]
    if not meant:
        near = suggest(subject, [name.removeprefix(METRIC_OF) for name in _metrics(experiment)])
        raise ValueError(f"{name}: no claim is called so, and none is of such a metric{near}")
    return Factor(
        name=METRIC_OF + subject,
        places=tuple(("claims", at, "metric") for at, _ in meant),
        own=meant[0][1].metric,
        # No claim says how its metric is known: which average a paper prints is our reading.
        basis=Basis.INFERRED,
        why=meant[0][1].source,
        values=values,
    )


def _open(experiment: Experiment) -> Iterator[str]:
    """Everything that may be varied."""
    for name, own in experiment.manifest.workload.parameters.items():
        if own.basis is not Basis.STATED:
            yield name
    yield from _metrics(experiment)


def _metrics(experiment: Experiment) -> Iterator[str]:
    claims = experiment.manifest.claims
    yield from (METRIC_OF + claim.name for claim in claims)
    yield from (METRIC_OF + metric for metric in dict.fromkeys(claim.metric for claim in claims))
