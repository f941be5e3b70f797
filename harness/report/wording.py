"""Numbers and verdicts in the few words that every report shares."""

from collections import Counter

from harness.verdict import ClaimResult, ExperimentVerdict, Outcome

NONE = "-"
"""Where there is no number to show."""


def number(value: float | None, *, signed: bool = False) -> str:
    """To four decimals, as papers print them; never a negative zero."""
    if value is None:
        return NONE
    # Adding zero turns the -0.0 that rounding may leave into 0.0.
    return f"{round(value, 4) + 0.0:{'+' if signed else ''}.4f}"


def measured(result: ClaimResult) -> str:
    """The measured value with its spread, where it has one."""
    spread = "" if result.spread is None else f" ± {number(result.spread)}"
    return number(result.measured) + spread


def held(verdict: ExperimentVerdict) -> str:
    """How many of the rows that ran hold."""
    ran = [result.verdict for result in verdict.results if result.verdict is not Outcome.NOT_RUN]
    return f"{sum(outcome.holds for outcome in ran)} of {len(ran)}"


def not_run(verdict: ExperimentVerdict) -> dict[str, int]:
    """How many rows were not run, by the reason."""
    left = (result for result in verdict.results if result.verdict is Outcome.NOT_RUN)
    return dict(Counter(result.note for result in left))


def expectation(as_expected: bool | None) -> str:
    """Whether it came as expected, or is open."""
    return {True: "as expected", False: "NOT as expected", None: "open"}[as_expected]


def parameters(verdict: ExperimentVerdict) -> str:
    """How the parameters are known."""
    counts = ", ".join(f"{count} {basis}" for basis, count in verdict.bases.items() if count)
    return f"parameters: {counts}"


def tested(verdict: ExperimentVerdict) -> bool:
    """Whether any row was judged by its statistics."""
    return any(result.p_consistency is not None for result in verdict.results)


def statistics(verdict: ExperimentVerdict) -> list[str]:
    """What decided which claims, and how the seeds themselves fare by it."""
    decided: dict[str, dict[str, None]] = {}
    for result in verdict.results:
        if result.method and result.verdict is not Outcome.NOT_RUN:
            decided.setdefault(result.method, {})[result.claim] = None
    said = [f"{', '.join(claims)}: {method}" for method, claims in decided.items()]
    if verdict.left_out is not None:
        seeds, alarms = verdict.left_out.seeds, verdict.left_out.alarms
        said.append(
            f"each seed in turn taken for the paper: {alarms} of {seeds} rejected by the others, "
            f"where {verdict.alpha:.1%} on average is allowed"
        )
    return said


def interval(result: ClaimResult) -> str:
    """Of the mean, where there is one."""
    if result.interval is None:
        return ""
    low, high = result.interval
    return f"{number(low)} to {number(high)}"


def p_value(p: float | None) -> str:
    """To three decimals."""
    if p is None:
        return ""
    return "<.001" if p < 0.001 else f"{p:.3f}"
