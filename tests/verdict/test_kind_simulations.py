"""False alarms and power of the newer kinds, by many simulated papers of ten runs."""

import pytest

from harness.verdict import Outcome
from tests.verdict.simulate_kinds import DOCS, KINDS, MARK, POOLS, SHAPES, false_alarms, verdicts

TIMES = 400
SLACK = 0.025
"""Two standard errors of a share of 5 % of so many papers, and a little."""


@pytest.mark.slow
@pytest.mark.parametrize("name", [*SHAPES, *POOLS])
@pytest.mark.parametrize("kind", KINDS)
def test_a_paper_whose_runs_are_like_ours_is_seldom_called_otherwise(kind: str, name: str) -> None:
    assert false_alarms(verdicts(kind, name, TIMES)) <= 0.05 + SLACK


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["sample, all values", "sample, mean and SD"])
@pytest.mark.parametrize("moved", [-4.0, 4.0])
def test_a_mean_that_is_far_off_is_noticed(kind: str, moved: float) -> None:
    found = verdicts(kind, "normal", TIMES // 4, moved=moved)
    assert found[Outcome.NOT_REPRODUCED] / found.total() >= 0.95


@pytest.mark.parametrize("kind", KINDS)
def test_few_papers_show_that_the_simulation_runs(kind: str) -> None:
    assert false_alarms(verdicts(kind, "18*18, ablations", 12)) <= 0.25
    far = verdicts(kind, "normal", 4, moved=-6.0 if "at_least" in kind else 6.0)
    assert far[Outcome.NOT_REPRODUCED] == 4


def test_the_page_has_a_line_for_each_kind_and_shape() -> None:
    table = DOCS.read_text(encoding="utf-8").partition(MARK)[2]
    for kind in KINDS:
        for name in (*SHAPES, *POOLS):
            assert f"| {kind} | {name} |" in table
