"""False alarms and power of the newer kinds, by many simulated papers of ten runs."""

import pytest

from harness.verdict import Outcome
from tests.verdict.simulate_kinds import (
    BETWEEN,
    DOCS,
    KINDS,
    MARK,
    POOLS,
    PUBLISHED,
    SHAPES,
    TABLES,
    false_alarms,
    verdicts,
    verdicts_between,
)

TIMES = 400
SLACK = 0.025
"""Two standard errors of a share of 5 % of so many papers, and a little."""


@pytest.mark.slow
@pytest.mark.parametrize("name", [*SHAPES, *POOLS])
@pytest.mark.parametrize("kind", KINDS)
def test_a_paper_whose_runs_are_like_ours_is_seldom_called_otherwise(kind: str, name: str) -> None:
    assert false_alarms(verdicts(kind, name, TIMES)) <= 0.05 + SLACK


@pytest.mark.slow
@pytest.mark.parametrize("name", [*SHAPES, *PUBLISHED])
@pytest.mark.parametrize("kind", BETWEEN)
def test_a_comparison_whose_runs_are_like_ours_is_seldom_called_otherwise(
    kind: str, name: str
) -> None:
    assert false_alarms(verdicts_between(kind, name, TIMES)) <= 0.05 + SLACK


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


@pytest.mark.parametrize("kind", BETWEEN)
def test_few_comparisons_show_that_the_simulation_runs(kind: str) -> None:
    assert false_alarms(verdicts_between(kind, "18*18", 8)) <= 0.25
    down = kind.startswith(("order", "sometimes"))
    far = verdicts_between(kind, "normal", 3, moved=-6.0 if down else 6.0)
    assert far[Outcome.NOT_REPRODUCED] == 3


def test_the_page_has_a_line_for_each_kind_and_shape() -> None:
    table = DOCS.read_text(encoding="utf-8").partition(MARK)[2]
    for _, _, kinds, names in TABLES:
        for kind in kinds:
            for name in names:
                assert f"| {kind} | {name} |" in table
