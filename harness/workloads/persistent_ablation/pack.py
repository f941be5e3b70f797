"""A pack: K trials of one cell that train together, with their parameters stacked.

The first axis of every tensor is the lane: the place of one trial. Lanes share nothing but the
images, so a lane computes what its trial computes alone, in another order of sums.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Generator, Tensor, nn

from harness.workload import Context, Run
from harness.workloads import mnist
from harness.workloads.persistent_ablation import PersistentAblationParameters
from harness.workloads.persistent_ablation.pixels import PIXELS, AllPixels, BrightPixels, Pixels
from harness.workloads.persistent_ablation.run import (
    CLASSES,
    EVALUATION_BATCH,
    AblationRun,
    Images,
    adamw,
    dropout_rate,
)
from harness.workloads.torch_runtime import configure


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
        self._data = Images(parameters, first.data[mnist.DATA_SET.name], device)
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
        # The first layer's padding is 0, gets the gradient 0, and so stays 0.
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
