"""Check a manifest against its workload, its number of epochs and its own names.

The checks read the tree and not the models. They skip what has the wrong form, so that their faults
are reported together with the faults of form.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path as FilePath

from pydantic import ValidationError

from harness.manifest.claims import KINDS, SETS, BaseClaim, Claim
from harness.manifest.experiment import TWIN, WorkloadChoice, twin_row_name
from harness.manifest.faults import Finding, findings, suggest
from harness.manifest.fields import MAX_DECIMALS
from harness.manifest.tree import Node, Path, quote
from harness.manifest.units import decimal_shift, unit_written
from harness.record import Json
from harness.workload import COSTS, Metric, Registry, SectionError, Template, Workload


def find_faults(root: Node, workload: Workload | None) -> Iterator[Finding]:
    """Find every fault of meaning, in no particular order; without a workload only some."""
    yield from _names(root)
    yield from _printed_names(root)
    yield from _epochs(root)
    yield from _registered(root)
    yield from _alignments(root)
    yield from _trailing_zeros(root)
    yield from _bands(root)
    if _lacks_unit(root, workload):
        yield Finding(("unit",), "left blank: must be text, such as '%', bits or accuracy")
    if workload is not None:
        yield from _parameters(root, workload)
        yield from _metrics(root, workload)
        yield from _rivals(root, workload)
        yield from _not_converted(root, workload)
        yield from _epochs_needed(root, workload)


def find_workload(
    root: Node, registry: Mapping[str, Workload], folder: FilePath
) -> tuple[Workload | None, list[Finding]]:
    """Return the workload that a tree names or describes, or None, and the faults of its section.

    Args:
        root: the tree.
        registry: the installed workloads, by name.
        folder: the folder of the manifest's file.
    """
    name = root.get("workload", "name")
    if name is None or name.text is None:
        return None, []
    workload = registry.get(name.text)
    if workload is None:
        why = registry.broken.get(name.text) if isinstance(registry, Registry) else None
        message = (
            f"workload {name.text} cannot be used: {why}"
            if why
            else f"unknown workload {quote(name.text)}{suggest(name.text, list(registry))}"
        )
        return None, [Finding(("workload", "name"), message)]
    given = root.fields["workload"].fields
    section = Node(
        {key: node for key, node in given.items() if key not in _CHOICE},
        root.fields["workload"].line,
    )
    if isinstance(workload, Template):
        return _completed(workload, root, section, folder)
    unknown = f"unknown field{suggest('', _CHOICE)}"
    return workload, [Finding(("workload", key), unknown) for key in section.fields]


_CHOICE = tuple(WorkloadChoice.model_fields)
"""The fields of every manifest's `workload` section."""


def _completed(
    template: Template, root: Node, section: Node, folder: FilePath
) -> tuple[Workload | None, list[Finding]]:
    """Return the workload that a manifest describes, or None and the faults of its section."""
    try:
        read = template.section.model_validate_json(json.dumps(section.plain()), strict=True)
        return template.complete(read, root.plain(), folder), []
    except ValidationError as error:
        found = list(findings(error, template.section, section))
    except SectionError as error:
        found = [Finding(path, message) for path, message in error.faults.items()]
        found += [Finding((), fault.message, fault) for fault in error.elsewhere]
    return None, [replace(each, path=("workload", *each.path)) for each in found]


def given(root: Node) -> dict[str, Json]:
    """The values of the workload's parameters that the manifest gives."""
    parameters = root.get("workload", "parameters")
    entries = parameters.fields.items() if parameters else ()
    return {name: node.fields["value"].plain() for name, node in entries if "value" in node.fields}


def _claims(root: Node) -> list[tuple[Path, Node]]:
    claims = root.get("claims")
    items = claims.items if claims else []
    return [(("claims", place), claim) for place, claim in enumerate(items)]


def _text(node: Node, *keys: str) -> str | None:
    value = node.get(*keys)
    return value.text if value else None


def _names(root: Node) -> Iterator[Finding]:
    seen: set[str] = set()
    for path, claim in _claims(root):
        name = _text(claim, "name")
        if name in seen:
            yield Finding((*path, "name"), f"another claim is called {quote(name)} already")
        elif name is not None:
            seen.add(name)
    expected = root.get("expected", "not_reproduced")
    for place, item in enumerate(expected.items if expected else []):
        if item.text is not None and item.text not in seen:
            message = f"no claim is called {quote(item.text)}{suggest(item.text, sorted(seen))}"
            yield Finding(("expected", "not_reproduced", place), message)


def _claim(node: Node) -> BaseClaim | None:
    """The claim that a node describes; None if it has faults, which pydantic reports."""
    kind = _kind(node)
    if kind is None:
        return None
    try:
        return kind.model_validate_json(json.dumps(node.plain()), strict=True)
    except ValidationError:
        return None


def _kind(node: Node) -> type[Claim] | None:
    """The class of a claim by its `kind`, as pydantic will choose it."""
    name = _text(node, "kind")
    return next((kind for kind in KINDS if kind.kind_name() == name), None)


def misplaced(root: Node, *, between: bool) -> Iterator[Finding]:
    """Find claims that stand in the wrong section.

    A claim that lists the ids of experiments may stand under `claims`.

    Args:
        root: the tree.
        between: whether its claims are those of a grid's `comparisons`.
    """
    for path, claim in _claims(root):
        kind = _kind(claim)
        if kind is None or kind.between_cells() == between:
            continue
        if any(isinstance(node.value, list) for name, node in claim.fields.items() if name in SETS):
            continue
        name = kind.kind_name()
        message = (
            f"{name} is about one experiment: put this claim under `claims`"
            if between
            else f"{name} compares cells of a grid: put this claim under `comparisons` of a grid"
        )
        yield Finding((*path, "kind"), message)


def _printed_names(root: Node) -> Iterator[Finding]:
    """Find rows that reports would print under one name."""
    taken = {"verdict": "the whole experiment in JUnit files"}
    twin = _text(root, "twin", "experiment")
    if twin is not None:
        taken[twin_row_name(twin)] = "the control's twin"
    claims: set[str] = set()
    for path, node in _claims(root):
        claim = _claim(node)
        if claim is None or claim.name in claims:
            continue
        claims.add(claim.name)
        if twin is not None and claim.name == TWIN:
            yield Finding(
                (*path, "name"), f"{quote(TWIN)} names the control's twin; rename the claim"
            )
        names = list(claim.row_names().values())
        both = next((name for name in names if name in taken), None)
        if both is not None:
            message = (
                f"its row {quote(both)} would have the name of {taken[both]}; rename the claim"
            )
            yield Finding((*path, "name"), message)
        taken |= dict.fromkeys(names, f"a row of the claim {quote(claim.name)}")


def _epochs(root: Node) -> Iterator[Finding]:
    """Find reported epochs that the run does not reach."""
    run = root.get("epochs", "value")
    if run is None or type(run.value) is not int or run.value < 1:
        return
    for path, claim in _claims(root):
        reported = claim.get("reported")
        if reported is None:
            continue
        for row in reported.fields:
            if row.isdecimal() and int(row) > run.value:
                yield Finding((*path, "reported", row), f"beyond the run of {run.value} epochs")
        kind = _kind(claim)
        if kind and kind.counted_in == "epochs" and _beyond(reported, run.value):
            yield Finding((*path, "reported"), f"beyond the run of {run.value} epochs")


def _epochs_needed(root: Node, workload: Workload) -> Iterator[Finding]:
    """Require the number of epochs, unless the workload records only final estimates."""
    if root.get("epochs") is None and not all(m.final for m in workload.metrics.values()):
        yield Finding(("epochs",), "required")


def _registered(root: Node) -> Iterator[Finding]:
    """Find registered rows that are not reported."""
    for path, claim in _claims(root):
        reported, registered = claim.get("reported"), claim.get("registered", "rows")
        for place, item in enumerate(registered.items if registered and reported else []):
            if type(item.value) is int and str(item.value) not in _rows(claim):
                message = f"no row {item.value} is reported{suggest('', _rows(claim))}"
                yield Finding((*path, "registered", "rows", place), message)


def _alignments(root: Node) -> Iterator[Finding]:
    """Require a claim about the take-off beside curves that are lined up at it.

    Without one, a curve could take off at any epoch and still reproduce.
    """
    parsed = [(path, _claim(node)) for path, node in _claims(root)]
    judged = {
        (claim.metric, claim.unit, claim.crossing)
        for _, claim in parsed
        if claim and claim.crossing is not None
    }
    for path, claim in parsed:
        at = claim.line_up_at if claim else None
        if claim and at is not None and (claim.metric, claim.unit, at) not in judged:
            needs = f"needs a claim of kind onset on {claim.metric} with the threshold {at:g}"
            yield Finding((*path, "takeoff"), f"{needs}; without one any shift would pass")


def _trailing_zeros(root: Node) -> Iterator[Finding]:
    """Find `decimals` below the digits that are printed: 3.4900 has four of them, not two.

    Fewer would widen what counts as rounding. A value that needs more is a fault of form.
    """
    for path, claim in _claims(root):
        decimals, reported = claim.get("decimals"), claim.get("reported")
        if decimals is None or reported is None or type(decimals.value) is not int:
            continue
        printed = [node for node in (reported, *reported.fields.values()) if node.decimals]
        zeros = [node for node in printed if _fits(node.value, decimals.value)]
        most = max((node.decimals for node in zeros), default=0)
        if most > decimals.value >= 0:
            message = f"a reported value is printed with {most} decimals, got {decimals.value}"
            yield Finding((*path, "decimals"), message)


def _fits(value: object, decimals: int) -> bool:
    """Whether a number needs no more decimals than these."""
    return (
        isinstance(value, float)
        and 0 <= decimals <= MAX_DECIMALS
        and round(value, decimals) == value
    )


def _rows(claim: Node) -> list[str]:
    reported = claim.get("reported")
    return list(reported.fields) if reported else []


def _bands(root: Node) -> Iterator[Finding]:
    """Find calibrated bands of rows that do not exist."""
    bands = root.get("calibration", "bands")
    claims = [_claim(node) for _, node in _claims(root)]
    if None in claims:
        return  # a claim has faults, so its rows are not known yet
    names = [number.name for claim in claims if claim for number in claim.numbers()]
    for name in bands.fields if bands else ():
        if name not in names:
            message = f"no claim has such a row{suggest(name, names)}"
            yield Finding(("calibration", "bands", name), message)


def _beyond(reported: Node, epochs: int) -> bool:
    return isinstance(reported.value, int | float) and reported.value > epochs


def _parameters(root: Node, workload: Workload) -> Iterator[Finding]:
    base: Path = ("workload", "parameters")
    parameters = root.at(base)
    if root.get(*map(str, base)) is None:
        if any(field.is_required() for field in workload.parameters.model_fields.values()):
            yield Finding(base, "required")
        return
    if not isinstance(parameters.value, dict):
        return
    allowed = list(workload.parameters.model_fields)
    known = {name: value for name, value in given(root).items() if name in allowed}
    for name in parameters.fields:
        if name not in allowed:
            yield Finding((*base, name), f"unknown parameter{suggest(name, allowed)}")
    for finding in _wrong_values(workload, known, Node({}, parameters.line)):
        yield from _in_place(finding, parameters)


def _rivals(root: Node, workload: Workload) -> Iterator[Finding]:
    """Find rivals with parameters or metrics that the workload does not have."""
    rivals = root.get("rivals")
    for place, rival in enumerate(rivals.items if rivals else ()):
        constant = rival.get("constant")
        for name in constant.fields if constant else ():
            metric = workload.metrics.get(name)
            if metric is None or metric.truth_of is not None:
                estimated = [key for key, one in workload.metrics.items() if one.truth_of is None]
                message = f"no estimated metric is called {quote(name)}{suggest(name, estimated)}"
                yield Finding(("rivals", place, "constant", name), message)
        changed = rival.get("parameters")
        if changed is None or not changed.fields:
            continue
        allowed = list(workload.parameters.model_fields)
        unknown = [name for name in changed.fields if name not in allowed]
        for name in unknown:
            message = f"unknown parameter{suggest(name, allowed)}"
            yield Finding(("rivals", place, "parameters", name), message)
        own = given(root)
        values = {name: node.plain() for name, node in changed.fields.items()}
        if unknown or not own.keys() >= set(allowed):
            continue
        if values.items() <= own.items():
            message = "these are the manifest's own values; a rival must differ in at least one"
            yield Finding(("rivals", place, "parameters"), message)
        if _wrong_values(workload, own, changed):
            continue  # these are the manifest's own faults
        for finding in _wrong_values(workload, {**own, **values}, changed):
            yield replace(finding, path=("rivals", place, "parameters", *finding.path))


def _wrong_values(workload: Workload, values: Mapping[str, Json], node: Node) -> Sequence[Finding]:
    """Find what is wrong with all parameters' values together; places are relative to a node."""
    try:
        workload.parameters.model_validate_json(json.dumps(values), strict=True)
    except ValidationError as error:
        return list(findings(error, workload.parameters, node))
    return ()


def _not_converted(root: Node, workload: Workload) -> Iterator[Finding]:
    """Refuse numbers outside the claims if the manifest's unit is not that of their metric.

    Only the claims' numbers are converted: 0.2 of a threshold could mean 20 % or 0.2 %.
    """
    unit = _text(root, "unit")
    numbers: list[tuple[Path, str]] = []
    if (twin := _text(root, "twin", "metric")) is not None:
        numbers.append((("twin", "takeoff"), twin))
    claimed = dict.fromkeys(_text(claim, "metric") or "" for _, claim in _claims(root))
    rivals = root.get("rivals")
    for at, rival in enumerate(rivals.items if rivals else ()):
        constant = rival.get("constant")
        if constant is not None and constant.plain() not in (None, 0):
            names = constant.fields or claimed
            numbers += [(("rivals", at, "constant"), name) for name in names]
    for place, name in numbers:
        metric = workload.metrics.get(name)
        if unit and metric and unit != metric.unit and decimal_shift(unit, metric.unit) is not None:
            message = f"the manifest is in {unit}, but {name} is recorded in {metric.unit}"
            yield Finding(place, f"{message}: give `unit` to the claims, and not to the manifest")


def _in_place(finding: Finding, parameters: Node) -> Iterator[Finding]:
    """Move a fault of a parameter's value to the place where the manifest gives it."""
    base: Path = ("workload", "parameters")
    if not finding.path:
        # By convention, the message of a rule across parameters begins with one parameter's name.
        name, _, rest = finding.message.partition(": ")
        named = name in parameters.fields and rest
        yield Finding((*base, name, "value"), rest) if named else Finding(base, finding.message)
        return
    name = str(finding.path[0])
    if "value" in (parameters.get(name) or parameters).fields:
        yield Finding((*base, name, "value", *finding.path[1:]), finding.message)
    elif name not in parameters.fields:
        yield Finding((*base, name), finding.message)


def _lacks_unit(root: Node, workload: Workload | None) -> bool:
    """Whether the manifest's unit is left blank and nothing else says the unit of some claim.

    Before the workload is known, only the claims can say it.
    """
    given = root.get("unit")
    if given is None or given.value is not None:
        return False
    unsaid = [_text(claim, "metric") for _, claim in _claims(root) if not _text(claim, "unit")]
    if workload is None:
        return bool(unsaid)
    units = {name: metric.unit for name, metric in workload.metrics.items()}
    return any(name in units and not units[name] for name in unsaid)


def _metrics(root: Node, workload: Workload) -> Iterator[Finding]:
    """Find claims about a metric that the workload does not record, or not in this way."""
    unit = _text(root, "unit")
    twin = _text(root, "twin", "metric")
    if twin is not None and (twin not in workload.metrics or workload.metrics[twin].final):
        every_epoch = [name for name, metric in workload.metrics.items() if not metric.final]
        message = f"no metric of every epoch is called {quote(twin)}{suggest(twin, every_epoch)}"
        yield Finding(("twin", "metric"), message)
    metrics = {**COSTS, **workload.metrics}
    recorded: dict[str, str] = {}
    unsaid: list[Finding] = []
    blank = _lacks_unit(root, workload)
    for path, claim in _claims(root):
        name = _text(claim, "metric")
        if name is None:
            continue
        metric = metrics.get(name)
        if metric is None:
            message = suggest(name, list(metrics))
            yield Finding((*path, "metric"), f"unknown metric {quote(name)}{message}")
            continue
        own = _text(claim, "unit")
        if not metric.unit:
            message = f"nothing says the unit of {name}: give it here, or as the manifest's `unit`"
            if not blank:  # then that is the fault
                yield Finding((*path, "unit"), message)
        elif decimal_shift(unit_written(own, unit, metric.unit), metric.unit) is None:
            message = f"{quote(own)} cannot be converted: {name} is recorded in {metric.unit}"
            yield Finding((*path, "unit"), message)
        elif (
            own is None and unit and name not in COSTS and decimal_shift(unit, metric.unit) is None
        ):
            message = (
                f"required: the manifest is in {unit}, but {name} is recorded in {metric.unit}"
            )
            unsaid.append(Finding((*path, "unit"), message))
        recorded[name] = metric.unit
        yield from _hardware(path, claim, name, measured=metric is COSTS.get(name))
        yield from _shape(path, claim, name, metric)
    if unit and recorded and all(decimal_shift(unit, other) is None for other in recorded.values()):
        named = ", ".join(f"{name} in {other}" for name, other in recorded.items())
        yield Finding(("unit",), f"no claim is in {quote(unit)}: the workload records {named}")
    else:
        yield from unsaid


def _hardware(path: Path, claim: Node, name: str, *, measured: bool) -> Iterator[Finding]:
    """Require the hardware for a metric that the harness measures, and refuse it for others."""
    kind = _kind(claim)
    if measured and kind is not None and kind.between_cells():
        message = f"{name} is compared within one experiment only"
        yield Finding((*path, "metric"), message)
    elif measured and claim.get("hardware") is None:
        message = f"required: {name} depends on it. Name the gpu, the cpu or both"
        yield Finding((*path, "hardware"), message)
    elif not measured and (given := claim.get("hardware")) and given.value is not None:
        message = f"only claims about {' and '.join(COSTS)} depend on the hardware"
        yield Finding((*path, "hardware"), message)


def _shape(path: Path, claim: Node, name: str, metric: Metric) -> Iterator[Finding]:
    """Check that a metric of every epoch has rows, and a final metric one number."""
    kind, reported = _kind(claim), claim.get("reported")
    every_epoch = kind is not None and kind.needs_every_epoch
    if metric.final and every_epoch:
        needs = f"a claim of kind {_text(claim, 'kind')} needs every epoch"
        message = f"{name} is estimated once, at the end; {needs}"
        yield Finding((*path, "metric"), message)
    elif metric.final and _text(claim, "reduce"):
        message = f"{name} is estimated once, at the end: there is nothing to reduce"
        yield Finding((*path, "reduce"), message)
    elif not metric.final and _text(claim, "reduce"):
        if isinstance(reported and reported.value, dict) and not (kind and kind.one_number):
            message = "one number is wanted, since `reduce` makes one of all epochs"
            yield Finding((*path, "reported"), message)
    elif kind is not None and kind.one_number:
        parsed = _claim(claim)
        if parsed is not None and parsed.every_epoch == metric.final:
            needs = f"a claim of kind {_text(claim, 'kind')} needs one number for each seed"
            why = "recorded every epoch" if not metric.final else "estimated once, at the end"
            yield Finding((*path, "metric"), f"{name} is {why}; {needs}: see `reduce`")
    elif every_epoch or reported is None:
        return
    elif metric.final and isinstance(reported.value, dict):
        message = f"{name} is estimated once, at the end: one number is wanted, not rows"
        yield Finding((*path, "reported"), message)
    elif not metric.final and isinstance(reported.value, int | float):
        message = f"{name} is recorded every epoch: rows are wanted, as {{epoch: value}}"
        yield Finding((*path, "reported"), message)
