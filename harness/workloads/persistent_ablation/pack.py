"""A pack: K trials of one cell that train together, with their parameters stacked.

The first axis of every tensor is the lane: the place of one trial. Lanes share nothing but the
images, so a lane computes what its trial computes alone, in another order of sums.

On a CPU nearly all the time of a small network goes into its first layer: 784 pixels, of which four
in five are black. `BrightPixels` visits the others only, and reads them where they lie, so no
minibatch is copied together. `AllPixels` does the same with dense matrices, for a GPU.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise
from typing import Any, NamedTuple, Protocol

import numba
import numpy as np
import torch
from llvmlite import ir
from numba.core import types
from numba.extending import intrinsic
from torch import Generator, Tensor, nn

from harness.workload import Context, Run
from harness.workloads import mnist
from harness.workloads.persistent_ablation import PersistentAblationParameters
from harness.workloads.persistent_ablation.run import (
    CLASSES,
    DEVIATION,
    EVALUATION_BATCH,
    MEAN,
    AblationRun,
    SplitImages,
    adamw,
    dropout_rate,
    normalised,
)
from harness.workloads.torch_runtime import configure

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


class AblationPack:
    """K trials; keeps the protocol `harness.workload.Pack`. One epoch is one meta-loop.

    Args:
        parameters: the cell of the grid.
        contexts: what each trial may use.
        lanes: K, at least as many as there are trials. Lanes without a trial compute too, so that
            the shape of every product, and with it the rounding, depends on K alone.

    Raises:
        ResourceError: the contexts ask for a device that is not there.
    """

    def __init__(
        self, parameters: PersistentAblationParameters, contexts: Sequence[Context], lanes: int
    ) -> None:
        first = contexts[0]
        device = configure(first.device, first.threads)
        self._data = SplitImages(parameters, first.data[mnist.DATA_SET.name], device)
        self._runs = [
            AblationRun(parameters, context, self._data, f"pack of {lanes}") for context in contexts
        ]
        self.runs: Sequence[Run] = self._runs
        pixels = BrightPixels if device.type == "cpu" else AllPixels
        self._networks = StackedNetworks(parameters, lanes, pixels(self._data.images), device)
        self._parameters, self._lanes = parameters, lanes

    def epoch(self, members: Sequence[int]) -> Sequence[Mapping[str, float]]:
        """Run the next meta-loop of these trials; see `AblationRun.epoch`."""
        runs = [self._runs[member] for member in members]
        candidates = [run.candidate() for run in runs]
        for lane, candidate in zip(members, candidates, strict=True):
            self._networks.put(lane, candidate)
        self._train(dict(zip(members, runs, strict=True)))
        accuracies = self._accuracies()
        for lane, candidate in zip(members, candidates, strict=True):
            self._networks.take(lane, candidate)
        return [
            run.judge(candidate, accuracies[lane])
            for lane, run, candidate in zip(members, runs, candidates, strict=True)
        ]

    def _train(self, runs: Mapping[int, AblationRun]) -> None:
        """One epoch of AdamW in every lane, each with the order and the dropout of its trial."""
        orders = torch.zeros(self._lanes, len(self._data.training), dtype=torch.long)
        for lane, run in runs.items():
            orders[lane] = run.order()
        masks = {lane: run.masks() for lane, run in runs.items()}
        rate = dropout_rate(self._parameters)
        networks = self._networks
        optimiser = adamw(networks.tensors, self._parameters)
        for rows in orders.to(self._data.device).split(self._parameters.batch_size, dim=1):
            networks.differentiate(rows.contiguous(), self._data.labels[rows], rate, masks)
            optimiser.step()

    def _accuracies(self) -> list[float]:
        """Each lane's accuracy on the validation set, in percent."""
        validation = self._data.validation.to(self._data.device)
        correct = torch.zeros(self._lanes, dtype=torch.long, device=self._data.device)
        for rows in validation.split(EVALUATION_BATCH):
            answers = self._networks.scores(rows.expand(self._lanes, -1).contiguous()).argmax(2)
            correct += (answers == self._data.labels[rows]).sum(1)
        return [100.0 * count / len(validation) for count in correct.tolist()]


@dataclass(frozen=True)
class _Layer:
    """A linear layer of every lane. Its gradients are the `grad` of its tensors."""

    weight: Tensor
    """Shape (K, inputs, outputs)."""
    bias: Tensor
    """Shape (K, 1, outputs)."""


class StackedNetworks:
    """The networks of K lanes, their scores and their gradients.

    The gradients are written out instead of recorded: an operator costs more than its arithmetic
    here, and autograd would add as many again.

    Args:
        parameters: the cell, with the networks' shape.
        lanes: K.
        pixels: the images, and their products with the first layer.
        device: where the tensors are.
    """

    def __init__(
        self,
        parameters: PersistentAblationParameters,
        lanes: int,
        pixels: Pixels,
        device: torch.device,
    ) -> None:
        self._pixels, self._width = pixels, parameters.width
        # The first layer's padding is 0, gets the gradient 0, and so stays 0 in a finite network.
        first = pixels.padded(parameters.width)
        sizes = [PIXELS, first, *[parameters.width] * (parameters.depth - 1), CLASSES]
        self._layers = [
            _Layer(
                torch.zeros(lanes, fan_in, fan_out, device=device),
                torch.zeros(lanes, 1, fan_out, device=device),
            )
            for fan_in, fan_out in pairwise(sizes)
        ]

    @property
    def tensors(self) -> list[Tensor]:
        """All parameters, stacked."""
        return [tensor for layer in self._layers for tensor in (layer.weight, layer.bias)]

    def put(self, lane: int, network: nn.Sequential) -> None:
        """Copy a network's parameters into a lane."""
        for tensor in self.tensors:
            tensor[lane] = 0  # the padding is NaN if the lane's last network diverged
        for ours, theirs in self._pairs(lane, network):
            ours.copy_(theirs.detach())

    def take(self, lane: int, network: nn.Sequential) -> None:
        """Copy a lane's parameters into a network."""
        for ours, theirs in self._pairs(lane, network):
            theirs.data.copy_(ours)

    def _pairs(self, lane: int, network: nn.Sequential) -> list[tuple[Tensor, Tensor]]:
        """Each parameter of a lane, without its padding and in the layout of `nn.Linear`."""
        linears = [layer for layer in network if isinstance(layer, nn.Linear)]
        pairs = []
        for layer, linear in zip(self._layers, linears, strict=True):
            inputs, outputs = linear.in_features, linear.out_features
            pairs.append((layer.weight[lane, :inputs, :outputs].T, linear.weight))
            pairs.append((layer.bias[lane, 0, :outputs], linear.bias))
        return pairs

    def scores(self, rows: Tensor) -> Tensor:
        """Return the class scores of these images, without dropout.

        Args:
            rows: B images for each lane, shape (K, B).

        Returns:
            Shape (K, B, 10).
        """
        first, *others = self._layers
        x = self._pixels.scores(rows, first.weight, first.bias)
        for layer in others:
            x = torch.baddbmm(layer.bias, x.relu_(), layer.weight)
        return x

    def differentiate(
        self, rows: Tensor, labels: Tensor, rate: float, masks: Mapping[int, Generator]
    ) -> None:
        """Set each parameter's `grad` to the gradient of its lane's mean cross-entropy.

        Args:
            rows: a minibatch of B images for each lane, shape (K, B).
            labels: their classes, shape (K, B).
            rate: of dropout; 0 draws nothing.
            masks: draws the units that are dropped, by lane, always on the CPU.
        """
        first, *others = self._layers
        x = self._pixels.scores(rows, first.weight, first.bias)
        hidden, kept = [], []
        for layer in others:
            x.relu_()
            if rate:
                kept.append(self._kept(x, rate, masks))
                x.mul_(kept[-1])
            hidden.append(x)
            x = torch.baddbmm(layer.bias, x, layer.weight)
        # Of the cross-entropy: the probabilities, less 1 for the right class, over B.
        # torch's softmax takes each row of ten by itself, and five times as long.
        upstream = x.sub_(x.amax(2, keepdim=True)).exp_()
        upstream.div_(upstream.sum(2, keepdim=True))
        right = labels.unsqueeze(2)
        upstream.scatter_(2, right, upstream.gather(2, right) - 1).div_(rows.shape[1])
        for number in reversed(range(len(others))):
            layer, x = others[number], hidden[number]
            layer.weight.grad = torch.bmm(x.transpose(1, 2), upstream)
            layer.bias.grad = upstream.sum(1, keepdim=True)
            upstream = torch.bmm(upstream, layer.weight.transpose(1, 2))
            # ReLU's derivative, as autograd applies it.
            upstream = torch.ops.aten.threshold_backward(upstream, x, 0)
            if rate:
                upstream.mul_(kept[number])
        first.weight.grad = self._pixels.gradient(rows, upstream)
        first.bias.grad = upstream.sum(1, keepdim=True)

    def _kept(self, x: Tensor, rate: float, masks: Mapping[int, Generator]) -> Tensor:
        """Draw what dropout multiplies by, shape of x: 0, or 1 / (1 - rate)."""
        kept = torch.zeros(x.shape)
        for lane, draws in masks.items():
            units = torch.empty(x.shape[1], self._width)
            kept[lane, :, : self._width] = units.bernoulli_(1 - rate, generator=draws)
        return kept.div_(1 - rate).to(x.device)
