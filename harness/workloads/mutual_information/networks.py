"""The paper's three networks, and two forms of a training step: the plain loop and a fast one.

The networks have the layers and names that the paper's listings print. `forward` has three parts
(`embed_a`, `embed_b`, `score`).

The fast form computes the same function and gradients as the plain loop. Only the order of
floating-point sums differs:

* The features of a serve both terms, and so does their part of the first hidden layer. b and
  permuted b pass through their branch together.
* On a CPU the image layers use oneDNN's own memory layout throughout, so that no layer has to
  convert it. oneDNN supports float32 only here; other types keep the plain layout.
* Sequences use the channels-last layout, where a convolution works on whole vectors of channels.
  On a CPU they are processed in chunks.
* Average pooling is folded into the convolution before it. Samples that a pooling would drop as a
  remainder are dropped from the input.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import NamedTuple, cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 (its usual name)

from harness.workloads.mine.run import Form
from harness.workloads.mutual_information import BLOCKS


class EncoderCritic(nn.Module, ABC):
    """A network f(a, b) that scores how likely a and b are a pair."""

    features_a: nn.Sequential
    features_b: nn.Sequential
    fully_connected: nn.Sequential

    @abstractmethod
    def embed_a(self, a: Tensor) -> Tensor:
        """Return the features of a, shape (n, features)."""

    @abstractmethod
    def embed_b(self, b: Tensor) -> Tensor:
        """Return the features of b, shape (n, features)."""

    def score(self, a: Tensor, b: Tensor) -> Tensor:
        """Return the scores of pairs from their features, shape (n,)."""
        scores: Tensor = self.fully_connected(torch.cat((a, b), 1))
        return scores.squeeze(1)

    def forward(self, a: Tensor, b: Tensor) -> Tensor:
        """Return the scores f(a, b), shape (n,)."""
        return self.score(self.embed_a(a), self.embed_b(b))


def _image_features() -> nn.Sequential:
    """Return layers that map (n, 1, 28, 28) to (n, 32, 2, 2)."""
    return nn.Sequential(
        nn.Conv2d(1, 16, kernel_size=5),
        nn.MaxPool2d(3),
        nn.ReLU(),
        nn.Conv2d(16, 32, kernel_size=5),
        nn.MaxPool2d(2),
        nn.ReLU(),
    )


class NetForImagePair(EncoderCritic):
    """The critic of two images; a and b have shape (n, 1, 28, 28)."""

    def __init__(self) -> None:
        super().__init__()
        self.features_a = _image_features()
        self.features_b = _image_features()
        self.fully_connected = nn.Sequential(nn.Linear(256, 200), nn.ReLU(), nn.Linear(200, 1))

    def embed_a(self, a: Tensor) -> Tensor:
        """Return features of shape (n, 128)."""
        return torch.flatten(self.features_a(a), 1)

    def embed_b(self, b: Tensor) -> Tensor:
        """Return features of shape (n, 128)."""
        return torch.flatten(self.features_b(b), 1)


class NetForImageValuesPair(EncoderCritic):
    """The critic of an image and two numbers; a has shape (n, 1, 28, 28), b has shape (n, 2)."""

    def __init__(self) -> None:
        super().__init__()
        self.features_a = _image_features()
        self.features_b = nn.Sequential(
            nn.Linear(2, 32),
            nn.ReLU(),
            nn.Linear(32, 32),
            nn.ReLU(),
            nn.Linear(32, 128),
            nn.ReLU(),
        )
        self.fully_connected = nn.Sequential(nn.Linear(256, 200), nn.ReLU(), nn.Linear(200, 1))

    def embed_a(self, a: Tensor) -> Tensor:
        """Return features of shape (n, 128)."""
        return torch.flatten(self.features_a(a), 1)

    def embed_b(self, b: Tensor) -> Tensor:
        """Return features of shape (n, 128)."""
        features: Tensor = self.features_b(b)
        return features


class NetForSequencePair(EncoderCritic):
    """The critic of two sequences; a and b have shape (n, length).

    The paper uses kernels of 11 samples and pools over 4.
    """

    nc = 32
    nh = 256

    def __init__(self, *, kernel_size: int, pooling_size: int) -> None:
        super().__init__()
        self.features_a = self._feature_model(kernel_size, pooling_size)
        self.features_b = self._feature_model(kernel_size, pooling_size)
        self.fully_connected = nn.Sequential(
            nn.Linear(2 * self.nc, self.nh), nn.ReLU(), nn.Linear(self.nh, 1)
        )

    def _feature_model(self, kernel_size: int, pooling_size: int) -> nn.Sequential:
        layers: list[nn.Module] = []
        for channels in (1, *[self.nc] * (BLOCKS - 1)):
            layers += [
                nn.Conv1d(channels, self.nc, kernel_size=kernel_size),
                nn.AvgPool1d(pooling_size),
                nn.LeakyReLU(),
            ]
        return nn.Sequential(*layers)

    def embed_a(self, a: Tensor) -> Tensor:
        """Return features of shape (n, 32)."""
        return self._averaged(self.features_a(a.unsqueeze(1)))

    def embed_b(self, b: Tensor) -> Tensor:
        """Return features of shape (n, 32)."""
        return self._averaged(self.features_b(b.unsqueeze(1)))

    @staticmethod
    def _averaged(features: Tensor) -> Tensor:
        return F.avg_pool1d(features, features.size(2)).squeeze(2)


CHUNK = 100
"""Sequences in a chunk on a CPU. With more, an allocator with default settings asks the system for
new pages in every step. With fewer, the overhead of the calls becomes noticeable."""


def plain(critic: EncoderCritic, a: Tensor, b: Tensor, permuted: Tensor) -> tuple[Tensor, Tensor]:
    """Return f(a, b) and f(a, permuted b), each of shape (n,), by one call of the network each.

    This is what the paper's loop does.
    """
    return critic(a, b), critic(a, permuted)


def fast(critic: EncoderCritic, a: Tensor, b: Tensor, permuted: Tensor) -> tuple[Tensor, Tensor]:
    """Return f(a, b) and f(a, permuted b), each of shape (n,), by one pass through each branch."""
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
    """Return the features of x from one branch of the critic, shape (n, features)."""
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
    """View maps of shape (n, h, w) as (n, 1, h, w) with the strides of channels-last.

    With one channel both layouts are the same in memory. torch then decides by the strides, and
    `contiguous(memory_format=...)` does not change those.
    """
    return x.unsqueeze(3).permute(0, 3, 1, 2)


_Layers = tuple[nn.Conv1d, nn.AvgPool1d, nn.LeakyReLU]


class _Block(NamedTuple):
    """A convolution along the last dimension, followed by a leaky ReLU."""

    weight: Tensor
    """Shape (channels out, channels in, 1, width)."""
    bias: Tensor | None
    stride: int
    slope: float

    @property
    def width(self) -> int:
        """Number of samples that one output depends on."""
        return self.weight.size(3)


def _folded(branch: nn.Sequential) -> list[_Block]:
    """Return the blocks of a sequence branch, with each pooling folded into its convolution.

    The mean of p neighbouring outputs equals one output of a kernel that is the mean of p shifted
    copies. So the kernel grows by p - 1, and the stride becomes p. Both drop a remainder that does
    not fill p.
    """
    layers = zip(branch[0::3], branch[1::3], branch[2::3], strict=True)
    return [_block(*three) for three in cast("Iterable[_Layers]", layers)]


def _block(convolution: nn.Conv1d, pooling: nn.AvgPool1d, activation: nn.LeakyReLU) -> _Block:
    (p,) = cast("tuple[int]", pooling.kernel_size)
    kernel = convolution.weight
    unit = torch.eye(kernel.size(2), dtype=kernel.dtype, device=kernel.device)
    averaged = F.avg_pool1d(F.pad(unit, (p - 1, p - 1)), p, stride=1)
    weight = (kernel @ averaged).unsqueeze(2)
    # Convert the layout once, not in every convolution of every chunk.
    weight = weight.contiguous(memory_format=torch.channels_last)
    return _Block(weight, convolution.bias, p, activation.negative_slope)


def _of_sequences(branch: nn.Sequential, sequences: Tensor) -> Tensor:
    """Return the features of sequences of shape (n, length), computed as maps of height 1.

    One-dimensional convolutions do not support the channels-last layout.
    """
    blocks = _folded(branch)

    def averages(x: Tensor) -> Tensor:
        for block in blocks:
            x = F.conv2d(x, block.weight, block.bias, stride=(1, block.stride))
            x = F.leaky_relu_(x, block.slope)
        return x.mean((2, 3))

    used = sequences[:, : _used_length(blocks, sequences.size(1))].contiguous()
    rows = CHUNK if used.device.type == "cpu" else len(used)
    chunks = _channels_last(used.unsqueeze(1)).split(rows)
    return torch.cat([averages(chunk) for chunk in chunks])


def _used_length(blocks: list[_Block], length: int) -> int:
    """Return how many samples affect the features. Each block drops what does not fill a stride."""
    for block in blocks:
        length = (length - block.width) // block.stride + 1
    for block in reversed(blocks):
        length = (length - 1) * block.stride + block.width
    return length


FORMS: Mapping[str, Form[EncoderCritic]] = MappingProxyType(
    {"fast": Form(fast, fused=True, stacked=plain), "plain": Form(plain, fused=False)}
)
"""The forms by name. The first is the default. `plain` is the reference: tests compare the others
with it. All compute the same function, gradients and updates, up to the order of sums."""
