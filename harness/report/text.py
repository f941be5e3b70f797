"""Turn numbers and verdicts into the text that every report shares."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence

from harness.verdict import ClaimResult, ExperimentVerdict, Outcome

NONE = "-"
"""Stands where there is no number to show."""


def overview(verdicts: Sequence[ExperimentVerdict]) -> str:
    """What all verdicts say together, in one or two sentences.

    A run whose manifest says that the paper lists "none" like it is a control of our own.
    """
    own = [verdict for verdict in verdicts if _own(verdict)]
    runs = [verdict for verdict in verdicts if not _own(verdict)]
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


def _own(verdict: ExperimentVerdict) -> bool:
    return verdict.experiment.manifest.paper.listing.partition(":")[0].strip().lower() == "none"


def _counted(runs: Sequence[ExperimentVerdict]) -> str:
    outcomes = Counter(_SAID[verdict.verdict] for verdict in runs)
    parts = [
        f"{count} {one if count == 1 else more}"
        for one, more in dict.fromkeys(_SAID.values())
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
    return f"Of {len(own)} controls of our own, {_counted(own)}."


_SAID = {
    Outcome.REPRODUCED: ("reproduced", "reproduced"),
    Outcome.IMMATERIAL_DIFFERENCE: ("reproduced", "reproduced"),
    Outcome.INCONCLUSIVE: ("is inconclusive", "are inconclusive"),
    Outcome.NOT_REPRODUCED: ("did not reproduce", "did not reproduce"),
    Outcome.INCOMPLETE: ("is incomplete", "are incomplete"),
    Outcome.NOT_RUN: ("was not run", "were not run"),
}
"""What one run did, and what several did."""


def number(value: float | None, *, signed: bool = False) -> str:
    """Print a number to four decimals, as papers do; never as a negative zero."""
    if value is None:
        return NONE
    # Adding zero turns the -0.0 that rounding may leave into 0.0.
    return f"{round(value, 4) + 0.0:{'+' if signed else ''}.4f}"


def measured(result: ClaimResult) -> str:
    """The measured value, with its standard deviation where there is one."""
    spread = "" if result.spread is None else f" ± {number(result.spread)}"
    return number(result.measured) + spread


def held(verdict: ExperimentVerdict) -> str:
    """How many of the rows that ran hold, as "3 of 4"."""
    ran = [result.verdict for result in verdict.results if result.verdict is not Outcome.NOT_RUN]
    return f"{sum(outcome.holds for outcome in ran)} of {len(ran)}"


def not_run(verdict: ExperimentVerdict) -> dict[str, int]:
    """How many rows were not run, by reason."""
    left = (result for result in verdict.results if result.verdict is Outcome.NOT_RUN)
    return dict(Counter(result.note for result in left))


def expectation(as_expected: bool | None) -> str:
    """Whether the verdict is the expected one, in words."""
    return {True: "as expected", False: "NOT as expected", None: "open"}[as_expected]


def parameters(verdict: ExperimentVerdict) -> str:
    """How many parameters are stated, inferred and assumed."""
    counts = ", ".join(f"{count} {basis}" for basis, count in verdict.bases.items() if count)
    return f"parameters: {counts}"


def tested(verdict: ExperimentVerdict) -> bool:
    """Whether any row was judged by statistical tests."""
    return any(result.p_consistency is not None for result in verdict.results)


def statistics(verdict: ExperimentVerdict) -> list[str]:
    """Which method judged which claims, and how the leave-one-out check came out."""
    decided: dict[str, dict[str, None]] = {}
    for result in verdict.results:
        if result.method and result.verdict is not Outcome.NOT_RUN:
            decided.setdefault(result.method, {})[result.claim] = None
    said = [f"{', '.join(claims)}: {method}" for method, claims in decided.items()]
    if verdict.left_out is not None:
        seeds, alarms = verdict.left_out.seeds, verdict.left_out.alarms
        said.append(
            f"leave-one-out check: {alarms} of {seeds} seeds rejected by the others "
            f"({verdict.alpha:.1%} expected by chance)"
        )
    return said


def interval(result: ClaimResult) -> str:
    """The confidence interval of the mean; empty where there is none."""
    if result.interval is None:
        return ""
    low, high = result.interval
    return f"{number(low)} to {number(high)}"


def p_value(p: float | None) -> str:
    """Print a p-value to three decimals; empty where there is none."""
    if p is None:
        return ""
    return "<.001" if p < 0.001 else f"{p:.3f}"


def as_markdown(text: str) -> str:
    """Words of a manifest or an error for Markdown: they make no markup, no new cell or line."""
    for character in "\\`*_[]<>|&":
        text = text.replace(character, f"\\{character}")
    return " ".join(text.split())


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
