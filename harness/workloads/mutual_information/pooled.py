"""A convolution of images, its pooling by maxima and its ReLU, without what lies between."""

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn import functional as F  # noqa: N812 (its usual name)
from torch.nn.grad import conv2d_weight


def pooled_convolution(
    images: Tensor, weight: Tensor, bias: Tensor, pooling: int, *, rows: int
) -> Tensor:
    """relu(max_pool2d(conv2d(images, weight, bias), pooling)), with gradients of weight and bias.

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
        Shape (n, k, (h - y + 1) // pooling, (w - x + 1) // pooling), contiguous.
    """
    pooled: Tensor = _PooledConvolution.apply(images, weight, bias, pooling, rows)
    return pooled


class _PooledConvolution(torch.autograd.Function):
    @staticmethod
    def forward(  # noqa: PLR0917 (autograd hands them on by position alone)
        ctx: Any, images: Tensor, weight: Tensor, bias: Tensor, pooling: int, rows: int
    ) -> Tensor:
        shape = (
            len(images),
            len(weight),
            *(side // pooling for side in _convolved(images, weight)),
        )
        rectified = images.new_empty(shape)
        positions = []
        for part, result in zip(images.split(rows), rectified.split(rows), strict=True):
            maxima, position = F.max_pool2d(
                F.conv2d(part, weight, bias), pooling, return_indices=True
            )
            result.copy_(maxima.relu_())
            positions.append(position)
        ctx.save_for_backward(images, weight, rectified, *positions)
        ctx.pooling, ctx.rows = pooling, rows
        return rectified

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        images, weight, rectified, *positions = ctx.saved_tensors
        of_weight, of_bias = torch.zeros_like(weight), weight.new_zeros(len(weight))
        # One piece of memory for all parts: its pages are taken once.
        unpooled = torch.empty(
            (min(ctx.rows, len(images)), len(weight), *_convolved(images, weight)),
            dtype=images.dtype,
            device=images.device,
            memory_format=torch.channels_last,
        )
        whole = (images, gradient, rectified)
        parts = zip(*(each.split(ctx.rows) for each in whole), positions, strict=True)
        for part, upstream, result, position in parts:
            of_maxima = torch.where(result > 0, upstream, 0)
            of_output = unpooled[: len(part)]
            _unpool(of_maxima, position, ctx.pooling, of_output)
            of_weight += conv2d_weight(part, weight.shape, of_output)
            of_bias += of_maxima.sum((0, 2, 3))
        return None, of_weight, of_bias, None, None


def _convolved(images: Tensor, weight: Tensor) -> tuple[int, int]:
    """Height and width of conv2d(images, weight)."""
    height, width = (images.size(d) - weight.size(d) + 1 for d in (2, 3))
    return height, width


def _unpool(gradient: Tensor, positions: Tensor, pooling: int, out: Tensor) -> None:
    """Put the gradient back in its maxima's positions in `out`, channels-last; zero elsewhere.

    By the operator behind max_pool2d's own backward: max_unpool2d has no deterministic form on
    CUDA. Of the pooling's input, `out` once more, it takes the shape alone.
    """
    window = [pooling, pooling]
    torch.ops.aten.max_pool2d_with_indices_backward.grad_input(
        gradient.contiguous(memory_format=torch.channels_last),
        out,
        *(window, window, [0, 0], [1, 1], False),
        positions,
        grad_input=out,
    )
