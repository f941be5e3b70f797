"""What two sides' trials ran on and with: what may explain that they differ."""

from collections.abc import Iterable, Iterator

from harness.record import WORKLOAD_CODE, StoredTrial, in_words


def differing(
    pairs: Iterable[tuple[StoredTrial, StoredTrial]],
) -> dict[str, tuple[str, str]] | None:
    """What the two sides ran on and with, where it is not the same; None if one does not say.

    An exported table holds the records alone.
    """
    sides: tuple[dict[str, set[str]], dict[str, set[str]]] = ({}, {})
    for pair in pairs:
        for side, trial in zip(sides, pair, strict=True):
            for thing, value in _surroundings(trial):
                side.setdefault(thing, set()).add(value)
    if not all(sides):
        return None
    # Older records do not tell the workload's code, and a commit is not always known.
    unknown = {thing for thing in ("commit", WORKLOAD_CODE) if not all(thing in s for s in sides)}
    return {
        thing: (_joined(sides[0].get(thing)), _joined(sides[1].get(thing)))
        for thing in sorted((sides[0] | sides[1]).keys() - unknown)
        if sides[0].get(thing) != sides[1].get(thing)
    }


def _surroundings(trial: StoredTrial) -> Iterator[tuple[str, str]]:
    """All that may explain a change; times and the host's name may not."""
    if not trial.provenance:
        return
    yield "revision", str(trial.spec.revision)
    for thing, value in trial.spec.parameters.items():
        yield f"parameter {thing}", in_words(value)
    for thing, value in trial.spec.data.items():
        yield f"data {thing}", value[:8]
    for provenance in trial.provenance[-1:]:
        if provenance.source.commit:  # where it is unknown nothing can be compared
            yield "commit", provenance.source.commit[:8] + "+" * bool(provenance.source.dirty)
        yield from provenance.surroundings()


def _joined(values: set[str] | None) -> str:
    return " / ".join(sorted(values)) if values else "-"
