"""The Donsker-Varadhan bound and the entropy that it is held against; pure."""

import math

import torch
from torch import Tensor

NATS_PER_BIT = math.log(2)


def donsker_varadhan(joint: Tensor, product: Tensor) -> Tensor:
    """Donsker-Varadhan estimate of I(A; B), in nats.

    Args:
        joint: critic scores f(a, b) on paired samples, shape (n,).
        product: critic scores f(a, b') on unpaired samples, shape (m,).

    Returns:
        Scalar, in nats. Under the true expectations a lower bound for every critic; on a
        sample an estimate only, biased upward, since the log of a sample mean is biased downward.

    Source:
        Donsker and Varadhan (1983); Belghazi et al. (2018), arXiv:1801.04062.
    """
    return joint.mean() - log_mean_exp(product)


def log_mean_exp(scores: Tensor) -> Tensor:
    """log(mean(exp(scores))) of shape (n,) to a scalar, without overflow at any finite score."""
    return torch.logsumexp(scores, dim=0) - math.log(scores.numel())


def entropy_bits(classes: Tensor) -> float:
    """Plug-in entropy of a sample of classes, in bits.

    Args:
        classes: non-negative integers, shape (n,).

    Source:
        The 'true' value of the paper's listings: to all printed decimals this is the entropy of
        the classes of the whole set that pairs are drawn from, and the same under `independent`.
    """
    counts = torch.bincount(classes).double()
    shares = counts[counts > 0] / classes.numel()
    return float(-(shares * shares.log2()).sum())
