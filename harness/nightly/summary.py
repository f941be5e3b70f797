"""Show nights: the summary of one in Markdown, and the history of all as one HTML page.

The summary has the news first, and can be sent to a webhook. The page has each experiment's
estimate, night by night.
"""

import json
import urllib.error
import urllib.request
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from html import escape
from http.client import HTTPException
from typing import NamedTuple

from harness.compare import Comparison, Standing, sentence
from harness.errors import Exit
from harness.manifest import spell
from harness.nightly.config import Quarantine
from harness.nightly.history import NightEntry, NightRecord
from harness.report.text import as_markdown, expectation, measured_text, number, row_names
from harness.verdict import ClaimResult, ExperimentVerdict, Outcome

COLOURS = {
    Exit.AS_EXPECTED: "🟢 green",
    Exit.NOT_AS_EXPECTED: "🔴 red",
    Exit.INCONCLUSIVE: "🟡 undecided: inconclusive",
    Exit.INCOMPLETE: "🟣 undecided: incomplete",
    Exit.USAGE: "⚫ could not run",
    Exit.BUG: "⚫ could not run: bug of the harness",
}
"""Red means that a verdict is not as expected, and nothing else is red."""

BADGE_COLOURS = {
    Exit.AS_EXPECTED: ("as expected", "#1f7a33"),
    Exit.NOT_AS_EXPECTED: ("not as expected", "#b3261e"),
    Exit.INCONCLUSIVE: ("undecided", "#7a5c00"),
    Exit.INCOMPLETE: ("undecided", "#7a5c00"),
    Exit.USAGE: ("could not run", "#3d3d3d"),
    Exit.BUG: ("could not run", "#3d3d3d"),
}
"""What the badge says, and its colour, which white text has a contrast of 4.5:1 with."""

SHOWN = 5
"""How many rows of a failing experiment are named; the rest is counted."""


class NightComparison(NamedTuple):
    """An experiment compared with an earlier night."""

    night: str
    comparison: Comparison
    same_manifest: bool
    """Whether that night used the same manifest."""


@dataclass(frozen=True, kw_only=True)
class NightSummary:
    """Everything that the summary of a night shows."""

    name: str
    """The name of the night: light or full, for instance."""
    folder: str
    record: NightRecord
    verdicts: Sequence[ExperimentVerdict]
    last: Mapping[str, NightComparison]
    """The comparison with the last good night, by experiment."""
    first: Mapping[str, NightComparison]
    """The comparison with the first good night that used the same manifest, by experiment."""
    quarantines: Sequence[Quarantine]
    today: date


def night_markdown(summary: NightSummary) -> str:
    """Render the summary as Markdown; equal summaries give equal text."""
    sections = [
        _heading(summary),
        _table(summary),
        _section("Not as expected", _failures(summary.verdicts)),
        _section("Undecided", _undecided(summary.verdicts)),
        _section("What changed", _changes(summary)),
        _section("What is missing", _missing(summary)),
        _section("Quarantine", _quarantine(summary)),
        _section("Commands to look into this night", _commands(summary)),
    ]
    return "\n\n".join(filter(None, sections)) + "\n"


def headline(summary: NightSummary) -> str:
    """Summarise the night in one line."""
    states: dict[str, int] = {}
    for entry in summary.record.experiments.values():
        states[entry.state] = states.get(entry.state, 0) + 1
    counted = ", ".join(f"{count} {state}" for state, count in sorted(states.items()))
    colour = COLOURS[summary.record.code]
    return f"Night {summary.name} of {summary.record.night}: {colour} ({counted})"


def _heading(summary: NightSummary) -> str:
    return f"# {headline(summary)}\n\nExit code {int(summary.record.code)}."


def _table(summary: NightSummary) -> str:
    lines = [
        "| Experiment | Verdict | | State | Since the last good night |",
        "|---|---|---|---|---|",
    ]
    for verdict in summary.verdicts:
        entry = summary.record.experiments[verdict.id]
        nights = f", {entry.failing} nights" if entry.failing > 1 else ""
        cells = (
            verdict.id + (" (control)" if verdict.control else ""),
            verdict.badge,
            expectation(verdict.as_expected),
            f"{entry.state}{nights}",
            _since(summary.last.get(verdict.id)),
        )
        lines.append(f"| {' | '.join(map(as_markdown, cells))} |")
    return "\n".join(lines)


def _since(since: NightComparison | None) -> str:
    if since is None:
        return "no good night before this one"
    other = "" if since.same_manifest else ", with another manifest"
    return f"{since.comparison.standing} ({since.night[:10]}{other})"


def _section(title: str, items: Iterable[str]) -> str:
    listed = "\n".join(f"* {item}" for item in items)
    return f"## {title}\n\n{listed}" if listed else ""


def _failures(verdicts: Iterable[ExperimentVerdict]) -> Iterator[str]:
    for verdict in verdicts:
        if verdict.as_expected is not False:
            continue
        rows = [result for result in verdict.results if result.as_expected is False]
        parts = [_row(row) for row in rows[:SHOWN]]
        if len(rows) > SHOWN:
            parts.append(f"and {len(rows) - SHOWN} more rows")
        parts += [note for note in verdict.notes if "failed" in note]
        yield f"**{verdict.id}**: " + as_markdown("; ".join([verdict.badge, *parts]))


def _undecided(verdicts: Iterable[ExperimentVerdict]) -> Iterator[str]:
    """Yield the reason of each inconclusive row, the rows of one reason together."""
    for verdict in verdicts:
        reasons: dict[str, list[ClaimResult]] = {}
        for row in verdict.results:
            if row.verdict is Outcome.INCONCLUSIVE:
                reasons.setdefault(row.note or "no reason given", []).append(row)
        parts = [*verdict.alarms]
        parts += [f"{row_names(rows)}: {why}" for why, rows in reasons.items()]
        if not parts and verdict.verdict is Outcome.INCONCLUSIVE:
            parts = list(verdict.notes)
        if parts:
            yield f"**{verdict.id}**: {as_markdown('; '.join(parts))}"


def _row(row: ClaimResult) -> str:
    values = (
        f"{row.name}: reported {number(row.reported)}, measured {measured_text(row)} {row.unit}"
    )
    if row.verdict.holds:
        return f"{values}, which passed although the manifest expects a failure"
    return f"{values}, tolerance {row.tolerance:g}" + (f" ({row.note})" if row.note else "")


def _changes(summary: NightSummary) -> Iterator[str]:
    """Yield changes since the last good night, or else slow drift since the first good night."""
    for verdict in summary.verdicts:
        last, first = summary.last.get(verdict.id), summary.first.get(verdict.id)
        if last and last.comparison.standing is not Standing.UNCHANGED:
            yield f"**{verdict.id}**, since {last.night}: {as_markdown(sentence(last.comparison))}"
        if last and last.comparison.standing is Standing.MOVED:
            continue
        if first and first.comparison.standing is Standing.MOVED:
            change = as_markdown(sentence(first.comparison))
            yield f"**{verdict.id}**, over all nights since {first.night}: {change}"


def _missing(summary: NightSummary) -> Iterator[str]:
    if summary.record.trouble:
        yield f"some trials could not run: {as_markdown(summary.record.trouble)}"
    for verdict in summary.verdicts:
        if verdict.incomplete:
            notes = "; ".join(verdict.notes) or str(Outcome.INCOMPLETE)
            yield f"**{verdict.id}**: {as_markdown(notes)}. This says nothing about the paper."


def _quarantine(summary: NightSummary) -> Iterator[str]:
    for item in summary.quarantines:
        entry = summary.record.experiments.get(item.experiment)
        if entry is None:
            yield f"**{item.experiment}**: not one of tonight's experiments"
            continue
        if item.active(summary.today):
            period = f"until {item.expires}"
            good = entry.code is Exit.AS_EXPECTED
            advice = "; as expected tonight, so you can end the quarantine" if good else ""
        else:
            period = f"expired on {item.expires}, so failures count again"
            advice = "; delete the quarantine or renew it"
        text = f"{period}, {item.owner}: {item.reason}{advice}"
        yield f"**{item.experiment}**: {as_markdown(text)}"


def _commands(summary: NightSummary) -> Iterator[str]:
    if not summary.verdicts:
        return
    folder = summary.folder
    seeds = {seed for verdict in summary.verdicts for seed in verdict.seeds}
    epochs = max((verdict.epochs for verdict in summary.verdicts), default=1)
    yield (
        f"`harness check {folder}/manifests --seeds {spell(seeds)} --epochs {epochs} "
        f"--workspace {folder}`"
    )
    for night in sorted({since.night for since in summary.last.values()}):
        yield f"`harness compare {folder.rpartition('/')[0]}/{night} {folder}`"
    yield f"`harness ui --workspace {folder}`"


TIMEOUT_S = 10.0


def post(url: str, text: str) -> str | None:
    """Send `{"text": text}` by HTTP once; return the error, or None if it was delivered.

    The error never contains the address, which is a secret.
    """
    if not url.startswith(("https://", "http://")):
        return "the address must start with https:// or http://"
    try:
        request = urllib.request.Request(  # noqa: S310 - http and https only
            url,
            json.dumps({"text": text}).encode(),
            {"Content-Type": "application/json"},
        )
        urllib.request.urlopen(request, timeout=TIMEOUT_S).close()  # noqa: S310 - as above
    except urllib.error.HTTPError as error:
        return f"HTTP status {error.code}"
    except urllib.error.URLError as error:
        return type(error.reason).__name__  # the message may contain the address
    except (OSError, HTTPException, ValueError) as error:
        return type(error).__name__
    return None


_FRAME = """<!doctype html>
<html lang="en"><head><meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark"><title>{title}</title>
<style>
html {{ background: Canvas; color: CanvasText; }}
body {{ font: 1rem/1.5 system-ui, sans-serif; max-width: 66rem; margin: 2rem auto; }}
body {{ padding: 0 1rem; }}
table {{ border-collapse: collapse; width: 100%; font-variant-numeric: tabular-nums; }}
th, td {{ text-align: left; padding: .3rem .5rem; border-top: 1px solid #8886; }}
tbody th {{ font-weight: 400; }}
tbody th, .verdict {{ white-space: nowrap; }}
.box {{ overflow-x: auto; }}
td:last-child {{ overflow-wrap: anywhere; }}
@media (max-width: 44rem) {{
  table, tbody {{ display: block; }}
  thead {{ display: none; }}
  tr {{ display: flex; flex-wrap: wrap; gap: .1rem .8rem; padding: .4rem 0; }}
  tr {{ border-top: 1px solid #8886; }}
  th, td {{ padding: 0; border: 0; }}
  td:empty {{ display: none; }}
  .verdict {{ margin-left: auto; font-weight: 600; }}
  [data-label]::before {{ content: attr(data-label) " "; opacity: .75; }}
}}
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


_BADGE = """<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="20" role="img" \
aria-label="{left}: {right}"><title>{left}: {right}</title>
<rect width="{width}" height="20" rx="3" fill="{colour}"/>
<path d="M3 0h{split_edge}v20h-{split_edge}a3 3 0 0 1-3-3v-14a3 3 0 0 1 3-3z" fill="#555"/>
<g fill="#fff" font-family="Verdana,DejaVu Sans,sans-serif" font-size="11" text-anchor="middle">
<text x="{left_middle}" y="14" textLength="{left_length}">{left}</text>
<text x="{right_middle}" y="14" textLength="{right_length}">{right}</text></g></svg>
"""

_LETTER, _PADDING = 6.5, 6
"""Width of a letter in a badge, and what is free on both sides of a text, in pixels."""


def night_badge(name: str, record: NightRecord) -> str:
    """Draw the badge of a night as SVG: whether its verdicts are as expected, and its date.

    The date tells a badge of last night from one that no night has renewed for weeks.
    """
    words, colour = BADGE_COLOURS[record.code]
    left, right = f"night {name}", f"{words}, {record.night[:10]}"
    left_length, right_length = (round(_LETTER * len(text)) for text in (left, right))
    split = left_length + 2 * _PADDING
    return _BADGE.format(
        left=escape(left),
        right=escape(right),
        colour=colour,
        width=split + right_length + 2 * _PADDING,
        split_edge=split - 3,
        left_middle=split / 2,
        right_middle=split + _PADDING + right_length / 2,
        left_length=left_length,
        right_length=right_length,
    )


def history_page(name: str, nights: Sequence[NightRecord]) -> str:
    """Render the nights, the oldest first; equal records give equal text."""
    experiments = sorted({experiment for night in nights for experiment in night.experiments})
    sections = "\n".join(_experiment_section(experiment, nights) for experiment in experiments)
    return _FRAME.format(title=escape(f"Nights: {name}"), sections=sections)


def _experiment_section(experiment: str, nights: Sequence[NightRecord]) -> str:
    entries = [
        (night.night, night.experiments[experiment])
        for night in nights
        if experiment in night.experiments
    ]
    before = [{}, *(entry.conditions for _, entry in entries)]
    changes = [
        _changed_versions(old, entry.conditions)
        for old, (_, entry) in zip(before, entries, strict=False)
    ]
    rows = [
        _night_row(night, entry, text)
        for (night, entry), text in zip(entries, changes, strict=True)
    ]
    return (
        f"<h2>{escape(experiment)}</h2>\n{_chart([entry for _, entry in entries], changes)}\n"
        f'<div class="box" tabindex="0" role="region" aria-label="Nights of {escape(experiment)}">'
        "<table><thead><tr><th>Night</th><th>Verdict</th><th>Row</th><th>Reported</th>"
        "<th>Measured</th><th>Changed since the night before</th></tr></thead>"
        f"<tbody>\n{chr(10).join(reversed(rows))}\n</tbody></table></div>"
    )


def _changed_versions(before: Mapping[str, str], now: Mapping[str, str]) -> str:
    """Name what changed since the night before; empty if nothing did, or is not known."""
    if not before or not now:
        return ""
    names = sorted(name for name in {*before, *now} if before.get(name) != now.get(name))
    return ", ".join(
        f"{name} {before.get(name, 'none')} → {now.get(name, 'none')}" for name in names
    )


def _night_row(night: str, entry: NightEntry, changes: str) -> str:
    cells = {
        "row": entry.row,
        "reported": number(entry.reported),
        "measured": number(entry.measured),
        "changed": changes,
    }
    return (
        f'<tr><th scope="row">{escape(night)}</th><td class="verdict">{escape(entry.verdict)}</td>'
        + "".join(f'<td data-label="{label}">{escape(cell)}</td>' for label, cell in cells.items())
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
        'vector-effect="non-scaling-stroke"/>'
        # A line of length 0 with round ends is a dot, which the box does not stretch.
         + f'<path d="{" ".join(f"M{point}h0" for point in points)}" stroke="#3b8fc2" '
        'stroke-width="6" stroke-linecap="round" '
        'vector-effect="non-scaling-stroke"/></svg>'
    )
