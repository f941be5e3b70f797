"""Draws correlated Gaussians, computes their mutual information, and defines the critic."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from types import MappingProxyType

import torch
from torch import Generator, Tensor, nn

from harness.workloads.gaussian import GaussianParameters
from harness.workloads.mine.run import Draw, EstimationTask, Form


@dataclass(frozen=True)
class GaussianPairs:
    """One draw of n pairs."""

    a: Tensor
    """First half of each pair, shape (n, d)."""
    b: Tensor
    """Second half of each pair, shape (n, d)."""
    true_bits: float
    """Mutual information of the distribution, not of this draw."""


def true_bits(*, dimensions: int, correlation: float) -> float:
    """Compute I(a; b) = -d/2 log2(1 - rho^2), in bits.

    The d components are independent pairs, and one pair has -1/2 log2(1 - rho^2).

    Source:
        Gelfand and Yaglom (1957); Cover and Thomas, Elements of Information Theory, example 8.5.1.
    """
    # log1p keeps all digits if rho is small.
    return -dimensions / 2 * math.log1p(-(correlation**2)) / math.log(2)


def gaussian_pairs(
    *, dimensions: int, correlation: float, pairs: int, device: torch.device, generator: Generator
) -> GaussianPairs:
    """Draw a and noise from a standard normal; b = rho a + sqrt(1 - rho^2) noise.

    The CPU draws the pairs, which then move to the device. So every device gets the same pairs.

    Returns:
        a and b of shape (n, d).
    """
    a = torch.randn((pairs, dimensions), generator=generator)
    noise = torch.randn((pairs, dimensions), generator=generator)
    b = correlation * a + math.sqrt(1 - correlation**2) * noise
    truth = true_bits(dimensions=dimensions, correlation=correlation)
    return GaussianPairs(a.to(device), b.to(device), truth)


class VectorCritic(nn.Module):
    """A network f(a, b) with two hidden layers; a and b have shape (n, d).

    The best critic is the log density ratio up to a constant, here a quadratic form:
    sum over i of (rho a_i b_i - rho^2 (a_i^2 + b_i^2) / 2) / (1 - rho^2).
    """

    def __init__(self, *, dimensions: int, hidden: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Linear(2 * dimensions, hidden),
            nn.ReLU(),
            nn.Linear(hidden, hidden),
            nn.ReLU(),
            nn.Linear(hidden, 1),
        )

    def forward(self, a: Tensor, b: Tensor) -> Tensor:
        """Return the scores f(a, b), shape (n,)."""
        scores: Tensor = self.layers(torch.cat((a, b), 1))
        return scores.squeeze(1)


def together(critic: VectorCritic, a: Tensor, b: Tensor, permuted: Tensor) -> tuple[Tensor, Tensor]:
    """Return f(a, b) and f(a, permuted b), each of shape (n,), by one call of the network."""
    joint, product = critic(torch.cat((a, a)), torch.cat((b, permuted))).chunk(2)
    return joint, product


FORMS: Mapping[str, Form[VectorCritic]] = MappingProxyType({"together": Form(together, fused=True)})
"""The forms of the step by name. There is one, because the network is small."""


def gaussian_task(
    parameters: GaussianParameters, device: torch.device
) -> EstimationTask[VectorCritic]:
    """Return the experiment that these parameters describe, on the device."""

    def draw(pairs: int) -> Draw:
        return lambda generator: gaussian_pairs(
            dimensions=parameters.dimensions,
            correlation=parameters.correlation,
            pairs=pairs,
            device=device,
            generator=generator,
        )

    return EstimationTask(
        critic=partial(VectorCritic, dimensions=parameters.dimensions, hidden=parameters.hidden),
        training=draw(parameters.pairs),
        test=draw(parameters.test_pairs),
        data={},
    )
