"""The Donsker-Varadhan bound, and the paper's loop over minibatches in training and in the test.

A faster form of the step replaces `Scores` alone. All other code is shared, so two forms can be
compared on the same minibatch.
"""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar

import torch
from torch import Tensor
from torch.nn import Module

NATS_PER_BIT = math.log(2)


def donsker_varadhan(joint: Tensor, product: Tensor) -> Tensor:
    """Donsker-Varadhan estimate of I(A; B), in nats.

    Args:
        joint: critic scores f(a, b) on paired samples, shape (n,).
        product: critic scores f(a, b') on unpaired samples, shape (m,).

    Returns:
        Scalar, in nats. Under the true expectations it is a lower bound for every critic. On a
        sample it is an estimate only, biased upward, because the log of a sample mean is biased
        downward.

    Source:
        Donsker and Varadhan (1983); Belghazi et al. (2018), arXiv:1801.04062.
    """
    return joint.mean() - log_mean_exp(product)


def log_mean_exp(scores: Tensor) -> Tensor:
    """Compute log(mean(exp(scores))) of shape (n,), a scalar, without overflow."""
    return torch.logsumexp(scores, dim=0) - math.log(scores.numel())


class Pairs(Protocol):
    """One draw of n pairs, in random order."""

    @property
    def a(self) -> Tensor:
        """First half of each pair, shape (n, ...)."""

    @property
    def b(self) -> Tensor:
        """Second half of each pair, shape (n, ...); b[i] belongs to a[i]."""

    @property
    def true_bits(self) -> float:
        """The value that the estimate should reach, in bits."""


C = TypeVar("C", bound=Module)

Scores = Callable[[C, Tensor, Tensor, Tensor], tuple[Tensor, Tensor]]
"""(critic, a, b, permuted b) -> f(a, b) and f(a, permuted b), each of shape (n,)."""


@dataclass(frozen=True)
class Form(Generic[C]):
    """One way to compute a training step."""

    scores: Scores[C]
    fused: bool
    """Whether the optimiser updates all parameters in one kernel, with the same formulas."""


@dataclass(frozen=True)
class Estimates:
    """The sum of the estimates of all minibatches of one draw. It stays on the device until read.

    The means are in bits.
    """

    total_nats: Tensor
    """Sum over minibatches, scalar, float64."""
    pairs: int
    batch_size: int

    @property
    def mean_bits(self) -> float:
        """Mean over the minibatches; a shorter last one has the same weight as the others."""
        return self._bits(-(-self.pairs // self.batch_size))

    @property
    def floor_bits(self) -> float:
        """Sum over floor(pairs / batch size): too high by one share if the last batch is short.

        The paper's test estimates suggest that its code divides like this.
        """
        return self._bits(self.pairs // self.batch_size)

    def _bits(self, batches: int) -> float:
        return self.total_nats.item() / (batches * NATS_PER_BIT)


def train(
    critic: C,
    optimiser: torch.optim.Optimizer,
    pairs: Pairs,
    permutation: Tensor,
    *,
    batch_size: int,
    scores: Scores[C],
) -> Estimates:
    """Train for one epoch: one optimiser step per minibatch.

    Args:
        critic: the network; it is updated in place.
        optimiser: the optimiser of its parameters.
        pairs: the n pairs of the epoch.
        permutation: of all n pairs, shape (n,): b[permutation] is unpaired from a.
        batch_size: pairs in a minibatch; the last one may be shorter.
        scores: the form of the step.

    Returns:
        The estimates while training, each from the weights before its own step.

    Raises:
        ValueError: the pairs do not fill one minibatch.
    """
    total = _zero(pairs)
    for a, b, permuted in _minibatches(pairs, permutation, batch_size):
        estimate = donsker_varadhan(*scores(critic, a, b, permuted))
        optimiser.zero_grad()
        (-estimate).backward()
        optimiser.step()
        total += estimate.detach()
    return Estimates(total, len(pairs.a), batch_size)


@torch.no_grad()
def evaluate(
    critic: C, pairs: Pairs, permutation: Tensor, *, batch_size: int, scores: Scores[C]
) -> tuple[Estimates, float]:
    """Return the estimates by minibatch, and the estimate from all pairs at once, in bits.

    Raises:
        ValueError: the pairs do not fill one minibatch.
    """
    total, joints, products = _zero(pairs), [], []
    for a, b, permuted in _minibatches(pairs, permutation, batch_size):
        joint, product = scores(critic, a, b, permuted)
        total += donsker_varadhan(joint, product)
        joints.append(joint)
        products.append(product)
    whole = donsker_varadhan(torch.cat(joints).double(), torch.cat(products).double())
    return Estimates(total, len(pairs.a), batch_size), whole.item() / NATS_PER_BIT


def _zero(pairs: Pairs) -> Tensor:
    return torch.zeros((), dtype=torch.float64, device=pairs.a.device)


def _minibatches(
    pairs: Pairs, permutation: Tensor, batch_size: int
) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
    """Yield a, b and permuted b of each minibatch."""
    if len(pairs.a) < batch_size:
        raise ValueError(f"{len(pairs.a)} pairs do not fill one minibatch of {batch_size}")
    indices = permutation.to(pairs.b.device).split(batch_size)
    for a, b, index in zip(
        pairs.a.split(batch_size), pairs.b.split(batch_size), indices, strict=True
    ):
        yield a, b, pairs.b.index_select(0, index)
