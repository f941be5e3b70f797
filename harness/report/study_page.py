"""Show a study or a search: as text for a terminal, as a Markdown page, and as a figure."""

from collections.abc import Iterator, Mapping, Sequence
from math import isfinite, isinf
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import NullLocator, ScalarFormatter
from rich.text import Text

from harness.errors import number_of
from harness.manifest import of_seeds, spell
from harness.manifest.experiment import Choices
from harness.record import Json, in_words
from harness.report.figures import (
    INK,
    STYLE,
    axis_label,
    headline_metric,
    name_axes,
    reported_points,
    spaced,
)
from harness.report.pages import MARKS, Filters, template_environment
from harness.report.terminal import STYLES, Column, FittedTable
from harness.report.text import as_markdown, headline_result
from harness.stats import Array
from harness.study import Factor, Hinge, Study, VariantVerdict, claim_outcome
from harness.study.region import ALPHA, Profile, Region
from harness.study.search import Tried
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


def study_markdown(study: Study, figure: str | None = None) -> str:
    """Render a study as a Markdown page; equal studies give equal text.

    Args:
        study: the study with its results.
        figure: the link to its figure.
    """
    template = template_environment(_FILTERS, escape=False).get_template("study.md.jinja")
    return template.render(
        study=study,
        sentences=list(sentences(study)),
        figure=study_figure,
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


def _group(study: Study, factor: Factor, group: tuple[VariantVerdict, ...]) -> FittedTable:
    heads = (Column(head, whole=True) for head in _heads(study, factor, group))
    table = FittedTable(
        (Column("verdict on", whole=True), *heads),
        title=Text(_title(study, factor, group), "bold"),
    )
    for claim in (None, *study.claims):
        cells = [Text(_cell(result, claim), STYLES[_outcome(result, claim)]) for result in group]
        table.add_row(Text(claim or WHOLE), *cells)
    return table


def _title(study: Study, factor: Factor, group: tuple[VariantVerdict, ...]) -> str:
    """Name the factor that varies; in a grid, also the fixed values of the other factors."""
    place = study.factors.index(factor)
    others = [
        setting(other.name, group[0].variant.settings[at])
        for at, other in enumerate(study.factors)
        if at != place and study.grid
    ]
    return f"{factor.name} ({factor.basis})" + (f", with {', '.join(others)}" if others else "")


def _heads(study: Study, factor: Factor, group: tuple[VariantVerdict, ...]) -> list[str]:
    """Return the values of one factor; a star marks the manifest's value."""
    place = study.factors.index(factor)
    values = [result.variant.settings[place] for result in group]
    return [in_words(value) + (" *" if value == factor.own else "") for value in values]


def _outcome(result: VariantVerdict, claim: str | None) -> Outcome:
    return result.verdict.verdict if claim is None else claim_outcome(result.verdict, claim)


def _cell(result: VariantVerdict, claim: str | None, *, marked: bool = False) -> str:
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


def _farthest(result: VariantVerdict) -> str:
    far, row = result.farthest
    return f"{row}: {_tolerances(far)}" if row else ""


_COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#8a6100", "#6a51a3")
"""Okabe and Ito's colours, and two of ours, because the rest of theirs is too light for lines.
Dashes repeat the distinction for readers who cannot see it."""
_DASHES = ("-", "--", "-.", ":")
_WIDTH, _HEIGHT = 8.4, 3.4
"""The size of a row in inches."""


def study_figure(study: Study) -> Figure | None:
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


def _row(place: Any, study: Study, factor: Factor, group: Sequence[VariantVerdict]) -> None:
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


def _figure_title(study: Study, factor: Factor, group: Sequence[VariantVerdict]) -> str:
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
    places, values = reported_points(rows)
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


_SHOWN = 30
"""Most settings of the page's table, the nearest first; the JSON file has all."""
_BINS = 24
_COLUMNS = 3
SEARCH_STYLES: Mapping[str, Mapping[str, str]] = {
    "ran in full": {"marker": "o", "color": "#0072b2"},
    "stopped early": {"marker": "x", "color": "#d55e00"},
    "compatible": {"marker": "D", "color": "#009e73"},
}
"""How settings of each kind are drawn."""


def search_sentences(region: Region) -> Iterator[str]:
    """Yield what a search found, as sentences; the result comes first."""
    found, space = region.found, region.space
    yield _result(region)
    stopped = f", {found.stopped} of them stopped early" if found.stopped else ""
    refused = f" The workload's rules refuse {found.refused} more." if found.refused else ""
    yield f"{number_of(len(found.tried), 'setting')} tried{stopped}.{refused}"
    if found.lost:
        yield (
            f"{number_of(found.lost, 'setting')} could not run to the end because machines failed. "
            "The same command tries again."
        )
    accepted, near = len(region.accepted), len(region.within_tolerance)
    yield (
        f"By their own seeds {accepted} of the settings are compatible with the paper, and {near} "
        "have every searched row within its tolerance on average."
    )
    yield f"Nearest: {space.words(found.nearest)}; {_worst(region, found.nearest)}."
    if found.importances:
        parts = (f"{name} {share:.0%}" for name, share in found.importances.items())
        yield f"Importance for the discrepancy (fANOVA): {', '.join(parts)}."
    searched = ", ".join(row.name for row in space.rows)
    yield (
        f"Searched on {searched}, with {of_seeds(space.search.seeds)}. What was found agrees with "
        f"these rows because it was chosen to. Judge it by the other {len(space.held_out)} rows "
        "and the manifest's seeds: harness infer --confirm."
    )


def _result(region: Region) -> str:
    if not region.known:
        return (
            "The region is not known: too few settings ran with several seeds to tell the "
            "run-to-run noise. Try more settings."
        )
    if region.nothing:
        return "Nothing in the searched ranges is compatible with the searched rows."
    parts = [
        f"{profile.name} {in_words(short(profile.compatible[0]))} to "
        f"{in_words(short(profile.compatible[1]))}"
        for profile in region.profiles()
        if profile.compatible
    ]
    share = f"{region.share:.2g}" if region.share else "less than a thousandth"
    return f"Compatible with the searched rows ({share} of the space): {', '.join(parts)}."


def short(value: Json) -> Json:
    """Round a number for people; other values stay."""
    return float(f"{value:.3g}") if isinstance(value, float) else value


def _worst(region: Region, tried: Tried) -> str:
    """Name the searched row that is farthest from the paper."""
    if tried.failed:
        return "the method failed"
    off = [
        (abs(float(mean) - row.value) / row.tolerance, float(mean), row)
        for mean, row in zip(tried.means, region.space.rows, strict=True)
        if isfinite(mean)
    ]
    if not off:
        return "no searched row has a value"
    far, mean, row = max(off, key=lambda one: one[0])
    return (
        f"row {row.name} is farthest: {mean:.3g}, the paper has {row.value:.3g} "
        f"({far:.1f} tolerances off)"
    )


def search_markdown(region: Region, figure: str) -> str:
    """Render a search as a Markdown page; equal searches give equal text.

    Args:
        region: what a search found.
        figure: the link to its figure.
    """
    template = template_environment(_FILTERS, escape=False).get_template("infer.md.jinja")
    ordered = sorted(region.found.tried, key=lambda one: (one.stopped, one.discrepancy))
    return template.render(
        region=region,
        manifest=region.space.experiment.manifest,
        sentences=list(search_sentences(region)),
        figure=search_figure,
        parameters=list(_parameters(region)),
        shown=ordered[:_SHOWN],
        values=lambda one: [in_words(value) for value in one.settings],
        means=lambda one: [f"{mean:.3g}" if isfinite(mean) else "" for mean in one.means],
        state=lambda one: _state(region, one),
        reported=[f"{row.value:.4g}" for row in region.space.rows],
        alpha=f"{ALPHA:.0%}",
    )


def _parameters(region: Region) -> Iterator[tuple[str, ...]]:
    """Yield each parameter's name, own value, searched values, compatible values, importance."""
    for factor, profile in zip(region.space.factors, region.profiles(), strict=True):
        values = region.space.search.parameters[factor.name]
        if isinstance(values, Choices):
            searched = ", ".join(in_words(choice) for choice in values.choices)
        else:
            searched = f"{in_words(values.low)} to {in_words(values.high)}"
        ends = [in_words(short(end)) for end in profile.compatible or ()]
        share = region.found.importances.get(factor.name)
        yield (
            factor.name,
            in_words(factor.own),
            searched,
            " to ".join(ends) or "none",
            "" if share is None else f"{share:.0%}",
        )


def _state(region: Region, one: Tried) -> str:
    if one.failed:
        return "failed"
    if one.stopped:
        return f"stopped at epoch {one.epochs}"
    return "compatible" if region.accepts(one) else "rejected"


def search_figure(region: Region) -> Figure:
    """Draw a panel for each parameter: how far the settings are from the paper, in standard errors.

    The line is the smallest distance that the emulator finds at each value, whatever the other
    parameters are. Where it lies above the dashed cutoff, the value is excluded.
    """
    profiles = list(region.profiles())
    columns = min(_COLUMNS, len(profiles))
    rows = -(-len(profiles) // columns)
    with mpl.rc_context(STYLE):
        drawing = Figure(figsize=(3.1 * columns, 2.5 * rows + 0.8), layout="constrained")
        FigureCanvasAgg(drawing)
        drawing.suptitle(region.space.experiment.manifest.title, x=0.02, ha="left")
        panels = drawing.subplots(rows, columns, squeeze=False, sharey=True).ravel()
        for panel in panels[len(profiles) :]:
            panel.set_visible(False)
        for at, (panel, profile) in enumerate(zip(panels, profiles, strict=False)):
            _panel(panel, region, profile, at)
            if at % columns == 0:
                panel.set_ylabel("worst row, in SE")
        handles, labels = panels[0].get_legend_handles_labels()
        drawing.legend(handles, labels, loc="outside lower center", ncols=len(labels))
    return drawing


def _panel(axes: Axes, region: Region, profile: Profile, at: int) -> None:
    values = region.space.search.parameters[profile.name]
    place = region.space.place(profile.name)
    kinds: dict[str, list[Tried]] = {name: [] for name in SEARCH_STYLES}
    for one in region.found.tried:
        full = "compatible" if region.accepts(one) else "ran in full"
        kinds["stopped early" if one.stopped else full].append(one)
    for label, tried in kinds.items():
        if tried:
            style: Any = SEARCH_STYLES[label]
            xs = [place(one.settings[at]) for one in tried]
            axes.scatter(xs, [_distance(region, one) for one in tried], s=14, label=label, **style)
    if region.known:
        axes.plot(*_profile(region, profile, values), color=INK, linewidth=1.1, label="smallest")
        axes.axhline(region.cutoff, color=INK, linewidth=0.9, linestyle="--", label="cutoff")
    own = region.space.own[at]
    if not isinstance(values, Choices) or own in values.choices:
        axes.axvline(place(own), color=INK, linewidth=0.7, linestyle=":", label="assumed")
    axes.set_yscale("symlog", linthresh=1)
    axes.set_ylim(bottom=0)
    axes.set_title(profile.name)
    if isinstance(values, Choices):
        axes.set_xticks(range(len(values.choices)), map(in_words, values.choices))
    elif values.log:
        axes.set_xscale("log")


def _distance(region: Region, one: Tried) -> float:
    """|z| of a setting's worst row by its own seeds; the figure's upper end if it has none."""
    off = region.off(one)
    return float(np.nanmax(off)) if np.isfinite(off).any() else 1e3


def _profile(region: Region, profile: Profile, values: Any) -> tuple[list[float], list[float]]:
    """The smallest |z| in each bin of a parameter's values, whatever the others are."""
    places, worst = profile.places, region.implausibilities
    if isinstance(values, Choices):
        edges = np.arange(len(values.choices) + 1) - 0.5
    elif values.log:
        edges = np.geomspace(values.low, values.high, _BINS + 1)
    else:
        edges = np.linspace(values.low, values.high, _BINS + 1)
    bins = np.clip(np.digitize(places, edges) - 1, 0, len(edges) - 2)
    filled = [at for at in range(len(edges) - 1) if (bins == at).any()]
    middles = [float((edges[at] + edges[at + 1]) / 2) for at in filled]
    return middles, [float(worst[bins == at].min()) for at in filled]
