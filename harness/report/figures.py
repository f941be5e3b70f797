"""Draw the figures of a verdict: all panels in one image, or each panel as an SVG of its own."""

import io
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from textwrap import fill
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from matplotlib.ticker import MaxNLocator, NullLocator, ScalarFormatter

from harness import stats
from harness.manifest import BaseClaim
from harness.report.grids import GridMap, cell_text, shift
from harness.report.text import ClaimLine, SeedGroup, claim_lines, in_order, seed_groups
from harness.stats import Array
from harness.verdict import Alignment, ClaimResult, ExperimentVerdict, Outcome
from harness.verdict.between import Members
from harness.verdict.kinds import RULES

INK = "#0b0b0b"
"""Axes, text, and reported values. Not pure black, which SVG omits because it is the default."""


GRID = "#e2e2e3"


SHADE = "#efeff0"


SEEDS = "#3b8fc2"


MEAN = "#00558a"


TRUE = "#009e73"


FAILS = "#c85200"


OPEN = "#8a6100"
"""Rows that are undecided. Every colour of a line has a contrast of 3:1 with the page."""


TOLERANCE = "#8d8d94"


_VARIABLES = {
    INK: "ink",
    GRID: "grid",
    SHADE: "shade",
    SEEDS: "seeds",
    MEAN: "mean",
    TRUE: "true",
    FAILS: "fails",
    OPEN: "open",
    TOLERANCE: "tolerance",
}


STYLE: Any = {
    "svg.hashsalt": "harness",  # equal figures give equal files
    "svg.fonttype": "none",  # text stays text: searched, copied, read aloud
    "text.parse_math": False,  # a dollar sign in a title starts no formula
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


MOST_LINES = 40
"""With more seeds than this, single curves hide each other, so their range is drawn."""


_LONG_LABEL = 24
"""With a longer label than this, three columns of a legend are wider than a wide panel."""


_TITLE = 40
"""Longest line of a wide panel's title, in characters."""


_LARGE, _UPRIGHT = 3, 8
"""With more experiments than these, their names would overlap: they are small, or stand upright."""


Rows = list[ClaimResult]


@dataclass(frozen=True)
class Panel:
    """One pair of axes in a figure."""

    title: str
    draw: Callable[[Axes], None]
    wide: bool
    """Whether the panel is wide: curves are, single values are not."""


_OPEN_CELL = "#e69f00"
"""Colour of cells without a decision."""

_WIDE, _NARROW, _HIGH = 4.8, 2.7, 3.4
_PHONE = 3.7
"""Width of the overview on a phone, in inches: there its letters keep their size."""

"""Width of a wide and of a narrow panel, and height of both, in inches."""


def figure(verdict: ExperimentVerdict) -> Figure | None:
    """Draw all panels of an experiment, two in a row; None if nothing was run.

    Values are in the manifest's unit. The grey band around reported values is the manifest's
    tolerance. The line at a mean is one SD.
    """
    shown = panels(verdict)
    if not shown:
        return None
    rows = [shown[at : at + 2] for at in range(0, len(shown), 2)]
    with mpl.rc_context(STYLE):
        drawing = Figure(figsize=(_WIDE + _NARROW, _HIGH * len(rows) + 0.5), layout="constrained")
        FigureCanvasAgg(drawing)
        drawing.suptitle(f"{verdict.title}: {verdict.badge}", x=0.02, ha="left")
        places = drawing.subfigures(len(rows), 1, squeeze=False)[:, 0]
        drawn = [axes for place, row in zip(places, rows, strict=True) for axes in _row(place, row)]
        named = [zip(*axes.get_legend_handles_labels(), strict=True) for axes in drawn]
        handles = {label: handle for pairs in named for handle, label in pairs}
        drawing.legend(handles.values(), handles, loc="outside lower center", ncols=4)
    return drawing


def drawings(verdict: ExperimentVerdict) -> list[tuple[Panel, str]]:
    """Draw each panel as an SVG of its own, so that a page can arrange them by its width."""
    svgs = []
    for panel in panels(verdict):
        with mpl.rc_context(STYLE):
            single = Figure(figsize=(_WIDE if panel.wide else _NARROW, _HIGH), layout="constrained")
            FigureCanvasAgg(single)
            (axes,) = _row(single, [panel])
            if panel.wide:
                entries = zip(*axes.get_legend_handles_labels(), strict=True)
                named = {label: handle for handle, label in entries}
                columns = 2 if max(map(len, named), default=0) > _LONG_LABEL else 3
                single.legend(named.values(), named, loc="outside lower center", ncols=columns)
        svgs.append((panel, image(single, "svg").decode()))
    return svgs


def draw_heat_map(grid: GridMap) -> Figure:
    """Draw a grid: the verdict on each cell as colour and letter, and its difference in tolerances.

    The farther off a cell is, up to two tolerances, the stronger is its colour.
    """
    colours = {True: TRUE, False: FAILS, None: _OPEN_CELL}
    size = (1.6 + 0.85 * len(grid.columns), 1.0 + 0.32 * len(grid.rows))
    with mpl.rc_context(STYLE):
        drawing = Figure(figsize=size, layout="constrained")
        FigureCanvasAgg(drawing)
        drawing.suptitle(f"{grid.title}\n{grid.counted}", x=0.02, ha="left", size=10)
        axes = drawing.subplots()
        for down, (_, cells) in enumerate(grid.lines()):
            for along, cell in enumerate(cells):
                if cell is None:
                    continue
                fails = cell.verdict is Outcome.NOT_REPRODUCED
                holds = True if cell.verdict.holds else False if fails else None
                strength = 0.25 + 0.25 * min(2.0, abs(shift(cell) or 0.0))
                colour = mpl.colors.to_rgba(colours[holds], strength)
                axes.add_patch(Rectangle((along, down), 1, 1, facecolor=colour, edgecolor=GRID))
                weight = "bold" if fails else "normal"
                axes.text(
                    along + 0.5,
                    down + 0.5,
                    cell_text(cell),
                    ha="center",
                    va="center",
                    weight=weight,
                )
        axes.set_xlim(0, len(grid.columns))
        axes.set_ylim(len(grid.rows), 0)
        axes.set_xticks(np.arange(len(grid.columns)) + 0.5, grid.columns)
        axes.set_yticks(np.arange(len(grid.rows)) + 0.5, grid.rows)
        axes.tick_params(length=0)
        axes.xaxis.tick_top()
    return drawing


def image(drawing: Figure, form: str) -> bytes:
    """Encode the figure as 'png' or 'svg'; equal verdicts give equal bytes."""
    metadata = {"png": {"Software": None}, "svg": {"Date": None, "Creator": None}}[form]
    buffer = io.BytesIO()
    with mpl.rc_context(STYLE):
        drawing.savefig(buffer, format=form, dpi=150, metadata=metadata, transparent=form == "svg")
    return buffer.getvalue()


def _row(place: Any, row: Sequence[Panel]) -> list[Axes]:
    """Draw panels side by side into a figure or subfigure."""
    widths = [_WIDE if panel.wide else _NARROW for panel in row]
    axes: list[Axes] = list(place.subplots(1, len(row), width_ratios=widths, squeeze=False)[0])
    for pair, panel in zip(axes, row, strict=True):
        panel.draw(pair)
        pair.set_title(fill(panel.title, _TITLE if panel.wide else len(panel.title)))
    return axes


def themed(svg: str) -> str:
    """Replace each colour of an SVG by a CSS variable `--fig-…`, which a page sets for dark mode.

    Without a page that sets the variables, the colours stay as drawn.
    """
    for colour, name in _VARIABLES.items():
        svg = svg.replace(colour, f"var(--fig-{name}, {colour})")
    return svg


def panels(verdict: ExperimentVerdict) -> tuple[Panel, ...]:
    """List the panels of an experiment, the most important first; none if nothing was run."""
    own = [row for row in verdict.results if not (row.about and row.about.members)]
    rows = [row for row in own if row.epoch is not None]
    finals = [row for row in _ran(verdict) if row.series in verdict.evidence.finals]
    shown = []
    if rows:
        shown.append(Panel("Every epoch", partial(_curves, verdict=verdict, rows=rows), wide=True))
    for unit in dict.fromkeys(row.unit for row in finals):
        alike = [row for row in finals if row.unit == unit]
        draw = partial(_finals, verdict=verdict, finals=alike)
        title = "Final estimates" if unit == finals[0].unit else f"Final estimates in {unit}"
        shown.append(Panel(title, draw, wide=False))
    shown += sorted(_at_takeoff(verdict), key=lambda panel: not panel.wide)
    return (*shown, *_between(verdict))


def _at_takeoff(verdict: ExperimentVerdict) -> Iterator[Panel]:
    for claim in verdict.experiment.manifest.claims:
        rows = [row for row in _ran(verdict) if row.claim == claim.name]
        alignment = _alignment(claim, verdict)
        if rows and alignment:
            draw = partial(_lined_up, verdict=verdict, rows=rows, claim=claim, alignment=alignment)
            yield Panel(f"{claim.name.capitalize()}, lined up at take-off", draw, wide=True)
        if rows and claim.counts_epochs:
            yield Panel(claim.name.capitalize(), partial(_onset, rows=rows), wide=False)


def _between(verdict: ExperimentVerdict) -> Iterator[Panel]:
    """One panel for each claim that compares experiments."""
    for row in _ran(verdict):
        claim = row.about
        if claim and claim.members:
            members = Members.of(claim.members, claim.metric, row.epoch, verdict.evidence)
            draw = partial(_sides, verdict=verdict, row=row, claim=claim, members=members)
            yield Panel(claim.name[:1].upper() + claim.name[1:], draw, wide=True)


def _sides(
    axes: Axes,
    *,
    verdict: ExperimentVerdict,
    row: ClaimResult,
    claim: BaseClaim,
    members: Members,
) -> None:
    """Draw the runs of each experiment on both sides, and where they lie if the claim holds.

    A reported difference or ratio is drawn beside the first side: at the value that the second
    side's mean (or extreme) and the reported number give, in the band of the tolerance.
    """
    names = [name for side in members.sets for name in side]
    columns = [values for side in members.sets for values in side.values()]
    axes.set_xticks(range(len(names)), _short(names), rotation=90 if len(names) > _UPRIGHT else 0)
    axes.tick_params(axis="x", labelsize="medium" if len(names) <= _LARGE else "small")
    axes.set_xlim(-0.6, len(names) - 0.4)
    for place, (name, values) in enumerate(zip(names, columns, strict=True)):
        known = values[~np.isnan(values)]
        beside = place + np.linspace(-0.35, -0.05, len(known) + 2)[1:-1]
        axes.plot(beside, known, ".", color=SEEDS, markersize=6, label="each seed")
        _mean(axes, place, known, label="mean of the seeds, with one SD")
        if name in members.reports:
            paper = members.reports[name]
            mean = next(iter(paper.values.values()))
            _paper(axes, place, paper, mean, label="the paper's runs")
    first = len(members.sets[0])
    for edge in np.cumsum([len(side) for side in members.sets])[:-1]:
        axes.axvline(edge - 0.5, color=TOLERANCE, linewidth=0.7, linestyle=":")
    sets = [values[~np.isnan(values)] for values in members.arrays()]
    rule = RULES[type(claim)]
    wanted = (
        rule.first_side(claim, row.reported, row.tolerance, sets) if all(map(len, sets)) else None
    )
    if wanted and row.tolerance:
        at, margin = wanted
        places = np.array([-0.45, first - 0.55])
        _tolerance(axes, places, np.full(2, at), margin, label="tolerance")
        mark = MARK_OF[row.verdict]
        face = mark.colour if mark.filled else "none"
        style: Any = {"color": mark.colour, "markerfacecolor": face, "label": mark.label}
        axes.plot([-0.45], [at], mark.shape, **style, zorder=5, clip_on=False)
    for limit in claim.limits_of_runs:
        axes.axhline(limit, color=INK, linewidth=1.1, label="limit, as reported")
    name_axes(axes, "", axis_label(claim.metric, verdict))


def _short(names: Sequence[str]) -> list[str]:
    """Label cells of one grid by the settings in which they differ."""
    parts = [name.rstrip("]").partition("[")[2].split(",") for name in names]
    common = set(parts[0]).intersection(*parts[1:])
    kept = [[part.partition("=")[2] for part in each if part not in common] for each in parts]
    return ["\n".join(each) or name for each, name in zip(kept, names, strict=True)]


def _ran(verdict: ExperimentVerdict) -> Rows:
    return [row for row in verdict.results if row.verdict is not Outcome.NOT_RUN]


def _curves(axes: Axes, *, verdict: ExperimentVerdict, rows: Rows) -> None:
    """Draw the headline metric over the epochs, and its true value if the paper reports one."""
    headline = headline_metric(verdict)
    evidence = verdict.evidence
    epochs = np.arange(1.0, evidence.epochs + 1)
    _seeds(axes, epochs, evidence.curves[headline], seed_groups(verdict))
    for metric in dict.fromkeys(row.metric for row in rows if row.metric != headline):
        places, values = reported_points([row for row in rows if row.metric == metric])
        axes.plot(
            places, values, "--", color=TRUE, linewidth=1.4, label=axis_label(metric, verdict)
        )
    shown = [row for row in rows if row.metric == headline]
    _joined(axes, shown)
    lined_up = lined_up_claims(verdict)
    _reported(axes, [row for row in shown if row.claim not in lined_up])
    # Rows that are judged after alignment may lie far off here and still hold. So they get no
    # tolerance and no mark of failure.
    axes.plot(
        *reported_points([row for row in shown if row.claim in lined_up]),
        "o",
        color=INK,
        markersize=3.5,
        markerfacecolor="none",
    )
    # Papers list late epochs more sparsely. A logarithmic axis spaces the rows evenly.
    axes.set_xscale("log")
    axes.set_xticks(spaced(sorted({row.epoch for row in rows if row.epoch is not None})))
    axes.xaxis.set_major_formatter(ScalarFormatter())
    axes.xaxis.set_minor_locator(NullLocator())
    axes.set_ylim(at_least_visible(*axes.get_ylim()))
    name_axes(axes, "epoch (logarithmic axis)", axis_label(headline, verdict))


def _lined_up(
    axes: Axes, *, verdict: ExperimentVerdict, rows: Rows, claim: BaseClaim, alignment: Alignment
) -> None:
    """Shift each seed so that its take-off falls on the reported one, as the rows were judged."""
    places = [number.epoch or 0 for number in claim.numbers()]
    epochs = np.arange(1.0, verdict.evidence.epochs + 1)
    curves = verdict.evidence.curves[claim.metric]
    grid = np.linspace(places[0], places[-1], 200)
    moved = np.array(
        [
            stats.value_at(epochs - shift, curve, grid)
            for shift, curve in zip(alignment.shifts, curves, strict=True)
            if not np.isnan(shift)
        ]
    )
    if len(moved):
        everyone = tuple(range(len(moved)))
        _seeds(axes, grid, moved, [SeedGroup("all seeds", everyone, everyone)])
    _joined(axes, rows)
    _reported(axes, rows)
    axes.axhline(claim.line_up_at or 0.0, color=INK, linewidth=0.6, linestyle=":")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    name_axes(axes, "epoch, as reported", axis_label(claim.metric, verdict))


def _finals(axes: Axes, *, verdict: ExperimentVerdict, finals: Rows) -> None:
    nothing = float("nan")  # a trial on other hardware does not count for every row
    values = [
        np.array([row.by_seed.get(seed, nothing) for seed in verdict.evidence.seeds])
        for row in finals
    ]
    _values(axes, finals, values, seed_groups(verdict))
    axes.set_ylim(at_least_visible(*axes.get_ylim()))
    name_axes(axes, "", finals[0].unit)


def _onset(axes: Axes, *, rows: Rows) -> None:
    _values(axes, rows, [np.array(list(row.by_seed.values())) for row in rows], ())
    name_axes(axes, "", "epochs")


def _values(axes: Axes, rows: Rows, values: Iterable[Array], groups: Sequence[SeedGroup]) -> None:
    """Draw for each row the seeds as dots, then mean and SD of each group, then the reported."""
    axes.set_xticks(range(len(rows)), [row.claim.replace(" ", "\n") for row in rows])
    axes.set_xlim(-0.6, len(rows) - 0.4)
    for place, (row, by_seed) in enumerate(zip(rows, values, strict=True)):
        beside = place + np.linspace(-0.4, -0.1, len(by_seed) + 2)[1:-1]
        axes.plot(beside, by_seed, ".", color=SEEDS, markersize=6)
        parts = [by_seed[list(group.rows)] for group in groups] if len(groups) > 1 else [by_seed]
        for part in parts if row.measured is not None else ():
            _mean(axes, place, part)
        reported = np.full(2, row.reported)
        _tolerance(axes, place + np.array([0.1, 0.4]), reported, row.tolerance)
        _mark(axes, [place + 0.25], [row])
        if row.about is not None:
            _paper(axes, place, row.about, row.reported)


def _mean(axes: Axes, place: float, values: Array, *, label: str = "_") -> None:
    """Draw the mean of some seeds and a line of one SD; nothing if no seed has a value."""
    sample = stats.summarise(values)
    if sample.mean is not None:
        bar = None if sample.sd is None else [sample.sd]
        style: Any = {"fmt": "D", "color": MEAN, "markersize": 4.5, "label": label}
        axes.errorbar([place], [sample.mean], bar, **style)


def _paper(
    axes: Axes, place: float, claim: BaseClaim, reported: float, *, label: str = "_"
) -> None:
    """Draw the paper's runs as dots, and their mean and SD, if the paper reports several runs."""
    if claim.reported_sd is None:
        return
    runs = claim.reported_runs
    beside = place + np.linspace(0.3, 0.45, len(runs) + 2)[1:-1]
    axes.plot(beside, runs, ".", color=INK, markersize=6)
    at = [place + 0.15]
    style: Any = {"fmt": "d", "color": INK, "markersize": 4.5, "label": label}
    axes.errorbar(at, [reported], [claim.reported_sd], **style)


def _seeds(axes: Axes, epochs: Array, curves: Array, groups: Sequence[SeedGroup]) -> None:
    """Draw each seed, and for each group its mean and a band of one SD around it.

    Args:
        axes: to draw on.
        epochs: shape (n,).
        curves: shape (seeds, n), NaN where nothing was recorded.
        groups: the seeds that a mean may describe.
    """
    recorded = ~np.isnan(curves).all(axis=0)
    if not recorded.any():
        return
    epochs, curves = epochs[recorded], curves[:, recorded]
    if len(curves) > MOST_LINES:
        low, high = np.nanmin(curves, axis=0), np.nanmax(curves, axis=0)
        axes.fill_between(
            epochs, low, high, color=SEEDS, alpha=0.25, linewidth=0, label="range of the seeds"
        )
    else:
        for place, curve in enumerate(curves):
            label = "_" if place else "each seed"
            axes.plot(epochs, curve, color=SEEDS, linewidth=0.8, label=label)
    for number, group in enumerate(groups):
        mean, sd = epoch_means(curves[list(group.rows)])
        if sd is not None:
            label = "_" if number else "one standard deviation"
            axes.fill_between(
                epochs, mean - sd, mean + sd, color=MEAN, alpha=0.22, linewidth=0, label=label
            )
        label = "mean of the seeds" if len(groups) == 1 else f"mean: {group.name}"
        line = "--" if number else "-"
        axes.plot(epochs, mean, line, color=MEAN, linewidth=1.8, label=label)


def epoch_means(curves: Array) -> tuple[Array, Array | None]:
    """Mean and SD over the seeds at each epoch; no SD for one seed.

    The mean would jump where a seed ends early. So it is NaN from there on.

    Args:
        curves: shape (seeds, n), NaN where nothing was recorded.
    """
    return curves.mean(axis=0), curves.std(axis=0, ddof=1) if len(curves) > 1 else None


def _joined(axes: Axes, rows: Rows) -> None:
    axes.plot(*reported_points(rows), color=INK, linewidth=1.1, label="reported")


def _reported(axes: Axes, rows: Rows) -> None:
    """Draw the reported rows by verdict, each claim's in the band of its tolerance."""
    for number, claim in enumerate(dict.fromkeys(row.claim for row in rows)):
        own = sorted(
            (row.epoch or 0, row.reported, row.tolerance) for row in rows if row.claim == claim
        )
        places, values, tolerances = np.array(own).T
        if len(own) == 1:
            places, values, tolerances = (
                places * [0.96, 1.04],
                values.repeat(2),
                tolerances.repeat(2),
            )
        _tolerance(axes, places, values, tolerances, label="_" if number else "tolerance")
    for mark in MARKS:
        chosen = [row for row in rows if MARK_OF[row.verdict] is mark]
        _mark(axes, [float(row.epoch or 0) for row in chosen], chosen, label=mark.label)


def _tolerance(
    axes: Axes, places: Array, reported: Array, tolerance: Array | float, *, label: str = "_"
) -> None:
    """Shade the tolerance between two faint curves: it is no error bar, and not the paper's."""
    edges = (reported - tolerance, reported + tolerance)
    axes.fill_between(places, *edges, color=TOLERANCE, alpha=0.2, linewidth=0, label=label)
    for edge in edges:
        axes.plot(places, edge, color=TOLERANCE, linewidth=0.7)


@dataclass(frozen=True)
class Mark:
    """How reported values of one sort are drawn: shape and colour both tell the verdict."""

    label: str
    shape: str
    colour: str
    filled: bool = True


HOLD = Mark("reproduced", "o", TRUE)
UNDECIDED = Mark("undecided", "D", OPEN, filled=False)
FAILED = Mark("not reproduced", "X", FAILS)
UNTESTED = Mark("not run", "o", INK, filled=False)
MARKS = (HOLD, UNDECIDED, FAILED, UNTESTED)
MARK_OF = {
    Outcome.REPRODUCED: HOLD,
    Outcome.IMMATERIAL_DIFFERENCE: HOLD,
    Outcome.INCONCLUSIVE: UNDECIDED,
    Outcome.INCOMPLETE: UNDECIDED,
    Outcome.NOT_REPRODUCED: FAILED,
    Outcome.NOT_RUN: UNTESTED,
}


def _mark(axes: Axes, places: list[float], rows: Rows, *, label: str = "_") -> None:
    """Draw reported values of one verdict."""
    if not rows:
        return
    mark = MARK_OF[rows[0].verdict]
    axes.plot(
        places,
        [row.reported for row in rows],
        mark.shape,
        color=mark.colour,
        markerfacecolor=mark.colour if mark.filled else "none",
        markersize=6 if mark is FAILED else 4.5,
        zorder=5,
        label=label,
    )


MOST_CLAIMS = 60
"""With more claims than this, the overview shows those that are farthest from the paper."""


_EDGE = 4.0
"""Farthest difference that the overview draws to scale, in tolerances."""


def overview_figure(
    verdicts: Sequence[ExperimentVerdict], *, narrow: bool = False
) -> Figure | None:
    """Draw one line for each claim: its difference from the paper, in tolerances (a forest plot).

    The line shows the claim's row that is farthest off, among those that decided its verdict, with
    the confidence interval of the mean. Small dots are the claim's other rows. The paper's runs
    come first. None if no claim has a value.

    Args:
        verdicts: the verdicts on a study.
        narrow: draw for a phone, with each claim's name above its line instead of beside it.
    """
    listed = [(verdict, line) for verdict in in_order(verdicts) for line in claim_lines(verdict)]
    if not listed:
        return None
    if len(listed) > MOST_CLAIMS:
        far = sorted(
            listed, key=lambda item: (-item[1].outcome.severity, -abs(item[1].share or 0.0))
        )
        kept = {id(line) for _, line in far[:MOST_CLAIMS]}
        listed = [item for item in listed if id(item[1]) in kept]
    names = dict.fromkeys(verdict.id for verdict, _ in listed)
    lines = 2 if narrow else 1
    height = 0.19 * (lines * len(listed) + 1.4 * len(names)) + 1.1
    width = _PHONE if narrow else _WIDE + _NARROW
    with mpl.rc_context(STYLE):
        drawing = Figure(figsize=(width, height), layout="constrained")
        FigureCanvasAgg(drawing)
        axes = drawing.subplots()
        axes.axvspan(-1, 1, color=SHADE, linewidth=0, label="within the tolerance")
        axes.axvline(0, color=INK, linewidth=0.7)
        ticks: list[tuple[float, str]] = []
        place, before = 0.0, ""
        for verdict, line in listed:
            if verdict.id != before:
                place += 1.4
                title = f"{verdict.id}: {verdict.badge}"
                colour = MARK_OF[verdict.verdict].colour
                axes.text(
                    -_EDGE, place - 0.1, title, fontsize=9, weight="bold", va="center", color=colour
                )
                before = verdict.id
            place += lines
            if narrow:
                axes.text(-_EDGE, place - 0.9, line.name, fontsize=8.5, va="center", color=INK)
            else:
                ticks.append((place, line.name))
            _claim(axes, place, line)
        axes.set_ylim(place + 0.8, 0.6)
        axes.set_xlim(-_EDGE * 1.06, _EDGE * 1.06)  # so that an arrow at the edge is whole
        axes.set_yticks([at for at, _ in ticks], [name for _, name in ticks], fontsize=8.5)
        axes.tick_params("y", length=0)
        axes.set_xlabel("difference from the paper, in tolerances")
        axes.spines["left"].set_visible(False)
        handles = dict(zip(*reversed(axes.get_legend_handles_labels()), strict=True))
        drawing.legend(
            handles.values(), handles, loc="outside lower center", ncols=2 if narrow else 4
        )
    return drawing


def _claim(axes: Axes, place: float, line: ClaimLine) -> None:
    """Draw one claim: its mean and interval, or the mean of each group of seeds."""
    mark = MARK_OF[line.outcome]
    inside = [share for share in line.others if abs(share) <= _EDGE]
    if line.share is None:
        axes.text(0, place, "no value", fontsize=8, va="center", ha="center", color=mark.colour)
    elif line.groups:
        for seeds, share in line.groups.items():
            _share(axes, place, share, mark, seeds)
    else:
        axes.plot(inside, [place] * len(inside), ".", color=mark.colour, markersize=3)
        if line.interval:
            low, high = np.clip(line.interval, -_EDGE, _EDGE)
            axes.plot([low, high], [place, place], "-", color=mark.colour, linewidth=1.5)
        _share(axes, place, line.share, mark, "")


def _share(axes: Axes, place: float, share: float, mark: "Mark", seeds: str) -> None:
    """Mark one difference; what lies beyond the edge is an arrow with its number."""
    beyond = abs(share) > _EDGE
    shape = (">" if share > 0 else "<") if beyond else mark.shape
    face = mark.colour if mark.filled else "none"
    at = float(np.clip(share, -_EDGE, _EDGE))
    for places, form, label in (([], mark.shape, mark.label), ([at], shape, "_")):
        axes.plot(
            places,
            [place] * len(places),
            form,
            label=label,
            color=mark.colour,
            markerfacecolor=face,
            markersize=5.5,
            zorder=5,
        )
    words = ", ".join(filter(None, (f"{share:+.1f}" if beyond else "", seeds)))
    left = share > 0 and beyond
    axes.annotate(
        words,
        (at, place),
        xytext=(-6 if left else 6, 0),
        textcoords="offset points",
        fontsize=8,
        va="center",
        ha="right" if left else "left",
        color=mark.colour,
    )


def at_least_visible(low: float, high: float) -> tuple[float, float]:
    """Widen a range that is so narrow that rounding would look like a difference."""
    least = 0.1 * max(abs(low), abs(high)) or 1.0
    more = max(0.0, least - (high - low)) / 2
    return low - more, high + more


def lined_up_claims(verdict: ExperimentVerdict) -> set[str]:
    """Name the claims whose rows are judged after curves are lined up at their take-off."""
    claims = verdict.experiment.manifest.claims
    return {claim.name for claim in claims if _alignment(claim, verdict)}


def _alignment(claim: BaseClaim, verdict: ExperimentVerdict) -> Alignment | None:
    """How a claim's curves were lined up; None if they were not."""
    if claim.line_up_at is None:
        return None
    found = Alignment.of(claim, claim.line_up_at, verdict.evidence)
    return None if found.refused else found


def headline_metric(verdict: ExperimentVerdict) -> str:
    """Return the metric whose curve is drawn in full; empty if no claim is about an own epoch."""
    claim = verdict.experiment.manifest.headline
    return claim.metric if claim and claim.metric in verdict.evidence.curves else ""


def reported_points(rows: Rows) -> tuple[list[int], list[float]]:
    """Return epochs and reported values of the rows that have an epoch, in order."""
    ordered = sorted((row.epoch, row.reported) for row in rows if row.epoch is not None)
    return [epoch for epoch, _ in ordered], [reported for _, reported in ordered]


def axis_label(metric: str, verdict: ExperimentVerdict) -> str:
    """Label an axis with a metric and its unit, without a unit that the metric's name repeats."""
    unit = verdict.experiment.manifest.unit_of(metric)
    return f"{metric.removesuffix(f'_{unit}').replace('_', ' ')} ({unit})"


def name_axes(axes: Axes, below: str, beside: str) -> None:
    """Label both axes, and draw grid lines at the values."""
    axes.set_xlabel(below)
    axes.set_ylabel(beside)
    axes.grid(axis="y", color=GRID, linewidth=0.7)


def spaced(epochs: list[int], most: int = 12) -> list[int]:
    """Choose epochs to label on a logarithmic axis that has room for `most` labels."""
    ratio = (epochs[-1] / epochs[0]) ** (1 / most)
    kept: list[int] = []
    for epoch in reversed(epochs):  # the last epoch always has a label
        if not kept or epoch * ratio <= kept[-1]:
            kept.append(epoch)
    return kept
