"""Fleuret's mutual-information estimator (2019): three experiments of one method.

This module has their parameters, metrics, data sets and planted faults. The manifests give the
values of the parameters and their sources. Importing it loads neither torch nor data. `start` and
`load_data` do.
"""

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Annotated, Any, Literal
from unittest.mock import patch

import numpy as np
from pydantic import Field, StrictBool, field_validator, model_validator

from harness.errors import DataError
from harness.workload import (
    Arrays,
    Context,
    DataSet,
    Metric,
    Pack,
    Parameters,
    PlantedFault,
    Run,
    Workload,
)
from harness.workloads import mnist
from harness.workloads.mine import (
    FAULTS,
    Count,
    NonNegative,
    Positive,
    StrictFloat,
    StrictInt,
    TrainingParameters,
    require_a_batch,
    run_metrics,
)

if TYPE_CHECKING:
    from harness.workloads.mine.run import MineRun
    from harness.workloads.mutual_information.networks import EncoderCritic

Share = Annotated[StrictFloat, Field(ge=0, le=1)]
"""Share of the time axis of a sequence, which runs from 0 to 1."""
Digit = Annotated[StrictInt, Field(ge=0, le=9)]

BLOCKS = 4
"""Number of convolution and pooling blocks in each branch of the sequence network."""


class PairParameters(TrainingParameters):
    """Parameters of all three experiments."""

    independent: StrictBool
    """Whether b is drawn independently of a, as a control: then the mutual information is zero."""


class ImagePairParameters(PairParameters):
    """Parameters of the experiment with two MNIST images of one class."""

    classes: tuple[Digit, ...]
    """The digits in use."""
    normalisation: Literal["training_set"]
    """Subtract the mean of the whole training set and divide by its SD, in test images too."""

    @field_validator("classes")
    @classmethod
    def _two_or_more_once_each(cls, classes: tuple[int, ...]) -> tuple[int, ...]:
        repeated = sorted({digit for digit in classes if classes.count(digit) > 1})
        if repeated:
            raise ValueError(f"each class once, but {', '.join(map(str, repeated))} is repeated")
        if len(classes) < 2:
            raise ValueError(f"at least two classes, got {len(classes)}")
        return classes


class ImageValuesPairParameters(ImagePairParameters):
    """Parameters of the experiment with an image of class c and (alpha, alpha + epsilon + c)."""

    offset_max: NonNegative
    """alpha is uniform from 0 to this value."""
    noise_max: NonNegative
    """epsilon is uniform from 0 to this value."""


class SequencePairParameters(PairParameters):
    """Parameters of the experiment with two sequences that share a number H.

    a has one peak of height H; b has two peaks at distance H. Time t runs from 0 to 1. peak(t) is 0
    before 0, jumps to 1 at 0, and halves every `halving_time`. H is uniform on 1..Q. Each sequence
    has its own noise:

        A(t) = amplitude_a * H / (Q + 1) * peak(t - p)
        B(t) = amplitude_b * (peak(t - q) + peak(t - q - separation * H / (Q + 1)))
    """

    classes: Annotated[StrictInt, Field(ge=2)]
    """Q, the number of values of H."""
    pairs: Count
    """Pairs in an epoch of training."""
    test_pairs: Count
    """Pairs in the test."""
    length: Count
    """Samples in a sequence."""
    kernel_size: Count
    """Samples under the kernel of each convolution."""
    pooling_size: Count
    """Samples that each average pooling combines."""
    noise: NonNegative
    """Standard deviation of the normal noise on each sample."""
    halving_time: Positive
    amplitude_a: Positive
    amplitude_b: Positive
    separation: Positive
    position_a_max: Share
    """p is uniform from 0 to this value."""
    position_b_max: Share
    """q is uniform from 0 to this value."""

    @property
    def shortest(self) -> int:
        """The smallest length with which each of the four blocks has at least one output."""
        samples = 1
        for _ in range(BLOCKS):
            samples = samples * self.pooling_size + self.kernel_size - 1
        return samples

    @model_validator(mode="after")
    def _feeds_the_network(self) -> "SequencePairParameters":
        if self.length < self.shortest:
            raise ValueError(
                f"length: {BLOCKS} blocks of kernel {self.kernel_size} and pooling "
                f"{self.pooling_size} need at least {self.shortest} samples, got {self.length}"
            )
        return self

    @model_validator(mode="after")
    def _fills_a_batch(self) -> "SequencePairParameters":
        require_a_batch(self.batch_size, pairs=self.pairs, test_pairs=self.test_pairs)
        return self

    @model_validator(mode="after")
    def _holds_both_peaks(self) -> "SequencePairParameters":
        last = self.position_b_max + self.separation * self.classes / (self.classes + 1)
        if last > 1:
            raise ValueError(
                f"separation: the second peak may start at {last:.3g}, after the end of the "
                f"sequence at 1; lower separation or position_b_max"
            )
        return self


METRICS = run_metrics(
    truth="Plug-in entropy of the classes; what the estimate should reach",
    test_truth="Plug-in entropy of the classes of the test set",
)
"""Metrics of all three experiments. The paper prints the entropy under `independent` too."""


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
        return mnist.load_arrays(cache)

    def start(self, parameters: PairParameters, context: Context) -> Run:
        """Set up a trial at epoch 0: initialise the network, but read no data.

        Raises:
            ResourceError: the context asks for a GPU and torch finds none.
        """
        return _run(parameters, context)

    def start_pack(
        self, parameters: PairParameters, contexts: Sequence[Context], size: int
    ) -> Pack:
        """Set up trials that train together, at epoch 0.

        Raises:
            ResourceError: the contexts ask for a GPU and torch finds none.
        """
        from harness.workloads.mine.pack import MinePack  # noqa: PLC0415 (loads torch)

        return MinePack([_run(parameters, context, pack=size) for context in contexts], size)


def _run(
    parameters: PairParameters, context: Context, *, pack: int = 0
) -> "MineRun[EncoderCritic]":
    from harness.workloads.mine.run import MineRun  # noqa: PLC0415 (loads torch)
    from harness.workloads.mutual_information.networks import FORMS  # noqa: PLC0415
    from harness.workloads.mutual_information.pairs import pair_task  # noqa: PLC0415

    return MineRun(
        parameters,
        context,
        experiment=lambda device: pair_task(parameters, context.data, device),
        forms=FORMS,
        pack=pack,
    )


def _labels_of_the_image_before() -> AbstractContextManager[object]:
    """Give each image the label of the one before it."""
    from harness.workloads.mutual_information import pairs  # noqa: PLC0415 - loads torch

    original = pairs._used

    def used(*arguments: Any) -> Any:
        images = original(*arguments)
        return replace(images, labels=images.labels.roll(1))

    return patch.object(pairs, "_used", used)


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


__all__ = ["image_pair", "image_values_pair", "sequence_pair"]

image_pair: Workload = MutualInformation(
    name="mine_image_pair", parameters=ImagePairParameters, faults=IMAGE_FAULTS
)
image_values_pair: Workload = MutualInformation(
    name="mine_image_values_pair", parameters=ImageValuesPairParameters, faults=IMAGE_FAULTS
)
sequence_pair: Workload = MutualInformation(
    name="mine_sequence_pair", parameters=SequencePairParameters
)
