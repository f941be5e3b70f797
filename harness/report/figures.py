"""Figures of a verdict: all panels in one image for Markdown, or each by itself for a page."""

import io
from collections.abc import Sequence
from typing import Any

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from harness.report.palette import INK
from harness.report.panels import Panel, panels
from harness.verdict import ExperimentVerdict

STYLE: Any = {
    "svg.hashsalt": "harness",  # equal figures are equal files
    "svg.fonttype": "none",  # words stay words: found, copied, read aloud
    "text.parse_math": False,  # a dollar sign in a title or a unit begins no formula
    "font.size": 10,
    "text.color": INK,
    "axes.edgecolor": INK,
    "axes.labelcolor": INK,
    "xtick.color": INK,
    "ytick.color": INK,
    "axes.titlesize": 10,
    "axes.titlelocation": "left",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "legend.frameon": False,
    "legend.fontsize": 8.5,
    "legend.columnspacing": 1.0,
    "legend.handlelength": 1.5,
}
_WIDE, _NARROW, _HIGH = 4.8, 2.7, 3.4
"""Inches."""


def figure(verdict: ExperimentVerdict) -> Figure | None:
    """All panels of an experiment, two a row; None where nothing was run.

    Values are in the manifest's unit; bars are tolerances, and spreads at a mean.
    """
    shown = panels(verdict)
    if not shown:
        return None
    rows = [shown[at : at + 2] for at in range(0, len(shown), 2)]
    with mpl.rc_context(STYLE):
        made = Figure(figsize=(_WIDE + _NARROW, _HIGH * len(rows) + 0.5), layout="constrained")
        FigureCanvasAgg(made)
        made.suptitle(f"{verdict.title}: {verdict.verdict}", x=0.02, ha="left")
        places = made.subfigures(len(rows), 1, squeeze=False)[:, 0]
        drawn = [axes for place, row in zip(places, rows, strict=True) for axes in _row(place, row)]
        made.legend(*drawn[0].get_legend_handles_labels(), loc="outside lower center", ncols=4)
    return made


def drawings(verdict: ExperimentVerdict) -> list[tuple[Panel, str]]:
    """Each panel as an SVG of its own, so that a page can set them as its width allows."""
    made = []
    for panel in panels(verdict):
        with mpl.rc_context(STYLE):
            one = Figure(figsize=(_WIDE if panel.wide else _NARROW, _HIGH), layout="constrained")
            FigureCanvasAgg(one)
            (axes,) = _row(one, [panel])
            if panel.wide:
                one.legend(*axes.get_legend_handles_labels(), loc="outside lower center", ncols=3)
        made.append((panel, image(one, "svg").decode()))
    return made


def image(made: Figure, form: str) -> bytes:
    """The figure as a file's content, 'png' or 'svg'; equal verdicts give equal bytes."""
    metadata = {"png": {"Software": None}, "svg": {"Date": None, "Creator": None}}[form]
    buffer = io.BytesIO()
    with mpl.rc_context(STYLE):
        made.savefig(buffer, format=form, dpi=150, metadata=metadata, transparent=form == "svg")
    return buffer.getvalue()


def _row(place: Any, row: Sequence[Panel]) -> list[Axes]:
    """Draw some panels side by side into a figure or subfigure."""
    widths = [_WIDE if panel.wide else _NARROW for panel in row]
    axes: list[Axes] = list(place.subplots(1, len(row), width_ratios=widths, squeeze=False)[0])
    for each, panel in zip(axes, row, strict=True):
        panel.draw(each)
        each.set_title(panel.title)
    return axes
