"""The paper's loop over minibatches, for training and for the test estimate.

A `Scores` is the one part that a faster form replaces: everything else is shared, so that two
forms can be held against each other on the same minibatch.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType

import torch
from torch import Tensor

from harness.workloads.mutual_information.bounds import NATS_PER_BIT, donsker_varadhan
from harness.workloads.mutual_information.fast import fast
from harness.workloads.mutual_information.networks import Critic
from harness.workloads.mutual_information.samplers import Pairs

Scores = Callable[[Critic, Tensor, Tensor, Tensor], tuple[Tensor, Tensor]]
"""(critic, a, b, permuted b) -> f(a, b) and f(a, permuted b), each of shape (n,)."""


def plain(critic: Critic, a: Tensor, b: Tensor, permuted: Tensor) -> tuple[Tensor, Tensor]:
    """The two scores as the paper's loop computes them: one call of the network for each."""
    return critic(a, b), critic(a, permuted)


@dataclass(frozen=True)
class Form:
    """One way to compute a step."""

    scores: Scores
    fused: bool
    """Whether the optimiser updates all parameters in one kernel, by the same formulas."""


FORMS: Mapping[str, Form] = MappingProxyType(
    {"fast": Form(fast, fused=True), "plain": Form(plain, fused=False)}
)
"""By name: the same function, gradients and updates, but for the order of sums; the first is
what a run takes unless it is told otherwise, and `plain` is what the others are held against."""


@dataclass(frozen=True)
class Estimates:
    """What a walk over the minibatches of one draw gives; on the device until it is asked for."""

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

        The paper's own division, as far as its test estimates tell.
        """
        return self._bits(self.pairs // self.batch_size)

    def _bits(self, batches: int) -> float:
        return self.total_nats.item() / (batches * NATS_PER_BIT)


def train(
    critic: Critic,
    optimiser: torch.optim.Optimizer,
    pairs: Pairs,
    permutation: Tensor,
    *,
    batch_size: int,
    scores: Scores,
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
    critic: Critic, pairs: Pairs, permutation: Tensor, *, batch_size: int, scores: Scores
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
