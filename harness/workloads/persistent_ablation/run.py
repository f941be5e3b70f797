"""One trial of Persistent Stochastic Ablation: its meta-loops, its estimates, its state."""

import io
from collections.abc import Mapping
from copy import deepcopy
from enum import IntEnum
from itertools import pairwise

import numpy as np
import torch
from torch import Generator, Tensor, nn
from torch.nn import functional

from harness.errors import StoreError
from harness.record import Environment
from harness.workload import Arrays, Context
from harness.workloads import mnist
from harness.workloads.mine.run import BROKEN
from harness.workloads.persistent_ablation import PersistentAblationParameters
from harness.workloads.torch_runtime import configure, describe_runtime, generator

CLASSES = 10
MEAN, DEVIATION = 0.1307, 0.3081
"""Of the pixels, scaled to [0, 1]; as the paper states them."""

EVALUATION_BATCH = 2_000
"""Images scored at once; the accuracy does not depend on it."""


class Purpose(IntEnum):
    """What a generator is for. The numbers are part of the results: never renumber them."""

    INITIALISATION = 0
    SHUFFLING = 1
    DROPOUT = 2
    ABLATION = 3


class SplitImages:
    """MNIST on a device, with the training images split as the parameters say.

    Args:
        parameters: how many images are split off for validation, and by which seed.
        arrays: MNIST.
        device: where the training and validation images are kept.
    """

    def __init__(
        self, parameters: PersistentAblationParameters, arrays: Arrays, device: torch.device
    ) -> None:
        images = torch.from_numpy(np.array(arrays["train_images"])).flatten(1)
        labels = torch.from_numpy(np.array(arrays["train_labels"])).long()
        self.device = device
        self.digest = mnist.measure(arrays).digest
        self.images, self.labels = images.to(device), labels.to(device)
        self.training, self.validation = split(
            len(images), parameters.validation_images, parameters.split_seed
        )
        """Indices of the images, on the CPU."""
        self.validated = self.images[self.validation], self.labels[self.validation]
        """The validation images and their labels."""
        self._test = arrays["test_images"], arrays["test_labels"]

    def test(self) -> tuple[Tensor, Tensor]:
        """Return the test images and their labels."""
        images, labels = (torch.from_numpy(np.array(array)) for array in self._test)
        return images.flatten(1).to(self.device), labels.long().to(self.device)


class AblationRun:
    """A trial; keeps the protocol `harness.workload.Run`. One epoch is one meta-loop.

    Args:
        parameters: the cell of the grid.
        context: what the trial may use.
        images: MNIST, if other trials of this process share it; else it is read from the context.
        form: name of the form of the step.

    Raises:
        ResourceError: the context asks for a device that is not there.
    """

    environment: Environment

    def __init__(
        self,
        parameters: PersistentAblationParameters,
        context: Context,
        images: SplitImages | None = None,
        form: str = "plain",
    ) -> None:
        self._parameters, self._seed = parameters, context.seed
        device = configure(context.device, context.threads)
        self._data = images or SplitImages(parameters, context.data[mnist.DATA_SET.name], device)
        # The "last known good" network, which every meta-loop starts from.
        self._best = network(parameters, generator(context.seed, Purpose.INITIALISATION)).to(device)
        self._best_accuracy: float | None = None
        self._loop = 0
        digests = {mnist.DATA_SET.name: self._data.digest}
        self.environment = describe_runtime(device, context.threads, form, digests)

    def epoch(self) -> Mapping[str, float]:
        """Run the next meta-loop: ablate (from the second on), train one epoch, keep the better.

        Returns:
            Accuracies on the validation set, in percent.
        """
        candidate = self.candidate()
        self._train(candidate)
        return self.judge(candidate, self._accuracy(candidate, *self._data.validated))

    def candidate(self) -> nn.Sequential:
        """Return the next meta-loop's network before its training."""
        loop = self._loop + 1
        candidate = deepcopy(self._best)
        if loop > 1:
            ablate(candidate, self._parameters.mode, generator(self._seed, Purpose.ABLATION, loop))
        return candidate

    def order(self) -> Tensor:
        """Return the training images in the order of the next meta-loop, as indices."""
        training = self._data.training
        shuffling = generator(self._seed, Purpose.SHUFFLING, self._loop + 1)
        return training[torch.randperm(len(training), generator=shuffling)]

    def masks(self) -> Generator:
        """Return what draws the dropped units of the next meta-loop."""
        return generator(self._seed, Purpose.DROPOUT, self._loop + 1)

    def judge(self, candidate: nn.Sequential, accuracy: float) -> Mapping[str, float]:
        """End the meta-loop that trained `candidate` to this validation accuracy, in percent."""
        if self._best_accuracy is None or accuracy > self._best_accuracy:
            self._best, self._best_accuracy = candidate, accuracy
        self._loop += 1
        return {"validation_accuracy": accuracy, "best_so_far": self._best_accuracy}

    def final(self) -> Mapping[str, float]:
        """The best validation accuracy, and the test accuracy of the same network, in percent."""
        accuracy = self._accuracy(self._best, *self._data.test())
        assert self._best_accuracy is not None, "no meta-loop was run"  # noqa: S101 (epochs >= 1)
        return {"bounty": self._best_accuracy, "test_accuracy": accuracy}

    def _train(self, candidate: nn.Sequential) -> None:
        """One epoch of AdamW on the training images, in an order drawn for this meta-loop."""
        optimiser = adamw(list(candidate.parameters()), self._parameters)
        rate, masks = dropout_rate(self._parameters), self.masks()
        images, labels = self._data.images, self._data.labels
        for batch in self.order().to(self._data.device).split(self._parameters.batch_size):
            optimiser.zero_grad()
            scores = forward(candidate, normalised(images.index_select(0, batch)), rate, masks)
            functional.cross_entropy(scores, labels.index_select(0, batch)).backward()
            optimiser.step()

    @torch.no_grad()
    def _accuracy(self, candidate: nn.Sequential, images: Tensor, labels: Tensor) -> float:
        """Share of the images that are classified correctly, in percent."""
        batches = zip(images.split(EVALUATION_BATCH), labels.split(EVALUATION_BATCH), strict=True)
        correct = sum(
            int((candidate(normalised(batch)).argmax(1) == truth).sum()) for batch, truth in batches
        )
        return 100.0 * correct / len(labels)

    def save(self) -> bytes:
        """The last known good network, its accuracy, and the number of meta-loops."""
        buffer = io.BytesIO()
        state = {"loop": self._loop, "accuracy": self._best_accuracy}
        torch.save(state | {"network": self._best.state_dict()}, buffer)
        return buffer.getvalue()

    def load(self, payload: bytes) -> None:
        """Go on from what `save` gave; leaves this run as it was if that does not fit it.

        Raises:
            StoreError: it is no checkpoint, or one of another network.
        """
        candidate = deepcopy(self._best)
        try:
            state = torch.load(io.BytesIO(payload), map_location="cpu", weights_only=True)
            candidate.load_state_dict(state["network"])
            loop, accuracy = int(state["loop"]), state["accuracy"]
        except BROKEN as error:
            raise StoreError(f"not a checkpoint of this trial: {error}") from error
        self._best, self._best_accuracy, self._loop = candidate, accuracy, loop


def split(images: int, validation: int, seed: int) -> tuple[Tensor, Tensor]:
    """Indices of the training and of the validation images, as `random_split` draws them.

    Args:
        images: how many there are.
        validation: how many of them form the validation set.
        seed: of the permutation; the paper states 1337.
    """
    order = torch.randperm(images, generator=Generator().manual_seed(seed))
    return order[: images - validation], order[images - validation :]


def normalised(images: Tensor) -> Tensor:
    """Pixels of 0 to 255 scaled to [0, 1], less the mean, over the standard deviation."""
    return images.to(torch.get_default_dtype()).div_(255).sub_(MEAN).div_(DEVIATION)


def adamw(tensors: list[Tensor], parameters: PersistentAblationParameters) -> torch.optim.AdamW:
    """Return a fresh AdamW, as every meta-loop uses."""
    return torch.optim.AdamW(
        tensors,
        lr=parameters.learning_rate,
        betas=(0.9, 0.999),
        eps=1e-8,
        weight_decay=parameters.weight_decay if parameters.mode == "decay" else 0.0,
        fused=True,
    )


def dropout_rate(parameters: PersistentAblationParameters) -> float:
    """Return the dropout rate of the mode; 0 is none."""
    return parameters.dropout if parameters.mode == "dropout" else 0.0


def network(parameters: PersistentAblationParameters, draws: Generator) -> nn.Sequential:
    """784 pixels, `depth` times [Linear to `width`, ReLU], then Linear to the ten classes.

    Weights and biases are drawn as PyTorch's default does: uniform within 1/sqrt(fan-in).
    """
    sizes = [28 * 28, *[parameters.width] * parameters.depth, CLASSES]
    layers: list[nn.Module] = []
    for fan_in, fan_out in pairwise(sizes):
        linear = nn.utils.skip_init(nn.Linear, fan_in, fan_out)
        bound = fan_in**-0.5
        nn.init.uniform_(linear.weight, -bound, bound, generator=draws)
        nn.init.uniform_(linear.bias, -bound, bound, generator=draws)
        layers += [linear, nn.ReLU()]
    return nn.Sequential(*layers[:-1])


def forward(candidate: nn.Sequential, x: Tensor, rate: float, masks: Generator) -> Tensor:
    """Class scores, shape (images, 10), with dropout after each ReLU while training.

    Args:
        candidate: the network.
        x: normalised pixels, shape (images, 784).
        rate: of dropout; 0 draws nothing.
        masks: draws the units that are dropped, always on the CPU, so that devices agree.
    """
    if rate == 0.0:
        scores: Tensor = candidate(x)
        return scores
    for layer in candidate:
        x = layer(x)
        if isinstance(layer, nn.ReLU):
            kept = torch.empty(x.shape).bernoulli_(1 - rate, generator=masks)
            x = x * kept.div_(1 - rate).to(x.device)
    return x


@torch.no_grad()
def ablate(candidate: nn.Sequential, mode: str, draws: Generator) -> None:
    """Set one neuron of the network to zero, in place, as the mode says; baselines ablate none.

    `output`: a neuron of the output layer, its incoming weights and its bias.
    `hidden`: one of all hidden neurons, its incoming weights, bias and outgoing weights.
    `full`: a linear layer first, the output layer among them, then a neuron of it, its incoming
    weights and its bias.
    """
    linears = [layer for layer in candidate if isinstance(layer, nn.Linear)]

    def pick(count: int) -> int:
        return int(torch.randint(count, (1,), generator=draws))

    match mode:
        case "output":
            layer, neuron = len(linears) - 1, pick(CLASSES)
        case "hidden":
            # All hidden layers have one width, so every hidden neuron is as likely as another.
            width = linears[0].out_features
            layer, neuron = divmod(pick(width * (len(linears) - 1)), width)
            linears[layer + 1].weight[:, neuron] = 0
        case "full":
            layer = pick(len(linears))
            neuron = pick(linears[layer].out_features)
        case _:
            return
    linears[layer].weight[neuron] = 0
    linears[layer].bias[neuron] = 0
