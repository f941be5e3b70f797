"""One step of training: the plain loop's against the fast form's, on one thread.

Each has a process of its own: beside the other it would find the memory as that one's much larger
blocks left it. The fast form's is set up as a worker is. The plain loop's has the environment of
the paper's author, or else is set up as a worker too, which tells what the rewrites alone do.
"""

import os
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from multiprocessing import get_context
from pathlib import Path
from statistics import median

import pytest

from harness.engine.worker_process import settings
from harness.workloads.mine.run import MineRun
from tests.bench import trials
from tests.bench.conftest import Sizes
from tests.bench.paired import Action, Pair
from tests.bench.processes import as_the_author, environment
from tests.bench.results import Figure

PROMISED = {"image pairs": 2.0, "sequences": 6.5}
GROUPS = {
    "script": "A step, one thread, against the plain loop in a process as it comes",
    "worker": "The rewrites alone: the same, the plain loop in a worker too",
}


@pytest.mark.parametrize("network", list(trials.NETWORKS))
@pytest.mark.parametrize("peer", list(GROUPS))
def test_a_step(
    *,
    peer: str,
    network: str,
    mnist_cache: Path,
    sizes: Sizes,
    paired: Callable[[Action, Action], list[Pair]],
    figures: list[Figure],
) -> None:
    """An epoch with all that belongs to it (pairs, both passes, optimiser), by its steps."""
    worker = dict(os.environ) | settings(1)
    bare = as_the_author() if peer == "script" else worker
    with (
        _process(bare, network, "plain", mnist_cache, sizes) as plain,
        _process(worker, network, "fast", mnist_cache, sizes) as fast,
    ):
        steps = plain.submit(_steps).result()
        pairs = paired(lambda: plain.submit(_epoch).result(), lambda: fast.submit(_epoch).result())
    figures += [
        Figure.of(
            (pair.ratio for pair in pairs),
            group=GROUPS[peer],
            name=f"{network}: plain loop / fast form",
            at_least=PROMISED.get(network) if peer == "script" else None,
            note=_per_step(pairs, steps),
        )
    ]


@contextmanager
def _process(
    variables: Mapping[str, str], network: str, form: str, cache: Path, sizes: Sizes
) -> Iterator[ProcessPoolExecutor]:
    """A process with one trial, which runs an epoch whenever it is asked to."""
    started = ProcessPoolExecutor(
        1, get_context("spawn"), initializer=_start, initargs=(network, form, cache, sizes)
    )
    with started as process:
        with environment(variables):
            process.submit(_steps).result()
        yield process


_trial: list[MineRun] = []
"""Of a worker: the one that it was started with."""


def _start(network: str, form: str, cache: Path, sizes: Sizes) -> None:
    found = trials.shortened(trials.NETWORKS[network], sizes.minibatches)
    _trial.append(trials.start(found, trials.digits(cache, sizes.images), form=form))


def _epoch() -> None:
    _trial[0].epoch()


def _steps() -> int:
    """How many steps an epoch has."""
    (run,) = _trial
    pairs = len(run._training_pairs(1).a)
    return -(-pairs // run.parameters.batch_size)


def _per_step(pairs: list[Pair], steps: int) -> str:
    plain_ms = 1000 * median(pair.first_s for pair in pairs) / steps
    fast_ms = 1000 * median(pair.second_s for pair in pairs) / steps
    return f"{plain_ms:.1f} ms a step, now {fast_ms:.1f} ms"
