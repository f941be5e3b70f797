"""What the harness costs for each trial: trials that compute nothing, part by part."""

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from harness.plan import Job
from harness.record import Checkpoint, Failure, Finished, Message, Started
from harness.store import Store
from harness.tracking import Tracked, Tracker, default_uri, replay_store
from tests import toy
from tests.bench import trials
from tests.bench.conftest import Sizes
from tests.bench.paired import seconds
from tests.bench.results import Figure
from tests.store.trials import sent
from tests.tracking.conftest import make_experiment

GROUP = "Trials of one epoch that compute nothing"
TOGETHER = 16
"""How many trials' messages the engine brings at a time, about."""


@contextmanager
def without_fsync() -> Iterator[None]:
    """A disk that is believed at once."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "fsync", lambda descriptor: None)
        yield


def walks(count: int, **parameters: Any) -> list[Job]:
    return [toy.job(seed, **{"epochs": 1, **parameters}) for seed in range(count)]


def through_engine(folder: Path | None, jobs: Sequence[Job]) -> None:
    """Run the trials, and keep them where a folder is given."""
    if folder is None:
        trials.run(jobs)
        return
    store = Store(folder)
    with store.lock():
        trials.run(jobs, trials.Sink(store))


def stored(folder: Path, jobs: Sequence[Job], messages: Sequence[list[Message]]) -> None:
    """Write down what such trials send."""
    store = Store(folder)
    with store.lock():
        for start in range(0, len(jobs), TOGETHER):
            rows = slice(start, start + TOGETHER)
            pairs = zip(jobs[rows], messages[rows], strict=True)
            store.append([(job.spec, message) for job, batch in pairs for message in batch])


@pytest.mark.usefixtures("cluster")
def test_the_engine_and_the_store(
    sizes: Sizes, benchmark: Any, tmp_path: Path, figures: list[Figure]
) -> None:
    jobs = walks(sizes.trials)
    messages = [list(sent(job)) for job in jobs]
    spent: dict[str, list[float]] = {}

    def one_round() -> None:
        here = tmp_path / str(len(spent.get("engine alone", ())))
        parts = {
            "engine alone": partial(through_engine, None, jobs),
            "engine and store": partial(through_engine, here / "both", jobs),
            "store alone": partial(stored, here / "store", jobs, messages),
        }
        for name, action in parts.items():
            spent.setdefault(name, []).append(seconds(action))
        with without_fsync():
            action = partial(stored, here / "unsynced", jobs, messages)
            spent.setdefault("store alone, without fsync", []).append(seconds(action))

    through_engine(None, jobs[:20])
    benchmark.pedantic(one_round, rounds=min(sizes.rounds, 3))
    promised = {"engine alone": 100.0, "engine and store": 100.0}
    figures += [
        Figure.of(
            (len(jobs) / each for each in rounds),
            group=GROUP,
            name=name,
            unit="trials/s",
            at_least=promised.get(name),
        )
        for name, rounds in spent.items()
    ]


class TrackedSink(trials.Sink):
    """Tells the tracker what the command line tells it."""

    def __init__(self, store: Store, tracker: Tracker) -> None:
        super().__init__(store, hear=self._notify)
        self._tracker = tracker

    def _notify(self, job: Job, message: Message) -> None:
        if isinstance(message, Started | Checkpoint | Finished | Failure):
            self._tracker.notify(job.spec.id)


def tracked(jobs: Sequence[Job]) -> list[Tracked]:
    return [Tracked(make_experiment(), tuple(job.spec.id for job in jobs))]


def test_the_projection_by_itself(
    sizes: Sizes, benchmark: Any, tmp_path: Path, figures: list[Figure]
) -> None:
    """What MLflow and its database take; a replay, so that nothing else runs beside it."""
    jobs = walks(sizes.tracked)
    stored(tmp_path, jobs, [list(sent(job)) for job in jobs])
    options = {"workspace": tmp_path, "read": Store(tmp_path).read}
    replay_store(default_uri(tmp_path), tracked=[Tracked(make_experiment(), ())], **options)
    project = partial(replay_store, default_uri(tmp_path), tracked=tracked(jobs), **options)
    spent: list[float] = []
    benchmark.pedantic(lambda: spent.append(seconds(project)), rounds=1)
    name = "projection alone, MLflow on SQLite"
    figures += [Figure.of([len(jobs) / spent[0]], group=GROUP, name=name, unit="trials/s")]


@pytest.mark.usefixtures("cluster")
def test_tracking_holds_nothing_up(
    sizes: Sizes, benchmark: Any, tmp_path: Path, figures: list[Figure]
) -> None:
    """Trials of a second, five epochs each: the run's end with a tracker beside it, and without."""
    jobs = walks(max(4, sizes.tracked // 10), epochs=5, sleep_s=0.2)
    ratios: list[float] = []

    def one_round() -> None:
        here = tmp_path / str(len(ratios))
        untracked_s = seconds(partial(through_engine, here / "untracked", jobs))
        store = Store(here / "tracked")
        with store.lock():
            options = {"workspace": store.root, "read": store.read, "tracked": tracked(jobs)}
            with Tracker(default_uri(store.root), **options) as tracker:
                sink = TrackedSink(store, tracker)
                ratios.append(seconds(partial(trials.run, jobs, sink)) / untracked_s)

    benchmark.pedantic(one_round, rounds=min(sizes.rounds, 3))
    figures += [
        Figure.of(
            ratios,
            group=GROUP,
            name="trials of 1 s: run with tracking / without",
            at_most=1.05,
        )
    ]
