"""How the benches are run: small where only asked to run at all, and their figures kept."""

import os
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import pytest

from harness import engine
from harness.workload import Arrays
from tests.bench import trials
from tests.bench.machine import describe
from tests.bench.paired import Action, Pair, in_turns
from tests.bench.results import Figure

CORES = os.cpu_count() or 1


@dataclass(frozen=True)
class Sizes:
    """How much of everything; the defaults are what the table tells of."""

    rounds: int = 5
    trials: int = 1_000
    """Trivial ones, run."""
    tracked: int = 200
    stored: tuple[int, ...] = (2_500, 5_000, 10_000)
    """Trials of 50 epochs, judged again."""
    planned: int = 100_000
    minibatches: int = 20
    """Of an epoch of sequences."""
    epochs: int = 2
    """Of a real trial."""
    grid_trials: tuple[int, ...] = (1_000, 10_000, 100_000)
    """Finished trials of a grid."""
    shapes: int = 98
    """Of the grid."""
    images: int = 60_000
    """At most, of each part of MNIST."""


QUICK = Sizes(
    rounds=1,
    trials=20,
    tracked=5,
    stored=(20, 40),
    planned=100,
    grid_trials=(12, 24),
    shapes=1,
    minibatches=1,
    epochs=1,
    images=1_000,
)


@pytest.fixture(scope="session")
def sizes() -> Sizes:
    return QUICK if os.environ.get("BENCH_QUICK") else Sizes()


@pytest.fixture
def figures(benchmark: Any) -> Iterator[list[Figure]]:
    """What a bench appends here stands in the table."""
    found: list[Figure] = []
    yield found
    benchmark.extra_info["figures"] = [asdict(each) for each in found]


@pytest.fixture
def paired(benchmark: Any, sizes: Sizes) -> Callable[[Action, Action], list[Pair]]:
    """Times two actions in turns, after one round that does not count."""

    def measure(first: Action, second: Action) -> list[Pair]:
        pairs: list[Pair] = []
        in_turns(first, second, rounds=1)
        benchmark.pedantic(
            lambda: pairs.extend(in_turns(first, second, rounds=2)), rounds=sizes.rounds
        )
        return pairs

    return measure


@pytest.fixture(scope="module")
def cluster() -> Iterator[None]:
    """Gone with the benches that need it: beside the others it would cost them time."""
    with engine.cluster(cpus=CORES):
        yield


@pytest.fixture(scope="session")
def digits(mnist_cache: Path, sizes: Sizes) -> Arrays:
    return trials.digits(mnist_cache, sizes.images)


@pytest.hookimpl(optionalhook=True)
def pytest_benchmark_update_machine_info(config: pytest.Config, machine_info: Any) -> None:
    machine_info["harness"] = describe()
