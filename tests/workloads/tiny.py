"""The paper's three experiments and the Gaussians, small enough for many runs a second."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest

from harness.workload import Arrays, Context, Run, Workload
from harness.workloads.gaussian import gaussian
from harness.workloads.mutual_information import (
    image_pair,
    image_values_pair,
    sequence_pair,
)

TRAINING = {
    "independent": False,
    "redraw": True,
    "optimiser": "adam",
    "learning_rate": 3e-3,
    "batch_size": 30,
}
IMAGES = TRAINING | {"classes": [3, 5, 8], "normalisation": "training_set"}
# Unlike the paper's, these peaks hardly fall, so that the mean of a sequence tells H and the
# network leaves its plateau within an epoch or two.
SEQUENCES = TRAINING | {
    "classes": 3,
    "pairs": 310,
    "test_pairs": 100,
    "length": 46,
    "kernel_size": 3,
    "pooling_size": 2,
    "noise": 0.02,
    "halving_time": 1.0,
    "amplitude_a": 4.0,
    "amplitude_b": 2.0,
    "separation": 1.0,
    "position_a_max": 0.1,
    "position_b_max": 0.05,
}

PARAMETERS: Mapping[str, Mapping[str, Any]] = {
    "mine_image_pair": IMAGES,
    "mine_image_values_pair": IMAGES | {"offset_max": 10.0, "noise_max": 0.5},
    "mine_sequence_pair": SEQUENCES,
    "mine_gaussian": {key: value for key, value in TRAINING.items() if key != "independent"}
    | {"dimensions": 2, "correlation": 0.9, "pairs": 1500, "test_pairs": 1000, "hidden": 16},
}
PAPER: Mapping[str, Workload] = {
    workload.name: workload for workload in (image_pair, image_values_pair, sequence_pair)
}
WORKLOADS: Mapping[str, Workload] = {**PAPER, gaussian.name: gaussian}

each_workload = pytest.mark.parametrize("name", list(WORKLOADS))
each_of_the_paper = pytest.mark.parametrize("name", list(PAPER))


def images(seed: int = 0) -> Arrays:
    """Something like MNIST: five digits, each a bright bar at a height of its own, under noise.

    By RandomState, whose numbers NumPy has promised never to change: the golden values rest on it.
    """
    random = np.random.RandomState(seed)

    def part(count: int) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
        labels = random.choice([1, 3, 5, 8, 9], size=count).astype(np.uint8)
        pixels = random.randint(0, 64, size=(count, 28, 28))
        rows = np.arange(28)[None, :] // 3 == labels[:, None]
        pixels[rows] += 160
        return pixels.astype(np.uint8), labels

    train_images, train_labels = part(800)
    test_images, test_labels = part(300)
    return {
        "train_images": train_images,
        "train_labels": train_labels,
        "test_images": test_images,
        "test_labels": test_labels,
    }


def start(name: str, *, seed: int = 0, device: str = "cpu", **changed: Any) -> Run:
    """A trial of one experiment at epoch 0."""
    workload = WORKLOADS[name]
    parameters = workload.parameters.model_validate({**PARAMETERS[name], **changed})
    data = {item.name: images() for item in workload.data_sets(parameters)}
    return workload.start(parameters, Context(seed=seed, data=data, device=device, threads=1))


def epochs(run: Run, count: int) -> list[Mapping[str, float]]:
    """The metrics of the next `count` epochs."""
    return [run.epoch() for _ in range(count)]
