"""Write the history of the nights as one HTML page: each experiment's estimate, night by night."""

from collections.abc import Mapping, Sequence
from html import escape

from harness.nightly.history import NightEntry, NightRecord
from harness.report.text import number

_FRAME = """<!doctype html>
<html lang="en"><head><meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark"><title>{title}</title>
<style>
html {{ background: Canvas; color: CanvasText; }}
body {{ font: 1rem/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; }}
body {{ padding: 0 1rem; }}
table {{ border-collapse: collapse; width: 100%; font-variant-numeric: tabular-nums; }}
th, td {{ text-align: left; padding: .3rem .5rem; border-top: 1px solid #8886; }}
tbody th {{ font-weight: 400; }}
.box {{ overflow-x: auto; }}
td:last-child {{ min-width: 12rem; overflow-wrap: anywhere; }}
svg {{ width: 100%; height: 7rem; }}
</style></head><body>
<main>
<h1>{title}</h1>
<p>The difference from the paper in tolerances, the newest night on the right. Inside the band it is
within the tolerance. A dashed line marks a night with other versions than the night before.</p>
{sections}
</main>
</body></html>
"""


def history_page(name: str, nights: Sequence[NightRecord]) -> str:
    """Render the nights, the oldest first; equal records give equal text."""
    experiments = sorted({experiment for night in nights for experiment in night.experiments})
    sections = "\n".join(_section(experiment, nights) for experiment in experiments)
    return _FRAME.format(title=escape(f"Nights: {name}"), sections=sections)


def _section(experiment: str, nights: Sequence[NightRecord]) -> str:
    entries = [
        (night.night, night.experiments[experiment])
        for night in nights
        if experiment in night.experiments
    ]
    before = [{}, *(entry.conditions for _, entry in entries)]
    changes = [
        _changes(old, entry.conditions) for old, (_, entry) in zip(before, entries, strict=False)
    ]
    rows = [_row(night, entry, text) for (night, entry), text in zip(entries, changes, strict=True)]
    return (
        f"<h2>{escape(experiment)}</h2>\n{_chart([entry for _, entry in entries], changes)}\n"
        f'<div class="box" tabindex="0" role="region" aria-label="Nights of {escape(experiment)}">'
        "<table><thead><tr><th>Night</th><th>Verdict</th><th>Row</th><th>Reported</th>"
        "<th>Measured</th><th>Changed since the night before</th></tr></thead>"
        f"<tbody>\n{chr(10).join(reversed(rows))}\n</tbody></table></div>"
    )


def _changes(before: Mapping[str, str], now: Mapping[str, str]) -> str:
    """Name what changed since the night before; empty if nothing did, or is not known."""
    if not before or not now:
        return ""
    names = sorted(name for name in {*before, *now} if before.get(name) != now.get(name))
    return ", ".join(
        f"{name} {before.get(name, 'none')} → {now.get(name, 'none')}" for name in names
    )


def _row(night: str, entry: NightEntry, changes: str) -> str:
    numbers = (number(entry.reported), number(entry.measured))
    cells = (entry.verdict, entry.row, *numbers, changes)
    return (
        f'<tr><th scope="row">{escape(night)}</th>'
        + "".join(f"<td>{escape(cell)}</td>" for cell in cells)
        + "</tr>"
    )


def _chart(entries: Sequence[NightEntry], changed: Sequence[str]) -> str:
    """Draw a point for each night with a value; beyond three tolerances it stays at the edge."""
    step = 100 / max(1, len(entries))
    marks, points = [], []
    for place, (entry, new) in enumerate(zip(entries, changed, strict=True)):
        x = (place + 0.5) * step
        if new:
            marks.append(
                f'<line x1="{x:.2f}" x2="{x:.2f}" y1="-3" y2="3" stroke="currentColor" '
                'stroke-width="1" stroke-dasharray="3" vector-effect="non-scaling-stroke"/>'
            )
        if entry.share is not None:
            points.append(f"{x:.2f},{-max(-3.0, min(3.0, entry.share)):.3f}")
    return (
        '<svg viewBox="0 -3.2 100 6.4" preserveAspectRatio="none" role="img" '
        'aria-label="Difference from the paper in tolerances, night by night">'
        '<rect x="0" y="-1" width="100" height="2" fill="#8884"/>'
        + "".join(marks)
        + f'<polyline points="{" ".join(points)}" fill="none" stroke="#3b8fc2" stroke-width="2" '
        'stroke-linecap="round" vector-effect="non-scaling-stroke"/></svg>'
    )
