"""Write the summary of a night in Markdown, news first, and send it to a webhook."""

import json
import urllib.error
import urllib.request
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from http.client import HTTPException
from typing import NamedTuple

from harness.compare import Comparison, Standing, sentence
from harness.errors import Exit
from harness.manifest import spell
from harness.nightly.config import Quarantine
from harness.nightly.history import NightRecord
from harness.report.text import as_markdown, expectation, measured, number
from harness.verdict import ClaimResult, ExperimentVerdict, Outcome

COLOURS = {
    Exit.AS_EXPECTED: "🟢 green",
    Exit.NOT_AS_EXPECTED: "🔴 red",
    Exit.INCONCLUSIVE: "🟡 open, inconclusive",
    Exit.INCOMPLETE: "🟣 open, incomplete",
    Exit.USAGE: "⚫ could not run",
    Exit.BUG: "⚫ could not run: a bug of the harness",
}
"""Red where a verdict is not the expected one, and only there."""

SHOWN = 5
"""Rows of a failing experiment that are named before the rest is counted."""


class Since(NamedTuple):
    """An experiment beside an earlier night."""

    night: str
    found: Comparison
    same_manifest: bool
    """Whether that night judged by the same manifest."""


@dataclass(frozen=True, kw_only=True)
class Summary:
    """All that the page is made of."""

    name: str
    """Of the night: light, full."""
    folder: str
    record: NightRecord
    verdicts: Sequence[ExperimentVerdict]
    last: Mapping[str, Since]
    """By experiment, the comparison with its last good night."""
    first: Mapping[str, Since]
    """Likewise, with the first good night of the last one's manifest."""
    quarantines: Sequence[Quarantine]
    today: date


def markdown(summary: Summary) -> str:
    """The page; equal summaries give equal text."""
    sections = [
        _heading(summary),
        _table(summary),
        _section("Not as expected", _failures(summary.verdicts)),
        _section("What changed", _changes(summary)),
        _section("What is missing", _missing(summary)),
        _section("Quarantine", _quarantine(summary)),
        _section("To look again", _commands(summary)),
    ]
    return "\n\n".join(filter(None, sections)) + "\n"


def headline(summary: Summary) -> str:
    """The whole night in a line."""
    states: dict[str, int] = {}
    for entry in summary.record.experiments.values():
        states[entry.state] = states.get(entry.state, 0) + 1
    counted = ", ".join(f"{count} {state}" for state, count in sorted(states.items()))
    colour = COLOURS[summary.record.code]
    return f"Night {summary.name} of {summary.record.night}: {colour} ({counted})"


def _heading(summary: Summary) -> str:
    return f"# {headline(summary)}\n\nExit code {int(summary.record.code)}."


def _table(summary: Summary) -> str:
    lines = [
        "| Experiment | Verdict | | State | Since the last good night |",
        "|---|---|---|---|---|",
    ]
    for verdict in summary.verdicts:
        entry = summary.record.experiments[verdict.id]
        nights = f", {entry.failing} nights" if entry.failing > 1 else ""
        cells = (
            verdict.id + (" (control)" if verdict.control else ""),
            str(verdict.verdict),
            expectation(verdict.as_expected),
            f"{entry.state}{nights}",
            _since(summary.last.get(verdict.id)),
        )
        lines.append(f"| {' | '.join(map(as_markdown, cells))} |")
    return "\n".join(lines)


def _since(since: Since | None) -> str:
    if since is None:
        return "no good night yet"
    other = "" if since.same_manifest else ", by another manifest"
    return f"{since.found.standing} ({since.night[:10]}{other})"


def _section(title: str, items: Iterable[str]) -> str:
    listed = "\n".join(f"* {item}" for item in items)
    return f"## {title}\n\n{listed}" if listed else ""


def _failures(verdicts: Iterable[ExperimentVerdict]) -> Iterator[str]:
    for verdict in verdicts:
        if verdict.as_expected is not False:
            continue
        rows = [result for result in verdict.results if result.as_expected is False]
        said = [_row(row) for row in rows[:SHOWN]]
        if len(rows) > SHOWN:
            said.append(f"and {len(rows) - SHOWN} rows more")
        said += [note for note in verdict.notes if "failed" in note]
        yield f"**{verdict.id}**: " + as_markdown("; ".join([verdict.verdict, *said]))


def _row(row: ClaimResult) -> str:
    said = f"{row.name}: reported {number(row.reported)}, measured {measured(row)} {row.unit}"
    if row.verdict.holds:
        return f"{said}, which holds though it was expected not to"
    return f"{said}, tolerance {row.tolerance:g}" + (f" ({row.note})" if row.note else "")


def _changes(summary: Summary) -> Iterator[str]:
    """What differs from the last good night; else what small steps since the first add up to."""
    for verdict in summary.verdicts:
        last, first = summary.last.get(verdict.id), summary.first.get(verdict.id)
        if last and last.found.standing is not Standing.UNCHANGED:
            yield f"**{verdict.id}**, since {last.night}: {as_markdown(sentence(last.found))}"
        if last and last.found.standing is Standing.MOVED:
            continue
        if first and first.found.standing is Standing.MOVED:
            said = as_markdown(sentence(first.found))
            yield f"**{verdict.id}**, over all nights since {first.night}: {said}"


def _missing(summary: Summary) -> Iterator[str]:
    if summary.record.trouble:
        yield f"not everything could run: {as_markdown(summary.record.trouble)}"
    for verdict in summary.verdicts:
        if verdict.incomplete:
            said = "; ".join(verdict.notes) or str(Outcome.INCOMPLETE)
            yield f"**{verdict.id}**: {as_markdown(said)}. This says nothing of the paper."


def _quarantine(summary: Summary) -> Iterator[str]:
    for item in summary.quarantines:
        entry = summary.record.experiments.get(item.experiment)
        if entry is None:
            yield f"**{item.experiment}**: not among tonight's experiments"
            continue
        if item.active(summary.today):
            held = f"until {item.expires}"
            good = entry.code is Exit.AS_EXPECTED
            aside = "; as expected tonight, so it may be let out" if good else ""
        else:
            held = f"expired on {item.expires}: it counts again"
            aside = "; take the entry out or renew it"
        yield f"**{item.experiment}**: {as_markdown(f'{held}, {item.owner}: {item.reason}{aside}')}"


def _commands(summary: Summary) -> Iterator[str]:
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
    """Send `text` once; returns what went wrong, without the address, which is a secret."""
    if not url.startswith(("https://", "http://")):
        return "its address begins neither with https:// nor with http://"
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
        return type(error.reason).__name__  # the messages may hold the address
    except (OSError, HTTPException, ValueError) as error:
        return type(error).__name__
    return None
