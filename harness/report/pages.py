"""Render verdicts as pages: one self-contained HTML file, or one Markdown page.

The HTML file loads nothing from elsewhere: no network, no font, no script. Its content security
policy allows its own style and the one script whose digest it names. So no text of a manifest or
of an error message can run as code.
"""

import base64
import hashlib
import re
import shlex
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from harness.manifest import of_seeds, spell
from harness.record import WORKLOAD_CODE, Json, Provenance, canonical_json
from harness.report import text
from harness.verdict import Evidence, ExperimentVerdict, Outcome

Filters = Mapping[str, Callable[..., Any]]


def environment(filters: Filters, *, escape: bool) -> Environment:
    """Where `harness/report/templates` is read; what a template asks for must be there.

    Args:
        filters: by the names that the templates give them.
        escape: every value as HTML; in Markdown the templates escape what is not ours.
    """
    made = Environment(
        loader=PackageLoader("harness.report"),
        autoescape=escape,  # noqa: S701 - each caller says what it writes
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    made.filters |= filters
    return made


_SIGNS = {
    Outcome.REPRODUCED: ("✓", "holds"),
    Outcome.IMMATERIAL_DIFFERENCE: ("≈", "holds"),
    Outcome.INCONCLUSIVE: ("?", "open"),
    Outcome.NOT_REPRODUCED: ("✗", "fails"),
    Outcome.INCOMPLETE: ("…", "open"),
    Outcome.NOT_RUN: ("-", "none"),
}
"""A sign and a class of style for each outcome: colour never tells it alone."""


_REFERENCE = re.compile(r'(\bid="|href="#|url\(#)')


def html(verdicts: Sequence[ExperimentVerdict], links: Mapping[str, str] | None = None) -> str:
    """The page; equal verdicts give equal text.

    Args:
        verdicts: in the order in which they are to stand.
        links: by experiment, where MLflow draws its runs.
    """
    templates = environment(_HTML_FILTERS, escape=True)
    script = templates.get_template("report.js").render()
    return templates.get_template("report.html.jinja").render(
        verdicts=verdicts,
        overview=text.overview(verdicts),
        links=links or {},
        drawings={verdict.id: _drawings(verdict) for verdict in verdicts},
        script=Markup(script),  # noqa: S704 - our own
        script_digest=base64.b64encode(hashlib.sha256(script.encode()).digest()).decode(),
    )


def _drawings(verdict: ExperimentVerdict) -> list[tuple[str, bool, Markup]]:
    """Title, whether it is wide, and the SVG, of each panel."""
    from harness.report.figures import drawings, themed  # noqa: PLC0415 - imports matplotlib

    return [
        (panel.title, panel.wide, _inlined(themed(svg), f"{verdict.id}-{number}"))
        for number, (panel, svg) in enumerate(drawings(verdict))
    ]


def _inlined(svg: str, name: str) -> Markup:
    """An SVG as a part of a page: with names of its own, and colours that turn with the page.

    Matplotlib has escaped the words in it.
    """
    body = svg[svg.index("<svg") :]
    own = _REFERENCE.sub(rf"\g<1>{name}-", body)
    return Markup(own)  # noqa: S704 - as above


def _web(url: str) -> str:
    """An address that may stand behind a link: `javascript:` and the like would be code."""
    return url if url.startswith(("https://", "http://")) else "#"


def _value(value: Json) -> str:
    return value if isinstance(value, str) else canonical_json(value)


def _command(verdict: ExperimentVerdict) -> str:
    """What repeats all that stands behind a verdict."""
    experiment = verdict.experiment
    words = experiment.command("run")
    if verdict.seeds != tuple(sorted(set(experiment.manifest.seeds))):
        words += ["--seeds", spell(verdict.seeds)]
    if verdict.epochs != experiment.manifest.epochs.value:
        words += ["--epochs", str(verdict.epochs)]
    return shlex.join(words)


@dataclass(frozen=True)
class Fact:
    """One thing that was found on the machines, or set there."""

    thing: str
    values: Mapping[str, str]
    """Which seeds, in words, by the value; a single value holds for all and names none."""

    @property
    def differs(self) -> bool:
        """Whether it may explain that two seeds differ."""
        return len(self.values) > 1


def facts(evidence: Evidence) -> tuple[Fact, ...]:
    """Everything recorded of the attempts, what differs first."""
    seeds: dict[str, dict[str, set[int]]] = {}
    for seed, attempts in evidence.provenance.items():
        for attempt in attempts:
            for thing, value in _things(attempt):
                seeds.setdefault(thing, {}).setdefault(value, set()).add(seed)
    found = [Fact(thing, _seeds_by_value(values)) for thing, values in seeds.items()]
    return tuple(sorted(found, key=lambda fact: not fact.differs))


def taken(evidence: Evidence) -> str:
    """From when to when the seeds' last records were taken; empty where there are none."""
    ends = sorted({_minute(ended_ms) for ended_ms in evidence.ended_ms.values()})
    return " to ".join(dict.fromkeys((ends[0], ends[-1]))) if ends else ""


def _things(attempt: Provenance) -> Iterator[tuple[str, str]]:
    environment = attempt.environment
    yield "commit", attempt.source.commit_name + attempt.source.change
    yield "source digest", attempt.source.digest
    if attempt.workload_code:
        yield WORKLOAD_CODE, str(attempt.workload_code)
    yield "host", attempt.host
    yield "device", environment.device
    yield "threads", str(environment.threads)
    yield "form of the step", environment.form
    yield from _prefixed("version of ", environment.versions.items())
    yield from _prefixed("", environment.hardware.items())
    yield from _prefixed("setting ", environment.settings.items())
    yield from _prefixed("data ", environment.data.items())


def _prefixed(prefix: str, items: Iterable[tuple[str, object]]) -> Iterator[tuple[str, str]]:
    for name, value in items:
        yield prefix + name, value if isinstance(value, str) else canonical_json(value)


def _seeds_by_value(values: Mapping[str, set[int]]) -> dict[str, str]:
    several = len(values) > 1
    return {value: of_seeds(seeds) if several else "" for value, seeds in values.items()}


def _minute(ended_ms: int) -> str:
    return datetime.fromtimestamp(ended_ms / 1000, UTC).strftime("%Y-%m-%d %H:%M UTC")


_HTML_FILTERS: Filters = {
    "number": text.number,
    "held": text.held,
    "expectation": text.expectation,
    "parameters": text.parameters,
    "spell": spell,
    "mark": lambda outcome: _SIGNS[outcome][0],
    "tone": lambda outcome: _SIGNS[outcome][1],
    "severity": lambda outcome: outcome.severity,
    "web": _web,
    "value": _value,
    "facts": facts,
    "taken": taken,
    "command": _command,
    "not_run": text.not_run,
    "interval": text.interval,
    "p_value": text.p_value,
    "statistics": text.statistics,
    "tested": text.tested,
}


MARKS = {
    Outcome.REPRODUCED: "✅",
    Outcome.IMMATERIAL_DIFFERENCE: "✅",
    Outcome.INCONCLUSIVE: "❔",
    Outcome.NOT_REPRODUCED: "❌",
    Outcome.INCOMPLETE: "⏳",
    Outcome.NOT_RUN: "",
}


def markdown(
    verdicts: Sequence[ExperimentVerdict], figures: Mapping[str, str] | None = None
) -> str:
    """The page; equal verdicts give equal text.

    Args:
        verdicts: in the order in which they are to stand.
        figures: by experiment, where its figure is, as the page is to link it.
    """
    template = environment(_MARKDOWN_FILTERS, escape=False).get_template("verdicts.md.jinja")
    return template.render(
        verdicts=verdicts, overview=text.overview(verdicts), figures=figures or {}
    )


def _outcome(outcome: Outcome) -> str:
    return f"{MARKS[outcome]} {outcome}".strip()


_MARKDOWN_FILTERS: Filters = {
    "text": text.as_markdown,
    "number": text.number,
    "measured": text.measured,
    "held": text.held,
    "not_run": text.not_run,
    "expectation": text.expectation,
    "parameters": text.parameters,
    "interval": text.interval,
    "p_value": text.p_value,
    "statistics": text.statistics,
    "tested": text.tested,
    "spell": spell,
    "outcome": _outcome,
}
