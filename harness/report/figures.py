"""One figure an experiment: the seeds' curves, their mean, and what the paper reports over them."""

import io
from collections.abc import Iterable
from typing import Any, Literal

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import NullLocator, ScalarFormatter

from harness.stats import Array
from harness.verdict import ClaimResult, Evidence, ExperimentVerdict, Outcome

# Okabe and Ito's colours, told apart by the colour-blind; form and place say the same again.
SEEDS, MEAN, TRUE, PAPER, FAILS = "#56B4E9", "#0072B2", "#009E73", "#000000", "#D55E00"

MOST_LINES = 40
"""With more seeds than this, single curves hide each other: the range is drawn."""

_INTEREST = ("curve", "band", "onset", "value", "exact")
"""Kinds of claims, the most telling curve first."""

_STYLE: Any = {
    "svg.hashsalt": "harness",  # equal figures are equal files
    "font.size": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "legend.frameon": False,
}


def figure(verdict: ExperimentVerdict) -> Figure | None:
    """Curves on the left and final estimates on the right; None where nothing was run.

    Both are in the manifest's unit; bars and shade are the tolerances.
    """
    rows = [result for result in verdict.results if result.epoch is not None]
    finals = [
        result
        for result in verdict.results
        if result.metric in verdict.evidence.finals and result.verdict is not Outcome.NOT_RUN
    ]
    if not rows and not finals:
        return None
    with mpl.rc_context(_STYLE):
        made = Figure(figsize=(7.5, 4.2), layout="constrained")
        FigureCanvasAgg(made)
        made.suptitle(f"{verdict.title}: {verdict.verdict}", x=0.02, ha="left", fontsize=10)
        widths = [8] * bool(rows) + [len(finals)] * bool(finals)
        panels = made.subplots(1, len(widths), sharey=True, width_ratios=widths, squeeze=False)[0]
        panels[0].set_ylabel(verdict.unit)
        if rows:
            _curves(panels[0], rows, verdict.evidence)
        if finals:
            _finals(panels[-1], finals, verdict.evidence)
        made.legend(*panels[0].get_legend_handles_labels(), loc="outside lower center", ncols=3)
    return made


def image(made: Figure, form: Literal["png", "svg"]) -> bytes:
    """The figure as a file's content; equal verdicts give equal bytes."""
    metadata = {"png": {"Software": None}, "svg": {"Date": None}}[form]
    buffer = io.BytesIO()
    with mpl.rc_context(_STYLE):
        made.savefig(buffer, format=form, dpi=150, metadata=metadata)
    return buffer.getvalue()


def _headline(rows: Iterable[ClaimResult]) -> str:
    """The metric to draw in full: what rises or stays put, rather than a value known beforehand."""
    return min(rows, key=lambda row: _INTEREST.index(row.kind)).metric


def _curves(axes: Axes, rows: list[ClaimResult], evidence: Evidence) -> None:
    headline = _headline(rows)
    epochs = np.arange(1.0, evidence.epochs + 1)
    _seeds(axes, epochs, evidence.curves[headline], headline)
    for metric in dict.fromkeys(row.metric for row in rows if row.metric != headline):
        line = [row for row in rows if row.metric == metric]
        axes.plot(*_points(line), "--", color=TRUE, linewidth=1.2, label=f"{metric}, reported")
    _paper(axes, [row for row in rows if row.metric == headline])
    listed = sorted({row.epoch for row in rows if row.epoch is not None})
    # Listings grow sparse as a run goes on: a logarithmic axis gives each row its room.
    axes.set_xscale("log")
    axes.set_xticks(_spaced(listed))
    axes.xaxis.set_major_formatter(ScalarFormatter())
    axes.xaxis.set_minor_locator(NullLocator())
    axes.set_xlabel("epoch")
    axes.grid(axis="y", color="0.9", linewidth=0.6)


def _seeds(axes: Axes, epochs: Array, curves: Array, metric: str) -> None:
    there = ~np.isnan(curves).all(axis=0)
    if not there.any():
        return
    epochs, curves = epochs[there], curves[:, there]
    if len(curves) > MOST_LINES:
        low, high = np.nanmin(curves, axis=0), np.nanmax(curves, axis=0)
        axes.fill_between(
            epochs, low, high, color=SEEDS, alpha=0.4, label=f"{metric}, range of the seeds"
        )
    else:
        for place, curve in enumerate(curves):
            label = "_" if place else f"{metric}, each seed"
            axes.plot(epochs, curve, color=SEEDS, linewidth=0.8, alpha=0.8, label=label)
    # Past the end of a broken seed the mean would jump: it is drawn as far as all seeds go.
    axes.plot(epochs, curves.mean(axis=0), color=MEAN, linewidth=1.8, label="mean of the seeds")


def _paper(axes: Axes, rows: list[ClaimResult]) -> None:
    band = [row for row in rows if row.kind == "band"]
    if band:
        epochs, centre = map(np.array, _points(band))
        width = band[0].tolerance
        axes.fill_between(
            epochs, centre - width, centre + width, color="0.92", zorder=0, label="tolerance"
        )
    for fails, label in ((False, "reported"), (True, "reported, not reproduced")):
        some = [row for row in rows if (row.verdict is Outcome.NOT_REPRODUCED) is fails]
        if some:
            marker, colour = _mark(some[0].verdict)
            places = [float(row.epoch or 0) for row in some]
            _reported(axes, places, some, marker=marker, colour=colour, label=label)


def _mark(verdict: Outcome) -> tuple[str, str]:
    return ("X", FAILS) if verdict is Outcome.NOT_REPRODUCED else ("o", PAPER)


def _reported(
    axes: Axes,
    places: list[float],
    rows: list[ClaimResult],
    *,
    marker: str,
    colour: str,
    label: str = "_",
) -> None:
    """What the paper reports, with bars as long as the tolerance; a band has a shade instead."""
    axes.errorbar(
        places,
        [row.reported for row in rows],
        [0.0 if row.kind == "band" and row.epoch else row.tolerance for row in rows],
        fmt=marker,
        color=colour,
        markersize=4.5,
        elinewidth=0.8,
        zorder=5,
        label=label,
    )


def _finals(axes: Axes, finals: list[ClaimResult], evidence: Evidence) -> None:
    axes.set_xticks(range(len(finals)), [result.claim.replace(" ", "\n") for result in finals])
    axes.set_xlim(-0.6, len(finals) - 0.4)
    axes.grid(axis="y", color="0.9", linewidth=0.6)
    for place, result in enumerate(finals):
        values = evidence.finals[result.metric]
        beside = place + np.linspace(-0.3, 0.0, len(values) + 2)[1:-1]
        axes.plot(beside, values, ".", color=MEAN, markersize=5)
        marker, colour = _mark(result.verdict)
        _reported(axes, [place + 0.2], [result], marker=marker, colour=colour)


def _points(rows: list[ClaimResult]) -> tuple[list[int], list[float]]:
    ordered = sorted((row.epoch, row.reported) for row in rows if row.epoch is not None)
    return [epoch for epoch, _ in ordered], [reported for _, reported in ordered]


def _spaced(epochs: list[int], ratio: float = 1.18) -> list[int]:
    """The epochs that have room for a label on a logarithmic axis."""
    kept: list[int] = []
    for epoch in epochs:
        if not kept or epoch >= kept[-1] * ratio:
            kept.append(epoch)
    return kept
