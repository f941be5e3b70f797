"""A verdict in a few lines, for whoever opens a single run."""

from collections.abc import Iterator, Mapping

from harness.report.wording import expectation, number
from harness.verdict import ClaimResult, ExperimentVerdict, Outcome


def headline(verdict: ExperimentVerdict) -> ClaimResult | None:
    """The one row that a reader asks for first: the final estimate, else the last row that ran."""
    rows = [
        row
        for row in verdict.results
        if row.verdict is not Outcome.NOT_RUN and row.about is not None and row.about.estimate
    ]
    finals = [row for row in rows if row.epoch is None and row.metric in verdict.evidence.finals]
    listed = [row for row in rows if row.epoch is not None]
    return finals[0] if finals else max(listed, key=lambda row: row.epoch or 0, default=None)


def columns(verdict: ExperimentVerdict, seed: int | None = None) -> Mapping[str, str]:
    """The headline of one seed, or of all together, as short texts by what they say."""
    row = headline(verdict)
    if row is None:
        return {}
    measured = row.measured if seed is None else row.by_seed.get(seed)
    difference = None if measured is None else measured - row.reported
    return {
        "compared": row.name,
        "reported": number(row.reported),
        "measured": number(measured),
        "difference": number(difference, signed=True),
    }


def story(verdict: ExperimentVerdict, seed: int | None = None) -> str:
    """What was found, in Markdown: of one seed how it differs, and of all together."""
    return "\n\n".join(_paragraphs(verdict, seed))


def _paragraphs(verdict: ExperimentVerdict, seed: int | None) -> Iterator[str]:
    came = expectation(verdict.as_expected)
    yield f"Verdict on the experiment: **{verdict.verdict}**, {came}."
    said = columns(verdict, seed)
    if said:
        who = "the seeds' mean" if seed is None else "this seed"
        yield (
            f"{said['compared']} ({verdict.unit}): the paper reports {said['reported']}, "
            f"{who} gave {said['measured']}, a difference of {said['difference']}."
        )
    failing = [row.name for row in verdict.results if row.verdict is Outcome.NOT_REPRODUCED]
    if failing:
        yield f"Rows that were not reproduced: {', '.join(failing)}."
    yield "The run 'paper' holds the whole report, with its figures, among its artifacts."
