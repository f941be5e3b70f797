"""The report folder: one Markdown page, and a figure for each experiment."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from harness.report import figures
from harness.report.markdown import markdown
from harness.verdict import ExperimentVerdict


@dataclass(frozen=True)
class Reports:
    """What was written, and where."""

    page: Path
    drawn: Mapping[str, Path]
    """The figure by experiment, where there was something to draw."""

    @classmethod
    def write(cls, verdicts: Sequence[ExperimentVerdict], folder: Path) -> Self:
        """Write page and figures into a folder, which is made if it is not there.

        Raises:
            OSError: it cannot be written.
        """
        folder.mkdir(parents=True, exist_ok=True)
        drawn = {}
        for verdict in verdicts:
            figure = figures.figure(verdict)
            if figure is not None:
                drawn[verdict.id] = folder / f"{verdict.id}.png"
                drawn[verdict.id].write_bytes(figures.image(figure, "png"))
        written = cls(folder / "report.md", drawn)
        written.page.write_text(written.markdown(verdicts), encoding="utf-8")
        return written

    def markdown(self, verdicts: Sequence[ExperimentVerdict]) -> str:
        """The page on some of the verdicts; figures are linked beside it."""
        return markdown(verdicts, {name: path.name for name, path in self.drawn.items()})

    def files(self, verdict: ExperimentVerdict) -> tuple[Path, ...]:
        """What belongs to the page on one experiment."""
        return (self.drawn[verdict.id],) if verdict.id in self.drawn else ()
