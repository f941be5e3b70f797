"""Many cells are tested at once: the correction runs over the whole table."""

import numpy as np
import pytest

from harness.manifest import Cell
from harness.verdict import ExperimentVerdict, Outcome
from tests.verdict.builders import experiment, row, trial, value, verdicts_on

LABELS = tuple(str(number) for number in range(60))


def judged(
    finals: dict[str, list[float]], *, tolerance: float = 0.05
) -> dict[str, ExperimentVerdict]:
    """Judge some of 60 cells whose paper reports 1.0, by their seeds' final estimates."""
    asked = []
    for label, values in finals.items():
        cell = Cell("toys", "Toys", {"size": LABELS}, {"size": label})
        one = experiment(value(1.0, tolerance), id=cell.id, epochs=1, seeds=range(len(values)))
        found = {seed: trial([0.0], test=final) for seed, final in enumerate(values)}
        asked.append((one.model_copy(update={"cell": cell}), found))
    return {verdict.id: verdict for verdict in verdicts_on(asked)}


def seeds(off: float, n: int = 10) -> list[float]:
    """Seeds with SD 0.05 whose mean is off by so many SDs."""
    normal = np.linspace(-1.5, 1.5, n)
    return (1.0 + 0.05 * (normal / normal.std(ddof=1) + off)).tolist()


def test_what_one_cell_in_sixty_may_do_by_chance_refutes_nothing() -> None:
    (found,) = judged({"0": seeds(2.9)}).values()
    result = row(found, "late rows")
    assert found.verdict is Outcome.INCONCLUSIVE
    assert found.as_expected is None
    assert "before the correction for 60 cells" in result.note


def test_what_chance_does_not_explain_in_sixty_cells_is_still_refuted() -> None:
    (found,) = judged({"0": seeds(9.0)}).values()
    assert found.verdict is Outcome.NOT_REPRODUCED
    assert found.as_expected is False


def test_other_cells_never_make_a_verdict_more_severe() -> None:
    alone = judged({"0": seeds(2.9)})["toys[size=0]"]
    beside = judged({label: seeds(2.9) for label in LABELS})["toys[size=0]"]
    assert beside.verdict.severity <= alone.verdict.severity


@pytest.mark.slow
def test_a_table_of_true_cells_is_seldom_refuted_anywhere() -> None:
    rng = np.random.default_rng(7)
    tables = 60
    refuted = 0
    for _ in range(tables):
        # The paper's run is one more run, so the seeds lie around a mean that it was drawn from.
        cells = {
            label: (1.0 - 0.05 * rng.normal() + 0.05 * rng.normal(size=10)).tolist()
            for label in LABELS[:30]
        }
        found = judged(cells, tolerance=0.01).values()
        refuted += any(verdict.verdict is Outcome.NOT_REPRODUCED for verdict in found)
    assert refuted / tables <= 0.05 + 0.06  # two standard errors
