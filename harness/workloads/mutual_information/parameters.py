"""Declares the parameters and metrics of the three experiments, without importing torch.

The manifests give the values and their sources. This module gives types and limits only.
"""

from typing import Annotated, Literal

from pydantic import Field, StrictBool, field_validator, model_validator

from harness.workloads.mine.declaration import (
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


METRICS = metrics(
    truth="Plug-in entropy of the classes; what the estimate should reach",
    test_truth="Plug-in entropy of the classes of the test set",
)
"""Metrics of all three experiments. The paper prints the entropy under `independent` too."""
