"""Draws pairs (a, b) in three ways: pure functions of arrays and an explicit generator.

Everything is drawn on the CPU and then moved, so that every device sees the same pairs.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Generator, Tensor

from harness.workloads.mine.bounds import entropy_bits
from harness.workloads.mutual_information.spec import SequencePairParameters


@dataclass(frozen=True)
class Pairs:
    """One draw of n pairs, in an order of its own."""

    a: Tensor
    """Shape (n, ...)."""
    b: Tensor
    """Shape (n, ...); b[i] goes with a[i]."""
    population: Tensor
    """Classes whose entropy is the true value, shape (m,), on the CPU: of every image that could
    be drawn, or of the n sequences that were."""

    @property
    def true_bits(self) -> float:
        """Plug-in entropy of the population."""
        return entropy_bits(self.population)


@dataclass(frozen=True)
class Images:
    """The images of the used classes, normalised only when they are drawn.

    So a trial neither holds a copy of the data set nor spends time to make one.
    """

    pixels: np.ndarray[Any, Any]
    """Of the whole data set, shape (k, 28, 28); only read."""
    used: Tensor
    """Which of them are of the used classes, shape (m,), int64."""
    labels: Tensor
    """Classes of the used ones, shape (m,), int64."""
    mean: float
    deviation: float
    device: torch.device
    """Where images are wanted; the tensors here are on the CPU, where indices are drawn."""

    def at(self, index: Tensor) -> Tensor:
        """(pixels - mean) / deviation of some of the used images.

        Args:
            index: into the used ones, shape (n,), on the CPU.

        Returns:
            Shape (n, 1, 28, 28), float32, on the device.
        """
        pixels = torch.from_numpy(self.pixels[self.used[index].numpy()]).to(self.device)
        return pixels.float().sub_(self.mean).div_(self.deviation).unsqueeze_(1)


def image_pairs(images: Images, *, independent: bool, generator: Generator) -> Pairs:
    """Two images of one class: each class is shuffled, its first half is a, its second b.

    No image serves twice, so there are at most m/2 pairs; all of them are shuffled together, and
    with `independent` b once more, apart.
    """
    halves = [_halved(images.labels, label, generator) for label in images.labels.unique()]
    a, b = (torch.cat(half) for half in zip(*halves, strict=True))
    order = torch.randperm(len(a), generator=generator)
    order_b = torch.randperm(len(b), generator=generator) if independent else order
    return Pairs(images.at(a[order]), images.at(b[order_b]), images.labels)


def _halved(labels: Tensor, label: Tensor, generator: Generator) -> tuple[Tensor, Tensor]:
    """Indices of two disjoint halves of a class; the odd one is left out."""
    of_class = (labels == label).nonzero().squeeze(1)
    shuffled = of_class[torch.randperm(len(of_class), generator=generator)]
    half = len(of_class) // 2
    return shuffled[:half], shuffled[half : 2 * half]


def image_values_pairs(
    images: Images,
    *,
    offset_max: float,
    noise_max: float,
    independent: bool,
    generator: Generator,
) -> Pairs:
    """An image of class c and (alpha, alpha + epsilon + c), every image once, in random order.

    alpha is uniform on [0, offset_max] and epsilon on [0, noise_max]. With `independent` c is the
    class of an image drawn apart, so that b keeps its distribution.

    Returns:
        a of shape (m, 1, 28, 28), b of shape (m, 2).
    """
    count = len(images.labels)
    order = torch.randperm(count, generator=generator)
    order_b = torch.randperm(count, generator=generator) if independent else order
    alpha = torch.rand(count, generator=generator) * offset_max
    epsilon = torch.rand(count, generator=generator) * noise_max
    b = torch.stack((alpha, alpha + epsilon + images.labels[order_b]), dim=1)
    return Pairs(images.at(order), b.to(images.device), images.labels)


def sequence_pairs(
    parameters: SequencePairParameters, *, pairs: int, device: torch.device, generator: Generator
) -> Pairs:
    """A sequence whose peak is as high as H, and one whose two peaks are as far apart as H.

    The formulas stand at `SequencePairParameters`. With `independent` the H of b is drawn apart.

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
    return Pairs(
        _noisy(clean_a, a, p.noise).to(device), _noisy(clean_b, b, p.noise).to(device), h_a
    )


ROWS = 64
"""Sequences at a time, so that what is computed on the way to an epoch's 80 MB of them stays in
the cache."""


def _noisy(clean: Callable[[slice], Tensor], normal: Tensor, noise: float) -> Tensor:
    """`normal` of shape (n, length) times `noise`, with the clean sequences on top; in place."""
    for start in range(0, len(normal), ROWS):
        rows = slice(start, start + ROWS)
        normal[rows].mul_(noise).add_(clean(rows))
    return normal


def _peak(time: Tensor, start: Tensor, halving_time: float) -> Tensor:
    """0 before `start`, 1 there, half every `halving_time` after.

    Args:
        time: shape (length,).
        start: shape (n,).

    Returns:
        Shape (n, length).
    """
    since = time - start[:, None]
    before = since < 0
    return since.mul_(-1 / halving_time).exp2_().masked_fill_(before, 0)
