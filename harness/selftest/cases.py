"""A case of the self-test: what is planted, how the verdict shows it, and whether it did."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from harness.manifest import Experiment
from harness.selftest.drawn import Subject
from harness.store import Store
from harness.verdict import ClaimResult, ExperimentVerdict, Outcome

Verdicts = Sequence[ExperimentVerdict]


@dataclass(frozen=True)
class Detection:
    """What in a verdict shows a fault."""

    by: str
    """The claims, or another part of the verdict."""
    level: str
    """A p-value, or what shows the fault without chance: a digest, an exact value."""


Detector = Callable[[Verdicts], Detection | None]
"""Returns what in the verdicts shows the fault, or None if nothing does."""


@dataclass(frozen=True)
class Case:
    """One fault, or a null: a sound run in which the verdict must find nothing."""

    name: str
    prepare: Callable[[Subject, Store], Sequence[Experiment]]
    """Writes records into an empty workspace, and returns the experiments to judge by them."""
    detect: Detector
    is_fault: bool = True
    """False for a null."""
    seeds: tuple[int, ...] | None = None
    """The seeds to judge; None for all of the manifest's."""


@dataclass(frozen=True)
class CaseResult:
    """What the verdict made of one case."""

    name: str
    is_fault: bool
    verdict: str
    """As text."""
    detection: Detection | None

    @property
    def passed(self) -> bool:
        """Whether a fault was detected, or a null was not mistaken for one."""
        return (self.detection is not None) == self.is_fault


def evaluate(case: Case, verdicts: Verdicts) -> CaseResult:
    """Compare the verdicts with what was planted."""
    words = sorted({str(verdict.verdict) for verdict in verdicts})
    return CaseResult(case.name, case.is_fault, " or ".join(words), case.detect(verdicts))


def rejected(verdicts: Verdicts) -> Detection | None:
    """Detects a claim that is not reproduced, in each of the verdicts."""
    rows = [row for verdict in verdicts for row in _failing(verdict)]
    if not rows or any(verdict.verdict is not Outcome.NOT_REPRODUCED for verdict in verdicts):
        return None
    return Detection(_claims(rows), _level(rows))


def false_alarm(verdicts: Verdicts) -> Detection | None:
    """Detects any verdict but REPRODUCED and INCONCLUSIVE: on a null, a false alarm."""
    for verdict in verdicts:
        if verdict.verdict not in (Outcome.REPRODUCED, Outcome.INCONCLUSIVE):
            return rejected([verdict]) or Detection(str(verdict.verdict), "")
    return None


def not_reproduced_fully(verdicts: Verdicts) -> Detection | None:
    """Detects that a sound run is anything less than REPRODUCED."""
    (verdict,) = verdicts
    if verdict.verdict is Outcome.REPRODUCED:
        return None
    return false_alarm(verdicts) or Detection("; ".join(verdict.notes), str(verdict.verdict))


def too_variable(verdicts: Verdicts) -> Detection | None:
    """Detects a claim that fails only because its seeds differ too much from one another."""
    (verdict,) = verdicts
    for row in _failing(verdict):
        if row.note and row.p_consistency is not None and row.p_consistency > verdict.alpha:
            return Detection(f"{row.claim}: {row.note}", f"{verdict.alpha:.0%} over all rows")
    return None


def missing_seed(seed: int, level: str) -> Detector:
    """Detects that the seed is named as missing, and the verdict is INCOMPLETE for it."""

    def look(verdicts: Verdicts) -> Detection | None:
        (verdict,) = verdicts
        waits = verdict.verdict is Outcome.INCOMPLETE and verdict.missing == (seed,)
        return Detection(f"seed {seed} missing", level) if waits else None

    return look


def failed_seed(seed: int) -> Detector:
    """Detects that the seed is named as failed, and the verdict is NOT REPRODUCED for it."""

    def look(verdicts: Verdicts) -> Detection | None:
        (verdict,) = verdicts
        found = verdict.verdict is Outcome.NOT_REPRODUCED and set(verdict.failures) == {seed}
        return Detection(f"seed {seed} failed", "exact") if found else None

    return look


def noted(words: str, level: str) -> Detector:
    """Detects a note of the verdict with these words, whatever the verdict is."""

    def look(verdicts: Verdicts) -> Detection | None:
        (verdict,) = verdicts
        found = next((note for note in verdict.notes if words in note), None)
        return Detection(found, level) if found else None

    return look


def _failing(verdict: ExperimentVerdict) -> list[ClaimResult]:
    return [row for row in verdict.results if row.verdict is Outcome.NOT_REPRODUCED]


def _claims(rows: Iterable[ClaimResult]) -> str:
    return ", ".join(dict.fromkeys(row.claim for row in rows))


def _level(rows: Sequence[ClaimResult]) -> str:
    """The strongest evidence of the rows: an exact value, a p-value, or one seed's distance."""
    if any(row.about is not None and row.about.exact for row in rows):
        return "exact"
    ps = [row.p_consistency for row in rows if row.p_consistency is not None]
    if ps:
        return f"p = {min(ps):.1g}"
    far = max(abs(row.difference or 0.0) / row.tolerance for row in rows if row.tolerance)
    return f"{far:.1f} tolerances"
