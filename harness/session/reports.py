"""The report folder: one HTML file, one Markdown page, and a figure for each experiment."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

from harness.output import make_folder, write
from harness.verdict import ExperimentVerdict


@dataclass(frozen=True)
class Reports:
    """What was written, and where."""

    page: Path
    """In Markdown."""
    html: Path
    """Everything in one file, which needs no other."""
    drawn: Mapping[str, Path]
    """The figure by experiment, where there was something to draw."""
    links: Mapping[str, str] = field(default_factory=dict)
    """By experiment, where MLflow draws its runs."""

    @classmethod
    def write(
        cls,
        verdicts: Sequence[ExperimentVerdict],
        folder: Path,
        links: Mapping[str, str] | None = None,
    ) -> Self:
        """Write pages and figures into a folder, which is made if it is not there.

        Raises:
            OutputError: it cannot be written.
        """
        from harness.report import figures  # noqa: PLC0415 - `check` draws nothing

        make_folder(folder)
        drawn = {}
        for verdict in verdicts:
            figure = figures.figure(verdict)
            if figure is not None:
                drawn[verdict.id] = folder / f"{verdict.id}.png"
                write(drawn[verdict.id], figures.image(figure, "png"))
        written = cls(folder / "report.md", folder / "report.html", drawn, links or {})
        for name, text in written.pages(verdicts).items():
            write(folder / name, text)
        return written

    def pages(self, verdicts: Sequence[ExperimentVerdict]) -> dict[str, str]:
        """The pages on some of the verdicts, by file name; figures lie beside the Markdown."""
        from harness.report.html import html  # noqa: PLC0415 - as above
        from harness.report.markdown import markdown  # noqa: PLC0415 - as above

        figures = {name: path.name for name, path in self.drawn.items()}
        return {
            self.page.name: markdown(verdicts, figures),
            self.html.name: html(verdicts, self.links),
        }

    def files(self, verdict: ExperimentVerdict) -> tuple[Path, ...]:
        """What belongs to the pages on one experiment."""
        return (self.drawn[verdict.id],) if verdict.id in self.drawn else ()
