"""Faults in real training: one function of the method replaced, in a worker, while a run computes.

The product knows nothing of them. A planted workload wraps a sound one; its trials have ids of
their own, run on Ray like any others, and are judged by the same claims.
"""

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np

from harness.manifest import Experiment, change
from harness.plan import Selection
from harness.record import Environment
from harness.selftest.bench import Bench
from harness.selftest.check import Look, Plant, alarmed, noted, rejected
from harness.workload import Arrays, Context, DataSet, Metric, Parameters, Run, Workload

_METHOD = "harness.workloads.mine"
_PAPER = "harness.workloads.mutual_information"


def _without_the_mean() -> AbstractContextManager[object]:
    """log(sum(exp)) where the bound has log(mean(exp)): lower by the logarithm of the batch."""
    import torch  # noqa: PLC0415 - on a worker; the driver never needs it

    return patch(f"{_METHOD}.bounds.log_mean_exp", lambda scores: torch.logsumexp(scores, 0))


def _unshuffled() -> AbstractContextManager[object]:
    """The product of the marginals is taken from the pairs themselves."""
    import torch  # noqa: PLC0415 - as above

    def permutation(_run: Any, pairs: Any, _stream: Any, _epoch: int = 0) -> Any:
        return torch.arange(len(pairs.b))

    return patch(f"{_METHOD}.run.MineRun._permutation", permutation)


def _drawn_once() -> AbstractContextManager[object]:
    """Every epoch sees the pairs of the first."""
    return patch(f"{_METHOD}.run.MineRun._training_pairs", lambda run, _epoch: run._fixed_pairs)


def _out_of_step() -> AbstractContextManager[object]:
    """Each image has the label of the one before it."""
    from harness.workloads.mutual_information import experiments  # noqa: PLC0415 - as above

    sound = experiments._used

    def used(*arguments: Any) -> Any:
        images = sound(*arguments)
        return replace(images, labels=images.labels.roll(1))

    return patch(f"{_PAPER}.experiments._used", used)


FAULTS: Mapping[str, Callable[[], AbstractContextManager[object]]] = {
    "none": nullcontext,
    "bound_without_the_mean": _without_the_mean,
    "marginals_not_shuffled": _unshuffled,
    "pairs_not_redrawn": _drawn_once,
    "labels_out_of_step": _out_of_step,
    "test_images_in_training": nullcontext,  # planted in the data instead
}
"""By name, since only a name travels to the worker."""


def _leaked(data: Mapping[str, Arrays]) -> dict[str, Arrays]:
    """The data with the test set in place of the first training images."""
    return {name: _overwritten(arrays) for name, arrays in data.items()}


def _overwritten(arrays: Arrays) -> Arrays:
    found = dict(arrays)
    for kind in ("images", "labels"):
        test = arrays[f"test_{kind}"]
        found[f"train_{kind}"] = np.concatenate([test, arrays[f"train_{kind}"][len(test) :]])
    return found


@dataclass
class PlantedRun:
    """A run that computes with one fault, and leaves none behind."""

    run: Run
    fault: str
    environment: Environment = field(init=False)

    def __post_init__(self) -> None:
        self.environment = self.run.environment

    def epoch(self) -> Mapping[str, float]:
        """The next epoch, with the fault."""
        with FAULTS[self.fault]():
            return self.run.epoch()

    def final(self) -> Mapping[str, float]:
        """The final estimates, with the fault."""
        with FAULTS[self.fault]():
            return self.run.final()

    def save(self) -> bytes:
        """As the sound run does."""
        return self.run.save()

    def load(self, payload: bytes) -> None:
        """As the sound run does."""
        self.run.load(payload)


@dataclass
class Planted:
    """A workload with one fault; keeps the protocol `harness.workload.Workload`."""

    sound: Workload
    fault: str
    name: str = field(init=False)
    revision: int = field(init=False)
    parameters: type[Parameters] = field(init=False)
    metrics: Mapping[str, Metric] = field(init=False)
    prefix: bool = field(init=False)

    def __post_init__(self) -> None:
        self.name = f"{self.sound.name}_{self.fault}"
        self.revision, self.prefix = self.sound.revision, self.sound.prefix
        self.parameters, self.metrics = self.sound.parameters, self.sound.metrics

    def data_sets(self, parameters: Any) -> tuple[DataSet, ...]:
        """As the sound workload says: the fault is not announced."""
        return self.sound.data_sets(parameters)

    def load_data(self, name: str, cache: Path) -> Arrays:
        """As the sound workload does."""
        return self.sound.load_data(name, cache)

    def start(self, parameters: Any, context: Context) -> Run:
        """A run with the fault."""
        if self.fault == "test_images_in_training":
            context = replace(context, data=_leaked(context.data))
        with FAULTS[self.fault]():
            return PlantedRun(self.sound.start(parameters, context), self.fault)


@dataclass(frozen=True)
class Training:
    """What is trained, and how each of it is to be caught."""

    experiments: tuple[Experiment, ...]
    plants: tuple[Plant, ...]
    """One for each experiment."""
    registry: Mapping[str, Workload]
    selection: Selection

    @classmethod
    def short(cls, bench: Bench) -> "Training":
        """The faults that show in the first epoch, beside nothing wrong."""
        return cls._of(bench, _SHORT, Selection(seeds=(0, 1), epochs=1))

    @classmethod
    def whole(cls, bench: Bench) -> "Training":
        """What shows over the manifest's whole run: a network takes dozens of epochs to memorise.

        With seven seeds, since three leave it open at the level that all rows share.
        """
        return cls._of(bench, _WHOLE, Selection(seeds=tuple(range(7))))

    @classmethod
    def _of(cls, bench: Bench, plants: Mapping[str, Plant], selection: Selection) -> "Training":
        sound = bench.registry[bench.experiment.manifest.workload.name]
        planted = [Planted(sound, fault) for fault in plants]
        registry = {**bench.registry, **{each.name: each for each in planted}}
        return cls(
            experiments=tuple(_planted(bench.experiment, each, registry) for each in planted),
            plants=tuple(plants.values()),
            registry=registry,
            selection=selection,
        )


def _plant(name: str, look: Look, *, planted: bool = True) -> Plant:
    """Nothing is put down: Ray's workers record what there is to judge."""
    return Plant(name, lambda *_: (), look, planted)


_SHORT = {
    "none": _plant("an honest run", alarmed, planted=False),
    "bound_without_the_mean": _plant("bound without the logarithm's mean", rejected),
    "marginals_not_shuffled": _plant("marginals not shuffled", rejected),
    "labels_out_of_step": _plant("labels out of step with images", rejected),
    "test_images_in_training": _plant(
        "test images in training", noted("other data than its digest names", "digest")
    ),
}
_WHOLE = {
    "none": _plant("an honest run, in full", alarmed, planted=False),
    "pairs_not_redrawn": _plant("pairs not redrawn", rejected),
}
"""By fault."""


def _planted(
    experiment: Experiment, workload: Planted, registry: Mapping[str, Workload]
) -> Experiment:
    found, faults = change(
        experiment,
        {("workload", "name"): workload.name},
        registry,
        id=f"{experiment.id}[{workload.fault}]",
        varied=(),
    )
    if found is None:
        raise ValueError(f"{experiment.id}: {faults}")
    return found
