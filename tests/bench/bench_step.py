"""One step of training: the plain loop's against the fast form's, on one thread.

Each form has a process of its own, started as a worker is: beside the other it would find the
memory as that one's much larger blocks left it.
"""

from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from multiprocessing import get_context
from pathlib import Path
from statistics import median

import pytest

from harness.process import settings
from harness.workloads.mine.run import MineRun
from tests.bench import trials
from tests.bench.conftest import Sizes
from tests.bench.paired import Action, Pair
from tests.bench.results import Figure

PROMISED = {"image pairs": 2.0, "sequences": 6.5}


@pytest.mark.parametrize("network", list(trials.NETWORKS))
def test_a_step(
    *,
    network: str,
    mnist_cache: Path,
    sizes: Sizes,
    paired: Callable[[Action, Action], list[Pair]],
    figures: list[Figure],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """An epoch with all that belongs to it (pairs, both passes, optimiser), by its steps."""
    for name, value in settings(1).items():
        monkeypatch.setenv(name, value)
    with (
        _worker(network, "plain", mnist_cache, sizes) as plain,
        _worker(network, "fast", mnist_cache, sizes) as fast,
    ):
        steps = plain.submit(_steps).result()
        pairs = paired(lambda: plain.submit(_epoch).result(), lambda: fast.submit(_epoch).result())
    figures += [
        Figure.of(
            (pair.ratio for pair in pairs),
            group="A step, one thread",
            name=f"{network}: plain loop / fast form",
            at_least=PROMISED.get(network),
            note=_per_step(pairs, steps),
        )
    ]


@contextmanager
def _worker(network: str, form: str, cache: Path, sizes: Sizes) -> Iterator[ProcessPoolExecutor]:
    """A process with one trial, which runs an epoch whenever it is asked to."""
    with ProcessPoolExecutor(
        1, get_context("spawn"), initializer=_start, initargs=(network, form, cache, sizes)
    ) as process:
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
    return -(-pairs // run._parameters.batch_size)


def _per_step(pairs: list[Pair], steps: int) -> str:
    plain_ms = 1000 * median(pair.first_s for pair in pairs) / steps
    fast_ms = 1000 * median(pair.second_s for pair in pairs) / steps
    return f"{plain_ms:.1f} ms a step, now {fast_ms:.1f} ms"
