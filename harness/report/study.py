"""A study for people: tables for a terminal, and one Markdown page."""

from collections.abc import Iterator
from math import isinf

from rich.text import Text

from harness.manifest import spell
from harness.record import in_words
from harness.report.jinja import Filters, environment
from harness.report.markdown import MARKS
from harness.report.tables import Column, FittedTable
from harness.report.terminal import STYLES
from harness.report.wording import as_markdown
from harness.study import Factor, Hinge, Result, Study, claim_outcome
from harness.study.factors import says
from harness.study.results import named, sentences, share
from harness.verdict import Outcome

WHOLE = "the experiment"
"""Among the claims, the verdict on all of them."""

_FILTERS: Filters = {"text": as_markdown, "spell": spell, "words": in_words}
_HINGES = {Hinge.YES: "bold red", Hinge.OPEN: "yellow", Hinge.NO: "green", Hinge.NOT_RUN: "dim"}


def tables(study: Study) -> Iterator[FittedTable]:
    """What hinges on what; then for each assumption every claim beside the values tried."""
    yield _hinges(study)
    for factor in study.factors:
        for group in study.groups(factor):
            yield _group(study, factor, group)


def markdown(study: Study, figure: str | None = None) -> str:
    """The page; equal studies give equal text.

    Args:
        study: what was found.
        figure: where its figure is, as the page is to link it.
    """
    template = environment(_FILTERS, escape=False).get_template("study.md.jinja")
    return template.render(
        study=study,
        sentences=list(sentences(study)),
        figure=figure,
        rows=(None, *study.claims),
        whole=WHOLE,
        title=_title,
        heads=_heads,
        cell=lambda result, claim: _cell(result, claim, marked=True),
        named=lambda result: named(study, result),
        farthest=_farthest,
        mark=lambda outcome: f"{MARKS[outcome]} {outcome}".strip(),
    )


def _hinges(study: Study) -> FittedTable:
    table = FittedTable(
        (
            Column("verdict on", whole=True),
            *(Column(factor.name, whole=True) for factor in study.factors),
        ),
        title=Text("Does the verdict depend on it?", "bold"),
    )
    for claim in (None, *study.claims):
        found = [study.hinge(factor, claim) for factor in study.factors]
        table.add_row(Text(claim or WHOLE), *(Text(hinge, _HINGES[hinge]) for hinge in found))
    return table


def _group(study: Study, factor: Factor, group: tuple[Result, ...]) -> FittedTable:
    heads = (Column(head, whole=True) for head in _heads(study, factor, group))
    table = FittedTable(
        (Column("verdict on", whole=True), *heads),
        title=Text(_title(study, factor, group), "bold"),
    )
    for claim in (None, *study.claims):
        cells = [Text(_cell(result, claim), STYLES[_outcome(result, claim)]) for result in group]
        table.add_row(Text(claim or WHOLE), *cells)
    return table


def _title(study: Study, factor: Factor, group: tuple[Result, ...]) -> str:
    """What is varied, and in a grid with what else as it is."""
    place = study.factors.index(factor)
    others = [
        says(other.name, group[0].variant.settings[at])
        for at, other in enumerate(study.factors)
        if at != place and study.grid
    ]
    return f"{factor.name} ({factor.basis})" + (f", with {', '.join(others)}" if others else "")


def _heads(study: Study, factor: Factor, group: tuple[Result, ...]) -> list[str]:
    """The values of one factor; the manifest's own has a star."""
    place = study.factors.index(factor)
    values = [result.variant.settings[place] for result in group]
    return [in_words(value) + (" *" if value == factor.own else "") for value in values]


def _outcome(result: Result, claim: str | None) -> Outcome:
    return result.verdict.verdict if claim is None else claim_outcome(result.verdict, claim)


def _cell(result: Result, claim: str | None, *, marked: bool = False) -> str:
    """The outcome; of a claim also how many of its rows hold, and how far off the farthest is."""
    outcome = _outcome(result, claim)
    text = f"{MARKS[outcome]} {outcome}".strip() if marked else str(outcome)
    rows = [row for row in result.verdict.results if row.claim == claim]
    ran = [row for row in rows if row.verdict is not Outcome.NOT_RUN]
    if not ran:
        return text
    held = f"{sum(row.verdict.holds for row in ran)}/{len(ran)}"
    between = " " if marked else "\n"
    return f"{text}{between}{held}, {_tolerances(max(map(share, ran)))}"


def _tolerances(far: float) -> str:
    return "no value" if isinf(far) else f"{far:.1f} tol"


def _farthest(result: Result) -> str:
    far, row = result.farthest
    return f"{row}: {_tolerances(far)}" if row else ""
