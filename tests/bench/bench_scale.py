"""The command line on studies of thousands of trials; each command with all its imports."""

import time
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from harness import workloads
from harness.plan import Selection, specs
from harness.store import Store
from tests.bench import trials, workspaces
from tests.bench.conftest import Sizes
from tests.bench.paired import seconds
from tests.bench.processes import harness
from tests.bench.results import Figure

MANIFEST = trials.EXPERIMENTS / "image-pair-4.yaml"
GROUP = "Studies of many trials"


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory, sizes: Sizes) -> Path:
    """As many finished trials of 50 epochs as are to be judged."""
    folder = tmp_path_factory.mktemp("study") / "results"
    workspaces.fill(folder, [trials.experiment("image-pair-4")], range(max(sizes.stored)))
    return folder


def test_check(workspace: Path, sizes: Sizes, benchmark: Any, figures: list[Figure]) -> None:
    spent: dict[int, list[float]] = {count: [] for count in (1, *sizes.stored)}

    def one_round() -> None:
        for count, rounds in spent.items():
            options = ("--seeds", f"0-{count - 1}", "--workspace", workspace)
            rounds.append(seconds(partial(harness, "check", MANIFEST, *options)))

    benchmark.pedantic(one_round, rounds=min(sizes.rounds, 3))
    figures += [
        Figure.of(
            rounds,
            group=GROUP,
            name=f"check of {count:,} stored trials of 50 epochs",
            unit="s",
            at_most=10.0 if count == max(spent) else None,
            series="check",
            x=count,
        )
        for count, rounds in spent.items()
    ]
    # Past what one trial takes, which is Python's start, each further trial takes the same time.
    # Against half as many: what fewer take beyond that is no more than a start's own noise.
    few, many = sizes.stored[-2], sizes.stored[-1]
    slopes = (
        ((most - one) / (some - one)) * (few - 1) / (many - 1)
        for one, some, most in zip(spent[1], spent[few], spent[many], strict=True)
    )
    name = f"check: time for each of {many:,} trials / of {few:,}"
    figures += [Figure.of(slopes, group=GROUP, name=name, at_most=1.25)]


def test_status(workspace: Path, sizes: Sizes, benchmark: Any, figures: list[Figure]) -> None:
    count = max(sizes.stored)
    spent: list[float] = []
    options = ("--seeds", f"0-{count - 1}", "--workspace", workspace)
    status = partial(harness, "status", MANIFEST, *options)
    benchmark.pedantic(lambda: spent.append(seconds(status)), rounds=min(sizes.rounds, 3))
    name = f"status of {count:,} stored trials"
    figures += [Figure.of(spent, group=GROUP, name=name, unit="s", at_most=4.0)]


def test_plan(tmp_path: Path, sizes: Sizes, benchmark: Any, figures: list[Figure]) -> None:
    spent: list[float] = []
    options = ("--seeds", f"0-{sizes.planned - 1}", "--workspace", tmp_path / "none")
    plan = partial(harness, "plan", MANIFEST, *options)
    benchmark.pedantic(lambda: spent.append(seconds(plan)), rounds=min(sizes.rounds, 3))
    name = f"plan of {sizes.planned:,} trials"
    figures += [Figure.of(spent, group=GROUP, name=name, unit="s", at_most=5.0)]


def test_resume(workspace: Path, sizes: Sizes, benchmark: Any, figures: list[Figure]) -> None:
    """From the command to the first epoch of the one trial that is missing; Ray's start included.

    Tracking is off: the workspace is not in MLflow.
    """
    found = trials.experiment("image-pair-4")
    workload = workloads.registry()[found.manifest.workload.name]
    waits: list[float] = []

    def one_more() -> None:
        seed = max(sizes.stored) + len(waits)
        options = ("--epochs", "1", "--workspace", workspace, "--tracking-uri", "none", "--quiet")
        began_s = time.time()
        harness("run", MANIFEST, "--seeds", f"0-{seed}", *options)
        (spec,) = specs(found, workload, Selection(seeds=(seed,)))
        trial = Store(workspace).read(spec.id)
        assert trial is not None
        first = trial.epochs[0]
        waits.append(first.ended_ms / 1000 - first.seconds - began_s)

    benchmark.pedantic(one_more, rounds=min(sizes.rounds, 2))
    name = f"resume of {max(sizes.stored):,} finished trials: to the missing one's first epoch"
    figures += [Figure.of(waits, group=GROUP, name=name, unit="s", at_most=15.0)]
