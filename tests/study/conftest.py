"""A walk whose paper leaves much open, its variants, and what they would find."""

from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from harness.manifest import Experiment, load
from harness.record import EpochRecord, FinalRecord, StoredTrial, TrialSpec
from harness.study import Study, VariantVerdict, factors, variants
from harness.verdict import Case, judge
from harness.workload import Metric
from tests.toy import Toy, WalkParameters

# `fault` and `marker` stand for texts, `at` for a whole number; nothing here is ever run.
MANIFEST = """\
format: 1
title: A walk
paper: {title: A paper made up, author: nobody, listing: none, command: none}
unit: steps
workload:
  name: toy
  parameters:
    scale: {value: 1.0, assumed: not given}
    sleep_s: {value: 0.0, stated: the first page}
    fault: {value: "", inferred: nothing went wrong}
    at: {value: 2, assumed: not given}
    marker: {value: "", assumed: not given}
epochs: {value: 3, stated: the last page}
seeds: 0-4
claims:
  - name: first rows
    kind: value
    metric: place
    source: the listing
    reported: {1: 1.0, 2: 2.0}
    tolerance: {value: 0.5, reason: made up}
  - name: last row
    kind: value
    metric: place
    source: the listing
    reported: {3: 3.0}
    tolerance: {value: 0.5, reason: made up}
  - name: end
    kind: value
    metric: end
    source: the last line
    reported: 6.0
    tolerance: {value: 0.5, reason: made up}
expected: {not_reproduced: [end], reason: known}
"""


class Walk(WalkParameters):
    """Of which one rule holds across parameters."""

    def model_post_init(self, _context: object) -> None:
        if self.at > 100 * self.scale:
            raise ValueError(f"at: at most 100 scales, got {self.at}")


METRICS = Toy().metrics | {
    "other_place": Metric("steps", "where another walk stands"),
    "other_end": Metric("steps", "where another walk ended", final=True),
    "miles": Metric("miles", "how far it is"),
}
REGISTRY = {"toy": Toy(parameters=Walk, metrics=METRICS)}
SEEDS = (0, 1, 2, 3, 4)

Find = Callable[[Experiment, int], StoredTrial | None]
Make = Callable[..., Study]


def walked(experiment: Experiment, seed: int) -> StoredTrial:
    """A walk of `scale` steps an epoch, the seeds close together."""
    scale = experiment.parameters.scale + 0.01 * (seed - 2)  # type: ignore[attr-defined]
    ends = {"end": 6 * scale, "other_end": 6 * scale + 3}
    return StoredTrial(
        spec=TrialSpec("toy", 1, {}, seed, {}),
        epochs=tuple(
            EpochRecord(epoch, {"place": epoch * scale, "other_place": -1.0}, 0, 1.0)
            for epoch in (1, 2, 3)
        ),
        finals={3: FinalRecord(3, ends, 0, 1.0)},
        done=3,
    )


@pytest.fixture
def walk(tmp_path: Path) -> Experiment:
    path = tmp_path / "a-walk.yaml"
    path.write_text(MANIFEST)
    return load([path], REGISTRY)[0]


@pytest.fixture
def studied(walk: Experiment) -> Make:
    """The study of some options."""

    def make(
        *vary: str, grid: bool = False, find: Find = walked, seeds: Sequence[int] = SEEDS
    ) -> Study:
        varied, made = variants(walk, factors(walk, vary), REGISTRY, grid=grid)
        verdicts = [judge([Case(each.experiment, tuple(seeds), 3)], find)[0] for each in made]
        return Study(walk, varied, tuple(map(VariantVerdict, made, verdicts)), grid)

    return make
