"""The paper's loop over minibatches, for training and for the test estimate.

A `Scores` is the one part that a faster form replaces: everything else is shared, so that two
forms can be held against each other on the same minibatch.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar

import torch
from torch import Tensor
from torch.nn import Module

from harness.workloads.mine.bounds import NATS_PER_BIT, donsker_varadhan


class Pairs(Protocol):
    """One draw of n pairs, in an order of its own."""

    @property
    def a(self) -> Tensor:
        """Shape (n, ...)."""

    @property
    def b(self) -> Tensor:
        """Shape (n, ...); b[i] goes with a[i]."""

    @property
    def true_bits(self) -> float:
        """What the estimate should reach."""


C = TypeVar("C", bound=Module)

Scores = Callable[[C, Tensor, Tensor, Tensor], tuple[Tensor, Tensor]]
"""(critic, a, b, permuted b) -> f(a, b) and f(a, permuted b), each of shape (n,)."""


@dataclass(frozen=True)
class Form(Generic[C]):
    """One way to compute a step."""

    scores: Scores[C]
    fused: bool
    """Whether the optimiser updates all parameters in one kernel, by the same formulas."""


@dataclass(frozen=True)
class Estimates:
    """The sum of the minibatches' estimates over one draw; it stays on the device until read."""

    total_nats: Tensor
    """Sum over minibatches of their estimates, float64."""
    pairs: int
    batch_size: int

    @property
    def mean_bits(self) -> float:
        """Over the minibatches, the last and shorter one counting as much as any."""
        return self._bits(-(-self.pairs // self.batch_size))

    @property
    def floor_bits(self) -> float:
        """Over floor(pairs / batch size): too high by one minibatch's share if the last is short.

        The paper's test estimates suggest that it divides so.
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
    """One epoch: a step of the optimiser for each minibatch.

    Args:
        permutation: of all n pairs, shape (n,): b[permutation] is unpaired from a.

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
    """The estimates of the minibatches, and the one of all pairs at once, in bits.

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
    if len(pairs.a) < batch_size:
        raise ValueError(f"{len(pairs.a)} pairs do not fill one minibatch of {batch_size}")
    indices = permutation.to(pairs.b.device).split(batch_size)
    for a, b, index in zip(
        pairs.a.split(batch_size), pairs.b.split(batch_size), indices, strict=True
    ):
        yield a, b, pairs.b.index_select(0, index)
