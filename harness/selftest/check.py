"""What is planted, how it must be caught, and what came of it."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from harness.manifest import Experiment
from harness.selftest.bench import Bench
from harness.store import Store
from harness.verdict import ClaimResult, ExperimentVerdict, Outcome

Verdicts = Sequence[ExperimentVerdict]


@dataclass(frozen=True)
class Catch:
    """By what a verdict shows a fault."""

    by: str
    """Which claims, or what else of the verdict."""
    level: str
    """A p-value, or what shows it without chance: a digest, an exact value."""


Look = Callable[[Verdicts], Catch | None]
"""What of the verdicts shows the fault; None where nothing does."""


@dataclass(frozen=True)
class Plant:
    """One fault, or a null, and where to look for it."""

    name: str
    prepare: Callable[[Bench, Store], Sequence[Experiment]]
    """Puts records into an empty workspace, and says which experiments to judge by them."""
    look: Look
    planted: bool = True
    """False for a null: nothing is wrong, and nothing may be found."""


@dataclass(frozen=True)
class Check:
    """What came of one plant."""

    name: str
    planted: bool
    verdict: str
    """In words."""
    catch: Catch | None

    @property
    def passed(self) -> bool:
        """Whether a fault was caught, or a null let pass."""
        return (self.catch is not None) == self.planted


def check(plant: Plant, verdicts: Verdicts) -> Check:
    """Hold the verdicts against what was planted."""
    words = sorted({str(verdict.verdict) for verdict in verdicts})
    return Check(plant.name, plant.planted, " or ".join(words), plant.look(verdicts))


def rejected(verdicts: Verdicts) -> Catch | None:
    """Some claim is not reproduced, and it is said which."""
    rows = [row for verdict in verdicts for row in _failing(verdict)]
    if not rows or any(verdict.verdict is not Outcome.NOT_REPRODUCED for verdict in verdicts):
        return None
    return Catch(_claims(rows), _level(rows))


def alarmed(verdicts: Verdicts) -> Catch | None:
    """Any verdict but REPRODUCED and INCONCLUSIVE: on a null, a false alarm."""
    for verdict in verdicts:
        if verdict.verdict not in (Outcome.REPRODUCED, Outcome.INCONCLUSIVE):
            return rejected([verdict]) or Catch(str(verdict.verdict), "")
    return None


def not_held(verdicts: Verdicts) -> Catch | None:
    """Of a run in which nothing is wrong: that it is anything less than REPRODUCED."""
    (verdict,) = verdicts
    if verdict.verdict is Outcome.REPRODUCED:
        return None
    return alarmed(verdicts) or Catch("; ".join(verdict.notes), str(verdict.verdict))


def scattered(verdicts: Verdicts) -> Catch | None:
    """The reported value might be one more run, and yet a claim fails, for its seeds' spread."""
    (verdict,) = verdicts
    for row in _failing(verdict):
        if row.note and row.p_consistency is not None and row.p_consistency > verdict.alpha:
            return Catch(f"{row.claim}: {row.note}", f"{verdict.alpha:.0%} over all rows")
    return None


def lost(seed: int, level: str) -> Look:
    """The seed is named as missing, and the verdict waits for it."""

    def look(verdicts: Verdicts) -> Catch | None:
        (verdict,) = verdicts
        waits = verdict.verdict is Outcome.INCOMPLETE and verdict.missing == (seed,)
        return Catch(f"seed {seed} missing", level) if waits else None

    return look


def failed(seed: int) -> Look:
    """The seed is named as failed, and the verdict does not do without it."""

    def look(verdicts: Verdicts) -> Catch | None:
        (verdict,) = verdicts
        found = verdict.verdict is Outcome.NOT_REPRODUCED and set(verdict.failures) == {seed}
        return Catch(f"seed {seed} failed", "exact") if found else None

    return look


def noted(words: str, level: str) -> Look:
    """A note of the verdict says so, whatever the verdict is."""

    def look(verdicts: Verdicts) -> Catch | None:
        (verdict,) = verdicts
        found = next((note for note in verdict.notes if words in note), None)
        return Catch(found, level) if found else None

    return look


def _failing(verdict: ExperimentVerdict) -> list[ClaimResult]:
    return [row for row in verdict.results if row.verdict is Outcome.NOT_REPRODUCED]


def _claims(rows: Iterable[ClaimResult]) -> str:
    return ", ".join(dict.fromkeys(row.claim for row in rows))


def _level(rows: Sequence[ClaimResult]) -> str:
    """The strongest of the rows: an exact value, a p-value, or of one seed the distance."""
    if any(row.about is not None and row.about.exact for row in rows):
        return "exact"
    ps = [row.p_consistency for row in rows if row.p_consistency is not None]
    if ps:
        return f"p = {min(ps):.1g}"
    far = max(abs(row.difference or 0.0) / row.tolerance for row in rows if row.tolerance)
    return f"{far:.1f} tolerances"
