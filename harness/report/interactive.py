"""Describe an experiment's curves as plain data, which the HTML report draws with BokehJS.

The curves then answer to mouse and touch: values, zoom, seeds on and off. The library stands in the
page itself. `report.js` draws the data in the colours of the page's style sheet.
"""

import json
import math
from functools import cache
from typing import Any

import numpy as np

from harness.report.figures import (
    MARK_OF,
    MOST_LINES,
    at_least_visible,
    axis_label,
    epoch_means,
    headline_metric,
    lined_up_claims,
    spaced,
)
from harness.report.text import number, seed_groups
from harness.stats import Array
from harness.verdict import ClaimResult, ExperimentVerdict

Series = dict[str, Any]


@cache
def library() -> str:
    """Return BokehJS, safe to stand in a script element."""
    from bokeh.resources import Resources  # noqa: PLC0415 - only HTML needs it; half a second

    resources = Resources("inline", components=["bokeh", "bokeh-api"])
    # The last part sets the level of the log, and logs that it does; `report.js` sets it silently.
    parts = resources.js_raw[:-1]
    # In a script element, "<!--" could hide the element's end from the HTML parser.
    return "\n".join(parts).replace("<!--", "\\x3c!--").replace("</script", "<\\/script")


def curves(verdict: ExperimentVerdict) -> str:
    """Describe the panel "Every epoch" as JSON; empty if no claim is about an epoch."""
    metric = headline_metric(verdict)
    evidence = verdict.evidence
    rows = [row for row in verdict.results if row.epoch is not None]
    if not rows or not metric:
        return ""
    recorded = evidence.curves[metric]
    epochs = np.arange(1, evidence.epochs + 1)
    listed = sorted({row.epoch for row in rows if row.epoch is not None})
    reported = [row.reported for row in rows if row.metric == metric]
    data = {
        "least": at_least_visible(min(reported), max(reported)) if reported else (0.0, 0.0),
        "x": "epoch (logarithmic axis)",
        "y": axis_label(metric, verdict),
        "ticks": spaced(listed),
        "epochs": epochs.tolist(),
        "seeds": _seeds(verdict, recorded) if len(recorded) <= MOST_LINES else [],
        "means": [
            _mean(
                "mean of the seeds" if group.name == "all seeds" else f"mean: {group.name}",
                recorded[list(group.rows)],
            )
            for group in seed_groups(verdict)
        ],
        "truth": _truth(verdict, [row for row in rows if row.metric != metric]),
        "reported": [_reported(verdict, row) for row in rows if row.metric == metric],
    }
    return json.dumps(data, separators=(",", ":"), allow_nan=False)


def thumbnail(curves: str) -> str:
    """Draw the means and the reported values of `curves` as a small SVG; empty without them.

    The epochs are on a logarithmic axis. The height shows the tolerance too. Colours are the page's
    variables.
    """
    data = json.loads(curves or "{}")
    if not data:
        return ""
    lines = [("mean", data["epochs"], mean["values"]) for mean in data["means"]]
    reported = data["reported"]
    lines.append(("ink", [row["epoch"] for row in reported], [row["value"] for row in reported]))
    known = [
        (colour, [(x, y) for x, y in zip(epochs, values, strict=True) if y is not None])
        for colour, epochs, values in lines
    ]
    heights = [y for _, points in known for _, y in points]
    heights += [row["value"] + by * (row["tolerance"] or 0) for row in reported for by in (-1, 1)]
    low, high = at_least_visible(min(heights, default=0.0), max(heights, default=0.0))
    across, down = math.log(max(2, len(data["epochs"]))), high - low
    drawn = "".join(
        f'<polyline stroke="var(--fig-{colour})" points="'
        + " ".join(
            f"{60 * math.log(x) / across:.1f},{20 * (high - y) / down:.1f}" for x, y in points
        )
        + '"/>'
        for colour, points in known
    )
    return f'<svg class="thumbnail" viewBox="-1 -1 62 22" aria-hidden="true">{drawn}</svg>'


def _seeds(verdict: ExperimentVerdict, recorded: Array) -> list[Series]:
    return [
        {"name": f"seed {seed}", "values": _values(curve)}
        for seed, curve in zip(verdict.evidence.seeds, recorded, strict=True)
    ]


def _mean(name: str, recorded: Array) -> Series:
    mean, sd = epoch_means(recorded)
    band = {} if sd is None else {"low": _values(mean - sd), "high": _values(mean + sd)}
    return {"name": name, "values": _values(mean), **band}


def _truth(verdict: ExperimentVerdict, rows: list[ClaimResult]) -> list[Series]:
    """Describe the reported curve of each other metric, the true value for instance."""
    return [
        {
            "name": f"reported {axis_label(metric, verdict)}",
            "epochs": [row.epoch for row in rows if row.metric == metric],
            "values": [row.reported for row in rows if row.metric == metric],
        }
        for metric in dict.fromkeys(row.metric for row in rows)
    ]


def _reported(verdict: ExperimentVerdict, row: ClaimResult) -> Series:
    """Describe one reported value; after alignment its tolerance belongs to another panel."""
    aligned = row.claim in lined_up_claims(verdict)
    return {
        "claim": row.claim,
        "name": row.name,
        "epoch": row.epoch,
        "value": row.reported,
        "tolerance": None if aligned else row.tolerance,
        "measured": number(row.measured),
        "verdict": str(row.verdict) + (", judged when lined up at take-off" if aligned else ""),
        "mark": "not run" if aligned else MARK_OF[row.verdict].label,
    }


def _values(curve: Array) -> list[float | None]:
    """Round to six digits, which no screen exceeds; None where nothing was recorded."""
    return [float(f"{value:.6g}") if np.isfinite(value) else None for value in curve]
