"""Render verdicts as JUnit XML: a suite for each experiment, a case for each row.

A case fails if and only if its row is not as expected. An incomplete row is an error. A row
that was not run or is inconclusive is skipped. Each suite also has a case `verdict` for the
experiment as a whole. So a suite fails exactly if the command exits 1. In a night, a failure of a
quarantined experiment is skipped with the reason, and an infrastructure failure outside the trials
is an error.
"""

import re
from collections.abc import Iterable, Mapping
from xml.etree.ElementTree import Element, SubElement, indent, tostring

from harness.report.text import chances, measured, not_severe, number, weak_claim
from harness.verdict import ClaimResult, ExperimentVerdict, Outcome

_FORBIDDEN = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
"""Characters that XML 1.0 forbids even when escaped; error messages may contain them."""

_SKIPPED = (Outcome.NOT_RUN, Outcome.INCONCLUSIVE)


def junit(
    verdicts: Iterable[ExperimentVerdict],
    *,
    excuses: Mapping[str, str] | None = None,
    trouble: str = "",
) -> bytes:
    """Render the document in UTF-8, with its XML declaration.

    Args:
        verdicts: one for each suite.
        excuses: why a failure does not count, by id of the quarantined experiment.
        trouble: the infrastructure failure that kept trials from running; empty if none did.
    """
    root = Element("testsuites", name="harness")
    for verdict in verdicts:
        _suite(root, verdict, (excuses or {}).get(verdict.id, ""))
    if trouble:
        suite = SubElement(root, "testsuite", name="night")
        case = _case(suite, "night", "infrastructure")
        _outcome(case, Outcome.INCOMPLETE, None, trouble)
        _count(suite)
    indent(root)
    document: bytes = tostring(root, encoding="utf-8", xml_declaration=True)
    return document + b"\n"


def _suite(root: Element, verdict: ExperimentVerdict, excuse: str) -> None:
    suite = SubElement(root, "testsuite", name=verdict.id)
    for result in verdict.results:
        case = _case(suite, verdict.id, result.name)
        weak = weak_claim(verdict.severity, result.claim)
        message = "; ".join(filter(None, (_message(result), weak)))
        _outcome(case, result.verdict, result.as_expected, message, excuse)
    case = _case(suite, verdict.id, "verdict")
    # An expected failure is no pass as long as a seed is missing.
    whole = Outcome.INCOMPLETE if verdict.incomplete else verdict.verdict
    expected = "" if verdict.as_expected is not False else f"expected {verdict.expected}; "
    could = (*not_severe(verdict.severity), *chances(verdict.severity))
    message = "; ".join([f"{expected}{verdict.badge}", *could, *verdict.notes])
    _outcome(case, whole, verdict.as_expected, message, excuse)
    _count(suite)


def _count(suite: Element) -> None:
    suite.set("tests", str(len(suite)))
    for attribute, tag in (("failures", "failure"), ("errors", "error"), ("skipped", "skipped")):
        suite.set(attribute, str(len(suite.findall(f"testcase/{tag}"))))


def _case(suite: Element, experiment: str, name: str) -> Element:
    return SubElement(suite, "testcase", classname=experiment, name=_clean(name))


def _outcome(
    case: Element, verdict: Outcome, as_expected: bool | None, message: str, excuse: str = ""
) -> None:
    message = _clean(message)
    # A quarantine excuses a failure of the method. A machine's failure stays an error.
    if as_expected is False and excuse and verdict is not Outcome.INCOMPLETE:
        SubElement(case, "skipped", message=_clean(f"{excuse}; {message}"))
    elif as_expected is False and not excuse:
        SubElement(case, "failure", type=str(verdict), message=message)
    elif verdict is Outcome.INCOMPLETE:
        SubElement(case, "error", type=str(verdict), message=message)
    elif verdict in _SKIPPED:
        SubElement(case, "skipped", message=message)
    else:
        SubElement(case, "system-out").text = message


def _message(result: ClaimResult) -> str:
    unexpected = result.as_expected is False and result.verdict.holds
    parts = [
        "expected NOT REPRODUCED in some row of this claim" if unexpected else "",
        f"{result.verdict}: reported {number(result.reported)}, measured {measured(result)}, "
        f"tolerance {result.tolerance:g} {result.unit}",
        result.note,
    ]
    return "; ".join(filter(None, parts))


def _clean(text: str) -> str:
    return _FORBIDDEN.sub("\ufffd", text)
