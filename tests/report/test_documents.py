"""JSON and JUnit: what programs are told is what the verdict says."""

import json
from collections import Counter
from collections.abc import Callable
from xml.etree import ElementTree as Xml

import pytest

from harness.errors import Exit
from harness.report.documents import junit, verdicts_document
from harness.verdict import ExperimentVerdict, exit_code
from tests.report import studies
from tests.verdict.builders import curve, experiment, trial, verdict_on

Make = Callable[[], ExperimentVerdict]
every_verdict = pytest.mark.parametrize("make", studies.ALL, ids=lambda make: make.__name__)


@every_verdict
def test_the_document_is_strict_json_and_says_what_the_verdict_says(make: Make) -> None:
    verdict = make()
    (found,) = json.loads(verdicts_document([verdict]).text())["experiments"]
    assert (found["id"], found["verdict"]) == (verdict.id, str(verdict.verdict))
    assert found["as_expected"] is verdict.as_expected
    assert found["seeds"] == list(verdict.seeds)
    assert [item["seed"] for item in found["failures"]] == sorted(verdict.failures)
    for claim, result in zip(found["claims"], verdict.results, strict=True):
        for field in ("name", "reported", "measured", "tolerance", "n", "spread", "difference"):
            assert claim[field] == getattr(result, field)
        for field in ("method", "p_equivalence", "p_consistency", "more_seeds"):
            assert claim[field] == getattr(result, field)
        assert claim["interval"] == (result.interval and list(result.interval))
        assert claim["verdict"] == str(result.verdict)
        assert claim["by_seed"] == {str(seed): at for seed, at in result.by_seed.items()}


def suite_of(verdict: ExperimentVerdict) -> Xml.Element:
    (suite,) = Xml.fromstring(junit([verdict]))
    return suite


def outcome(case: Xml.Element) -> str:
    return case[0].tag


@every_verdict
def test_a_suite_has_a_case_for_every_row_and_one_for_the_whole(make: Make) -> None:
    verdict = make()
    suite = suite_of(verdict)
    names = [case.get("name") for case in suite]
    assert names == [*(result.name for result in verdict.results), "verdict"]
    counted = Counter(map(outcome, suite))
    assert suite.get("tests") == str(len(suite))
    assert suite.get("failures") == str(counted["failure"])
    assert suite.get("errors") == str(counted["error"])
    assert suite.get("skipped") == str(counted["skipped"])


@every_verdict
def test_a_suite_and_the_exit_code_agree(make: Make) -> None:
    verdict = make()
    expected = {
        Exit.AS_EXPECTED: "system-out",
        Exit.NOT_AS_EXPECTED: "failure",
        Exit.INCOMPLETE: "error",
        Exit.INCONCLUSIVE: "skipped",
    }[exit_code([verdict])]
    suite = suite_of(verdict)
    assert outcome(suite[-1]) == expected
    failures = [case.get("name") for case in suite if outcome(case) == "failure"]
    assert bool(failures) == (expected == "failure")


def test_only_rows_that_are_not_as_expected_fail() -> None:
    rows = {case.get("name"): case for case in suite_of(studies.not_reproduced())}
    assert outcome(rows["early rows @ 2"]) == "system-out"
    assert outcome(rows["early rows @ 4"]) == "failure"
    assert "reported 2.5000, measured 1.5100" in rows["early rows @ 4"][0].get("message", "")


def test_a_row_known_to_fail_is_no_failure_and_says_so() -> None:
    rows = {case.get("name"): case for case in suite_of(studies.known())}
    assert outcome(rows["early rows @ 4"]) == "system-out"
    assert (rows["early rows @ 4"][0].text or "").startswith("NOT REPRODUCED")


def test_an_unexpected_pass_is_a_failure() -> None:
    (row, whole) = suite_of(studies.surprising())
    assert outcome(row) == outcome(whole) == "failure"
    assert "expected NOT REPRODUCED" in row[0].get("message", "")


def test_what_was_not_run_is_skipped_never_passed() -> None:
    rows = {case.get("name"): outcome(case) for case in suite_of(studies.short())}
    assert (rows["early rows @ 4"], rows["test"]) == ("skipped", "skipped")


def test_words_that_xml_cannot_hold_make_xml_all_the_same() -> None:
    asked = experiment(curve({1: 0.0}, name="rows\x01 <&"), epochs=1)
    (row, _) = suite_of(verdict_on(asked, {0: trial([0.0])}))
    assert row.get("name") == "rows\ufffd <& @ 1"
