"""Trials side by side: how near N cores come to N trials at full speed."""

import math
from collections.abc import Sequence
from functools import partial
from typing import Any

import pytest

from harness.plan import Job
from harness.record import EpochRecord, FinalRecord, Message
from harness.workload import Arrays
from tests import toy
from tests.bench import trials
from tests.bench.conftest import CORES, Sizes
from tests.bench.results import Figure

pytestmark = pytest.mark.usefixtures("cluster")

GROUP = f"Trials of one thread on {CORES} cores"


class Span:
    """How long some trials take, from the first's first epoch to the last's test estimate.

    Not from handing out: trials of another number of threads want workers of their own, which
    Ray starts when they are asked for, and a run shares the data set before it hands out any.
    """

    def __init__(self) -> None:
        self.began_ms, self.ended_ms = math.inf, -math.inf

    def hear(self, job: Job, message: Message) -> None:
        if isinstance(message, EpochRecord | FinalRecord):
            self.began_ms = min(self.began_ms, message.ended_ms - 1000 * message.seconds)
            self.ended_ms = max(self.ended_ms, message.ended_ms)


def _span_ms(jobs: Sequence[Job], digits: Arrays) -> float:
    span = Span()
    trials.run(jobs, trials.Sink(hear=span.hear), arrays=digits)
    return span.ended_ms - span.began_ms


@pytest.mark.parametrize("network", list(trials.NETWORKS))
def test_trials_against_cores(
    network: str, digits: Arrays, sizes: Sizes, benchmark: Any, figures: list[Figure]
) -> None:
    """The same trials, one after another, and then more and more at a time.

    Ray ends workers that stand idle, so each number of them is woken before it is timed.
    """
    found = trials.shortened(trials.NETWORKS[network], sizes.minibatches)
    make = partial(trials.of, found, seeds=range(CORES), threads=1)
    counts = [count for count in range(1, CORES + 1) if CORES % count == 0]
    spent: dict[int, list[float]] = {count: [] for count in counts}

    def one_round() -> None:
        for count in counts:
            trials.run(make(epochs=1, cpus=CORES / count), arrays=digits)
            spent[count].append(_span_ms(make(epochs=sizes.epochs, cpus=CORES / count), digits))

    benchmark.pedantic(one_round, rounds=sizes.rounds)
    figures += [
        Figure.of(
            (alone / here for alone, here in zip(spent[1], spent[count], strict=True)),
            group=GROUP,
            name=f"{network}: {count} at a time, against one by one",
            at_least=0.9 * count,
            series=network,
            x=count,
        )
        for count in counts
        if count > 1
    ]


class Gaps:
    """Notes how long a worker stands idle from one trial's last record to the next one's first."""

    def __init__(self) -> None:
        self._ended_ms: float | None = None
        self.waits_ms: list[float] = []

    def hear(self, job: Job, message: Message) -> None:
        if isinstance(message, FinalRecord):
            self._ended_ms = message.ended_ms
        if isinstance(message, EpochRecord) and message.epoch == 1 and self._ended_ms is not None:
            self.waits_ms.append(message.ended_ms - 1000 * message.seconds - self._ended_ms)


@pytest.mark.parametrize("what", ["a walk", *trials.NETWORKS])
def test_a_trial_starts_on_a_warm_worker(
    what: str, digits: Arrays, sizes: Sizes, benchmark: Any, figures: list[Figure]
) -> None:
    """From the end of the one before to the start of its first epoch, its first draw included.

    Each asks for every core, so that they run one by one.
    """
    warm = range(4)
    rest = range(len(warm), len(warm) + 4 * sizes.rounds)
    if what == "a walk":
        jobs = [toy.job(seed, epochs=1, cpus=CORES) for seed in (*warm, *rest)]
    else:
        found = trials.shortened(trials.NETWORKS[what], 1)
        jobs = trials.of(found, seeds=(*warm, *rest), epochs=1, cpus=CORES, threads=1)
    gaps = Gaps()
    sink = trials.Sink(hear=gaps.hear)
    benchmark.pedantic(lambda: trials.run(jobs, sink, arrays=digits), rounds=1)
    figures += [
        Figure.of(
            gaps.waits_ms[len(warm) :],
            group="A trial's start on a warm worker",
            name=what,
            unit="ms",
            at_most=50,
        )
    ]


def test_one_thread_each_against_all_threads_for_one(
    digits: Arrays, sizes: Sizes, benchmark: Any, figures: list[Figure]
) -> None:
    found = trials.experiment(trials.NETWORKS["image pairs"])
    make = partial(trials.of, found, seeds=range(CORES), epochs=2 * sizes.epochs)
    ratios: list[float] = []

    def one_round() -> None:
        in_turn, packed = make(cpus=CORES, threads=CORES), make(cpus=1, threads=1)
        ratios.append(_span_ms(in_turn, digits) / _span_ms(packed, digits))

    benchmark.pedantic(one_round, rounds=min(sizes.rounds, 3))
    name = "image pairs: one by one on all threads / side by side"
    figures += [Figure.of(ratios, group=GROUP, name=name, at_least=1.0)]
