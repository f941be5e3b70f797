"""How an experiment stands from night to night; pure.

A night's word on an experiment is the exit code that its verdict alone would have: so states, exit
codes and JUnit cannot come apart. What infrastructure kept from being judged says nothing of the
paper, so it leaves the state as it was.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum

from harness.errors import Exit
from harness.verdict import ExperimentVerdict, exit_code


class State(StrEnum):
    """How an experiment stands."""

    PASSING = "passing"
    """Its verdict is the expected one."""
    RECOVERED = "recovered"
    """As expected again, after nights that were not."""
    FAILING = "failing"
    """Its verdict is not the expected one."""
    CONSISTENTLY_FAILING = "consistently failing"
    """For several nights in a row."""
    QUARANTINED = "quarantined"
    """It runs and is judged, and until the quarantine expires its failures wake nobody."""
    UNKNOWN = "not judged yet"
    """No night has come to a verdict."""


@dataclass(frozen=True, slots=True)
class Course:
    """A state, and what the next night must know of the nights before it."""

    state: State = State.UNKNOWN
    failing: int = 0
    """Nights in a row whose verdict was not the expected one; open nights do not count."""


def advance(before: Course, tonight: Exit, *, quarantined: bool, consistent_after: int) -> Course:
    """The state after tonight.

    Args:
        before: after the night before; `Course()` where there was none.
        tonight: the exit code of the experiment's verdict alone.
        quarantined: whether a quarantine holds tonight.
        consistent_after: from so many failing nights in a row on, failing is consistent.
    """
    failing = {Exit.AS_EXPECTED: 0, Exit.NOT_AS_EXPECTED: before.failing + 1}.get(
        tonight, before.failing
    )
    if quarantined:
        return Course(State.QUARANTINED, failing)
    if failing:
        often = failing >= consistent_after
        return Course(State.CONSISTENTLY_FAILING if often else State.FAILING, failing)
    if tonight is Exit.AS_EXPECTED:
        return Course(State.RECOVERED if before.failing else State.PASSING)
    open_ = before.state is State.QUARANTINED  # which is over, and tonight tells nothing
    return Course(State.UNKNOWN if open_ else before.state)


_MOST_SEVERE_FIRST = (
    Exit.BUG,
    Exit.USAGE,
    Exit.NOT_AS_EXPECTED,
    Exit.INCOMPLETE,
    Exit.INCONCLUSIVE,
    Exit.AS_EXPECTED,
)


def most_severe(codes: Collection[Exit]) -> Exit:
    """Return the exit code that wins among several, by the command line's contract."""
    return next(code for code in _MOST_SEVERE_FIRST if code in codes)


def night_code(
    verdicts: Sequence[ExperimentVerdict],
    *,
    excused: Collection[str] = (),
    trouble: Exit = Exit.AS_EXPECTED,
) -> Exit:
    """Return the exit code of a night: the most severe of its parts.

    Args:
        verdicts: tonight's.
        excused: experiments in quarantine: of these a failure does not count, all else does.
        trouble: the exit code of what kept trials from running, if anything did.
    """
    counted = [
        replace(verdict, as_expected=True)
        if verdict.id in excused and verdict.as_expected is False
        else verdict
        for verdict in verdicts
    ]
    return most_severe({exit_code(counted), trouble})
