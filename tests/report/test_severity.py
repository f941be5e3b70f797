"""What a verdict could exclude is in every report, and what it could not is marked in red."""

import json
from dataclasses import replace
from io import StringIO
from pathlib import Path

import pytest
from rich.console import Console

from harness.errors import UsageError
from harness.plan import Selection
from harness.report import pages, terminal
from harness.report.documents import junit, verdicts_document
from harness.session import Session
from harness.session.tracking import _tags
from harness.store import Store
from harness.verdict import ExperimentVerdict, RivalChance, Severity
from tests.conftest import REPOSITORY
from tests.verdict.builders import experiment, trial, value, verdict_on

EXPERIMENTS = REPOSITORY / "experiments"

MISSED = RivalChance(
    "memorised pairs", "7 records", 0.28, 0.1, {"late rows": 0.28}, {"late rows": 0.1}
)
WIDE = RivalChance("a zero", "a constant", 1.0, 0.0, {"late rows": 0.0}, {"late rows": 1.0}, True)
CAUGHT = RivalChance("a control", "3 records", 1.0, 0.0, {"late rows": 1.0}, {"late rows": 0.0})
UNKNOWN = RivalChance("never run", "no records", None, None, {}, {})


def verdict(*rivals: RivalChance) -> ExperimentVerdict:
    seeds = {seed: trial([0.0, 1.0 + seed / 100]) for seed in range(3)}
    plain = verdict_on(experiment(value({2: 1.0}), epochs=2), seeds)
    return replace(plain, severity=Severity(3, 2, 10, 0.52, 0.02, rivals) if rivals else None)


def printed(found: ExperimentVerdict, *, every_row: bool) -> str:
    console = Console(file=StringIO(), width=200, force_terminal=True, color_system="standard")
    shown = (terminal.claims(found, width=200),) if every_row else (terminal.unsettled([found]),)
    for each in (terminal.summary([found]), *shown):
        console.print(each)
    assert isinstance(console.file, StringIO)
    return console.file.getvalue()


RED = "\x1b[1;31m"


def test_a_run_of_rivals_that_no_manifest_declares_is_refused(tmp_path: Path) -> None:
    session = Session((verdict().experiment,), Selection(), Store(tmp_path))
    with pytest.raises(UsageError, match="no manifest has a rival with `parameters`"):
        session.of_rivals()


@pytest.mark.parametrize("every_row", [False, True])
def test_the_terminal_marks_it_in_red_whatever_the_verdict_is(every_row: bool) -> None:
    text = printed(verdict(MISSED, WIDE), every_row=every_row)
    assert f"{RED}not severe\x1b" in text
    assert f"{RED}not severe: 3 seeds and 2 epochs are too few to reject memorised pairs" in text
    assert "late rows: not severe, accepts a zero" in text
    assert "the tolerance is wider than the effect" in text
    assert "memorised pairs 28%" in text


@pytest.mark.parametrize("every_row", [False, True])
def test_a_severe_verdict_has_its_chances_and_no_mark(every_row: bool) -> None:
    text = printed(verdict(CAUGHT, UNKNOWN), every_row=every_row)
    assert "not severe" not in text
    assert "a control 100%" in text
    assert "never run ?" in text
    assert "52%" in text


def test_json_has_the_chances_only_where_rivals_are_declared() -> None:
    with_rivals, without = (
        json.loads(verdicts_document([each]).text())["experiments"][0]
        for each in (verdict(MISSED, CAUGHT), verdict())
    )
    assert "severity" not in without
    assert with_rivals["severity"]["severe"] is False
    assert [rival["rejected"] for rival in with_rivals["severity"]["rivals"]] == [0.28, 1.0]


def test_junit_says_it_in_the_row_and_in_the_verdict_and_fails_nothing() -> None:
    text = junit([verdict(MISSED, WIDE)]).decode()
    assert text.count("accepts a zero") == 2
    assert "REPRODUCED (not severe)" in text
    assert 'failures="0"' in text


def test_mlflow_has_a_tag_only_where_rivals_are_declared() -> None:
    assert "severity" not in _tags(verdict())
    assert _tags(verdict(CAUGHT))["severity"] == "severe"
    assert _tags(verdict(MISSED, CAUGHT))["severity"].startswith("not severe: 3 seeds")


def test_the_pages_say_it() -> None:
    page = pages.verdicts_markdown([verdict(MISSED, WIDE)])
    assert "(not severe)" in page
    assert "* **not severe: 3 seeds and 2 epochs are too few to reject memorised pairs**" in page
    assert "a zero 100%" in page
