"""Verdicts as JUnit XML: one suite an experiment, one case a row, and one for the whole.

A case fails where something is not as expected, and only there; what is incomplete is an error,
what was not run or is inconclusive is skipped. The case `verdict` carries what no row can tell, so
a suite fails exactly where the command exits 1.
"""

import re
from collections.abc import Iterable
from xml.etree.ElementTree import Element, SubElement, indent, tostring

from harness.report.wording import measured, number
from harness.verdict import ClaimResult, ExperimentVerdict, Outcome

_FORBIDDEN = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
"""Characters that XML 1.0 cannot hold, not even escaped; an error's message may have them."""

_SKIPPED = (Outcome.NOT_RUN, Outcome.INCONCLUSIVE)


def junit(verdicts: Iterable[ExperimentVerdict]) -> bytes:
    """The document in UTF-8, with its declaration."""
    root = Element("testsuites", name="harness")
    for verdict in verdicts:
        _suite(root, verdict)
    indent(root)
    document: bytes = tostring(root, encoding="utf-8", xml_declaration=True)
    return document + b"\n"


def _suite(root: Element, verdict: ExperimentVerdict) -> None:
    suite = SubElement(root, "testsuite", name=verdict.id)
    for result in verdict.results:
        case = _case(suite, verdict.id, result.name)
        _outcome(case, result.verdict, result.as_expected, _said(result))
    case = _case(suite, verdict.id, "verdict")
    # An expected failure with a seed missing is no pass yet.
    whole = Outcome.INCOMPLETE if verdict.incomplete else verdict.verdict
    expected = "" if verdict.as_expected is not False else f"expected {verdict.expected}; "
    said = "; ".join([f"{expected}{verdict.verdict}", *verdict.notes])
    _outcome(case, whole, verdict.as_expected, said)
    suite.set("tests", str(len(suite)))
    for attribute, tag in (("failures", "failure"), ("errors", "error"), ("skipped", "skipped")):
        suite.set(attribute, str(len(suite.findall(f"testcase/{tag}"))))


def _case(suite: Element, experiment: str, name: str) -> Element:
    return SubElement(suite, "testcase", classname=experiment, name=_clean(name))


def _outcome(case: Element, verdict: Outcome, as_expected: bool | None, said: str) -> None:
    message = _clean(said)
    if as_expected is False:
        SubElement(case, "failure", type=str(verdict), message=message)
    elif verdict is Outcome.INCOMPLETE:
        SubElement(case, "error", type=str(verdict), message=message)
    elif verdict in _SKIPPED:
        SubElement(case, "skipped", message=message)
    else:
        SubElement(case, "system-out").text = message


def _said(result: ClaimResult) -> str:
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
