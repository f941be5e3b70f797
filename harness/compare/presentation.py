"""Describe a comparison in one sentence."""

from collections.abc import Iterator

from harness.compare.results import Change, Comparison, Standing
from harness.manifest import of_seeds

SHOWN = 6
"""Differing conditions that are named before the rest is counted."""


def sentence(found: Comparison) -> str:
    """Describe a comparison in one sentence: first the result, then what may explain it."""
    return "; ".join([_standing(found), *_asides(found)])


def _standing(found: Comparison) -> str:
    count = f"{len(found.seeds)} seed{'s' if len(found.seeds) != 1 else ''}"
    match found.standing:
        case Standing.NOTHING:
            return "nothing to compare: no seed was recorded on both sides"
        case Standing.UNCHANGED:
            epochs = f"{found.epochs} epoch{'s' if found.epochs != 1 else ''}"
            return f"unchanged bit for bit, {count}, {epochs}"
        case Standing.MOVED:
            within = found.verdict is not None and found.verdict.holds
            moved = [change for change in found.changes if change.moved]
            text = ", ".join(map(_change, moved))
            return f"moved{', still within tolerance' if within else ''}: {text}"
        case Standing.UNTESTED:
            return f"differs, and one seed allows no test: {_largest(found)}"
        case Standing.NOT_SHOWN:
            return f"differs, no move shown with {count}: {_largest(found)}"


def _largest(found: Comparison) -> str:
    if not found.changes:
        return "the claims' values are equal where both sides have them"
    return "at most " + _change(max(found.changes, key=lambda change: abs(change.share)))


def _change(change: Change) -> str:
    text = f"{change.claim} {change.difference:+.4f} {change.unit}, "
    text += f"{abs(change.share):.2f} of the tolerance"
    if change.p_holm is None or change.detectable is None:
        return text
    effect = "" if change.effect is None else f"effect {change.effect:+.2f}, "
    tests = f"after Holm over {change.tests} test{'s' if change.tests != 1 else ''}"
    shown = f"{change.detectable:.4f} {change.unit} would have shown"
    return f"{text} ({effect}p {change.p_holm:.2g} {tests}; {shown})"


def _asides(found: Comparison) -> Iterator[str]:
    if found.cut_short:
        yield f"{of_seeds(found.cut_short)} ended early on one side"
    if found.only_base:
        yield f"{of_seeds(found.only_base)} not among the new records"
    if found.only_new:
        yield f"{of_seeds(found.only_new)} not among the base's"
    if found.standing in (Standing.UNCHANGED, Standing.NOTHING):
        return
    if found.conditions is None:
        yield "the conditions of one side are not recorded"
        return
    conditions = [f"{name} {base} → {new}" for name, (base, new) in found.conditions.items()]
    if conditions:
        more = f" and {len(conditions) - SHOWN} more" if len(conditions) > SHOWN else ""
        yield "what differs: " + ", ".join(conditions[:SHOWN]) + more
    else:
        yield "nothing that is recorded of versions, hardware and code differs"
