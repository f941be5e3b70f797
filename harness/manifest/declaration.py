"""What a manifest declares before its records are made, and what of it changed since.

A tolerance, a limit or a row that is chosen after the results are known can be chosen to fit them.
So the part of a manifest that decides a verdict is stored with the records. A verdict names every
later change, and it is never better than the verdict on the declared part.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

from pydantic import ValidationError

from harness.manifest.claims import BaseClaim
from harness.manifest.experiment import Manifest
from harness.manifest.fields import spell
from harness.record import Declaration, Json, canonical_json, in_words

JUDGED = (
    "unit",
    "epochs",
    "seeds",
    "control",
    "deterministic",
    "twin",
    "second_stage",
    "calibration",
    "claims",
    "expected",
)
"""The fields of a manifest that decide its verdict. The others say what runs and what it means."""

_PROSE = frozenset({"reason", "source", "stated", "inferred", "assumed"})
"""Texts for the reader; they are declared too, but a change of them changes no verdict."""

NONE = "none"


def declaration(manifest: Manifest) -> Declaration:
    """What a run stores before it makes the records of an experiment."""
    return Declaration(
        {claim.name: claim.margin for claim in manifest.claims}, _judged_part(manifest)
    )


def as_declared(manifest: Manifest, declared: Declaration) -> Manifest | None:
    """Today's manifest with its judged part as it was declared.

    Returns:
        None if nothing that is judged has changed, or if nothing was declared.

    Raises:
        ValueError: the declared part is not one of a manifest; the message says where and why.
    """
    today = _judged_part(manifest)
    then = dict(declared.judged or _with_tolerances(today, declared.tolerances))
    if then == today:
        return None
    plain = {name: value for name, value in _plain(manifest).items() if name not in JUDGED} | then
    try:
        # Through JSON: strict about types, yet a list is read as a tuple.
        found = Manifest.model_validate_json(json.dumps(plain), strict=True)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(map(str, first["loc"]))
        raise ValueError(ascii(f"{where}: {first['msg']}")[1:-1][:200]) from None
    return None if _decisive(_judged_part(found)) == _decisive(today) else found


def renamed(then: Manifest, now: Manifest) -> dict[str, str]:
    """Claims that only have another name now: old names and new ones."""
    old, new = ({claim.name: claim for claim in one.claims} for one in (then, now))
    left = [name for name in new if name not in old]
    found: dict[str, str] = {}
    for name in old:
        match = next((to for to in left if name not in new and _same(old[name], new[to])), None)
        if match is not None:
            left.remove(match)
            found[name] = match
    return found


def changes(then: Manifest, now: Manifest) -> Iterator[str]:
    """Name every change of the judged part, in one sentence for each kind of change."""
    grouped: dict[_Change, list[str]] = {}
    for claim, change in _claim_changes(then, now):
        grouped.setdefault(change, []).append(claim)
    for change, claims in grouped.items():
        yield f"{change.what} of {', '.join(claims)} {SINCE}: {change.then} → {change.now}"
    old, new = ({claim.name for claim in one.claims} for one in (then, now))
    names = renamed(then, now)
    for name, to in names.items():
        yield f"claim {name} was renamed {to} since the records were made"
    if gone := [claim.name for claim in then.claims if claim.name not in new | names.keys()]:
        yield f"claim {', '.join(gone)} was dropped since the records were made"
    added = [claim.name for claim in now.claims if claim.name not in old | set(names.values())]
    if added:
        yield f"claim {', '.join(added)} was added since the records were made"
    before, after = (_decisive(_judged_part(one)) for one in (then, now))
    for name in JUDGED:
        if name != "claims" and before.get(name) != after.get(name):
            texts = (_text(name, part.get(name)) for part in (before, after))
            yield f"{name} {SINCE}: {' → '.join(texts)}"


SINCE = "changed since the records were made"


def without_values(change: str) -> str:
    """What changed, of a sentence that `changes` made, and not from what to what.

    >>> without_values("tolerance of late rows changed since the records were made: 0.1 → 0.2")
    'tolerance of late rows changed since the records were made'
    """
    what, since, _ = change.partition(f" {SINCE}: ")
    return f"{what} {SINCE}" if since else change


class _Change(NamedTuple):
    """A change that several claims may share."""

    what: str
    then: str
    now: str


def _claim_changes(then: Manifest, now: Manifest) -> Iterator[tuple[str, _Change]]:
    new = {claim.name: claim for claim in now.claims}
    for claim in then.claims:
        if claim.name not in new:
            continue
        before, after = (_decisive(_plain(one)) for one in (claim, new[claim.name]))
        for field in sorted(before.keys() | after.keys()):
            old, today = before.get(field), after.get(field)
            if old == today:
                continue
            if field == "reported" and _has_rows(old) and _has_rows(today):
                for row in sorted(old.keys() | today.keys(), key=int):
                    one, other = _text(row, old.get(row)), _text(row, today.get(row))
                    if one != other:
                        yield claim.name, _Change(f"reported row {row}", one, other)
            else:
                yield claim.name, _Change(field, _text(field, old), _text(field, today))


def _has_rows(reported: Json) -> bool:
    """Whether values are reported by epoch, and not one number or a sample of runs."""
    return isinstance(reported, Mapping) and all(key.isdecimal() for key in reported)


def _same(one: BaseClaim, other: BaseClaim) -> bool:
    """Whether two claims differ in nothing but their names and their texts."""
    first, second = (_decisive(_plain(claim)) for claim in (one, other))
    return {**first, "name": ""} == {**second, "name": ""}


def _judged_part(manifest: Manifest) -> dict[str, Json]:
    return {name: value for name, value in _plain(manifest).items() if name in JUDGED}


def _plain(part: Manifest | BaseClaim) -> dict[str, Json]:
    """A part of a manifest as JSON that was written and read back, without empty fields."""
    found: dict[str, Json] = json.loads(
        canonical_json(part.model_dump(mode="json", exclude_none=True))
    )
    return found


def _with_tolerances(judged: Mapping[str, Json], tolerances: Mapping[str, float]) -> Json:
    """The judged part with the declared tolerances: older records declare nothing else."""

    def claim(fields: Mapping[str, Json]) -> Json:
        tolerance = tolerances.get(fields["name"])
        if tolerance is None or "tolerance" not in fields:
            return fields
        return {**fields, "tolerance": {**fields["tolerance"], "value": tolerance}}

    return {**judged, "claims": [claim(fields) for fields in judged["claims"]]}


def _decisive(value: Json) -> Json:
    """A value without the texts that are for the reader only."""
    if isinstance(value, Mapping):
        return {
            key: _decisive(inner)
            for key, inner in value.items()
            if not (key in _PROSE and isinstance(inner, str))
        }
    return [_decisive(inner) for inner in value] if isinstance(value, list) else value


def _text(field: str, value: Json) -> str:
    """A value for a sentence: 'none', '0-9', '0.06', or JSON."""
    if value is None:
        return NONE
    if isinstance(value, Mapping) and len(value) == 1:
        (value,) = value.values()  # {value: 0.06} or {rows: [20, 50]}: the rest was text
    if field == "seeds" and isinstance(value, Sequence):
        return spell(value)
    return in_words(value)
