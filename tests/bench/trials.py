"""Trials to be timed: walks that cost nothing, and the paper's own."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

from harness import engine, manifest, workloads
from harness.manifest import Experiment, Resources
from harness.plan import Job, Selection, jobs
from harness.record import Checkpoint, Failure, Message, PastFailure
from harness.store import Store
from harness.workload import Arrays, Context, Workload
from harness.workloads import mnist
from harness.workloads.mine.run import MineRun
from tests.toy import Toy

EXPERIMENTS = Path(__file__).parents[2] / "experiments"

NETWORKS = {
    "image pairs": "image-pair-4",
    "images and values": "image-values-pair-4",
    "sequences": "sequence-pair-16",
}
"""The experiment that stands for each network of the paper."""

SIX = (
    *("image-pair-4", "image-pair-8", "image-values-pair-4", "image-values-pair-8"),
    *("sequence-pair-16", "sequence-pair-16-independent"),
)
"""The paper's own runs; our controls beside them would be compared with nothing."""


def experiment(name: str) -> Experiment:
    (found,) = manifest.load([EXPERIMENTS / f"{name}.yaml"], workloads.registry())
    return found


def shortened(name: str, minibatches: int) -> Experiment:
    """An experiment of the paper; sequences are drawn, and so may be fewer."""
    found = experiment(name)
    if "pairs" not in type(found.parameters).model_fields:
        return found
    size = found.parameters.batch_size
    fewer = {"pairs": minibatches * size, "test_pairs": size}
    return found.model_copy(update={"parameters": found.parameters.model_copy(update=fewer)})


def digits(cache: Path, images: int) -> Arrays:
    """MNIST, of each part at most so many images."""
    return {name: array[:images] for name, array in mnist.load_arrays(cache).items()}


def start(
    found: Experiment, arrays: Arrays, *, form: str, threads: int = 1, seed: int = 0
) -> MineRun:
    """The trial in this process, without a harness around it."""
    workload = workloads.registry()[found.manifest.workload.name]
    data = {item.name: arrays for item in workload.data_sets(found.parameters)}
    context = Context(seed, data, "cpu", threads, {"form": form})
    return cast(MineRun, workload.start(found.parameters, context))


def of(found: Experiment, *, seeds: Iterable[int], epochs: int, **resources: Any) -> list[Job]:
    """The experiment's trials as the engine takes them."""
    chosen = Selection(seeds=tuple(seeds), epochs=epochs)
    planned = jobs([found], workloads.registry(), chosen)
    return [replace(each, resources=Resources(**resources)) for each in planned]


class Sink:
    """Takes messages: into a store, if there is one, and on to whoever listens."""

    def __init__(
        self,
        store: Store | None = None,
        *,
        hear: Callable[[Job, Message], None] = lambda job, message: None,
    ) -> None:
        self._store = store
        self._hear = hear

    def resume_point(self, job: Job) -> Checkpoint | None:
        return self._store.resume_point(job.spec.id) if self._store else None

    def receive(self, batch: Sequence[tuple[Job, Message]]) -> None:
        if self._store:
            self._store.append([(job.spec, message) for job, message in batch])
        for job, message in batch:
            self._hear(job, message)

    def retrying(self, job: Job, failure: Failure, *, attempt: int, wait_s: float) -> None:
        raise AssertionError(f"{job.experiment}: {failure}")

    def remember(self, job: Job, past: PastFailure) -> None:
        raise AssertionError(f"{job.experiment}: {past}")


def run(what: Sequence[Job], sink: Any = None, *, arrays: Arrays | None = None) -> None:
    """Through the engine, on the cluster that this process is connected to."""

    def load(workload: Workload, name: str) -> Arrays:
        return workload.load_data(name, Path()) if arrays is None else arrays

    engine.run(
        what,
        sink or Sink(),
        workloads={**workloads.registry(), "toy": Toy()},
        load_data=load,
    )
