"""Trains the critics of several seeds as one program.

Each seed stays a `MineRun` of its own: it draws its pairs, records its estimates and saves its
state. The pack does the training alone. It stacks the parameters of all critics along a leading
axis of lanes, one lane for each seed, and calls each operator once for all lanes.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Generic

import torch
from torch import Tensor, nn
from torch.func import functional_call

from harness.workload import Run
from harness.workloads.mine.run import (
    C,
    Estimates,
    MineRun,
    NonFiniteEstimate,
    Pairs,
    Scores,
    donsker_varadhan,
    minibatches,
)


class MinePack(Generic[C]):
    """K trials of one experiment; implements the protocol `harness.workload.Pack`.

    If `torch.vmap` cannot run the form on a CPU, the pack trains its seeds in turn there, each as
    if it were alone.

    Args:
        runs: the trials, at least one.
        lanes: K, at least as many as there are trials. Lanes without a trial compute too, so that
            the shape of every product, and with it the rounding, depends on K alone.
    """

    def __init__(self, runs: Sequence[MineRun[C]], lanes: int) -> None:
        self.runs: Sequence[Run] = runs
        self._runs = runs
        form, device = runs[0].form, runs[0].device
        self._stack: StackedCritics[C] | None = None
        if form.stacked is None or device.type != "cpu":
            self._stack = StackedCritics(runs[0], lanes, form.stacked or form.scores)

    def epoch(self, members: Sequence[int]) -> Sequence[Mapping[str, float] | NonFiniteEstimate]:
        """Train these trials for their next epoch; see `MineRun.epoch`."""
        runs = {lane: self._runs[lane] for lane in members}
        if self._stack is None:
            return [_outcome(run.epoch) for run in runs.values()]
        drawn = {lane: run.draw() for lane, run in runs.items()}
        for lane, run in runs.items():
            self._stack.put(lane, run)
        estimates = self._stack.train(drawn)
        for lane, run in runs.items():
            self._stack.take(lane, run)
        return [_outcome(run.record, drawn[lane][0], estimates[lane]) for lane, run in runs.items()]


def _outcome(
    record: Callable[..., Mapping[str, float]], *arguments: Any
) -> Mapping[str, float] | NonFiniteEstimate:
    """Return what `record` returns, or the failure of the method in this trial alone."""
    try:
        return record(*arguments)
    except NonFiniteEstimate as failure:
        return failure


class StackedCritics(Generic[C]):
    """The critics of K lanes and their optimiser.

    The optimiser updates each lane's part of a stacked tensor as a parameter of its own, because
    lanes may be at different steps. It does so in the same kernel as a trial alone.

    Args:
        run: a trial of the experiment, whose network and settings all lanes have.
        lanes: K.
        scores: the form of the step, which `torch.vmap` can run.
    """

    def __init__(self, run: MineRun[C], lanes: int, scores: Scores[C]) -> None:
        self._critic, self._scores, self._lanes = run.critic, scores, lanes
        self._batch_size, self._device = run.parameters.batch_size, run.device
        self._stacked = {
            name: one.new_zeros((lanes, *one.shape), requires_grad=True)
            for name, one in run.critic.named_parameters()
        }
        stacked = self._stacked.values()
        self._lane = [[tensor.detach()[lane] for tensor in stacked] for lane in range(lanes)]
        self._optimiser = run.adam(tensor for tensors in self._lane for tensor in tensors)

    def put(self, lane: int, run: MineRun[C]) -> None:
        """Copy a trial's parameters into a lane; its optimiser's state is shared from now on."""
        for ours, theirs in zip(self._lane[lane], run.critic.parameters(), strict=True):
            ours.copy_(theirs.detach())
            self._optimiser.state[ours] = run.optimiser.state[theirs]

    def take(self, lane: int, run: MineRun[C]) -> None:
        """Copy a lane's parameters into a trial."""
        for ours, theirs in zip(self._lane[lane], run.critic.parameters(), strict=True):
            theirs.detach().copy_(ours)

    def train(self, drawn: Mapping[int, tuple[Pairs, Tensor]]) -> Mapping[int, Estimates]:
        """Train some lanes for one epoch, as `harness.workloads.mine.run.train` does one critic.

        Args:
            drawn: by lane, the pairs of its epoch and their permutation. All have as many pairs.

        Returns:
            The estimates while training, by lane.
        """
        totals = torch.zeros(self._lanes, dtype=torch.float64, device=self._device)
        lanes = list(drawn)
        batches = [minibatches(*of_lane, self._batch_size) for of_lane in drawn.values()]
        for parts in zip(*batches, strict=True):
            a, b, permuted = (self._stack(lanes, part) for part in zip(*parts, strict=True))
            batch = a, b, permuted
            scores = scores_of_lanes(self._critic, self._scores, self._stacked, batch)
            estimates = torch.vmap(donsker_varadhan)(*scores)
            self._differentiate(estimates, lanes)
            self._optimiser.step()
            totals += estimates.detach()
        return {
            lane: Estimates(totals[lane], len(pairs.a), self._batch_size)
            for lane, (pairs, _) in drawn.items()
        }

    def _stack(self, lanes: Sequence[int], parts: Sequence[Tensor]) -> Tensor:
        """Return the parts, one for each of these lanes, with zeros in all other lanes."""
        by_lane = dict(zip(lanes, parts, strict=True))
        zeros = torch.zeros_like(parts[0])
        return torch.stack([by_lane.get(lane, zeros) for lane in range(self._lanes)])

    def _differentiate(self, estimates: Tensor, lanes: Sequence[int]) -> None:
        """Give each of these lanes its gradients; no other lane has any, and so none is updated."""
        self._optimiser.zero_grad()
        for stacked in self._stacked.values():
            stacked.grad = None
        # No lane's estimate depends on another lane's parameters.
        (-estimates).sum().backward()
        for lane in lanes:
            for ours, stacked in zip(self._lane[lane], self._stacked.values(), strict=True):
                ours.grad = None if stacked.grad is None else stacked.grad[lane]


class _Step(nn.Module, Generic[C]):
    """The scores of a step as a module, so that `functional_call` can replace the parameters."""

    def __init__(self, critic: C, scores: Scores[C]) -> None:
        super().__init__()
        self.critic = critic
        self._scores = scores

    def forward(self, a: Tensor, b: Tensor, permuted: Tensor) -> tuple[Tensor, Tensor]:
        return self._scores(self.critic, a, b, permuted)


def scores_of_lanes(
    critic: C,
    scores: Scores[C],
    parameters: Mapping[str, Tensor],
    batch: tuple[Tensor, Tensor, Tensor],
) -> tuple[Tensor, Tensor]:
    """Return f(a, b) and f(a, permuted b) of K critics, each of shape (K, n).

    Args:
        critic: a network of the same layers; its own parameters are not used.
        scores: the form of the step, which `torch.vmap` can run.
        parameters: those of all critics, by their names, each of shape (K, ...).
        batch: a, b and permuted b of a minibatch of each critic, each of shape (K, n, ...).
    """
    step = _Step(critic, scores)
    named = {f"critic.{name}": stacked for name, stacked in parameters.items()}

    def of_one(own: Mapping[str, Tensor], *batch: Tensor) -> tuple[Tensor, Tensor]:
        joint, product = functional_call(step, dict(own), batch)
        return joint, product

    of_each: tuple[Tensor, Tensor] = torch.vmap(of_one)(named, *batch)
    return of_each
