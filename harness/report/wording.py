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


def methods(verdict: ExperimentVerdict) -> dict[str, tuple[str, ...]]:
    """What decided, with the claims of which it decided any row."""
    found: dict[str, dict[str, None]] = {}
    for result in verdict.results:
        if result.method and result.verdict is not Outcome.NOT_RUN:
            found.setdefault(result.method, {})[result.claim] = None
    return {method: tuple(claims) for method, claims in found.items()}


def left_out(verdict: ExperimentVerdict) -> str:
    """How often the test for consistency would have called one of the seeds a stranger."""
    if verdict.left_out is None:
        return ""
    seeds, alarms = verdict.left_out.seeds, verdict.left_out.alarms
    return (
        f"each seed in turn taken for the paper: {alarms} of {seeds} rejected by the others "
        f"({verdict.alpha:.1%} allowed on average)"
    )


def p_value(p: float | None) -> str:
    """To three decimals."""
    if p is None:
        return ""
    return "<.001" if p < 0.001 else f"{p:.3f}"
