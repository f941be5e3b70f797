"""Runs one trial: trains epoch by epoch, estimates on test pairs, saves and loads its state.

The Donsker-Varadhan bound and the paper's loop over minibatches come first. A faster form of the
step replaces `Scores` alone. All other code is shared, so two forms can be compared on the same
minibatch. Reading a state never executes what it reads.
"""

import io
import math
import pickle
import struct
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from enum import IntEnum
from functools import cached_property
from typing import Any, Generic, Protocol, TypeVar

import torch
from torch import Generator, Tensor
from torch.nn import Module
from torch.optim import Optimizer

from harness.errors import StoreError, UsageError
from harness.record import Environment
from harness.workload import Context
from harness.workloads import torch_runtime
from harness.workloads.mine import TrainingParameters
from harness.workloads.torch_runtime import generator, generator_seed

NATS_PER_BIT = math.log(2)


def donsker_varadhan(joint: Tensor, product: Tensor) -> Tensor:
    """Donsker-Varadhan estimate of I(A; B), in nats.

    Args:
        joint: critic scores f(a, b) on paired samples, shape (n,).
        product: critic scores f(a, b') on unpaired samples, shape (m,).

    Returns:
        Scalar, in nats. Under the true expectations it is a lower bound for every critic. On a
        sample it is an estimate only, biased upward, because the log of a sample mean is biased
        downward.

    Source:
        Donsker and Varadhan (1983); Belghazi et al. (2018), arXiv:1801.04062.
    """
    return joint.mean() - log_mean_exp(product)


def log_mean_exp(scores: Tensor) -> Tensor:
    """Compute log(mean(exp(scores))) of shape (n,), a scalar, without overflow."""
    return torch.logsumexp(scores, dim=0) - math.log(scores.numel())


class Pairs(Protocol):
    """One draw of n pairs, in random order."""

    @property
    def a(self) -> Tensor:
        """First half of each pair, shape (n, ...)."""

    @property
    def b(self) -> Tensor:
        """Second half of each pair, shape (n, ...); b[i] belongs to a[i]."""

    @property
    def true_bits(self) -> float:
        """The value that the estimate should reach, in bits."""


C = TypeVar("C", bound=Module)

Scores = Callable[[C, Tensor, Tensor, Tensor], tuple[Tensor, Tensor]]
"""(critic, a, b, permuted b) -> f(a, b) and f(a, permuted b), each of shape (n,)."""


@dataclass(frozen=True)
class Form(Generic[C]):
    """One way to compute a training step."""

    scores: Scores[C]
    fused: bool
    """Whether the optimiser updates all parameters in one kernel, with the same formulas."""
    stacked: Scores[C] | None = None
    """What a pack computes in its place on a GPU, if `torch.vmap` cannot run `scores`. On a CPU
    such a pack trains its seeds in turn. None if `torch.vmap` can run `scores`."""


@dataclass(frozen=True)
class Estimates:
    """The sum of the estimates of all minibatches of one draw. It stays on the device until read.

    The means are in bits.
    """

    total_nats: Tensor
    """Sum over minibatches, scalar, float64."""
    pairs: int
    batch_size: int

    @property
    def mean_bits(self) -> float:
        """Mean over the minibatches; a shorter last one has the same weight as the others."""
        return self._bits(-(-self.pairs // self.batch_size))

    @property
    def floor_bits(self) -> float:
        """Sum over floor(pairs / batch size): too high by one share if the last batch is short.

        The paper's test estimates suggest that its code divides like this.
        """
        return self._bits(self.pairs // self.batch_size)

    def _bits(self, batches: int) -> float:
        return self.total_nats.item() / (batches * NATS_PER_BIT)


def train(
    critic: C,
    optimiser: torch.optim.Optimizer,
    pairs: Pairs,
    permutation: Tensor,
    *,
    batch_size: int,
    scores: Scores[C],
) -> Estimates:
    """Train for one epoch: one optimiser step per minibatch.

    Args:
        critic: the network; it is updated in place.
        optimiser: the optimiser of its parameters.
        pairs: the n pairs of the epoch.
        permutation: of all n pairs, shape (n,): b[permutation] is unpaired from a.
        batch_size: pairs in a minibatch; the last one may be shorter.
        scores: the form of the step.

    Returns:
        The estimates while training, each from the weights before its own step.

    Raises:
        ValueError: the pairs do not fill one minibatch.
    """
    total = _zero(pairs)
    for a, b, permuted in minibatches(pairs, permutation, batch_size):
        estimate = donsker_varadhan(*scores(critic, a, b, permuted))
        optimiser.zero_grad()
        (-estimate).backward()
        optimiser.step()
        total += estimate.detach()
    return Estimates(total, len(pairs.a), batch_size)


@torch.no_grad()
def estimates_of(
    critic: C, pairs: Pairs, permutation: Tensor, *, batch_size: int, scores: Scores[C]
) -> tuple[Estimates, float]:
    """Return the estimates by minibatch, and the estimate from all pairs at once, in bits.

    Raises:
        ValueError: the pairs do not fill one minibatch.
    """
    total, joints, products = _zero(pairs), [], []
    for a, b, permuted in minibatches(pairs, permutation, batch_size):
        joint, product = scores(critic, a, b, permuted)
        total += donsker_varadhan(joint, product)
        joints.append(joint)
        products.append(product)
    whole = donsker_varadhan(torch.cat(joints).double(), torch.cat(products).double())
    return Estimates(total, len(pairs.a), batch_size), whole.item() / NATS_PER_BIT


def _zero(pairs: Pairs) -> Tensor:
    return torch.zeros((), dtype=torch.float64, device=pairs.a.device)


def minibatches(
    pairs: Pairs, permutation: Tensor, batch_size: int
) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
    """Yield a, b and permuted b of each minibatch."""
    if len(pairs.a) < batch_size:
        raise ValueError(f"{len(pairs.a)} pairs do not fill one minibatch of {batch_size}")
    indices = permutation.to(pairs.b.device).split(batch_size)
    for a, b, index in zip(
        pairs.a.split(batch_size), pairs.b.split(batch_size), indices, strict=True
    ):
        yield a, b, pairs.b.index_select(0, index)


BROKEN = (
    pickle.UnpicklingError,
    struct.error,
    RuntimeError,
    EOFError,
    OSError,
    ImportError,
    AttributeError,
    LookupError,
    TypeError,
    ValueError,
)
"""Errors that reading may raise if the bytes are no checkpoint: those of torch, and those in the
documentation of pickle."""


def dump_state(epoch: int, critic: Module, optimiser: Optimizer) -> bytes:
    """Return the state after `epoch` as bytes. It holds no generator: each epoch makes its own."""
    buffer = io.BytesIO()
    state = {
        "epoch": epoch,
        "critic": critic.state_dict(),
        "optimiser": optimiser.state_dict(),
    }
    torch.save(state, buffer)
    return buffer.getvalue()


def restore_state(payload: bytes, critic: Module, optimiser: Optimizer) -> int:
    """Load a state of `dump` into the critic and the optimiser, and return its epoch.

    If it does not fit, both stay unchanged.

    Raises:
        StoreError: the bytes are no checkpoint, or belong to another network or optimiser.
    """
    try:
        # Load to the CPU, where Adam keeps its step count. The rest is copied to its device.
        state = torch.load(io.BytesIO(payload), map_location="cpu", weights_only=True)
        mismatches = list(_mismatches(state, critic, optimiser))
    except BROKEN as error:
        raise StoreError(f"not a checkpoint of this workload: {error}") from error
    if mismatches:
        raise StoreError(f"a checkpoint of another trial: {'; '.join(mismatches)}")
    critic.load_state_dict(state["critic"])
    optimiser.load_state_dict(state["optimiser"])
    return int(state["epoch"])


def _mismatches(state: dict[str, Any], critic: Module, optimiser: Optimizer) -> Iterator[str]:
    """Yield what differs between a loaded state and this critic and optimiser."""
    yield from _differences("", state["critic"], critic.state_dict())
    groups, own = state["optimiser"]["param_groups"], optimiser.state_dict()["param_groups"]
    if groups != own:
        yield f"optimiser {groups}, here {own}"
    if not isinstance(state["epoch"], int) or state["epoch"] < 0:
        yield f"epoch {state['epoch']!r}"
    averages = state["optimiser"]["state"]
    if state["epoch"] == 0 and not averages:
        return
    parameters = dict(enumerate(critic.parameters()))
    for key in ("exp_avg", "exp_avg_sq"):
        loaded = {index: average[key] for index, average in averages.items()}
        yield from _differences(f"{key} ", loaded, parameters)


def _differences(
    prefix: str, loaded: dict[Any, Tensor], own: dict[Any, Tensor] | dict[int, Any]
) -> Iterator[str]:
    """Yield the tensors whose shape or type differs."""
    for name in sorted(loaded.keys() | own.keys()):
        theirs, ours = _shape(loaded.get(name)), _shape(own.get(name))
        if theirs != ours:
            yield f"{prefix}{name} is {theirs}, here {ours}"


def _shape(tensor: Tensor | None) -> str:
    return "absent" if tensor is None else f"{tuple(tensor.shape)} {tensor.dtype}"


class NonFiniteEstimate(ArithmeticError):  # noqa: N818 (its name stands in failure records)
    """An estimate or a parameter is NaN or infinite. That is a failure of the method."""


class Stream(IntEnum):
    """Uses of random numbers. The numbers determine the results: never renumber them."""

    TRAINING = 0
    INITIALISATION = 1
    PERMUTATION = 2
    TEST = 3
    TEST_PERMUTATION = 4


Draw = Callable[[Generator], Pairs]


@dataclass(frozen=True)
class EstimationTask(Generic[C]):
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
        pack: size of the pack that this trial is part of; 0 for a trial by itself.

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
        experiment: Callable[[torch.device], EstimationTask[C]],
        forms: Mapping[str, Form[C]],
        pack: int = 0,
    ) -> None:
        form = str(context.options.get("form", next(iter(forms))))
        if form not in forms:
            raise UsageError(f"no form {form!r} of the step; choose one of: {', '.join(forms)}")
        self.device = torch_runtime.configure(context.device, context.threads)
        self.parameters, self._seed = parameters, context.seed
        self.form = forms[form]
        self._experiment = experiment(self.device)
        self.critic = self._initialised()
        if self.device.type != "cpu":  # on a CPU `to` would visit each parameter for nothing
            self.critic.to(self.device)
        self.optimiser = self.adam(self.critic.parameters())
        self._epoch = 0
        self.environment = torch_runtime.describe_runtime(
            self.device,
            context.threads,
            f"{form}/pack of {pack}" if pack else form,
            self._experiment.data,
        )

    def adam(self, parameters: Iterable[Tensor]) -> torch.optim.Adam:
        """Return the optimiser of these parameters, as this trial's form has it."""
        return torch.optim.Adam(parameters, lr=self.parameters.learning_rate, fused=self.form.fused)

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
            NonFiniteEstimate: one of them, or a parameter of the network, is NaN or infinite.
            ValueError: there are too few pairs for one minibatch.
        """
        pairs, permutation = self.draw()
        estimates = train(
            self.critic,
            self.optimiser,
            pairs,
            permutation,
            batch_size=self.parameters.batch_size,
            scores=self.form.scores,
        )
        return self.record(pairs, estimates)

    def draw(self) -> tuple[Pairs, Tensor]:
        """Return the n pairs of the next epoch and the permutation that unpairs them."""
        number = self._epoch + 1
        pairs = self._training_pairs(number)
        return pairs, self._permutation(pairs, Stream.PERMUTATION, number)

    def record(self, pairs: Pairs, estimates: Estimates) -> Mapping[str, float]:
        """Count the epoch that was trained on these pairs, and return its estimates, in bits.

        Raises:
            NonFiniteEstimate: one of them, or a parameter of the network, is NaN or infinite.
        """
        self._epoch += 1
        metrics = self._finite(
            {
                "mi_bits": estimates.mean_bits,
                "mi_floor_bits": estimates.floor_bits,
                "true_mi_bits": pairs.true_bits,
            }
        )
        # oneDNN's ReLU makes 0 of NaN on some CPUs, so that a dead network's estimates are finite.
        for name, tensor in self.critic.named_parameters():
            if not tensor.isfinite().all():
                raise NonFiniteEstimate(f"{name} is NaN or infinite at epoch {self._epoch}")
        return metrics

    def final(self) -> Mapping[str, float]:
        """Return the estimates on the test pairs, in bits. The pairs are the same at every epoch.

        Raises:
            NonFiniteEstimate: one of them is NaN or infinite.
            ValueError: there are too few pairs for one minibatch.
        """
        pairs = self._experiment.test(generator(self._seed, Stream.TEST))
        estimates, whole_bits = estimates_of(
            self.critic,
            pairs,
            self._permutation(pairs, Stream.TEST_PERMUTATION),
            batch_size=self.parameters.batch_size,
            scores=self.form.scores,
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
        if self.parameters.redraw:
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
        return dump_state(self._epoch, self.critic, self.optimiser)

    def load(self, payload: bytes) -> None:
        """Continue from a checkpoint of `save`. If it does not fit, this run stays unchanged.

        Raises:
            StoreError: the bytes are no checkpoint, or belong to another network or optimiser.
        """
        self._epoch = restore_state(payload, self.critic, self.optimiser)
