"""Write the report folder: one HTML file, one Markdown page, a figure for each experiment."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

from harness.output import make_folder, write
from harness.verdict import ExperimentVerdict

_UNSAFE = re.compile(r"[^A-Za-z0-9._-]+")
"""What a figure's name leaves out of an id: it would end a link, or match files in a shell."""


@dataclass(frozen=True)
class Reports:
    """The files of a report."""

    page: Path
    """The Markdown page."""
    html: Path
    """The HTML page, which needs no other file."""
    drawn: Mapping[str, Path]
    """Figures by experiment or grid; an experiment without records has none."""
    links: Mapping[str, str] = field(default_factory=dict)
    """Addresses of MLflow's charts by experiment."""
    _html: dict[tuple[str, ...], str] = field(default_factory=dict, repr=False, compare=False)
    """HTML pages by the ids that they are about. Drawing one takes a second or more, and the page
    about a single experiment is the report and goes to MLflow too."""

    @classmethod
    def write(
        cls,
        verdicts: Sequence[ExperimentVerdict],
        folder: Path,
        links: Mapping[str, str] | None = None,
    ) -> Self:
        """Write pages and figures into a folder, which is created if it is missing.

        Raises:
            OutputError: a file cannot be written.
        """
        from harness.report import figures, grids  # noqa: PLC0415 - `check` draws nothing

        make_folder(folder)
        sections = grids.worth_a_section(verdicts)
        images = {verdict.id: figures.figure(verdict) for verdict in sections}
        images |= {each.id: figures.heat_map(each) for each in grids.grid_maps(verdicts)}
        drawn = {}
        for name, figure in images.items():
            if figure is not None:
                drawn[name] = folder / f"{_UNSAFE.sub('-', name).strip('-')}.png"
                write(drawn[name], figures.image(figure, "png"))
        overview = figures.overview_figure(sections)
        forest = None if overview is None else folder / "overview.png"
        if overview is not None and forest is not None:
            write(forest, figures.image(overview, "png"))
        written = cls(folder / "report.md", folder / "report.html", drawn, links or {})
        for name, text in written.pages(verdicts, forest.name if forest else "").items():
            write(folder / name, text)
        return written

    def pages(self, verdicts: Sequence[ExperimentVerdict], forest: str = "") -> dict[str, str]:
        """Return the pages about some verdicts, by file name.

        Args:
            verdicts: what the pages are about.
            forest: the name of the overview's file; the pages about one experiment have none.
        """
        from harness.report.pages import html, markdown  # noqa: PLC0415 - as above

        figures = {name: path.name for name, path in self.drawn.items()}
        about = tuple(verdict.id for verdict in verdicts)
        if about not in self._html:
            self._html[about] = html(verdicts, self.links)
        return {
            self.page.name: markdown(verdicts, figures, forest),
            self.html.name: self._html[about],
        }

    def files(self, verdict: ExperimentVerdict) -> tuple[Path, ...]:
        """The figures on the pages about one experiment, and the heat map of its grid."""
        names = dict.fromkeys((verdict.id, verdict.experiment.group))
        return tuple(self.drawn[name] for name in names if name in self.drawn)
