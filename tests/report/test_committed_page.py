"""The pages that are committed beside the manifests say what the committed records say."""

from collections.abc import Sequence
from contextlib import chdir
from io import StringIO
from pathlib import Path

import pytest
from matplotlib.figure import Figure
from rich.console import Console

from harness import workloads
from harness.manifest import load, spell
from harness.plan import Selection
from harness.report import summary
from harness.report.figures import panels
from harness.report.grids import alone
from harness.report.pages import verdicts_markdown
from harness.session import CommittedUse, Session
from harness.store import Store
from harness.verdict import ExperimentVerdict
from tests.conftest import FIRST_PAPER

EXPERIMENTS = Path(__file__).parents[2] / "experiments"
REPORT = EXPERIMENTS / "report"


@pytest.fixture(scope="module")
def verdicts(tmp_path_factory: pytest.TempPathFactory) -> Sequence[ExperimentVerdict]:
    nothing = Store(tmp_path_factory.mktemp("nothing"))
    with chdir(EXPERIMENTS.parent):  # the page names files as they are named on the command line
        found = load([Path("experiments")], workloads.registry())
        return Session(found, Selection(), nothing, CommittedUse.ALWAYS).verdicts()


def test_the_committed_report_is_today_s(verdicts: Sequence[ExperimentVerdict]) -> None:
    """If not: `harness report experiments --committed --out experiments/report`."""
    names = {path.stem for path in FIRST_PAPER} | {"psa"}
    figures = {name: f"{name}.png" for name in names} | {"psa[comparisons]": "psa-comparisons.png"}
    assert all((REPORT / figure).exists() for figure in figures.values())
    assert (REPORT / "report.md").read_text() == verdicts_markdown(
        verdicts, figures, "overview.png"
    )


def test_each_claim_between_cells_has_a_picture_of_both_sides(
    verdicts: Sequence[ExperimentVerdict],
) -> None:
    (compared,) = (each for each in verdicts if each.id == "psa[comparisons]")
    shown = {panel.title.casefold(): panel for panel in panels(compared)}
    assert list(shown) == [row.claim.casefold() for row in compared.results]
    axes = Figure().subplots()
    shown["hidden lies below none, 1*64"].draw(axes)
    assert [label.get_text() for label in axes.get_xticklabels()] == ["none", "hidden"]
    said = axes.get_legend_handles_labels()[1]
    assert {"each seed", "the paper's runs", "tolerance", "reproduced"} <= set(said)
    # The reported difference stands above the mean of the other side.
    (mark,) = (line for line in axes.lines if line.get_label() == "reproduced")
    (row,) = (row for row in compared.results if row.kind == "difference")
    other = compared.evidence.beside["psa[shape=1*64,mode=hidden]"].finals["bounty"].mean()
    assert mark.get_ydata() == pytest.approx([other + row.reported])


def test_the_readme_prints_the_summary_as_it_is(verdicts: Sequence[ExperimentVerdict]) -> None:
    console = Console(file=StringIO(), width=80)
    console.print(summary(verdicts))
    assert isinstance(console.file, StringIO)
    shown = [line.rstrip() for line in console.file.getvalue().splitlines()]
    readme = (EXPERIMENTS.parent / "README.md").read_text()
    block = readme.partition("```console\n")[2].partition("```")[0]
    printed = [line for line in block.splitlines() if line and line[0] not in "$…"]
    head = next(i for i, line in enumerate(printed) if line.startswith("verdict"))
    assert printed[:head] == shown[: shown.index("")]
    assert len(printed) > head + 2
    assert set(printed[head:]) <= set(shown)


def test_the_page_on_what_reproduces_names_every_verdict_as_it_is(
    verdicts: Sequence[ExperimentVerdict],
) -> None:
    lines = (EXPERIMENTS / "README.md").read_text().splitlines()
    for each in alone(verdicts):
        (row,) = [line for line in lines if line.startswith(f"| [{each.id}]")]
        cells = [cell.strip() for cell in row.split("|")]
        assert cells[2:4] == [spell(each.seeds), each.verdict]
