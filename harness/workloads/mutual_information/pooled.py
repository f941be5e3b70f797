"""A convolution of images and the pooling by maxima after it, without what lies between."""

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn import functional as F  # noqa: N812 (its usual name)
from torch.nn.grad import conv2d_weight


def pooled_convolution(
    images: Tensor, weight: Tensor, bias: Tensor, pooling: int, *, rows: int
) -> Tensor:
    """max_pool2d(conv2d(images, weight, bias), pooling), with gradients of weight and bias.

    The convolution's output is the largest thing of all, pooling^2 times what is pooled. Autograd
    would keep it for the backward pass, which needs to know only where the maxima stood. Here it
    lives for `rows` images at a time, in the cache, in both passes.

    Args:
        images: shape (n, c, h, w), channels-last; taken as data, without a gradient.
        weight: shape (k, c, y, x).
        bias: shape (k,).
        pooling: width and stride of the pooling.
        rows: images at a time.

    Returns:
        Shape (n, k, (h - y + 1) // pooling, (w - x + 1) // pooling), channels-last.
    """
    pooled: Tensor = _PooledConvolution.apply(images, weight, bias, pooling, rows)
    return pooled


class _PooledConvolution(torch.autograd.Function):
    @staticmethod
    def forward(  # noqa: PLR0917 (autograd hands them on by position alone)
        ctx: Any, images: Tensor, weight: Tensor, bias: Tensor, pooling: int, rows: int
    ) -> Tensor:
        parts = [
            F.max_pool2d(F.conv2d(part, weight, bias), pooling, return_indices=True)
            for part in images.split(rows)
        ]
        maxima, positions = zip(*parts, strict=True)
        ctx.save_for_backward(images, weight, *positions)
        ctx.pooling, ctx.rows = pooling, rows
        return torch.cat(maxima)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        images, weight, *positions = ctx.saved_tensors
        of_weight = torch.zeros_like(weight)
        parts = zip(images.split(ctx.rows), gradient.split(ctx.rows), positions, strict=True)
        for part, upstream, position in parts:
            of_output = _unpooled(_output_like(part, weight), upstream, position, ctx.pooling)
            of_weight += conv2d_weight(part, weight.shape, of_output)
        return None, of_weight, gradient.sum((0, 2, 3)), None, None


def _output_like(images: Tensor, weight: Tensor) -> Tensor:
    """Unset memory in shape and layout of conv2d(images, weight)."""
    height, width = (images.size(d) - weight.size(d) + 1 for d in (2, 3))
    shape = (len(images), len(weight), height, width)
    return torch.empty(
        shape, dtype=images.dtype, device=images.device, memory_format=torch.channels_last
    )


def _unpooled(like: Tensor, gradient: Tensor, positions: Tensor, pooling: int) -> Tensor:
    """The gradient back in its maxima's positions, zero elsewhere; of `like` only the shape counts.

    By the operator behind max_pool2d's own backward: max_unpool2d has no deterministic form on
    CUDA.
    """
    window = [pooling, pooling]
    placed: Tensor = torch.ops.aten.max_pool2d_with_indices_backward(
        gradient, like, window, window, [0, 0], [1, 1], False, positions
    )
    return placed
