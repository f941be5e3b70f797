"""Draws of correlated Gaussians, and what their halves tell of one another."""

import math
from dataclasses import dataclass

import torch
from torch import Generator, Tensor


@dataclass(frozen=True)
class Pairs:
    """One draw of n pairs."""

    a: Tensor
    """Shape (n, d)."""
    b: Tensor
    """Shape (n, d)."""
    true_bits: float
    """Of the distribution, not of this draw."""


def true_bits(*, dimensions: int, correlation: float) -> float:
    """I(a; b) in bits: -d/2 log2(1 - rho^2).

    The d components are independent pairs, and of a pair it is -1/2 log2(1 - rho^2).

    Source:
        Gelfand and Yaglom (1957); Cover and Thomas, Elements of Information Theory, example 8.5.1.
    """
    # By log1p, which keeps all digits where rho is small.
    return -dimensions / 2 * math.log1p(-(correlation**2)) / math.log(2)


def gaussian_pairs(
    *, dimensions: int, correlation: float, pairs: int, device: torch.device, generator: Generator
) -> Pairs:
    """a is standard normal, and b = rho a + sqrt(1 - rho^2) times noise of the same kind.

    Drawn on the CPU and moved, so that every device sees the same pairs.
    """
    a = torch.randn((pairs, dimensions), generator=generator)
    noise = torch.randn((pairs, dimensions), generator=generator)
    b = correlation * a + math.sqrt(1 - correlation**2) * noise
    truth = true_bits(dimensions=dimensions, correlation=correlation)
    return Pairs(a.to(device), b.to(device), truth)
