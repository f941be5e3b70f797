"""The three ways to draw pairs (a, b): pure functions of arrays and an explicit generator.

Whatever is drawn is drawn on the CPU and moved, so that every device sees the same pairs.
"""

from dataclasses import dataclass

import torch
from torch import Generator, Tensor

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


@dataclass(frozen=True)
class Images:
    """The images of the used classes, normalised."""

    pixels: Tensor
    """Shape (m, 1, 28, 28), on the device."""
    labels: Tensor
    """Shape (m,), int64, on the CPU, where indices are drawn."""

    def at(self, index: Tensor) -> Tensor:
        """The pixels at an index of shape (n,) on the CPU; shape (n, 1, 28, 28) on the device."""
        return self.pixels[index.to(self.pixels.device)]


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
    return Pairs(images.at(order), b.to(images.pixels.device), images.labels)


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

    a = _peak(time, start_a, p.halving_time).mul_((p.amplitude_a / (p.classes + 1) * h_a)[:, None])
    a += torch.randn(a.shape, generator=generator).mul_(p.noise)
    b = _peak(time, start_b, p.halving_time)
    b += _peak(time, start_b + p.separation / (p.classes + 1) * h_b, p.halving_time)
    b *= p.amplitude_b
    b += torch.randn(b.shape, generator=generator).mul_(p.noise)
    return Pairs(a.to(device), b.to(device), h_a)


def _peak(time: Tensor, start: Tensor, halving_time: float) -> Tensor:
    """0 before `start`, 1 there, half every `halving_time` after: (length,), (n,) -> (n, length).

    In place where it can be: an epoch's sequences take 80 MB, and so would each intermediate.
    """
    since = time - start[:, None]
    before = since < 0
    return since.mul_(-1 / halving_time).exp2_().masked_fill_(before, 0)
