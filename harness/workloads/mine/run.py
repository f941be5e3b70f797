"""Runs one trial: trains epoch by epoch, estimates on test pairs, saves and loads its state."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import IntEnum
from functools import cached_property
from typing import Generic

import torch
from torch import Generator, Tensor

from harness.errors import UsageError
from harness.record import Environment
from harness.workload import Context
from harness.workloads import torch_runtime
from harness.workloads.mine import checkpoint
from harness.workloads.mine.declaration import TrainingParameters
from harness.workloads.mine.training import C, Form, Pairs, evaluate, train
from harness.workloads.torch_runtime import generator, generator_seed


class NonFiniteEstimate(ArithmeticError):  # noqa: N818 (its name stands in failure records)
    """An estimate is NaN or infinite. That is a failure of the method."""


class Stream(IntEnum):
    """Uses of random numbers. The numbers determine the results: never renumber them."""

    TRAINING = 0
    INITIALISATION = 1
    PERMUTATION = 2
    TEST = 3
    TEST_PERMUTATION = 4


Draw = Callable[[Generator], Pairs]


@dataclass(frozen=True)
class Experiment(Generic[C]):
    """One experiment on one device. It can run with any seed."""

    critic: Callable[[], C]
    """Makes a new network. Its layers initialise themselves from torch's global generator."""
    training: Draw
    test: Draw
    data: Mapping[str, str]
    """Digest of each data set as it was read, by name."""


class MineRun(Generic[C]):
    """A trial of any of these experiments; implements the protocol `harness.workload.Run`.

    Args:
        parameters: how the critic is trained.
        context: what the trial may use.
        experiment: sets the experiment up on a device. It is called after torch is configured.
        forms: the forms of the step, by name. The first is the default.

    Raises:
        UsageError: the context asks for a form that does not exist.
        ResourceError: the context asks for a device that does not exist.
    """

    environment: Environment

    def __init__(
        self,
        parameters: TrainingParameters,
        context: Context,
        *,
        experiment: Callable[[torch.device], Experiment[C]],
        forms: Mapping[str, Form[C]],
    ) -> None:
        form = str(context.options.get("form", next(iter(forms))))
        if form not in forms:
            raise UsageError(f"no form {form!r} of the step; choose one of: {', '.join(forms)}")
        device = torch_runtime.configure(context.device, context.threads)
        self._parameters, self._seed = parameters, context.seed
        self._scores = forms[form].scores
        self._experiment = experiment(device)
        self._critic = self._initialised().to(device)
        self._optimiser = torch.optim.Adam(
            self._critic.parameters(), lr=parameters.learning_rate, fused=forms[form].fused
        )
        self._epoch = 0
        self.environment = torch_runtime.describe(
            device, context.threads, form, self._experiment.data
        )

    def _initialised(self) -> C:
        """Return a new network, initialised on the CPU so that it is the same on every device.

        The layers can initialise themselves from torch's global generator only. So this method
        seeds that generator and restores it afterwards. It does not call `torch.manual_seed`,
        which would seed the GPUs too.
        """
        with torch.random.fork_rng(devices=[]):
            torch.default_generator.manual_seed(generator_seed(self._seed, Stream.INITIALISATION))
            return self._experiment.critic()

    def epoch(self) -> Mapping[str, float]:
        """Train for one epoch and return its estimates, in bits.

        Raises:
            NonFiniteEstimate: one of them is NaN or infinite.
            ValueError: there are too few pairs for one minibatch.
        """
        number = self._epoch + 1
        pairs = self._training_pairs(number)
        estimates = train(
            self._critic,
            self._optimiser,
            pairs,
            self._permutation(pairs, Stream.PERMUTATION, number),
            batch_size=self._parameters.batch_size,
            scores=self._scores,
        )
        self._epoch = number
        return self._finite(
            {
                "mi_bits": estimates.mean_bits,
                "mi_floor_bits": estimates.floor_bits,
                "true_mi_bits": pairs.true_bits,
            }
        )

    def final(self) -> Mapping[str, float]:
        """Return the estimates on the test pairs, in bits. The pairs are the same at every epoch.

        Raises:
            NonFiniteEstimate: one of them is NaN or infinite.
            ValueError: there are too few pairs for one minibatch.
        """
        pairs = self._experiment.test(generator(self._seed, Stream.TEST))
        estimates, whole_bits = evaluate(
            self._critic,
            pairs,
            self._permutation(pairs, Stream.TEST_PERMUTATION),
            batch_size=self._parameters.batch_size,
            scores=self._scores,
        )
        return self._finite(
            {
                "test_mi_bits": estimates.mean_bits,
                "test_mi_floor_bits": estimates.floor_bits,
                "test_mi_whole_bits": whole_bits,
                "test_true_mi_bits": pairs.true_bits,
            }
        )

    def _training_pairs(self, epoch: int) -> Pairs:
        if self._parameters.redraw:
            return self._experiment.training(generator(self._seed, Stream.TRAINING, epoch))
        return self._fixed_pairs

    @cached_property
    def _fixed_pairs(self) -> Pairs:
        """The pairs of the first epoch, which serve every epoch if `redraw` is false."""
        return self._experiment.training(generator(self._seed, Stream.TRAINING, 1))

    def _permutation(self, pairs: Pairs, stream: Stream, epoch: int = 0) -> Tensor:
        return torch.randperm(len(pairs.b), generator=generator(self._seed, stream, epoch))

    def _finite(self, metrics: dict[str, float]) -> Mapping[str, float]:
        for name, value in metrics.items():
            if not math.isfinite(value):
                raise NonFiniteEstimate(f"{name} is {value} at epoch {self._epoch}")
        return metrics

    def save(self) -> bytes:
        """Return a checkpoint: weights, optimiser and epoch."""
        return checkpoint.dump(self._epoch, self._critic, self._optimiser)

    def load(self, payload: bytes) -> None:
        """Continue from a checkpoint of `save`. If it does not fit, this run stays unchanged.

        Raises:
            StoreError: the bytes are no checkpoint, or belong to another network or optimiser.
        """
        self._epoch = checkpoint.restore(payload, self._critic, self._optimiser)
