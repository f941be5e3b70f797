"""Render verdicts for a terminal, as pages and figures, as JSON, JUnit XML and Arrow tables.

Every function returns its result; the caller prints it or writes it. Import `figures`, `pages` and
`study_page` only where needed: matplotlib and jinja take a second to load, which `check` saves.

Each entry of `FORMATS` is an option of `check` and `run`. To add a format, write a module that
renders verdicts and add its entry. The option `--NAME FILE`, standard output and the handling of
errors come with it.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from harness.report.terminal import claims, summary
from harness.verdict import ExperimentVerdict

__all__ = ["FORMATS", "Format", "claims", "summary"]


Verdicts = Sequence[ExperimentVerdict]


@dataclass(frozen=True)
class Format:
    """One way to write verdicts into a file."""

    name: str
    """Lower-case letters and hyphens; also the name of its option."""
    title: str
    """For the option's help: "Write the verdicts as TITLE."."""
    render: Callable[[Verdicts], str | bytes]
    """The whole file. Equal verdicts give equal content."""


def _json(verdicts: Verdicts) -> str:
    from harness.report.documents import verdicts_document  # noqa: PLC0415 - loaded on demand

    return verdicts_document(verdicts).text()


def _junit(verdicts: Verdicts) -> bytes:
    from harness.report.documents import junit  # noqa: PLC0415 - as above

    return junit(verdicts)


def _markdown(verdicts: Verdicts) -> str:
    from harness.report.pages import verdicts_markdown  # noqa: PLC0415 - as above

    return verdicts_markdown(verdicts)


def _html(verdicts: Verdicts) -> str:
    from harness.report.pages import html  # noqa: PLC0415 - as above; figures take a second

    return html(verdicts)


FORMATS: Mapping[str, Format] = {
    entry.name: entry
    for entry in (
        Format("json", "JSON", _json),
        Format("junit", "JUnit XML", _junit),
        Format("markdown", "a Markdown page", _markdown),
        Format("html", "one HTML file", _html),
    )
}
"""Every format, by name."""
