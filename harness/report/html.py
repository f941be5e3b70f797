"""Verdicts as one HTML file that needs nothing else: no network, no font, no script from elsewhere.

It loads nothing because it may load nothing: its content security policy allows its own style and
the one script whose digest it names. So nothing that a manifest or an error says can run either.
"""

import base64
import hashlib
import re
import shlex
from collections.abc import Mapping, Sequence

from markupsafe import Markup

from harness.manifest import spell
from harness.record import Json, canonical_json
from harness.report import figures, wording
from harness.report.jinja import Filters, environment
from harness.report.palette import themed
from harness.report.provenance import facts, taken
from harness.verdict import ExperimentVerdict, Outcome

_MARKS = {
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
    templates = environment(_FILTERS, escape=True)
    script = templates.get_template("report.js").render()
    return templates.get_template("report.html.jinja").render(
        verdicts=verdicts,
        overview=wording.overview(verdicts),
        links=links or {},
        drawings={verdict.id: _drawings(verdict) for verdict in verdicts},
        script=Markup(script),  # noqa: S704 - our own
        script_digest=base64.b64encode(hashlib.sha256(script.encode()).digest()).decode(),
    )


def _drawings(verdict: ExperimentVerdict) -> list[tuple[str, bool, Markup]]:
    """Title, whether it is wide, and the SVG, of each panel."""
    return [
        (panel.title, panel.wide, _inlined(svg, f"{verdict.id}-{number}"))
        for number, (panel, svg) in enumerate(figures.drawings(verdict))
    ]


def _inlined(svg: str, name: str) -> Markup:
    """An SVG as a part of a page: with names of its own, and colours that turn with the page.

    Matplotlib has escaped the words in it.
    """
    body = svg[svg.index("<svg") :]
    own = _REFERENCE.sub(rf"\g<1>{name}-", themed(body))
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


_FILTERS: Filters = {
    "number": wording.number,
    "held": wording.held,
    "expectation": wording.expectation,
    "parameters": wording.parameters,
    "spell": spell,
    "mark": lambda outcome: _MARKS[outcome][0],
    "tone": lambda outcome: _MARKS[outcome][1],
    "severity": lambda outcome: outcome.severity,
    "web": _web,
    "value": _value,
    "facts": facts,
    "taken": taken,
    "command": _command,
    "not_run": wording.not_run,
    "interval": wording.interval,
    "p_value": wording.p_value,
    "statistics": wording.statistics,
    "tested": wording.tested,
}
