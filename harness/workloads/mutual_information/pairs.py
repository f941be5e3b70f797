"""Builds the three experiments: the pairs that each draws, and the network that scores them.

Pairs (a, b) are drawn by pure functions of arrays and an explicit generator. The CPU draws all
pairs, which then move to the device. So every device gets the same pairs.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Generator, Tensor

from harness.workload import Arrays
from harness.workloads import mnist
from harness.workloads.mine.run import Draw, EstimationTask
from harness.workloads.mutual_information import (
    ImagePairParameters,
    ImageValuesPairParameters,
    PairParameters,
    SequencePairParameters,
    networks,
)
from harness.workloads.mutual_information.networks import EncoderCritic


@dataclass(frozen=True)
class LabelledPairs:
    """One draw of n pairs, in random order."""

    a: Tensor
    """First half of each pair, shape (n, ...)."""
    b: Tensor
    """Second half of each pair, shape (n, ...); b[i] belongs to a[i]."""
    population: Tensor
    """Classes whose entropy is the true value, shape (m,), on the CPU: those of every image that
    could be drawn, or those of the n drawn sequences."""

    @property
    def true_bits(self) -> float:
        """Plug-in entropy of the population, in bits."""
        return entropy_bits(self.population)


def entropy_bits(classes: Tensor) -> float:
    """Compute the plug-in entropy of a sample of classes, in bits.

    Args:
        classes: non-negative integers, shape (n,).

    Source:
        The 'true' value of the paper's listings. To all printed decimals it is the entropy of the
        classes of the whole set from which pairs are drawn. It is the same under `independent`.
    """
    counts = torch.bincount(classes).double()
    shares = counts[counts > 0] / classes.numel()
    return float(-(shares * shares.log2()).sum())


@dataclass(frozen=True)
class ClassImages:
    """The images of the used classes. They are normalised only when they are drawn.

    So a trial needs no memory and no time for a normalised copy of the data set.
    """

    pixels: np.ndarray[Any, Any]
    """Pixels of the whole data set, shape (k, 28, 28). They are never written."""
    used: Tensor
    """Indices of the images of the used classes, shape (m,), int64."""
    labels: Tensor
    """Classes of the used images, shape (m,), int64."""
    mean: float
    """Mean of the pixels, subtracted from each."""
    deviation: float
    """Standard deviation of the pixels, by which each is divided."""
    device: torch.device
    """Where drawn images go. The tensors here are on the CPU, where indices are drawn."""

    def at(self, index: Tensor) -> Tensor:
        """Return some of the used images as (pixels - mean) / deviation.

        Args:
            index: indices into the used images, shape (n,), on the CPU.

        Returns:
            Shape (n, 1, 28, 28), float32, on the device.
        """
        pixels = torch.from_numpy(self.pixels[self.used[index].numpy()]).to(self.device)
        return pixels.float().sub_(self.mean).div_(self.deviation).unsqueeze_(1)


def image_pairs(images: ClassImages, *, independent: bool, generator: Generator) -> LabelledPairs:
    """Draw pairs of images of one class. Of each shuffled class the first half is a, the second b.

    No image is used twice, so there are at most m/2 pairs. The pairs are then shuffled. With
    `independent` b has a permutation of its own.

    Returns:
        a and b of shape (n, 1, 28, 28).
    """
    halves = [_halved(images.labels, label, generator) for label in images.labels.unique()]
    a, b = (torch.cat(half) for half in zip(*halves, strict=True))
    order = torch.randperm(len(a), generator=generator)
    order_b = torch.randperm(len(b), generator=generator) if independent else order
    return LabelledPairs(images.at(a[order]), images.at(b[order_b]), images.labels)


def _halved(labels: Tensor, label: Tensor, generator: Generator) -> tuple[Tensor, Tensor]:
    """Return the indices of two disjoint halves of a class; an odd image is left out."""
    of_class = (labels == label).nonzero().squeeze(1)
    shuffled = of_class[torch.randperm(len(of_class), generator=generator)]
    half = len(of_class) // 2
    return shuffled[:half], shuffled[half : 2 * half]


def image_values_pairs(
    images: ClassImages,
    *,
    offset_max: float,
    noise_max: float,
    independent: bool,
    generator: Generator,
) -> LabelledPairs:
    """Draw pairs of an image of class c and (alpha, alpha + epsilon + c), each image once.

    alpha is uniform on [0, offset_max] and epsilon on [0, noise_max]. With `independent` c is the
    class of another image, drawn independently, so that b keeps its distribution.

    Returns:
        a of shape (m, 1, 28, 28), b of shape (m, 2).
    """
    count = len(images.labels)
    order = torch.randperm(count, generator=generator)
    order_b = torch.randperm(count, generator=generator) if independent else order
    alpha = torch.rand(count, generator=generator) * offset_max
    epsilon = torch.rand(count, generator=generator) * noise_max
    b = torch.stack((alpha, alpha + epsilon + images.labels[order_b]), dim=1)
    return LabelledPairs(images.at(order), b.to(images.device), images.labels)


def sequence_pairs(
    parameters: SequencePairParameters, *, pairs: int, device: torch.device, generator: Generator
) -> LabelledPairs:
    """Draw pairs of a sequence whose peak has height H and one whose two peaks have distance H.

    `SequencePairParameters` has the formulas. With `independent` the H of b is another draw.

    Returns:
        a and b of shape (n, length); the population is the H of a, shape (n,).
    """
    p, time = parameters, torch.linspace(0, 1, parameters.length)
    h_a = torch.randint(1, p.classes + 1, (pairs,), generator=generator)
    h_b = torch.randint(1, p.classes + 1, (pairs,), generator=generator) if p.independent else h_a
    start_a = torch.rand(pairs, generator=generator) * p.position_a_max
    start_b = torch.rand(pairs, generator=generator) * p.position_b_max

    height_a = p.amplitude_a / (p.classes + 1) * h_a
    second_b = start_b + p.separation / (p.classes + 1) * h_b

    def clean_a(rows: slice) -> Tensor:
        return _peak(time, start_a[rows], p.halving_time).mul_(height_a[rows, None])

    def clean_b(rows: slice) -> Tensor:
        first = _peak(time, start_b[rows], p.halving_time)
        return first.add_(_peak(time, second_b[rows], p.halving_time)).mul_(p.amplitude_b)

    a = torch.randn((pairs, p.length), generator=generator)
    b = torch.randn((pairs, p.length), generator=generator)
    return LabelledPairs(
        _noisy(clean_a, a, p.noise).to(device), _noisy(clean_b, b, p.noise).to(device), h_a
    )


ROWS = 64
"""Sequences in a chunk. Small, so that intermediate results stay in the CPU's cache; the sequences
of an epoch take 80 MB."""


def _noisy(clean: Callable[[slice], Tensor], normal: Tensor, noise: float) -> Tensor:
    """Multiply `normal`, shape (n, length), by `noise` and add the clean sequences, in place."""
    for start in range(0, len(normal), ROWS):
        rows = slice(start, start + ROWS)
        normal[rows].mul_(noise).add_(clean(rows))
    return normal


def _peak(time: Tensor, start: Tensor, halving_time: float) -> Tensor:
    """Compute the peak: 0 before `start`, 1 at `start`, then halved every `halving_time`.

    Args:
        time: shape (length,).
        start: shape (n,).

    Returns:
        Shape (n, length).
    """
    since = time - start[:, None]
    before = since < 0
    return since.mul_(-1 / halving_time).exp2_().masked_fill_(before, 0)


def pair_task(
    parameters: PairParameters, data: Mapping[str, Arrays], device: torch.device
) -> EstimationTask[EncoderCritic]:
    """Return the experiment that these parameters describe, with its data on the device.

    Raises:
        TypeError: the parameters belong to no experiment of this paper.
    """
    match parameters:
        case SequencePairParameters():
            return _sequences(parameters, device)
        case ImagePairParameters():
            return _images(parameters, data[mnist.DATA_SET.name], device)
    raise TypeError(f"no experiment has {type(parameters).__name__}")


def _sequences(
    parameters: SequencePairParameters, device: torch.device
) -> EstimationTask[EncoderCritic]:
    def draw(pairs: int) -> Draw:
        return lambda generator: sequence_pairs(
            parameters, pairs=pairs, device=device, generator=generator
        )

    return EstimationTask(
        critic=partial(
            networks.NetForSequencePair,
            kernel_size=parameters.kernel_size,
            pooling_size=parameters.pooling_size,
        ),
        training=draw(parameters.pairs),
        test=draw(parameters.test_pairs),
        data={},
    )


def _images(
    parameters: ImagePairParameters, arrays: Arrays, device: torch.device
) -> EstimationTask[EncoderCritic]:
    measured = mnist.measure(arrays)

    def draw(part: str) -> Draw:
        images = _used(arrays, part, parameters.classes, measured, device)
        if isinstance(parameters, ImageValuesPairParameters):
            return lambda generator: image_values_pairs(
                images,
                offset_max=parameters.offset_max,
                noise_max=parameters.noise_max,
                independent=parameters.independent,
                generator=generator,
            )
        return lambda generator: image_pairs(
            images, independent=parameters.independent, generator=generator
        )

    values = isinstance(parameters, ImageValuesPairParameters)
    return EstimationTask(
        critic=networks.NetForImageValuesPair if values else networks.NetForImagePair,
        training=draw("train"),
        test=draw("test"),
        data={mnist.DATA_SET.name: measured.digest},
    )


def _used(
    arrays: Arrays,
    part: str,
    classes: tuple[int, ...],
    measured: mnist.DataSetStatistics,
    device: torch.device,
) -> ClassImages:
    """Return the images of the used classes, with mean and SD of the whole training set."""
    # A table takes a tenth of numpy's isin and a hundredth of torch's.
    chosen = np.zeros(1 << 8, np.bool_)
    chosen[list(classes)] = True
    labels = np.asarray(arrays[f"{part}_labels"], np.uint8)
    used = np.flatnonzero(chosen[labels])
    return ClassImages(
        pixels=arrays[f"{part}_images"],
        used=torch.from_numpy(used),
        labels=torch.from_numpy(labels[used].astype(np.int64)),
        mean=measured.mean,
        deviation=measured.deviation,
        device=device,
    )
