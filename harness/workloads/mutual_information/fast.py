"""The fast form of a step: the plain form's function and gradients, with less work.

Each rewrite is exact but for the order of floating-point sums:

* The features of a serve both terms, and so does their share of the first hidden layer; b and
  permuted b pass through their branch together.
* Convolutions run channels-last, where they and the poolings work on whole vectors of channels; but
  the second one of images does not, since its input's gradient takes 1.7 times as long so. The
  parameters stay as they are; only activations are laid out so.
* On a CPU what is largest is computed part by part, so that it stays in the cache; what lies
  between a convolution, its pooling by maxima and its ReLU is not kept for the backward pass.
* Average pooling is folded into the convolution before it, and samples whose features end in a
  pooling's remainder are left out from the start.

Pooling by maxima meets ties in earnest: within an image's constant border all windows are equal.
Which of the tied positions passes the gradient on does not matter: equal windows give the weights
equal gradients, and nobody asks for the gradient of an image. Windows that differ and yet tie do
so by chance, and then either choice is a subgradient.
"""

from collections.abc import Iterable
from typing import Any, NamedTuple, cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 (its usual name)

from harness.workloads.mutual_information.networks import Critic
from harness.workloads.mutual_information.pooled import pooled_convolution

PART = 50
"""Images or sequences at a time on a CPU. With more their activations leave the cache; with fewer
the number of calls begins to tell."""


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
    match branch[0]:
        case nn.Conv2d():
            return _of_images(branch, x)
        case nn.Conv1d():
            return _of_sequences(branch, x)
    features: Tensor = branch(x)
    return features


def _rows(x: Tensor) -> int:
    """How many of x to take at a time; other devices than a CPU want all at once."""
    return PART if x.device.type == "cpu" else len(x)


def _of_images(branch: nn.Sequential, images: Tensor) -> Tensor:
    """Features of images of shape (n, 1, h, w).

    What the first pooling leaves is so small that the rest goes in one piece.
    """
    first, pooling, _, second, *rest = cast("Iterable[Any]", branch)
    x = pooled_convolution(
        _channels_last(images.squeeze(1)),
        first.weight,
        first.bias,
        pooling.kernel_size,
        rows=_rows(images),
    )
    convolved: Tensor = second(x)
    x = convolved.contiguous(memory_format=torch.channels_last)
    for layer in rest:
        x = layer(x)
    return x.flatten(1)


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
    weight = F.avg_pool1d(F.pad(convolution.weight, (p - 1, p - 1)), p, stride=1)
    return _Block(weight.unsqueeze(2), convolution.bias, p, activation.negative_slope)


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

    seen = sequences[:, : _seen(blocks, sequences.size(1))]
    parts = _channels_last(seen.unsqueeze(1)).split(_rows(seen))
    return torch.cat([averages(part) for part in parts])


def _seen(blocks: list[_Block], length: int) -> int:
    """How many samples have a part in the features: every block drops what fills no stride."""
    for block in blocks:
        length = (length - block.width) // block.stride + 1
    for block in reversed(blocks):
        length = (length - 1) * block.stride + block.width
    return length
