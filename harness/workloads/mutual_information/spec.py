"""Parameters and metrics of the three experiments, without torch.

The manifests give the values and their sources. Here are only the types and limits.
"""

from typing import Annotated, Literal

from pydantic import Field, StrictBool, field_validator, model_validator

from harness.workloads.mine.spec import (
    Count,
    NonNegative,
    Positive,
    StrictFloat,
    StrictInt,
    TrainingParameters,
    metrics,
    require_a_batch,
)

Share = Annotated[StrictFloat, Field(ge=0, le=1)]
"""Of the time axis of a sequence, which runs from 0 to 1."""
Digit = Annotated[StrictInt, Field(ge=0, le=9)]

BLOCKS = 4
"""Convolution and pooling blocks in each branch of the sequence network."""


class PairParameters(TrainingParameters):
    """What all three experiments share."""

    independent: StrictBool
    """The control: b is drawn without regard to a, so that the mutual information is zero."""


class ImagePairParameters(PairParameters):
    """Two MNIST images of one class."""

    classes: tuple[Digit, ...]
    """The digits that are used."""
    normalisation: Literal["training_set"]
    """Pixels less the mean of the whole training set, over its deviation; test pixels too."""

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
    """An MNIST image of class c, and the two numbers (alpha, alpha + epsilon + c)."""

    offset_max: NonNegative
    """alpha is uniform from 0 to here."""
    noise_max: NonNegative
    """epsilon is uniform from 0 to here."""


class SequencePairParameters(PairParameters):
    """A sequence with one peak as high as H, and one with two peaks as far apart as H.

    Time t runs from 0 to 1, and peak(t) is 0 before 0, jumps to 1 there and halves every
    `halving_time`. With H uniform on 1..Q, each with noise of its own:

        A(t) = amplitude_a * H / (Q + 1) * peak(t - p)
        B(t) = amplitude_b * (peak(t - q) + peak(t - q - separation * H / (Q + 1)))
    """

    classes: Annotated[StrictInt, Field(ge=2)]
    """Q, the number of values of H."""
    pairs: Count
    """Drawn for an epoch of training."""
    test_pairs: Count
    length: Count
    """Samples in a sequence."""
    kernel_size: Count
    """Of every convolution."""
    pooling_size: Count
    """Of every average pooling."""
    noise: NonNegative
    """Standard deviation of the normal noise on every sample."""
    halving_time: Positive
    amplitude_a: Positive
    amplitude_b: Positive
    separation: Positive
    position_a_max: Share
    """p is uniform from 0 to here."""
    position_b_max: Share
    """q is uniform from 0 to here."""

    @property
    def shortest(self) -> int:
        """The fewest samples that leave one for each of the four blocks to hand on."""
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
                f"separation: the second peak may come at {last:.3g}, past the end of the sequence "
                f"at 1; lower separation or position_b_max"
            )
        return self


METRICS = metrics(
    truth="Plug-in entropy of the classes; what the estimate should reach",
    test_truth="Plug-in entropy of the classes of the test set",
)
"""The same for all three. Under `independent` the entropy is what the paper still prints."""
