"""Verdicts as JUnit XML: one suite an experiment, one case a row, and one for the whole.

A case fails where something is not as expected, and only there; what is incomplete is an error,
what was not run or is inconclusive is skipped. The case `verdict` carries what no row can tell, so
a suite fails exactly where the command exits 1. At night, what would fail in a quarantined
experiment is skipped with the reason, and trouble beside the trials is an error of its own.
"""

import re
from collections.abc import Iterable, Mapping
from xml.etree.ElementTree import Element, SubElement, indent, tostring

from harness.report.text import measured, number
from harness.verdict import ClaimResult, ExperimentVerdict, Outcome

_FORBIDDEN = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
"""Characters that XML 1.0 cannot hold, not even escaped; an error's message may have them."""

_SKIPPED = (Outcome.NOT_RUN, Outcome.INCONCLUSIVE)


def junit(
    verdicts: Iterable[ExperimentVerdict],
    *,
    excuses: Mapping[str, str] | None = None,
    trouble: str = "",
) -> bytes:
    """The document in UTF-8, with its declaration.

    Args:
        verdicts: a suite each.
        excuses: by experiment in quarantine, why a failure is none.
        trouble: what of the infrastructure failed beside the trials.
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
        _outcome(case, result.verdict, result.as_expected, _said(result), excuse)
    case = _case(suite, verdict.id, "verdict")
    # An expected failure with a seed missing is no pass yet.
    whole = Outcome.INCOMPLETE if verdict.incomplete else verdict.verdict
    expected = "" if verdict.as_expected is not False else f"expected {verdict.expected}; "
    said = "; ".join([f"{expected}{verdict.verdict}", *verdict.notes])
    _outcome(case, whole, verdict.as_expected, said, excuse)
    _count(suite)


def _count(suite: Element) -> None:
    suite.set("tests", str(len(suite)))
    for attribute, tag in (("failures", "failure"), ("errors", "error"), ("skipped", "skipped")):
        suite.set(attribute, str(len(suite.findall(f"testcase/{tag}"))))


def _case(suite: Element, experiment: str, name: str) -> Element:
    return SubElement(suite, "testcase", classname=experiment, name=_clean(name))


def _outcome(
    case: Element, verdict: Outcome, as_expected: bool | None, said: str, excuse: str = ""
) -> None:
    message = _clean(said)
    # What is missing stays an error: a quarantine excuses the science, not the machine.
    if as_expected is False and excuse and verdict is not Outcome.INCOMPLETE:
        SubElement(case, "skipped", message=_clean(f"{excuse}; {said}"))
    elif as_expected is False and not excuse:
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
