"""The paper's three networks, layer by layer and name by name as its listings print them.

`forward` is cut in three (`embed_a`, `embed_b`, `score`), so that a faster form of the step can
share the features of a between its two terms without a network of its own.
"""

from abc import ABC, abstractmethod

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 (its usual name)

from harness.workloads.mutual_information.spec import BLOCKS


class Critic(nn.Module, ABC):
    """f(a, b): how much likelier a pair is than its two halves apart, as a score."""

    features_a: nn.Sequential
    features_b: nn.Sequential
    fully_connected: nn.Sequential

    @abstractmethod
    def embed_a(self, a: Tensor) -> Tensor:
        """Features of a, shape (n, features)."""

    @abstractmethod
    def embed_b(self, b: Tensor) -> Tensor:
        """Features of b, shape (n, features)."""

    def score(self, a: Tensor, b: Tensor) -> Tensor:
        """Scores of embedded pairs, shape (n,)."""
        scores: Tensor = self.fully_connected(torch.cat((a, b), 1))
        return scores.squeeze(1)

    def forward(self, a: Tensor, b: Tensor) -> Tensor:
        """Scores f(a, b), shape (n,)."""
        return self.score(self.embed_a(a), self.embed_b(b))


def _image_features() -> nn.Sequential:
    """(n, 1, 28, 28) -> (n, 32, 2, 2)."""
    return nn.Sequential(
        nn.Conv2d(1, 16, kernel_size=5),
        nn.MaxPool2d(3),
        nn.ReLU(),
        nn.Conv2d(16, 32, kernel_size=5),
        nn.MaxPool2d(2),
        nn.ReLU(),
    )


class NetForImagePair(Critic):
    """a and b of shape (n, 1, 28, 28)."""

    def __init__(self) -> None:
        super().__init__()
        self.features_a = _image_features()
        self.features_b = _image_features()
        self.fully_connected = nn.Sequential(nn.Linear(256, 200), nn.ReLU(), nn.Linear(200, 1))

    def embed_a(self, a: Tensor) -> Tensor:
        """Shape (n, 128)."""
        return torch.flatten(self.features_a(a), 1)

    def embed_b(self, b: Tensor) -> Tensor:
        """Shape (n, 128)."""
        return torch.flatten(self.features_b(b), 1)


class NetForImageValuesPair(Critic):
    """a of shape (n, 1, 28, 28), b of shape (n, 2)."""

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
        """Shape (n, 128)."""
        return torch.flatten(self.features_a(a), 1)

    def embed_b(self, b: Tensor) -> Tensor:
        """Shape (n, 128)."""
        features: Tensor = self.features_b(b)
        return features


class NetForSequencePair(Critic):
    """a and b of shape (n, length). The paper's kernel is 11, its pooling 4."""

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
        """Shape (n, 32)."""
        return self._averaged(self.features_a(a.unsqueeze(1)))

    def embed_b(self, b: Tensor) -> Tensor:
        """Shape (n, 32)."""
        return self._averaged(self.features_b(b.unsqueeze(1)))

    @staticmethod
    def _averaged(features: Tensor) -> Tensor:
        return F.avg_pool1d(features, features.size(2)).squeeze(2)
