"""A problem whose answer is known: does a search find the parameters that made the paper's run?

`python -m tests.study.planted --repetitions 20` makes as many papers, each a run with other true
values, and says in how many the region of the search covers them. Nothing here starts Ray.
"""

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from harness.manifest import Experiment, load
from harness.stats import Array
from harness.study.region import Region
from harness.study.search import Found, Space, explore
from harness.study.sensitivity import Settings
from harness.workload import Metric
from tests.toy import Toy

EPOCHS = 16
NOISE = 0.03
"""SD of a run's height, as a share of it; and ten times less from epoch to epoch."""

MANIFEST = """\
format: 1
title: A planted problem
paper: {{title: A paper made up, author: nobody, listing: none, command: none}}
unit: steps
workload:
  name: toy
  parameters:
    scale: {{value: 1.0, assumed: not given}}
    sleep_s: {{value: 0.5, assumed: not given}}
    fault: {{value: "", stated: the first page}}
    at: {{value: 2, stated: the first page}}
    marker: {{value: "", stated: the first page}}
epochs: {{value: 16, stated: the last page}}
seeds: 0-4
claims:
  - name: rows
    kind: value
    metric: place
    source: the listing
    reported: {reported}
    tolerance: {{value: 0.2, reason: made up}}
search:
  parameters:
    scale: {{low: 0.2, high: 3.0}}
    sleep_s: {{low: 0.03, high: 1.0, log: true}}
  rows: {{rows: [1, 4, 12]}}
  epochs: 12
  rungs: [4]
  seeds: 100-102
"""

REGISTRY = {"toy": Toy(metrics={"place": Metric("steps", "where it stands")})}


def curve(settings: Settings, seed: int, epochs: int = EPOCHS, noise: float = NOISE) -> Array:
    """A run: it climbs to `scale`, at the rate `sleep_s`; its height is chance."""
    height, rate = map(float, settings)
    rng = np.random.default_rng([seed, int(1e6 * height), int(1e6 * rate)])
    level = 1 + noise * rng.standard_normal() + noise / 10 * rng.standard_normal(EPOCHS)
    time = np.arange(1, EPOCHS + 1)
    return np.asarray(height * level * (1 - np.exp(-rate * time)))[:epochs]


@dataclass
class Planted:
    """A paper whose run has known parameters."""

    truth: Settings
    folder: Path
    shift: float = 0.0
    """Added to the reported values, so that no parameters explain them."""
    noise: float = NOISE
    runs: int = 0
    """How many epochs were run, over all trials."""

    def experiment(self) -> Experiment:
        paper = curve(self.truth, 10**6, noise=self.noise)
        late = {12: paper[11] + self.shift, 16: paper[15] + self.shift}
        rows = {1: paper[0], 4: paper[3] - self.shift} | late
        reported = "{" + ", ".join(f"{epoch}: {value:.4f}" for epoch, value in rows.items()) + "}"
        path = self.folder / "planted.yaml"
        path.write_text(MANIFEST.format(reported=reported))
        return load([path], REGISTRY)[0]

    def measure(self, asked: Sequence[Settings], epochs: int, seeds: Sequence[int]) -> list[Array]:
        self.runs += len(asked) * len(seeds) * epochs
        return [np.array([self._rows(one, seed, epochs) for seed in seeds]).T for one in asked]

    def _rows(self, settings: Settings, seed: int, epochs: int) -> list[float]:
        run = curve(settings, seed, noise=self.noise)
        return [run[row - 1] if row <= epochs else np.nan for row in (1, 4, 12)]

    def search(self, settings: int) -> Found:
        return explore(Space.declared(self.experiment()), self.measure, settings=settings)


def truths(count: int) -> list[Settings]:
    """Random parameters, well inside the ranges that are searched."""
    rng = np.random.default_rng(1)
    return [(rng.uniform(0.5, 2.5), float(np.exp(rng.uniform(-3, -0.4)))) for _ in range(count)]


def repeat(count: int, settings: int, folder: Path) -> list[tuple[bool, float, bool]]:
    """For each paper: whether the region covers the truth, its share, whether it says nothing."""
    found = []
    for truth in truths(count):
        region = Region(Planted(truth, folder).search(settings))
        contained = bool(region.implausibility([truth])[0] <= region.cutoff)
        found.append((contained, region.share, region.nothing))
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repetitions", type=int, default=20)
    parser.add_argument("--settings", type=int, default=25)
    asked = parser.parse_args()
    with TemporaryDirectory() as folder:
        found = repeat(asked.repetitions, asked.settings, Path(folder))
    covered = sum(covers for covers, _, _ in found)
    share = sorted(share for _, share, _ in found)[len(found) // 2]
    print(f"covered {covered} of {len(found)}; median share of the space {share:.3f}")


if __name__ == "__main__":
    main()
