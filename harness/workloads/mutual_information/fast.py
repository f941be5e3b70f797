"""The fast form of a step: the plain form's function and gradients, with less work.

Four rewrites, each exact but for the order of floating-point sums:

* The features of a serve both terms; b and permuted b pass through their branch together.
* Branches of convolutions run channels-last, where convolution and pooling work on whole vectors
  of channels. The parameters stay as they are; only activations are laid out so.
* On a CPU a minibatch passes through its branch in parts, whose activations stay in the cache.
* Average pooling is folded into the convolution before it.

Pooling by maxima meets ties in earnest: within an image's constant border all windows are equal.
Which of the tied positions passes the gradient on does not matter: equal windows give the weights
equal gradients, and nobody asks for the gradient of an image. Windows that differ and yet tie do
so by chance, and then either choice is a subgradient.
"""

from collections.abc import Callable, Iterable
from typing import NamedTuple, cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 (its usual name)

from harness.workloads.mutual_information.networks import Critic

PART = 50
"""Images or sequences that pass through a branch at a time on a CPU. With more, the activations
leave the cache and come from fresh memory; with fewer, the calls begin to count."""


def fast(critic: Critic, a: Tensor, b: Tensor, permuted: Tensor) -> tuple[Tensor, Tensor]:
    """f(a, b) and f(a, permuted b), each of shape (n,), from one pass through each branch."""
    features_a = _features(critic.features_a, a)
    features_b = _features(critic.features_b, torch.cat((b, permuted)))
    joint, product = critic.score(features_a.repeat(2, 1), features_b).split(len(a))
    return joint, product


def _features(branch: nn.Sequential, x: Tensor) -> Tensor:
    """The features that the critic embeds x in by this branch, shape (n, features)."""
    match branch[0]:
        case nn.Conv2d():
            return _in_parts(lambda images: branch(_channels_last(images.squeeze(1))).flatten(1), x)
        case nn.Conv1d():
            blocks = _folded(branch)
            return _in_parts(lambda sequences: _averages(blocks, sequences), x)
    features: Tensor = branch(x)
    return features


def _in_parts(features: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
    """`features` of x, part by part on a CPU: other devices want all rows at once."""
    rows = PART if x.device.type == "cpu" else len(x)
    return torch.cat([features(part) for part in x.split(rows)])


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
    weight = F.avg_pool1d(F.pad(convolution.weight, (p - 1, p - 1)), p, stride=1)
    return _Block(weight.unsqueeze(2), convolution.bias, p, activation.negative_slope)


def _averages(blocks: list[_Block], sequences: Tensor) -> Tensor:
    """The features of sequences of shape (n, length), as two-dimensional maps of height 1.

    One-dimensional convolutions know no channels-last layout.
    """
    x = _channels_last(sequences.unsqueeze(1))
    for block in blocks:
        x = F.conv2d(x, block.weight, block.bias, stride=(1, block.stride))
        x = F.leaky_relu_(x, block.slope)
    return x.mean((2, 3))
