"""Products of a pack's first layers with MNIST's images, one layer and one choice of images a lane.

On a CPU nearly all the time of a small network goes into its first layer: 784 pixels, of which four
in five are black. `BrightPixels` visits the others only, and reads them where they lie, so no
minibatch is copied together. `AllPixels` does the same with dense matrices, for a GPU.
"""

from collections.abc import Callable
from functools import lru_cache
from typing import Any, NamedTuple, Protocol

import numba
import numpy as np
import torch
from llvmlite import ir
from numba.core import types
from numba.extending import intrinsic
from torch import Tensor

from harness.workloads.persistent_ablation.run import DEVIATION, MEAN, normalised

PIXELS = 28 * 28

_VECTOR = 16
"""Widths are padded to a multiple of this: one row of weights is then whole vectors."""
_BLOCK = 64
"""Widest row, in numbers, that one pass over the pixels handles."""
_AHEAD = 4
"""How many images ahead the pixels are fetched from memory, which takes longer than to use them."""


class Pixels(Protocol):
    """Images, and their products with the first layers of K lanes."""

    def padded(self, width: int) -> int:
        """Return the width P that a layer of `width` units takes; the units beyond stay 0."""

    def scores(self, rows: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        """Return the layers' outputs for normalised images, shape (K, B, P).

        Args:
            rows: the B images of each lane, shape (K, B), int64.
            weight: shape (K, 784, P).
            bias: shape (K, 1, P).
        """

    def gradient(self, rows: Tensor, upstream: Tensor) -> Tensor:
        """Return the gradient of the weights, shape (K, 784, P).

        Args:
            rows: as in `scores`.
            upstream: gradient of the outputs, shape (K, B, P).
        """


class AllPixels:
    """The products as dense matrix products.

    Args:
        images: pixels of 0 to 255, shape (n, 784).
    """

    def __init__(self, images: Tensor) -> None:
        self._images = images

    def padded(self, width: int) -> int:
        """Return `width`."""
        return width

    def scores(self, rows: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        """See `Pixels.scores`."""
        return torch.baddbmm(bias, self._minibatch(rows), weight)

    def gradient(self, rows: Tensor, upstream: Tensor) -> Tensor:
        """See `Pixels.gradient`."""
        return torch.bmm(self._minibatch(rows).transpose(1, 2), upstream)

    def _minibatch(self, rows: Tensor) -> Tensor:
        images = self._images.index_select(0, rows.flatten())
        return normalised(images).view(*rows.shape, PIXELS)


class BrightPixels:
    """The products as sums over the pixels that are not black, on the CPU.

    With a pixel v of 0 to 255, the normalised one is s v - m, where s = 1 / (255 deviation) and
    m = mean / deviation. So the outputs are (b - m sum of W) + s v W, and the gradient of W is
    s v g - m sum of g: a dense term that all images share, and a sum over bright pixels.

    Args:
        images: pixels of 0 to 255, shape (n, 784), uint8.
    """

    def __init__(self, images: Tensor) -> None:
        pixels = images.numpy()
        image, column = np.nonzero(pixels)
        counts = np.bincount(image, minlength=len(pixels))
        self._ends = np.concatenate([[0], counts.cumsum()])
        # Column and value in one number, so that an image is one stretch of memory.
        self._pixels = column.astype(np.uint32) << 8 | pixels[image, column]

    def padded(self, width: int) -> int:
        """Return the next whole number of vectors, or of blocks if it is wider than one."""
        unit = _VECTOR if width <= _BLOCK else _BLOCK
        return -(-width // unit) * unit

    def scores(self, rows: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        """See `Pixels.scores`."""
        common = bias - weight.sum(1, keepdim=True) * (MEAN / DEVIATION)
        out = common.expand(-1, rows.shape[1], -1).contiguous()
        self._kernels(out).gather(*self._of(rows), weight.numpy(), out.numpy())
        return out

    def gradient(self, rows: Tensor, upstream: Tensor) -> Tensor:
        """See `Pixels.gradient`."""
        common = upstream.sum(1, keepdim=True) * (-MEAN / DEVIATION)
        out = common.expand(-1, PIXELS, -1).contiguous()
        self._kernels(out).scatter(*self._of(rows), upstream.numpy(), out.numpy())
        return out

    def _of(self, rows: Tensor) -> tuple[Any, ...]:
        return self._ends, self._pixels, rows.numpy()

    def _kernels(self, out: Tensor) -> "_Kernels":
        return _compiled(out.shape[2], str(out.numpy().dtype))


class _Kernels(NamedTuple):
    """Compiled loops. Both take ends, pixels, rows (K, B), and two arrays of the same type."""

    gather: Callable[..., None]
    """Adds s v W of weights (K, 784, P) to outputs (K, B, P)."""
    scatter: Callable[..., None]
    """Adds s v g of upstream gradients (K, B, P) to gradients (K, 784, P)."""


@lru_cache
def _compiled(padded: int, dtype: str) -> _Kernels:
    """Compile both loops for one padded width, which takes a second or two.

    The order of each sum is fixed, and a lane's sums do not depend on other lanes.
    """
    block = min(padded, _BLOCK)
    add_one, add_four = _add_rows(block, 1), _add_rows(block, 4)
    number = np.dtype(dtype).type
    scale = number(1 / (255 * DEVIATION))
    place = numba.int64

    @numba.njit(error_model="numpy")
    def fetch(ends, pixels, row):  # type: ignore[no-untyped-def]
        for at in range(ends[row], ends[row + 1], 16):
            _prefetch(pixels, at)

    @numba.njit(error_model="numpy")
    def gather(ends, pixels, rows, weight, out):  # type: ignore[no-untyped-def]
        lanes, images = rows.shape
        flat, sums = weight.reshape(-1), out.reshape(-1)
        for lane in range(lanes):
            for image in range(images):
                if image + _AHEAD < images:
                    fetch(ends, pixels, rows[lane, image + _AHEAD])
                row = rows[lane, image]
                first, end = ends[row], ends[row + 1]
                fours = end - (end - first) % 4
                for column in range(0, padded, block):
                    start = lane * PIXELS * padded + column
                    into = (lane * images + image) * padded + column
                    for at in range(first, fours, 4):
                        a, b, c, d = pixels[at], pixels[at + 1], pixels[at + 2], pixels[at + 3]
                        add_four(
                            sums,
                            into,
                            flat,
                            (
                                start + place(a >> 8) * padded,
                                start + place(b >> 8) * padded,
                                start + place(c >> 8) * padded,
                                start + place(d >> 8) * padded,
                            ),
                            (
                                scale * number(a & 255),
                                scale * number(b & 255),
                                scale * number(c & 255),
                                scale * number(d & 255),
                            ),
                        )
                    for at in range(fours, end):
                        a = pixels[at]
                        row_of_weight = start + place(a >> 8) * padded
                        add_one(sums, into, flat, (row_of_weight,), (scale * number(a & 255),))

    @numba.njit(error_model="numpy")
    def scatter(ends, pixels, rows, upstream, out):  # type: ignore[no-untyped-def]
        lanes, images = rows.shape
        flat, sums = upstream.reshape(-1), out.reshape(-1)
        for lane in range(lanes):
            for image in range(images):
                if image + _AHEAD < images:
                    fetch(ends, pixels, rows[lane, image + _AHEAD])
                row = rows[lane, image]
                for column in range(0, padded, block):
                    start = lane * PIXELS * padded + column
                    source = (lane * images + image) * padded + column
                    for at in range(ends[row], ends[row + 1]):
                        a = pixels[at]
                        into = start + place(a >> 8) * padded
                        add_one(sums, into, flat, (source,), (scale * number(a & 255),))

    return _Kernels(gather, scatter)


def _add_rows(width: int, count: int) -> Any:
    """Return a function that adds `count` scaled rows of `width` numbers to another row.

    add(y, i, x, (j, ...), (a, ...)) does y[i : i + width] += a * x[j : j + width] + ..., on flat
    arrays. It is written in LLVM's vectors: LLVM cannot see that y and x never overlap, and its
    own vectors come with a check for each short row, which takes longer than the row.
    """

    @intrinsic
    def add(_typing, y, i, x, j, a):  # type: ignore[no-untyped-def]
        def generate(context, builder, signature, args):  # type: ignore[no-untyped-def]
            array = signature.args[0]
            one = context.get_value_type(array.dtype)
            vector = ir.VectorType(one, width)
            bytes_each = array.dtype.bitwidth // 8
            undefined = ir.Constant(vector, ir.Undefined)
            index = ir.IntType(32)
            everywhere = ir.Constant(ir.VectorType(index, width), [0] * width)

            def row(kind: Any, held: Any, at: Any) -> Any:
                data = context.make_array(kind)(context, builder, held).data
                return builder.bitcast(builder.gep(data, [at]), vector.as_pointer())

            terms = []
            for k in range(count):
                factor = builder.extract_value(args[4], k)
                first = builder.insert_element(undefined, factor, index(0))
                factors = builder.shuffle_vector(first, undefined, everywhere)
                source = row(signature.args[2], args[2], builder.extract_value(args[3], k))
                numbers = builder.load(source, align=bytes_each)
                terms.append(builder.fmul(factors, numbers, flags=("contract",)))
            while len(terms) > 1:  # in pairs, so that no addition waits for all before it
                pairs = zip(terms[::2], terms[1::2], strict=True)
                terms = [builder.fadd(*pair, flags=("contract",)) for pair in pairs]
            target = row(array, args[0], args[1])
            sums = builder.load(target, align=bytes_each)
            builder.store(
                builder.fadd(sums, terms[0], flags=("contract",)), target, align=bytes_each
            )
            return context.get_dummy_value()

        return types.void(y, i, x, j, a), generate

    return add


@intrinsic
def _prefetch(_typing, array, at):  # type: ignore[no-untyped-def]
    """Ask for the cache line of array[at]; the array is flat."""

    def generate(context, builder, signature, args):  # type: ignore[no-untyped-def]
        data = context.make_array(signature.args[0])(context, builder, args[0]).data
        line = builder.bitcast(builder.gep(data, [args[1]]), ir.IntType(8).as_pointer())
        index = ir.IntType(32)
        kind = ir.FunctionType(ir.VoidType(), [line.type, index, index, index])
        fetch = builder.module.declare_intrinsic("llvm.prefetch", [line.type], kind)
        # To read, to keep in every cache, as data.
        builder.call(fetch, [line, index(0), index(3), index(1)])
        return context.get_dummy_value()

    return types.void(array, at), generate
