"""One seed of a correct method is seldom red, and what is far off is."""

from pathlib import Path

import pytest

from harness import workloads
from harness.manifest import load
from harness.plan import Selection
from harness.session import CommittedUse, Session
from harness.store import Store
from harness.verdict import Outcome
from tests.verdict.builders import experiment, row, trial, value, verdict_on
from tests.verdict.fitted import CONSTANT, IMAGES, INDEPENDENT, UNTRAINED, verdicts
from tests.verdict.one_seed import against_each_other, against_the_paper

EXPERIMENTS = Path(__file__).parents[2] / "experiments"


def alone(name: str, seed: int, *, folder: Path):
    experiments = load([EXPERIMENTS / f"{name}.yaml"], workloads.registry())
    store = Store(folder / "nothing")
    session = Session(experiments, Selection(seeds=(seed,)), store, CommittedUse.ALWAYS)
    return session.verdicts()[0]


@pytest.mark.parametrize("name", ["sequence-pair-16", *IMAGES])
def test_no_committed_seed_alone_is_red_against_its_paper_or_another_seed(name: str) -> None:
    """Not even one that stays at zero, as two of six committed seeds of the sequences do.

    The study that gives the noise leaves out both. Before, 12 of the 40 image seeds were red.
    """
    (asked,) = load([EXPERIMENTS / f"{name}.yaml"], workloads.registry())
    assert not against_the_paper(asked)[Outcome.NOT_REPRODUCED]
    pairs = against_each_other(asked)
    assert pairs.total() >= 20
    assert pairs[Outcome.NOT_REPRODUCED] / pairs.total() <= 0.05 / 10  # a night has ten experiments


def test_one_seed_of_a_grid_shares_alpha_with_all_of_its_cells() -> None:
    """Seed 8 of this cell lies 3 SDs from the paper's mean; of 300 trials one such is chance."""
    (file,) = EXPERIMENTS.rglob("psa.yaml")
    (cell,) = load([Path(f"{file}[shape=4*29,mode=decay]")], workloads.registry())
    assert not against_the_paper(cell)[Outcome.NOT_REPRODUCED]


def test_one_seed_of_what_learns_nothing_is_red() -> None:
    for kind in (INDEPENDENT, UNTRAINED, CONSTANT):
        assert verdicts(kind, 1, 8)[Outcome.NOT_REPRODUCED] == 8


def test_the_method_names_the_committed_seeds(tmp_path: Path) -> None:
    found = row(alone("image-pair-4", 0, folder=tmp_path), "late rows @ 20")
    assert found.method == "band of the 9 committed seeds, for the noise of both runs"


def test_without_a_study_one_seed_carries_no_red_verdict() -> None:
    for reported, outcome in ((1.05, Outcome.REPRODUCED), (2.0, Outcome.INCONCLUSIVE)):
        asked = experiment(value(reported, name="test"), epochs=1, seeds=(0,))
        found = verdict_on(asked, {0: trial([0.0], test=1.0)})
        assert found.verdict is outcome
    assert "one seed carries no verdict" in row(found, "test").note
