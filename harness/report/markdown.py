"""Verdicts as one Markdown page."""

from collections.abc import Mapping, Sequence

from harness.manifest import spell
from harness.report import wording
from harness.report.jinja import Filters, environment
from harness.report.wording import as_markdown
from harness.verdict import ExperimentVerdict, Outcome

MARKS = {
    Outcome.REPRODUCED: "✅",
    Outcome.IMMATERIAL_DIFFERENCE: "✅",
    Outcome.INCONCLUSIVE: "❔",
    Outcome.NOT_REPRODUCED: "❌",
    Outcome.INCOMPLETE: "⏳",
    Outcome.NOT_RUN: "",
}


def markdown(
    verdicts: Sequence[ExperimentVerdict], figures: Mapping[str, str] | None = None
) -> str:
    """The page; equal verdicts give equal text.

    Args:
        verdicts: in the order in which they are to stand.
        figures: by experiment, where its figure is, as the page is to link it.
    """
    template = environment(_FILTERS, escape=False).get_template("verdicts.md.jinja")
    return template.render(
        verdicts=verdicts, overview=wording.overview(verdicts), figures=figures or {}
    )


def _outcome(outcome: Outcome) -> str:
    return f"{MARKS[outcome]} {outcome}".strip()


_FILTERS: Filters = {
    "text": as_markdown,
    "number": wording.number,
    "measured": wording.measured,
    "held": wording.held,
    "not_run": wording.not_run,
    "expectation": wording.expectation,
    "parameters": wording.parameters,
    "interval": wording.interval,
    "p_value": wording.p_value,
    "statistics": wording.statistics,
    "tested": wording.tested,
    "spell": spell,
    "outcome": _outcome,
}
