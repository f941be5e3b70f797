"""Verdict, exit code, JUnit and state agree on every case, and the page's table says just that."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree

import pytest

from harness.errors import Exit
from harness.nightly import NightState, Streak, advance, night_code
from harness.report.documents import junit
from harness.verdict import ExperimentVerdict, exit_code
from tests.report import studies

PAGE = Path(__file__).parents[2] / "ci" / "NIGHTLY.md"


@dataclass(frozen=True)
class Case:
    """One line of the table."""

    title: str
    verdict: Callable[[], ExperimentVerdict]
    before: Streak = Streak(NightState.PASSING)  # noqa: RUF009 - frozen
    quarantined: bool = False
    trouble: str = ""


FAILING = Streak(NightState.FAILING, 1)
CASES = [
    Case("reproduced", studies.reproduced),
    Case("fails as the manifest expects", studies.known),
    Case("does not reproduce", studies.not_reproduced),
    Case(
        "does not reproduce, the third night",
        studies.not_reproduced,
        Streak(NightState.FAILING, 2),
    ),
    Case("passes where the manifest expects a failure", studies.surprising),
    Case("a seed ends in an error or NaN", studies.broken),
    Case("its control fails", studies.gated),
    Case("a seed is lost to infrastructure", studies.incomplete),
    Case("the same, after a failing night", studies.incomplete, FAILING),
    Case("fails as expected, a seed is missing", studies.pending),
    Case("trouble beside the trials", studies.reproduced, trouble="no cluster"),
    Case("as expected after a failing night", studies.reproduced, FAILING),
    Case("does not reproduce, in quarantine", studies.not_reproduced, quarantined=True),
    Case("reproduced, in quarantine", studies.reproduced, quarantined=True),
    Case("a seed is lost, in quarantine", studies.incomplete, quarantined=True),
    Case(
        "does not reproduce, quarantine expired",
        studies.not_reproduced,
        Streak(NightState.QUARANTINED, 1),
    ),
]


def junit_of(case: Case) -> str:
    """What a reader of JUnit sees of the night."""
    verdict = case.verdict()
    excuses = {verdict.id: "quarantined"} if case.quarantined else {}
    root = ElementTree.fromstring(junit([verdict], excuses=excuses, trouble=case.trouble))
    for tag in ("failure", "error"):
        if root.findall(f".//{tag}"):
            return tag
    whole = root.find(".//testcase[@name='verdict']")
    assert whole is not None
    return "skipped" if whole.find("skipped") is not None else "passed"


def code_of(case: Case) -> Exit:
    verdict = case.verdict()
    excused = {verdict.id} if case.quarantined else set()
    trouble = Exit.INCOMPLETE if case.trouble else Exit.AS_EXPECTED
    return night_code([verdict], excused=excused, trouble=trouble)


def state_of(case: Case) -> NightState:
    code = exit_code([case.verdict()])
    return advance(case.before, code, quarantined=case.quarantined, consistent_after=3).state


def line(case: Case) -> str:
    cells = (
        case.title,
        case.verdict().verdict,
        {True: "yes", False: "no", None: "open"}[case.verdict().as_expected],
        str(int(code_of(case))),
        junit_of(case),
        state_of(case),
    )
    return f"| {' | '.join(cells)} |"


def test_the_page_has_every_case_as_the_code_has_it() -> None:
    _, _, table = PAGE.read_text(encoding="utf-8").partition("| Case |")
    rows = table.partition("\n\n")[0].splitlines()[2:]
    assert rows == [line(case) for case in CASES], "\n".join(map(line, CASES))


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.title)
def test_exit_code_junit_and_state_say_the_same(case: Case) -> None:
    code, seen, state = code_of(case), junit_of(case), state_of(case)
    assert (code is Exit.NOT_AS_EXPECTED) == (seen == "failure")
    assert (code is Exit.INCOMPLETE) == (seen == "error")
    failing = state in (NightState.FAILING, NightState.CONSISTENTLY_FAILING)
    assert failing == (code is Exit.NOT_AS_EXPECTED or (case.before.failing > 0 and code != 0))


@pytest.mark.parametrize("before", [Streak(state, 2) for state in NightState] + [Streak()])
@pytest.mark.parametrize("open_", [Exit.INCOMPLETE, Exit.INCONCLUSIVE])
def test_an_open_night_neither_fails_nor_mends_anything(before: Streak, open_: Exit) -> None:
    after = advance(before, open_, quarantined=False, consistent_after=9)
    assert after.failing == before.failing
    assert (after.state is NightState.FAILING) == (before.failing > 0)
