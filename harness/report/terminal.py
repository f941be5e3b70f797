"""Verdicts as rich renderables, for a terminal."""

from collections.abc import Iterable

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from harness.report.wording import expectation, held, measured, number, parameters
from harness.verdict import ClaimResult, ExperimentVerdict, Outcome, spell

STYLES = {
    Outcome.REPRODUCED: "green",
    Outcome.IMMATERIAL_DIFFERENCE: "green",
    Outcome.INCONCLUSIVE: "yellow",
    Outcome.NOT_REPRODUCED: "bold red",
    Outcome.INCOMPLETE: "magenta",
    Outcome.NOT_RUN: "dim",
}
_EXPECTATION = {True: "green", False: "bold red", None: "yellow"}


def summary(verdicts: Iterable[ExperimentVerdict]) -> Table:
    """One line an experiment."""
    table = Table("experiment", "seeds", "epochs", "claims that hold", "verdict", "")
    for verdict in verdicts:
        table.add_row(
            Text(verdict.id + (" (control)" if verdict.control else "")),
            spell(verdict.seeds),
            str(verdict.epochs),
            held(verdict),
            _outcome(verdict.verdict),
            Text(expectation(verdict.as_expected), style=_EXPECTATION[verdict.as_expected]),
        )
    return table


def claims(verdict: ExperimentVerdict) -> RenderableType:
    """Every row of one experiment, and under them what else there is to say."""
    heading = Text.assemble((verdict.id, "bold"), ": ", verdict.title, ": ")
    table = Table(
        "claim", title=heading.append_text(_outcome(verdict.verdict)), title_justify="left"
    )
    for column in ("reported", "measured", "difference", "tolerance", "n"):
        table.add_column(column, justify="right")
    table.add_column("verdict")
    table.add_column("note", overflow="fold")
    for result in verdict.results:
        table.add_row(*_cells(result), style="on grey15" if _fails(result) else None)
    return Group(table, *(Text(f"  {note}") for note in _remarks(verdict)))


def _outcome(outcome: Outcome) -> Text:
    return Text(str(outcome), style=STYLES[outcome])


def _fails(result: ClaimResult) -> bool:
    return result.verdict is Outcome.NOT_REPRODUCED


def _cells(result: ClaimResult) -> list[Text]:
    unit = " epochs" if result.unit == "epochs" else ""
    style = STYLES[result.verdict] if _fails(result) or result.verdict is Outcome.NOT_RUN else ""
    expected = " (expected)" if _fails(result) and result.as_expected else ""
    surprise = " (not expected)" if result.verdict.holds and result.as_expected is False else ""
    return [
        Text(result.name, style=style),
        Text(number(result.reported) + unit),
        Text(measured(result)),
        Text(number(result.difference, signed=True), style=style),
        Text(f"{result.tolerance:g}"),
        Text(str(result.n)),
        _outcome(result.verdict).append(expected + surprise),
        Text(result.note),
    ]


def _remarks(verdict: ExperimentVerdict) -> list[str]:
    expected = f"expected: {verdict.expected_reason}" if verdict.expected_reason else ""
    remarks = [expected, *verdict.notes, parameters(verdict)]
    return [remark for remark in remarks if remark]
