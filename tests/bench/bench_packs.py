"""Packs of K seeds against one process a seed: seeds per hour and memory, on one core.

A process trains one seed, another one K seeds as a pack, each with a worker's environment. They run
an epoch in turns. An epoch of the estimators of mutual information is a few minibatches. Their
packs promise nothing on a CPU; those of images and of sequences train their seeds in turn.
"""

import multiprocessing
import os
import resource
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from statistics import median
from typing import Any, cast

import pytest

from harness import workloads
from harness.engine.worker_process import settings
from harness.manifest import Experiment, load
from harness.workload import Context, Packing
from tests.bench import trials
from tests.bench.conftest import Sizes
from tests.bench.paired import seconds
from tests.bench.processes import environment
from tests.bench.results import Figure

GROUP = "A pack of K seeds on one core: seeds an hour, against one process a seed"
PROMISED = {"1*16": 5.0, "2*30": 5.0, "20*20": 5.0, "1*64": 2.0}
CELLS = {shape: f"psa.yaml[shape={shape},mode=full]" for shape in (*PROMISED, "8*8")}
ESTIMATORS = {
    "2d Gaussians": "gaussian-2d-rho-90",
    "20d Gaussians": "gaussian-20d-rho-30",
    **trials.NETWORKS,
}
"""The experiment that stands for each."""
MIB = 1 << 20


@pytest.mark.parametrize("pack", [4, 10])
@pytest.mark.parametrize("name", [*CELLS, *ESTIMATORS])
def test_a_pack(
    *,
    name: str,
    pack: int,
    mnist_cache: Path,
    sizes: Sizes,
    benchmark: Any,
    figures: list[Figure],
) -> None:
    if sizes.rounds == 1 and (name, pack) not in {("1*16", 4), ("20d Gaussians", 4)}:
        pytest.skip("two are enough")
    alone_s: list[float] = []
    packed_s: list[float] = []
    with environment(dict(os.environ) | settings(1)):
        spawn = multiprocessing.get_context("spawn")
        options = {"mp_context": spawn, "initializer": _start}
        one = ProcessPoolExecutor(1, initargs=(name, 0, mnist_cache, sizes), **options)
        many = ProcessPoolExecutor(1, initargs=(name, pack, mnist_cache, sizes), **options)
        with one, many:

            def in_turns() -> None:
                alone_s.append(one.submit(_epoch_s).result())
                packed_s.append(many.submit(_epoch_s).result())

            in_turns()  # compiles, and fills caches
            alone_s.clear(), packed_s.clear()
            benchmark.pedantic(in_turns, rounds=min(sizes.rounds, 3))
            memory_mib = [each.submit(_peak_mib).result() for each in (one, many)]
    figures.append(
        Figure.of(
            (pack * a / p for a, p in zip(alone_s, packed_s, strict=True)),
            group=GROUP,
            name=f"{name}, K = {pack}",
            at_least=PROMISED.get(name) if pack == 10 else None,
            note=(
                f"a seed's epoch {median(alone_s):.3f} s, in the pack {median(packed_s) / pack:.3f}"
                f" s; {memory_mib[0]:,.0f} MiB, the pack {memory_mib[1]:,.0f} MiB"
            ),
        )
    )


_epoch: list[Callable[[], object]] = []
"""Of a worker: what runs an epoch of the seed or of the pack that it was started with."""


def _start(name: str, pack: int, cache: Path, sizes: Sizes) -> None:
    found = _experiment(name, sizes)
    workload = cast(Packing, workloads.registry()[found.manifest.workload.name])
    data = {
        item.name: trials.digits(cache, 60_000 if name in CELLS else sizes.minibatches * 200)
        for item in workload.data_sets(found.parameters)
    }
    contexts = [Context(seed, data, "cpu", 1) for seed in range(max(1, pack))]
    if not pack:
        _epoch.append(workload.start(found.parameters, contexts[0]).epoch)
        return
    together = workload.start_pack(found.parameters, contexts, pack)
    _epoch.append(lambda: together.epoch(range(pack)))


def _experiment(name: str, sizes: Sizes) -> Experiment:
    if name in ESTIMATORS:
        return trials.shortened(ESTIMATORS[name], sizes.minibatches)
    (found,) = load([trials.EXPERIMENTS / CELLS[name]], workloads.registry())
    return found


def _epoch_s() -> float:
    return seconds(_epoch[0])


def _peak_mib() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / MIB
