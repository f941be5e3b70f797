"""Print verdicts on a terminal of any width."""

from collections.abc import Iterable, Sequence

from rich.console import Group, RenderableType
from rich.text import Text

from harness.manifest import spell
from harness.report.tables import Column, FittedTable
from harness.report.wording import (
    held,
    not_run,
    number,
    overview,
    p_value,
    parameters,
    statistics,
    tested,
)
from harness.verdict import ClaimResult, ExperimentVerdict, Outcome

STYLES = {
    Outcome.REPRODUCED: "green",
    Outcome.IMMATERIAL_DIFFERENCE: "green",
    Outcome.INCONCLUSIVE: "yellow",
    Outcome.NOT_REPRODUCED: "bold red",
    Outcome.INCOMPLETE: "magenta",
    Outcome.NOT_RUN: "dim",
}
_WIDE = 110
"""With so many columns a row's note stands in the table; with fewer, below it."""
_EXPECTATION = {
    True: Text("yes", "green"),
    False: Text("NO", "bold red"),
    None: Text("open", "yellow"),
}


def verdict_text(outcome: Outcome) -> Text:
    """A verdict in its colour."""
    return Text(outcome, style=STYLES[outcome])


def summary(verdicts: Iterable[ExperimentVerdict]) -> RenderableType:
    """A line for each experiment, then what all of them say together."""
    table = FittedTable(
        (
            Column("experiment", whole=True),
            Column("verdict", whole=True),
            Column("expected", whole=True),
            Column("hold", right=True),
            Column("not run", right=True),
            Column("seeds"),
            Column("epochs", right=True),
            Column("role", optional=True),
        )
    )
    verdicts = tuple(verdicts)
    for verdict in verdicts:
        table.add_row(
            verdict.id,
            verdict_text(verdict.verdict),
            _EXPECTATION[verdict.as_expected],
            held(verdict).replace(" of ", "/"),
            str(sum(not_run(verdict).values()) or ""),
            spell(verdict.seeds),
            str(verdict.epochs),
            "control" if verdict.control else "",
        )
    return Group(table, Text(), Text(overview(verdicts)))


def claims(verdict: ExperimentVerdict, *, width: int) -> RenderableType:
    """Every row of one experiment that ran, and below them the remarks.

    Args:
        verdict: of the experiment.
        width: of the terminal, in characters. A wide one has the rows' notes in the table and the
            p-values of the tests, which every other report has.
    """
    ran = [result for result in verdict.results if result.verdict is not Outcome.NOT_RUN]
    notes = [f"{result.name}: {result.note}" for result in ran if result.note]
    noted = bool(notes) and width >= _WIDE
    table = FittedTable(
        (
            Column("claim"),
            Column("reported", right=True),
            Column("measured", right=True),
            Column("SD", right=True, optional=True),
            Column("difference", right=True),
            Column("tolerance", right=True),
            Column("n", right=True),
            *(
                Column(heading, right=True, optional=True)
                for heading in ("p equiv.", "p cons.")
                if tested(verdict)
            ),
            Column("verdict", whole=True),
            *([Column("note")] if noted else []),
        ),
        title=Text.assemble(
            verdict_text(verdict.verdict), "  ", (verdict.id, "bold"), "\n", verdict.title
        ),
    )
    for result in ran:
        cells = _cells(result, with_p=tested(verdict))
        style = "on grey15" if result.verdict is Outcome.NOT_REPRODUCED else ""
        table.add_row(*cells, *([result.note] if noted else []), style=style)
    below = _remarks(verdict, [] if noted else notes)
    return Group(table, *(Text(f"  {remark}") for remark in below), Text())


def _cells(result: ClaimResult, *, with_p: bool) -> list[Text]:
    unit = " (epochs)" if result.unit == "epochs" else ""
    fails = result.verdict is Outcome.NOT_REPRODUCED
    style = STYLES[result.verdict] if fails else ""
    expected = " (expected)" if fails and result.as_expected else ""
    surprise = " (not expected)" if result.verdict.holds and result.as_expected is False else ""
    return [
        Text(result.name + unit, style=style),
        Text(number(result.reported)),
        Text(number(result.measured)),
        Text("" if result.spread is None else number(result.spread)),
        Text(number(result.difference, signed=True), style=style),
        Text(f"{result.tolerance:g}"),
        Text(str(result.n)),
        *(Text(p_value(p)) for p in (result.p_equivalence, result.p_consistency) if with_p),
        verdict_text(result.verdict).append(expected + surprise),
    ]


def _remarks(verdict: ExperimentVerdict, notes: Sequence[str]) -> list[str]:
    """What there is to say beyond the rows, the notes on single rows first."""
    expected = f"expected: {verdict.expected_reason}" if verdict.expected_reason else ""
    left = [f"rows not run: {count}, {why}" for why, count in not_run(verdict).items()]
    found = [*notes, expected, *verdict.notes, *left, *statistics(verdict), parameters(verdict)]
    return [remark for remark in found if remark]
