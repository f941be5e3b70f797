"""The network that scores a pair of vectors."""

import torch
from torch import Tensor, nn


class Critic(nn.Module):
    """f(a, b) by two hidden layers over both vectors at once; a and b of shape (n, d).

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
        """Scores f(a, b), shape (n,)."""
        scores: Tensor = self.layers(torch.cat((a, b), 1))
        return scores.squeeze(1)


def together(critic: Critic, a: Tensor, b: Tensor, permuted: Tensor) -> tuple[Tensor, Tensor]:
    """f(a, b) and f(a, permuted b), each of shape (n,), by one call of the network."""
    joint, product = critic(torch.cat((a, a)), torch.cat((b, permuted))).chunk(2)
    return joint, product
