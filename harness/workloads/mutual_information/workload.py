"""The three experiments as workloads: their data sets, their planted faults, how a trial starts."""

from collections.abc import Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any
from unittest.mock import patch

import numpy as np

from harness.errors import DataError
from harness.workload import Arrays, Context, DataSet, Metric, Parameters, PlantedFault, Run
from harness.workloads import mnist
from harness.workloads.mine.declaration import FAULTS
from harness.workloads.mutual_information.parameters import (
    METRICS,
    ImagePairParameters,
    PairParameters,
)


@dataclass
class MutualInformation:
    """One experiment of the paper, as a workload."""

    name: str
    parameters: type[Parameters]
    revision: int = 1
    """Revision of the method. Raise it when a change computes another function, gradient, draw or
    update. Do not raise it for another order of sums, as in the forms of the step: that changes
    results no more than another processor does, and the record names the form."""
    metrics: Mapping[str, Metric] = field(default_factory=lambda: METRICS, repr=False)
    faults: Mapping[str, PlantedFault] = field(default_factory=lambda: FAULTS, repr=False)
    prefix: bool = True
    """True, because each epoch has its own generators, whatever the length of the run."""

    def data_sets(self, parameters: Parameters) -> tuple[DataSet, ...]:
        """Return MNIST for the image experiments; sequences need no data set."""
        return (mnist.DATA_SET,) if isinstance(parameters, ImagePairParameters) else ()

    def load_data(self, name: str, cache: Path) -> Arrays:
        """Return MNIST as arrays, and fetch it into `cache` if it is not there.

        Raises:
            DataError: the name is not that of MNIST, no source has the files, or a file has the
                wrong digest.
        """
        if name != mnist.DATA_SET.name:
            raise DataError(f"no data set {name!r}; this workload reads {mnist.DATA_SET.name!r}")
        return mnist.load(cache)

    def start(self, parameters: PairParameters, context: Context) -> Run:
        """Set up a trial at epoch 0: initialise the network, but read no data.

        Raises:
            ResourceError: the context asks for a GPU and torch finds none.
        """
        from harness.workloads.mine.run import MineRun  # noqa: PLC0415 (loads torch)
        from harness.workloads.mutual_information.experiments import experiment  # noqa: PLC0415
        from harness.workloads.mutual_information.networks import FORMS  # noqa: PLC0415

        return MineRun(
            parameters,
            context,
            experiment=lambda device: experiment(parameters, context.data, device),
            forms=FORMS,
        )


def _labels_of_the_image_before() -> AbstractContextManager[object]:
    """Give each image the label of the one before it."""
    from harness.workloads.mutual_information import experiments  # noqa: PLC0415 - loads torch

    original = experiments._used

    def used(*arguments: Any) -> Any:
        images = original(*arguments)
        return replace(images, labels=images.labels.roll(1))

    return patch.object(experiments, "_used", used)


def _test_set_in_training(data: Mapping[str, Arrays]) -> dict[str, Arrays]:
    """Return the data with the test set in place of the first training images."""
    return {name: _overwritten(arrays) for name, arrays in data.items()}


def _overwritten(arrays: Arrays) -> Arrays:
    changed = dict(arrays)
    for kind in ("images", "labels"):
        test = arrays[f"test_{kind}"]
        changed[f"train_{kind}"] = np.concatenate([test, arrays[f"train_{kind}"][len(test) :]])
    return changed


IMAGE_FAULTS: Mapping[str, PlantedFault] = MappingProxyType(
    {
        **FAULTS,
        "labels_out_of_step": PlantedFault(
            "labels out of step with images", plant=_labels_of_the_image_before
        ),
        "test_images_in_training": PlantedFault(
            "test images in training", data=_test_set_in_training
        ),
    }
)
"""Planted faults of the image experiments, by name: those of the method, and two in reading."""
