"""Verdicts as rich renderables, for a terminal."""

from collections.abc import Iterable

from rich.box import SIMPLE_HEAD
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from harness.report.wording import held, not_run, number, p_value, parameters, statistics, tested
from harness.verdict import ClaimResult, ExperimentVerdict, Outcome, spell

STYLES = {
    Outcome.REPRODUCED: "green",
    Outcome.IMMATERIAL_DIFFERENCE: "green",
    Outcome.INCONCLUSIVE: "yellow",
    Outcome.NOT_REPRODUCED: "bold red",
    Outcome.INCOMPLETE: "magenta",
    Outcome.NOT_RUN: "dim",
}
_LONGEST_WORD = max(len(word) for outcome in Outcome for word in outcome.split())
_WIDE = 110
"""Columns in which a row has room for everything."""
_EXPECTATION = {
    True: Text("yes", "green"),
    False: Text("NO", "bold red"),
    None: Text("open", "yellow"),
}


def summary(verdicts: Iterable[ExperimentVerdict]) -> Table:
    """One line an experiment."""
    table = Table(box=SIMPLE_HEAD, collapse_padding=True, pad_edge=False, show_edge=False)
    # An id is typed again by whoever reads it: on a narrow terminal the rest gives way.
    table.add_column("experiment", no_wrap=True)
    for column in ("seeds", "epochs", "hold", "not\nrun"):
        table.add_column(column)
    table.add_column("verdict", min_width=_LONGEST_WORD)
    table.add_column("expected")
    for verdict in verdicts:
        table.add_row(
            Text(verdict.id + ("\n(control)" if verdict.control else "")),
            spell(verdict.seeds),
            str(verdict.epochs),
            Text(held(verdict).replace(" of ", "/")),
            str(sum(not_run(verdict).values()) or ""),
            _outcome(verdict.verdict),
            _EXPECTATION[verdict.as_expected],
        )
    return table


def claims(verdict: ExperimentVerdict, *, width: int) -> RenderableType:
    """Every row of one experiment that ran, and under them what else there is to say.

    Args:
        verdict: of the experiment.
        width: of the terminal; a narrow one has no room for the tests' p, as other reports have,
            and shows the rows' notes under them.
    """
    wide = width >= _WIDE
    with_p = tested(verdict) and wide
    heading = Text.assemble((verdict.id, "bold"), ": ", verdict.title, ": ")
    table = Table(
        box=SIMPLE_HEAD,
        collapse_padding=True,
        pad_edge=False,
        title=heading.append_text(_outcome(verdict.verdict)),
        title_justify="left",
    )
    table.add_column("claim", no_wrap=True)
    ran = [result for result in verdict.results if result.verdict is not Outcome.NOT_RUN]
    columns = ("reported", "measured", "±", "differs", "within", "n")
    for column in (*columns, *(("p equiv.", "p cons.") if with_p else ())):
        table.add_column(column, justify="right", no_wrap=True)
    table.add_column("verdict", min_width=_LONGEST_WORD)
    notes = [f"{result.name}: {result.note}" for result in ran if result.note]
    if notes and wide:
        table.add_column("note", overflow="fold", min_width=16)
    for result in ran:
        style = "on grey15" if _fails(result) else None
        note = [Text(result.note)] if notes and wide else []
        table.add_row(*_cells(result, with_p=with_p), *note, style=style)
    below = [] if wide else notes
    return Group(table, *(Text(f"  {note}") for note in (*below, *_remarks(verdict))))


def _outcome(outcome: Outcome) -> Text:
    return Text(str(outcome), style=STYLES[outcome])


def _fails(result: ClaimResult) -> bool:
    return result.verdict is Outcome.NOT_REPRODUCED


def _cells(result: ClaimResult, *, with_p: bool) -> list[Text]:
    unit = " (epochs)" if result.unit == "epochs" else ""
    style = STYLES[result.verdict] if _fails(result) else ""
    expected = " (expected)" if _fails(result) and result.as_expected else ""
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
        _outcome(result.verdict).append(expected + surprise),
    ]


def _remarks(verdict: ExperimentVerdict) -> list[str]:
    expected = f"expected: {verdict.expected_reason}" if verdict.expected_reason else ""
    left = [f"rows not run: {count}, {why}" for why, count in not_run(verdict).items()]
    remarks = [expected, *verdict.notes, *left, *statistics(verdict), parameters(verdict)]
    return [remark for remark in remarks if remark]
