"""Write the report folder: one HTML file, one Markdown page, a figure for each experiment."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

from harness.output import make_folder, write_output
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
    about: tuple[str, ...] = ()
    """The ids of the experiments on the pages."""

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
        from harness.report import figures, grids, pages  # noqa: PLC0415 - `check` draws nothing

        make_folder(folder)
        sections = grids.worth_a_section(verdicts)
        images = {verdict.id: figures.figure(verdict) for verdict in sections}
        images |= {each.id: figures.draw_heat_map(each) for each in grids.grid_maps(verdicts)}
        drawn = {}
        for name, figure in images.items():
            if figure is not None:
                drawn[name] = folder / f"{_UNSAFE.sub('-', name).strip('-')}.png"
                write_output(drawn[name], figures.image(figure, "png"))
        overview = figures.overview_figure(sections)
        forest = None if overview is None else folder / "overview.png"
        if overview is not None and forest is not None:
            write_output(forest, figures.image(overview, "png"))
        written = cls(
            folder / "report.md",
            folder / "report.html",
            drawn,
            links or {},
            tuple(verdict.id for verdict in verdicts),
        )
        write_output(written.page, written._markdown(verdicts, forest.name if forest else ""))
        write_output(written.html, pages.html(verdicts, written.links))
        return written

    def pages(self, verdicts: Sequence[ExperimentVerdict]) -> dict[str, str]:
        """Return the pages about some verdicts, by file name. They have no overview."""
        from harness.report.pages import html  # noqa: PLC0415 - as above

        # Drawing a page takes a second or more, and this one is there already.
        written = self.about == tuple(v.id for v in verdicts) and self.html.exists()
        return {
            self.page.name: self._markdown(verdicts),
            self.html.name: self.html.read_text("utf-8") if written else html(verdicts, self.links),
        }

    def _markdown(self, verdicts: Sequence[ExperimentVerdict], forest: str = "") -> str:
        """Return the Markdown page.

        Args:
            verdicts: what it is about.
            forest: the name of the overview's file; the page about one experiment has none.
        """
        from harness.report.pages import verdicts_markdown  # noqa: PLC0415 - as above

        return verdicts_markdown(
            verdicts, {name: path.name for name, path in self.drawn.items()}, forest
        )

    def files(self, verdict: ExperimentVerdict) -> tuple[Path, ...]:
        """The figures on the pages about one experiment, and the heat map of its grid."""
        names = dict.fromkeys((verdict.id, verdict.experiment.group))
        return tuple(self.drawn[name] for name in names if name in self.drawn)
