"""False alarms and power, by many simulated papers: what the whole verdict keeps to."""

from collections import Counter

import pytest

from harness.verdict import Outcome
from tests.verdict.simulate import FAULTS, KINDS, SEEDS, false_alarms, verdicts

TRIALS = 600
SLACK = 0.02
"""Two standard errors of a share of 5 % of so many trials, and a little."""


@pytest.mark.slow
@pytest.mark.parametrize("seeds", SEEDS)
@pytest.mark.parametrize("kind", KINDS)
def test_a_paper_that_is_one_more_run_is_seldom_called_otherwise(kind: str, seeds: int) -> None:
    found = Counter(verdicts(kind, seeds, TRIALS))
    assert false_alarms(found) <= 0.05 + SLACK


@pytest.mark.slow
@pytest.mark.parametrize("seeds", SEEDS)
@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_never_passes_and_is_seen_the_more_the_more_seeds(fault: str, seeds: int) -> None:
    found = Counter(verdicts("normal", seeds, TRIALS // 4, moved=FAULTS[fault]))
    assert not any(outcome.holds for outcome in found)
    at_least = {3: 0.15, 5: 0.6, 10: 0.9, 20: 0.9}[seeds]
    assert found[Outcome.NOT_REPRODUCED] / found.total() >= at_least


def test_few_papers_show_that_the_simulation_runs() -> None:
    drawn = Counter(verdicts("normal", 5, 40))
    off = Counter(verdicts("normal", 5, 10, moved=FAULTS["late rows by four times the tolerance"]))
    assert false_alarms(drawn) <= 0.1
    assert off[Outcome.NOT_REPRODUCED] >= 8
