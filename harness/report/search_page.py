"""Show a search: what it found as sentences, a Markdown page, and a figure."""

from collections.abc import Iterator
from math import isfinite
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from harness.errors import number_of
from harness.manifest import of_seeds
from harness.manifest.experiment import Choices
from harness.record import Json, in_words
from harness.report.figures import INK, STYLE
from harness.report.pages import Filters, environment
from harness.report.text import as_markdown
from harness.study.region import ALPHA, Profile, Region
from harness.study.search import Tried

_FILTERS: Filters = {"text": as_markdown}
_SHOWN = 30
"""Most settings of the page's table, the nearest first; the JSON file has all."""
_BINS = 24
_COLUMNS = 3
_BLUE, _ORANGE, _GREEN = "#0072b2", "#e69f00", "#009e73"
"""Of Okabe and Ito's colours; the markers differ too."""


def sentences(region: Region) -> Iterator[str]:
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


def markdown(region: Region, figure: str) -> str:
    """Render a search as a Markdown page; equal searches give equal text.

    Args:
        region: what a search found.
        figure: the link to its figure.
    """
    template = environment(_FILTERS, escape=False).get_template("infer.md.jinja")
    ordered = sorted(region.found.tried, key=lambda one: (one.stopped, one.discrepancy))
    return template.render(
        region=region,
        manifest=region.space.experiment.manifest,
        sentences=list(sentences(region)),
        figure=figure,
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


def figure(region: Region) -> Figure:
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
    kinds: dict[str, tuple[list[Tried], dict[str, Any]]] = {
        "ran in full": ([], {"marker": "o", "color": _BLUE}),
        "stopped early": ([], {"marker": "x", "color": _ORANGE}),
        "compatible": ([], {"marker": "D", "color": _GREEN}),
    }
    for one in region.found.tried:
        full = "compatible" if region.accepts(one) else "ran in full"
        kinds["stopped early" if one.stopped else full][0].append(one)
    for label, (tried, style) in kinds.items():
        if tried:
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
