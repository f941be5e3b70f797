"""The two forms of a step: the paper's loop, and a fast form of it with less work.

The fast form computes the same function and gradients. Each rewrite is exact but for the order of
floating-point sums:

* The features of a serve both terms, and so does their share of the first hidden layer; b and
  permuted b pass through their branch together.
* On a CPU the layers of images compute in oneDNN's own layout from the first to the last, so that
  nothing is rearranged between them. It knows float32 only; other types keep the plain layout.
* Sequences run channels-last, where convolutions work on whole vectors of channels, and on a CPU
  part by part.
* Average pooling is folded into the convolution before it, and samples whose features end in a
  pooling's remainder are left out from the start.
"""

from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import NamedTuple, cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 (its usual name)

from harness.workloads.mine.training import Form
from harness.workloads.mutual_information.networks import Critic

PART = 100
"""Sequences at a time on a CPU. With more, a process whose allocator is as it comes takes their
pages anew in every step; with fewer the number of calls begins to tell."""


def plain(critic: Critic, a: Tensor, b: Tensor, permuted: Tensor) -> tuple[Tensor, Tensor]:
    """The two scores as the paper's loop computes them: one call of the network for each."""
    return critic(a, b), critic(a, permuted)


def fast(critic: Critic, a: Tensor, b: Tensor, permuted: Tensor) -> tuple[Tensor, Tensor]:
    """f(a, b) and f(a, permuted b), each of shape (n,), from one pass through each branch."""
    features_a = _features(critic.features_a, a)
    features_b = _features(critic.features_b, torch.cat((b, permuted)))
    hidden, *rest = cast("Iterable[nn.Linear]", critic.fully_connected)
    of_a, of_b = hidden.weight.split((features_a.size(1), features_b.size(1)), dim=1)
    by_term = F.linear(features_b, of_b).unflatten(0, (2, len(a)))
    scores = by_term + F.linear(features_a, of_a, hidden.bias)
    for layer in rest:
        scores = layer(scores)
    joint, product = scores.squeeze(2)
    return joint, product


def _features(branch: nn.Sequential, x: Tensor) -> Tensor:
    """The features that the critic embeds x in by this branch, shape (n, features)."""
    features: Tensor
    match branch[0]:
        case nn.Conv1d():
            features = _of_sequences(branch, x)
        case nn.Conv2d() if _known_to_onednn(x):
            features = branch(x.to_mkldnn()).to_dense()
        case _:
            features = branch(x)
    return features.flatten(1)


def _known_to_onednn(x: Tensor) -> bool:
    return (
        x.device.type == "cpu" and x.dtype == torch.float32 and torch.backends.mkldnn.is_available()
    )


def _channels_last(x: Tensor) -> Tensor:
    """Maps of shape (n, h, w) as (n, 1, h, w) with the strides of channels-last.

    With one channel both layouts are one in memory, so torch goes by the strides alone, and
    `contiguous(memory_format=...)` leaves those as they are.
    """
    return x.unsqueeze(3).permute(0, 3, 1, 2)


_Layers = tuple[nn.Conv1d, nn.AvgPool1d, nn.LeakyReLU]


class _Block(NamedTuple):
    """A convolution along the last dimension, and the leaky ReLU after it."""

    weight: Tensor
    """Shape (channels out, channels in, 1, width)."""
    bias: Tensor | None
    stride: int
    slope: float

    @property
    def width(self) -> int:
        """Samples behind one output."""
        return self.weight.size(3)


def _folded(branch: nn.Sequential) -> list[_Block]:
    """The blocks of a sequence branch, each average over p folded into its convolution.

    The mean of p neighbouring outputs is one output of the kernel's p shifted copies, averaged; so
    the kernel grows by p - 1, and the stride is p. A remainder that does not fill p is left out
    by both.
    """
    layers = zip(branch[0::3], branch[1::3], branch[2::3], strict=True)
    return [_block(*three) for three in cast("Iterable[_Layers]", layers)]


def _block(convolution: nn.Conv1d, pooling: nn.AvgPool1d, activation: nn.LeakyReLU) -> _Block:
    (p,) = cast("tuple[int]", pooling.kernel_size)
    kernel = convolution.weight
    unit = torch.eye(kernel.size(2), dtype=kernel.dtype, device=kernel.device)
    averaged = F.avg_pool1d(F.pad(unit, (p - 1, p - 1)), p, stride=1)
    weight = (kernel @ averaged).unsqueeze(2)
    # Laid out once, and not by every convolution of every part.
    weight = weight.contiguous(memory_format=torch.channels_last)
    return _Block(weight, convolution.bias, p, activation.negative_slope)


def _of_sequences(branch: nn.Sequential, sequences: Tensor) -> Tensor:
    """Features of sequences of shape (n, length), as maps of height 1.

    One-dimensional convolutions know no channels-last layout.
    """
    blocks = _folded(branch)

    def averages(x: Tensor) -> Tensor:
        for block in blocks:
            x = F.conv2d(x, block.weight, block.bias, stride=(1, block.stride))
            x = F.leaky_relu_(x, block.slope)
        return x.mean((2, 3))

    seen = sequences[:, : _seen(blocks, sequences.size(1))].contiguous()
    rows = PART if seen.device.type == "cpu" else len(seen)
    parts = _channels_last(seen.unsqueeze(1)).split(rows)
    return torch.cat([averages(part) for part in parts])


def _seen(blocks: list[_Block], length: int) -> int:
    """How many samples have a part in the features: every block drops what fills no stride."""
    for block in blocks:
        length = (length - block.width) // block.stride + 1
    for block in reversed(blocks):
        length = (length - 1) * block.stride + block.width
    return length


FORMS: Mapping[str, Form[Critic]] = MappingProxyType(
    {"fast": Form(fast, fused=True), "plain": Form(plain, fused=False)}
)
"""By name: the same function, gradients and updates, but for the order of sums; the first is
what a run takes unless it is told otherwise, and `plain` is what the others are held against."""
