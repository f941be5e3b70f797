"""Show a study: tables for a terminal, a Markdown page, and a figure."""

from collections.abc import Iterator, Sequence
from math import isinf
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import NullLocator, ScalarFormatter
from rich.text import Text

from harness.manifest import spell
from harness.record import in_words
from harness.report.figures import (
    INK,
    STYLE,
    axis_label,
    headline_metric,
    name_axes,
    points,
    spaced,
)
from harness.report.pages import MARKS, Filters, environment
from harness.report.terminal import STYLES, Column, FittedTable
from harness.report.text import as_markdown, headline_result
from harness.stats import Array
from harness.study import Factor, Hinge, Result, Study, claim_outcome
from harness.study.sensitivity import named, sentences, setting, share
from harness.verdict import ClaimResult, ExperimentVerdict, Outcome

WHOLE = "the experiment"
"""The name of the row that shows the experiment's verdict."""

_FILTERS: Filters = {"text": as_markdown, "spell": spell, "words": in_words}
_HINGES = {Hinge.YES: "bold red", Hinge.OPEN: "yellow", Hinge.NO: "green", Hinge.NOT_RUN: "dim"}


def tables(study: Study) -> Iterator[FittedTable]:
    """Yield a table of which verdicts depend on which factor, then one table for each factor."""
    yield _hinges(study)
    for factor in study.factors:
        for group in study.groups(factor):
            yield _group(study, factor, group)


def markdown(study: Study, figure: str | None = None) -> str:
    """Render a study as a Markdown page; equal studies give equal text.

    Args:
        study: the study with its results.
        figure: the link to its figure.
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
        hinges = [study.hinge(factor, claim) for factor in study.factors]
        table.add_row(Text(claim or WHOLE), *(Text(hinge, _HINGES[hinge]) for hinge in hinges))
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
    """Name the factor that varies; in a grid, also the fixed values of the other factors."""
    place = study.factors.index(factor)
    others = [
        setting(other.name, group[0].variant.settings[at])
        for at, other in enumerate(study.factors)
        if at != place and study.grid
    ]
    return f"{factor.name} ({factor.basis})" + (f", with {', '.join(others)}" if others else "")


def _heads(study: Study, factor: Factor, group: tuple[Result, ...]) -> list[str]:
    """Return the values of one factor; a star marks the manifest's value."""
    place = study.factors.index(factor)
    values = [result.variant.settings[place] for result in group]
    return [in_words(value) + (" *" if value == factor.own else "") for value in values]


def _outcome(result: Result, claim: str | None) -> Outcome:
    return result.verdict.verdict if claim is None else claim_outcome(result.verdict, claim)


def _cell(result: Result, claim: str | None, *, marked: bool = False) -> str:
    """Return the outcome; for a claim also its rows that hold, and its largest difference."""
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


_COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9")
"""Okabe and Ito's colours; dashes repeat the distinction for readers who cannot see it."""
_DASHES = ("-", "--", "-.", ":")
_WIDTH, _HEIGHT = 8.4, 3.4
"""The size of a row in inches."""


def figure(study: Study) -> Figure | None:
    """Draw every variant's seeds and the reported curve; None if nothing was run.

    Each factor has a row of panels; in a grid, each combination of all factors but the first has
    one. A band reaches from the lowest seed to the highest, in the manifest's unit. The reported
    values are black.
    """
    some = study.factors[:1] if study.grid else study.factors
    rows = [(factor, group) for factor in some for group in study.groups(factor)]
    if not any(result.verdict.evidence.recorded.any() for result in study.results):
        return None
    with mpl.rc_context(STYLE):
        drawing = Figure(figsize=(_WIDTH, _HEIGHT * len(rows) + 0.4), layout="constrained")
        FigureCanvasAgg(drawing)
        drawing.suptitle(study.experiment.manifest.title, x=0.02, ha="left")
        places = drawing.subfigures(len(rows), 1, squeeze=False)[:, 0]
        for place, (factor, group) in zip(places, rows, strict=True):
            _row(place, study, factor, group)
    return drawing


def _row(place: Any, study: Study, factor: Factor, group: Sequence[Result]) -> None:
    """Draw the curves of one factor's variants, and beside them their final estimates."""
    wide, narrow = place.subplots(1, 2, width_ratios=(2, 1))
    at = study.factors.index(factor)
    labels = [in_words(result.variant.settings[at]) for result in group]
    wide.set_title(_figure_title(study, factor, group))
    for number, (result, text) in enumerate(zip(group, labels, strict=True)):
        own = " (the manifest's)" if result.variant.settings[at] == factor.own else ""
        _curve(wide, result.verdict, number, text + own)
    _reported(wide, group[0].verdict)
    place.legend(*wide.get_legend_handles_labels(), loc="outside lower center", ncols=3)
    _finals(narrow, [result.verdict for result in group], labels)


def _figure_title(study: Study, factor: Factor, group: Sequence[Result]) -> str:
    settings = zip(study.factors, group[0].variant.settings, strict=True)
    others = [setting(other.name, value) for other, value in settings if other is not factor]
    return factor.name + (f", with {', '.join(others)}" if others and study.grid else "")


def _style(number: int) -> dict[str, Any]:
    """Return colour and dashes; up to twelve variants all look different."""
    return {
        "color": _COLOURS[number % len(_COLOURS)],
        "linestyle": _DASHES[number % len(_DASHES)],
    }


def _rows(verdict: ExperimentVerdict) -> list[ClaimResult]:
    """Return the rows of the headline metric, as in the report's figure."""
    metric = headline_metric(verdict)
    return [row for row in verdict.results if row.epoch is not None and row.metric == metric]


def _curve(axes: Axes, verdict: ExperimentVerdict, number: int, text: str) -> None:
    """Draw the mean of the seeds, and a band from the lowest to the highest."""
    rows = _rows(verdict)
    curves = verdict.evidence.curves[rows[0].metric] if rows else np.empty((0, 0))
    recorded = ~np.isnan(curves).all(axis=0)
    if not recorded.any():
        axes.plot([], [], label=f"{text}: nothing recorded", **_style(number))
        return
    epochs = np.arange(1.0, verdict.evidence.epochs + 1)[recorded]
    seen = curves[:, recorded]
    low, high = np.nanmin(seen, axis=0), np.nanmax(seen, axis=0)
    style = _style(number)
    axes.fill_between(epochs, low, high, color=style["color"], alpha=0.18, linewidth=0)
    # The mean would jump where a seed ends early. So it stops at the last epoch of all seeds.
    axes.plot(epochs, seen.mean(axis=0), linewidth=1.6, label=text, **style)


def _reported(axes: Axes, verdict: ExperimentVerdict) -> None:
    rows = _rows(verdict)
    if not rows:
        return
    places, values = points(rows)
    axes.plot(places, values, "o-", color=INK, linewidth=1.1, markersize=3.5, label="reported")
    # As in the report's figure, the axis is logarithmic: late epochs are listed more sparsely.
    axes.set_xscale("log")
    axes.set_xticks(spaced(places))
    axes.xaxis.set_major_formatter(ScalarFormatter())
    axes.xaxis.set_minor_locator(NullLocator())
    name_axes(axes, "epoch", axis_label(rows[0].metric, verdict))


def _finals(axes: Axes, verdicts: Sequence[ExperimentVerdict], labels: Sequence[str]) -> None:
    """Draw the headline number of each variant's seeds, and the reported one."""
    rows = [headline_result(verdict) for verdict in verdicts]
    turned: Any = {"rotation": 25, "ha": "right"} if sum(map(len, labels)) > 20 else {}
    axes.set_xticks(range(len(labels)), labels, **turned)
    axes.set_xlim(-0.6, len(labels) - 0.4)
    for number, row in enumerate(rows):
        values: Array = np.array(list(row.by_seed.values()) if row else [])
        beside = number + np.linspace(-0.25, 0.25, len(values) + 2)[1:-1]
        axes.plot(beside, values, ".", color=_style(number)["color"], markersize=7)
    first = next((row for row in rows if row), None)
    if first is not None:
        axes.axhline(first.reported, color=INK, linewidth=1.1)
        low, high = first.reported - first.tolerance, first.reported + first.tolerance
        axes.axhspan(low, high, color=INK, alpha=0.07, linewidth=0)
        axes.set_title(first.name)
        name_axes(axes, "", verdicts[0].unit)
