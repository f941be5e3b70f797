"""Render verdicts as pages: one self-contained HTML file, or one Markdown page.

The HTML file loads nothing from elsewhere: no network, no font, no script. Its content security
policy allows its own style, images inside the file, and the one script whose digest it names. So no
text of a manifest or of an error message can run as code.
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
from harness.record import WORKLOAD_CODE, Provenance, in_words
from harness.report import grids, text
from harness.verdict import Evidence, ExperimentVerdict, Outcome

Filters = Mapping[str, Callable[..., Any]]


def template_environment(filters: Filters, *, escape: bool) -> Environment:
    """Create the environment that reads `harness/report/templates`.

    Args:
        filters: the templates' filters by name.
        escape: whether to escape every value as HTML. Markdown templates escape foreign text.
    """
    created = Environment(
        loader=PackageLoader("harness.report"),
        autoescape=escape,  # noqa: S701 - the caller decides
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    created.filters |= filters
    return created


_SIGNS = {
    Outcome.REPRODUCED: ("✓", "holds"),
    Outcome.IMMATERIAL_DIFFERENCE: ("≈", "holds"),
    Outcome.INCONCLUSIVE: ("?", "open"),
    Outcome.NOT_REPRODUCED: ("✗", "fails"),
    Outcome.INCOMPLETE: ("…", "open"),
    Outcome.NOT_RUN: ("-", "none"),
}
"""The sign and the CSS class of each outcome; colour is never the only cue."""


_REFERENCE = re.compile(r'(\bid="|href="#|url\(#)')


def html(verdicts: Sequence[ExperimentVerdict], links: Mapping[str, str] | None = None) -> str:
    """Render verdicts as one HTML file; equal verdicts give equal text.

    Args:
        verdicts: the paper's runs come first on the page, then in this order.
        links: the address of each experiment's runs in MLflow, by experiment id.
    """
    from harness.report import interactive  # noqa: PLC0415 - imports matplotlib

    templates = template_environment(_HTML_FILTERS, escape=True)
    verdicts = text.in_order(verdicts)
    sections = grids.worth_a_section(verdicts)
    plots = {verdict.id: interactive.curves(verdict) for verdict in sections}
    library = interactive.library() if any(plots.values()) else ""
    script = library + templates.get_template("report.js").render()
    return templates.get_template("report.html.jinja").render(
        verdicts=verdicts,
        alone=grids.alone(verdicts),
        sections=sections,
        shown={verdict.id for verdict in sections},
        maps=grids.grid_maps(verdicts),
        legend=grids.LEGEND,
        overview=text.overview(verdicts),
        papers={
            (paper.author, paper.title): paper
            for verdict in verdicts
            if not (paper := verdict.experiment.manifest.paper).own_run
        }.values(),
        forest=_forest(sections),
        links=links or {},
        drawings={verdict.id: _drawings(verdict) for verdict in sections},
        plots=plots,
        thumbnails={
            name: Markup(interactive.thumbnail(plot))  # noqa: S704 - numbers of ours
            for name, plot in plots.items()
        },
        script=Markup(script),  # noqa: S704 - our own
        script_digest=base64.b64encode(hashlib.sha256(script.encode()).digest()).decode(),
    )


def _forest(verdicts: Sequence[ExperimentVerdict]) -> Markup:
    """Draw the overview of all claims, for wide and for narrow screens; empty without values."""
    from harness.report.figures import image, overview_figure, themed  # noqa: PLC0415 - as above

    parts = Markup()
    for name in ("wide", "narrow"):
        drawn = overview_figure(verdicts, narrow=name == "narrow")
        if drawn is not None:
            svg = _inlined(themed(image(drawn, "svg").decode()), f"overview-{name}")
            parts += Markup('<div class="{}">{}</div>').format(name, svg)
    return parts


def _drawings(verdict: ExperimentVerdict) -> list[tuple[str, bool, Markup]]:
    """Draw each panel: its title, whether it is wide, and its SVG."""
    from harness.report.figures import drawings, themed  # noqa: PLC0415 - imports matplotlib

    return [
        (panel.title, panel.wide, _inlined(themed(svg), f"{verdict.id}-{number}"))
        for number, (panel, svg) in enumerate(drawings(verdict))
    ]


def _inlined(svg: str, name: str) -> Markup:
    """Prefix the ids of an SVG with `name`, so that they are unique in the page.

    Matplotlib has escaped the text in the SVG.
    """
    body = svg[svg.index("<svg") :]
    own = _REFERENCE.sub(rf"\g<1>{name}-", body)
    return Markup(own)  # noqa: S704 - as above


def _web(url: str) -> str:
    """Return the address if it is http or https, else "#"; `javascript:` would be code."""
    return url if url.startswith(("https://", "http://")) else "#"


def _command(verdict: ExperimentVerdict) -> str:
    """Return the command that repeats the trials of a verdict."""
    experiment = verdict.experiment
    words = experiment.command("run")
    if verdict.seeds != tuple(sorted(set(experiment.manifest.seeds))):
        words += ["--seeds", spell(verdict.seeds)]
    if verdict.epochs != experiment.manifest.epochs.value:
        words += ["--epochs", str(verdict.epochs)]
    return shlex.join(words)


@dataclass(frozen=True)
class Fact:
    """One recorded property of the software or hardware that ran the seeds."""

    name: str
    values: Mapping[str, str]
    """The seeds in words, by value; if all seeds share one value, the text is empty."""

    @property
    def differs(self) -> bool:
        """Whether seeds have different values, which may explain different results."""
        return len(self.values) > 1


def facts(evidence: Evidence) -> tuple[Fact, ...]:
    """List everything recorded about the attempts; properties that differ come first."""
    seeds: dict[str, dict[str, set[int]]] = {}
    for seed, attempts in evidence.provenance.items():
        for attempt in attempts:
            for name, value in _properties(attempt):
                seeds.setdefault(name, {}).setdefault(value, set()).add(seed)
    listed = [Fact(name, _seeds_by_value(values)) for name, values in seeds.items()]
    return tuple(sorted(listed, key=lambda fact: not fact.differs))


def record_days(verdicts: Iterable[ExperimentVerdict]) -> str:
    """Return the first and last day on which a seed of any experiment ended; empty without one."""
    ends = [ms for verdict in verdicts for ms in verdict.evidence.ended_ms.values()]
    return (
        " to ".join(dict.fromkeys(_minute(ms)[:10] for ms in (min(ends), max(ends))))
        if ends
        else ""
    )


def record_dates(evidence: Evidence) -> str:
    """Return the first and last date of the seeds' final records; empty without records."""
    ends = sorted({_minute(ended_ms) for ended_ms in evidence.ended_ms.values()})
    return " to ".join(dict.fromkeys((ends[0], ends[-1]))) if ends else ""


def _properties(attempt: Provenance) -> Iterator[tuple[str, str]]:
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
        yield prefix + name, in_words(value)


def _seeds_by_value(values: Mapping[str, set[int]]) -> dict[str, str]:
    several = len(values) > 1
    return {value: of_seeds(seeds) if several else "" for value, seeds in values.items()}


def _minute(ended_ms: int) -> str:
    return datetime.fromtimestamp(ended_ms / 1000, UTC).strftime("%Y-%m-%d %H:%M UTC")


_HTML_FILTERS: Filters = {
    "cell": grids.cell_text,
    "number": text.number,
    "held": text.held,
    "expectation": text.expectation,
    "parameters": text.parameters,
    "spell": spell,
    "mark": lambda outcome: _SIGNS[outcome][0],
    "tone": lambda outcome: _SIGNS[outcome][1],
    "severity": lambda outcome: outcome.severity,
    "web": _web,
    "value": in_words,
    "facts": facts,
    "record_dates": record_dates,
    "record_days": record_days,
    "equal_rows": text.equal_rows,
    "seed_groups": text.seed_groups,
    "group_means": text.group_means,
    "measured": text.measured_text,
    "command": _command,
    "not_run": text.not_run,
    "last_lines": text.last_lines,
    "logs_command": text.logs_command,
    "interval": text.interval,
    "p_value": text.p_value,
    "statistics": text.statistics,
    "chances": text.chances,
    "not_severe": text.not_severe,
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


def verdicts_markdown(
    verdicts: Sequence[ExperimentVerdict],
    figures: Mapping[str, str] | None = None,
    forest: str = "",
) -> str:
    """Render verdicts as one Markdown page; equal verdicts give equal text.

    Args:
        verdicts: the paper's runs come first on the page, then in this order.
        figures: the link to each experiment's figure, by experiment or grid id.
        forest: the link to the overview of all claims.
    """
    template = template_environment(_MARKDOWN_FILTERS, escape=False).get_template(
        "verdicts.md.jinja"
    )
    verdicts = text.in_order(verdicts)
    return template.render(
        verdicts=verdicts,
        alone=grids.alone(verdicts),
        sections=grids.worth_a_section(verdicts),
        maps=grids.grid_maps(verdicts),
        legend=grids.LEGEND,
        forest=forest,
        overview=text.overview(verdicts),
        figures=figures or {},
    )


def _outcome(outcome: Outcome) -> str:
    return f"{MARKS[outcome]} {outcome}".strip()


_MARKDOWN_FILTERS: Filters = {
    "text": text.as_markdown,
    "cell": grids.cell_text,
    "number": text.number,
    "measured": text.measured_text,
    "held": text.held,
    "equal_rows": text.equal_rows,
    "seed_groups": text.seed_groups,
    "group_means": text.group_means,
    "not_run": text.not_run,
    "expectation": text.expectation,
    "parameters": text.parameters,
    "interval": text.interval,
    "p_value": text.p_value,
    "statistics": text.statistics,
    "chances": text.chances,
    "not_severe": text.not_severe,
    "tested": text.tested,
    "spell": spell,
    "outcome": _outcome,
}
