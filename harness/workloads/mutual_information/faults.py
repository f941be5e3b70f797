"""Faults in how images are read, which `harness selftest` plants beside those of the method."""

from collections.abc import Mapping
from contextlib import AbstractContextManager
from dataclasses import replace
from types import MappingProxyType
from typing import Any
from unittest.mock import patch

import numpy as np

from harness.workload import Arrays, PlantedFault
from harness.workloads.mine.faults import FAULTS


def _labels_of_the_image_before() -> AbstractContextManager[object]:
    """Give each image the label of the one before it."""
    from harness.workloads.mutual_information import experiments  # noqa: PLC0415 - loads torch

    sound = experiments._used

    def used(*arguments: Any) -> Any:
        images = sound(*arguments)
        return replace(images, labels=images.labels.roll(1))

    return patch.object(experiments, "_used", used)


def _test_set_in_training(data: Mapping[str, Arrays]) -> dict[str, Arrays]:
    """The data with the test set in place of the first training images."""
    return {name: _overwritten(arrays) for name, arrays in data.items()}


def _overwritten(arrays: Arrays) -> Arrays:
    found = dict(arrays)
    for kind in ("images", "labels"):
        test = arrays[f"test_{kind}"]
        found[f"train_{kind}"] = np.concatenate([test, arrays[f"train_{kind}"][len(test) :]])
    return found


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
"""By name."""
