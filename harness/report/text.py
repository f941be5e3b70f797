"""Turn numbers and verdicts into the text that every report shares."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence

from harness.verdict import ClaimResult, ExperimentVerdict, Outcome

NONE = "-"
"""Printed where a number is missing."""


def overview(verdicts: Sequence[ExperimentVerdict]) -> str:
    """Sum up all verdicts in one to three sentences.

    The paper's runs are counted apart from our own controls (`Paper.own_run`).
    """
    own = [verdict for verdict in verdicts if verdict.experiment.manifest.paper.own_run]
    runs = [verdict for verdict in verdicts if not verdict.experiment.manifest.paper.own_run]
    papers = len({verdict.paper for verdict in runs})
    sentences = []
    if runs:
        of = "the paper" if papers == 1 else f"{papers} papers"
        plural = "s" if len(runs) > 1 else ""
        sentences.append(f"Of {len(runs)} run{plural} of {of}, {_counted(runs)}.")
    if own:
        sentences.append(_controls(own))
    surprises = [verdict.id for verdict in verdicts if verdict.as_expected is False]
    if surprises:
        sentences.append(f"NOT as expected: {', '.join(surprises)}.")
    return " ".join(sentences)


def _counted(runs: Sequence[ExperimentVerdict]) -> str:
    outcomes = Counter(_OUTCOME_PHRASES[verdict.verdict] for verdict in runs)
    parts = [
        f"{count} {one if count == 1 else more}"
        for one, more in dict.fromkeys(_OUTCOME_PHRASES.values())
        if (count := outcomes[one, more])
    ]
    return " and ".join(filter(None, (", ".join(parts[:-1]), parts[-1])))


def _controls(own: Sequence[ExperimentVerdict]) -> str:
    passed = sum(verdict.verdict.holds for verdict in own)
    if passed == len(own):
        return (
            f"All {passed} of our own controls passed." if passed > 1 else "Our own control passed."
        )
    if len(own) == 1:
        return f"Our own control {_counted(own).removeprefix('1 ')}."
    return f"Of our own {len(own)} controls, {_counted(own)}."


_OUTCOME_PHRASES = {
    Outcome.REPRODUCED: ("reproduced", "reproduced"),
    Outcome.IMMATERIAL_DIFFERENCE: ("reproduced", "reproduced"),
    Outcome.INCONCLUSIVE: ("is inconclusive", "are inconclusive"),
    Outcome.NOT_REPRODUCED: ("did not reproduce", "did not reproduce"),
    Outcome.INCOMPLETE: ("is incomplete", "are incomplete"),
    Outcome.NOT_RUN: ("was not run", "were not run"),
}
"""The verb phrase of each outcome, for one run and for several."""


def number(value: float | None, *, signed: bool = False) -> str:
    """Format a number with four decimals, as papers do, and never as a negative zero."""
    if value is None:
        return NONE
    # Adding zero turns the -0.0 that rounding may leave into 0.0.
    return f"{round(value, 4) + 0.0:{'+' if signed else ''}.4f}"


def measured(result: ClaimResult) -> str:
    """Format the measured value with its standard deviation, if there is one: "1.2 ± 0.1"."""
    sd = "" if result.spread is None else f" ± {number(result.spread)}"
    return number(result.measured) + sd


def held(verdict: ExperimentVerdict) -> str:
    """Count the rows that hold among those that were run, as "3 of 4"."""
    ran = [result.verdict for result in verdict.results if result.verdict is not Outcome.NOT_RUN]
    return f"{sum(outcome.holds for outcome in ran)} of {len(ran)}"


def not_run(verdict: ExperimentVerdict) -> dict[str, int]:
    """Count the rows that were not run, by reason."""
    skipped = (result for result in verdict.results if result.verdict is Outcome.NOT_RUN)
    return dict(Counter(result.note for result in skipped))


def expectation(as_expected: bool | None) -> str:
    """Say whether the verdict is the expected one; an incomplete or inconclusive is undecided."""
    return {True: "as expected", False: "NOT as expected", None: "undecided"}[as_expected]


def parameters(verdict: ExperimentVerdict) -> str:
    """Count the parameters that are stated, inferred and assumed."""
    counts = ", ".join(f"{count} {basis}" for basis, count in verdict.bases.items() if count)
    return f"parameters: {counts}"


def tested(verdict: ExperimentVerdict) -> bool:
    """Tell whether a statistical test judged any row."""
    return any(result.p_consistency is not None for result in verdict.results)


def statistics(verdict: ExperimentVerdict) -> list[str]:
    """Name the method that judged each claim, and the result of the leave-one-out check."""
    decided: dict[str, dict[str, None]] = {}
    for result in verdict.results:
        if result.method and result.verdict is not Outcome.NOT_RUN:
            decided.setdefault(result.method, {})[result.claim] = None
    sentences = [f"{', '.join(claims)}: {method}" for method, claims in decided.items()]
    if verdict.left_out is not None:
        seeds, alarms = verdict.left_out.seeds, verdict.left_out.alarms
        sentences.append(
            f"leave-one-out check: {alarms} of {seeds} seeds rejected by the others "
            f"({verdict.alpha:.1%} expected by chance)"
        )
    return sentences


def interval(result: ClaimResult) -> str:
    """Format the confidence interval of the mean; empty if there is none."""
    if result.interval is None:
        return ""
    low, high = result.interval
    return f"{number(low)} to {number(high)}"


def p_value(p: float | None) -> str:
    """Format a p-value with three decimals; empty if there is none."""
    if p is None:
        return ""
    return "<.001" if p < 0.001 else f"{p:.3f}"


def as_markdown(text: str) -> str:
    """Escape text for Markdown, so that it makes no markup, no table cell and no new line."""
    for character in "\\`*_[]<>|&":
        text = text.replace(character, f"\\{character}")
    return " ".join(text.split())


def headline_result(verdict: ExperimentVerdict) -> ClaimResult | None:
    """Find the most important row: the final estimate, or else the last epoch that was run."""
    rows = [
        row
        for row in verdict.results
        if row.verdict is not Outcome.NOT_RUN and row.about is not None and row.about.estimate
    ]
    finals = [row for row in rows if row.epoch is None and row.metric in verdict.evidence.finals]
    listed = [row for row in rows if row.epoch is not None]
    return finals[0] if finals else max(listed, key=lambda row: row.epoch or 0, default=None)


def columns(verdict: ExperimentVerdict, seed: int | None = None) -> Mapping[str, str]:
    """Format the headline result of one seed, or of the mean over seeds, as named short texts."""
    row = headline_result(verdict)
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


def description(verdict: ExperimentVerdict, seed: int | None = None) -> str:
    """Describe the verdict in Markdown; with a seed, also how that seed differs from the paper."""
    return "\n\n".join(_paragraphs(verdict, seed))


def _paragraphs(verdict: ExperimentVerdict, seed: int | None) -> Iterator[str]:
    yield f"Verdict on the experiment: **{verdict.verdict}**, {expectation(verdict.as_expected)}."
    values = columns(verdict, seed)
    if values:
        subject = "the mean over the seeds" if seed is None else "this seed"
        yield (
            f"{values['compared']} ({verdict.unit}): the paper reports {values['reported']}, "
            f"{subject} gave {values['measured']}, a difference of {values['difference']}."
        )
    failing = [row.name for row in verdict.results if row.verdict is Outcome.NOT_REPRODUCED]
    if failing:
        yield f"Rows that were not reproduced: {', '.join(failing)}."
    yield "The artifacts of the run 'paper' contain the whole report with its figures."
