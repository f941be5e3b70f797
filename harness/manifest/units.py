"""Units: which one a claim's numbers are in, and their conversion to that of the metric.

Only percent and fraction are converted, because the decimal point moves and nothing is rounded:
the claim is then the same as one that was written in the metric's unit.
"""

from collections.abc import Mapping
from decimal import Decimal

from pydantic import ValidationError

from harness.manifest.claims import Claim
from harness.manifest.experiment import Manifest
from harness.manifest.faults import Finding
from harness.record import Json
from harness.workload import COSTS, Workload

_PLACES = {"fraction": 0, "%": 2, "percent": 2}
"""By how many places a number in this unit has its decimal point further right than a fraction."""

_OF_THE_METRIC = ("takeoff", "low", "high", "exceed")
"""Fields that hold values of the metric, whatever the claim reports."""
_OF_THE_REPORTED = ("reported", "tolerance", "largest_spread")
"""Fields that hold numbers in the unit of what the claim reports."""
_COUNTS = frozenset({"runs", "ddof", "relative"})
"""Numbers within these fields that have no unit."""


def unit_written(claim: str | None, manifest: str | None, recorded: str) -> str:
    """Return the unit in which a claim's numbers are written.

    Args:
        claim: the claim's own, if it states one.
        manifest: the manifest's, if it states one. It holds only if it can be converted.
        recorded: the metric's.
    """
    if claim is None and manifest is not None and decimal_shift(manifest, recorded) is not None:
        return manifest
    return claim or recorded


def decimal_shift(written: str, recorded: str) -> int | None:
    """Return by how many places the decimal point moves to the right; None if it cannot.

    >>> places("%", "fraction"), places("bits", "bits"), places("nats", "bits")
    (-2, 0, None)
    """
    if written == recorded:
        return 0
    if written in _PLACES and recorded in _PLACES:
        return _PLACES[recorded] - _PLACES[written]
    return None


def converted(
    manifest: Manifest, workload: Workload
) -> tuple[Manifest, dict[str, str], list[Finding]]:
    """Convert every claim to its metric's unit, and name that unit where it is not the manifest's.

    Returns:
        The manifest; the unit of each claim that was converted, as it is written; and the faults.
    """
    claims, written, wrong = [], {}, []
    for at, claim in enumerate(manifest.claims):
        recorded = {**COSTS, **workload.metrics}[claim.metric].unit
        unit = unit_written(claim.unit, manifest.unit, recorded)
        moved = decimal_shift(unit, recorded) or 0
        named = claim.unit if unit == recorded == manifest.unit else recorded
        try:
            claims.append(_moved(claim, moved, named))
        except ValidationError as error:  # half of a decimal place, say
            why = error.errors()[0]
            field = why["loc"][0] if why["loc"] else ""
            message = f"cannot be converted from {unit} to {recorded}: {field}: {why['msg']}"
            wrong.append(Finding(("claims", at), message))
        if unit != recorded:
            written[claim.name] = unit
    if tuple(claims) == manifest.claims or wrong:
        return manifest, written, wrong
    return manifest.model_copy(update={"claims": tuple(claims)}), written, wrong


def _moved(claim: Claim, by: int, unit: str | None) -> Claim:
    """Return the claim in a unit in which its numbers have the decimal point so much further right.

    Raises:
        ValidationError: such a claim has a fault.
    """
    if not by:
        return claim.model_copy(update={"unit": unit})
    plain = claim.model_dump(mode="json", exclude_none=True)
    fields = _OF_THE_METRIC + (() if claim.counted_in else _OF_THE_REPORTED)
    for name in plain.keys() & set(fields):
        plain[name] = _numbers_moved(plain[name], by)
    if "decimals" in plain and not claim.counted_in:
        plain["decimals"] -= by
    return type(claim).model_validate({**plain, "unit": unit})


def _numbers_moved(value: Json, by: int) -> Json:
    """Move the decimal point of every number that has a unit."""
    if isinstance(value, Mapping):
        return {
            key: inner if key in _COUNTS else _numbers_moved(inner, by)
            for key, inner in value.items()
        }
    if isinstance(value, list):
        return [_numbers_moved(inner, by) for inner in value]
    return value if isinstance(value, str) else float(Decimal(repr(value)).scaleb(by))
