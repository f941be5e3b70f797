"""Persistent Stochastic Ablation: the method's laws, on a data set made of noise."""

import io
from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import settings as examples
from hypothesis import strategies as st
from torch import nn

from harness.errors import StoreError
from harness.workload import Context
from harness.workloads.persistent_ablation import PersistentAblationParameters, persistent_ablation
from harness.workloads.persistent_ablation.run import (
    AblationRun,
    Purpose,
    ablate,
    forward,
    network,
    split,
)
from harness.workloads.torch_runtime import generator

ABLATIONS = ("full", "hidden", "output")
MODES = ("none", "decay", "dropout", *ABLATIONS)


def parameters(**changes: Any) -> PersistentAblationParameters:
    cell: dict[str, Any] = {
        "depth": 2,
        "width": 6,
        "mode": "none",
        "learning_rate": 1e-3,
        "weight_decay": 1e-2,
        "dropout": 0.1,
        "batch_size": 64,
        "split_seed": 1337,
        "validation_images": 100,
    }
    return PersistentAblationParameters(**(cell | changes))


def noise(images: int, seed: int) -> Mapping[str, np.ndarray[Any, Any]]:
    draws = np.random.default_rng(seed)
    arrays = {
        "train_images": draws.integers(0, 256, (images, 28, 28), dtype=np.uint8),
        "train_labels": draws.integers(0, 10, images, dtype=np.uint8),
        "test_images": draws.integers(0, 256, (50, 28, 28), dtype=np.uint8),
        "test_labels": draws.integers(0, 10, 50, dtype=np.uint8),
    }
    for array in arrays.values():
        array.flags.writeable = False
    return arrays


DATA = {"mnist": noise(400, 0)}


def start(seed: int = 0, **changes: Any) -> AblationRun:
    return AblationRun(parameters(**changes), Context(seed, DATA, "cpu", 1))


def zeroed(before: nn.Module, after: nn.Module) -> dict[str, int]:
    """How many numbers of each tensor the ablation changed; all of them must be zero now."""
    changed = {}
    old = dict(before.named_parameters())
    for name, tensor in after.named_parameters():
        moved = tensor != old[name]
        assert not tensor[moved].any()
        if moved.any():
            changed[name] = int(moved.sum())
    return changed


@examples(max_examples=30)
@given(st.integers(1, 4), st.integers(1, 9), st.integers(0, 1000), st.sampled_from(ABLATIONS))
def test_an_ablation_silences_exactly_one_neuron(
    depth: int, width: int, seed: int, mode: str
) -> None:
    cell = parameters(depth=depth, width=width)
    before = network(cell, generator(0, Purpose.INITIALISATION))
    after = network(cell, generator(0, Purpose.INITIALISATION))
    ablate(after, mode, generator(seed, Purpose.ABLATION, 2))
    changed = zeroed(before, after)
    biases = {name: count for name, count in changed.items() if name.endswith("bias")}
    (bias,) = biases
    assert biases[bias] == 1
    layer = int(bias.split(".")[0]) // 2
    assert changed[f"{2 * layer}.weight"] >= (784 if layer == 0 else width)
    if mode == "output":
        assert layer == depth
        assert len(changed) == 2
    if mode == "hidden":
        assert layer < depth
        outgoing = 10 if layer == depth - 1 else width
        assert changed[f"{2 * layer + 2}.weight"] == outgoing
    if mode == "full":
        assert len(changed) == 2


@pytest.mark.parametrize("mode", ["none", "decay", "dropout"])
def test_a_baseline_ablates_nothing(mode: str) -> None:
    cell = parameters()
    before = network(cell, generator(0, Purpose.INITIALISATION))
    after = network(cell, generator(0, Purpose.INITIALISATION))
    ablate(after, mode, generator(0, Purpose.ABLATION, 2))
    assert zeroed(before, after) == {}


def test_every_hidden_neuron_and_every_layer_can_be_ablated() -> None:
    cell = parameters(depth=2, width=3)
    hidden, full = set(), set()
    for seed in range(200):
        for mode, found in (("hidden", hidden), ("full", full)):
            before = network(cell, generator(0, Purpose.INITIALISATION))
            after = network(cell, generator(0, Purpose.INITIALISATION))
            ablate(after, mode, generator(seed, Purpose.ABLATION, 2))
            (bias,) = (name for name in zeroed(before, after) if name.endswith("bias"))
            old = dict(before.named_parameters())[bias]
            new = dict(after.named_parameters())[bias]
            found.add((bias, int((old != new).nonzero())))
    assert len(hidden) == 2 * 3
    assert len(full) == 2 * 3 + 10


def test_the_split_is_that_of_random_split() -> None:
    training, validation = split(60_000, 10_000, 1337)
    theirs = torch.utils.data.random_split(
        range(60_000),  # type: ignore[arg-type]
        [50_000, 10_000],
        generator=torch.Generator().manual_seed(1337),
    )
    assert training.tolist() == list(theirs[0].indices)
    assert validation.tolist() == list(theirs[1].indices)


def test_always_answering_one_gives_the_paper_s_chance_level(mnist_cache: Any) -> None:
    arrays = persistent_ablation.load_data("mnist", mnist_cache)
    _, validation = split(60_000, 10_000, 1337)
    labels = np.asarray(arrays["train_labels"])[validation.numpy()]
    counts = np.bincount(labels, minlength=10)
    assert counts.argmax() == 1
    assert counts[1] == 1102  # the paper's 11.02 %


@examples(max_examples=6)
@given(st.sampled_from(MODES), st.integers(0, 5))
def test_a_resumed_trial_equals_one_left_alone(mode: str, seed: int) -> None:
    alone = start(seed, mode=mode)
    expected = [alone.epoch() for _ in range(4)]
    first = start(seed, mode=mode)
    assert [first.epoch(), first.epoch()] == expected[:2]
    second = start(seed, mode=mode)
    second.load(first.save())
    assert [second.epoch(), second.epoch()] == expected[2:]
    assert second.final() == alone.final()


@pytest.mark.parametrize("mode", MODES)
def test_the_best_so_far_never_falls_and_is_the_bounty(mode: str) -> None:
    run = start(3, mode=mode)
    rows = [run.epoch() for _ in range(6)]
    best = -1.0
    for row in rows:
        best = max(best, row["validation_accuracy"])
        assert row["best_so_far"] == best
    assert run.final()["bounty"] == best


def test_a_worse_network_is_thrown_away() -> None:
    run = start(3, mode="output")
    saved, best = b"", -1.0
    for _ in range(8):
        accuracy = run.epoch()["validation_accuracy"]
        state = torch.load(io.BytesIO(run.save()), weights_only=True)
        weights = state["network"]["0.weight"].numpy().tobytes()
        assert (weights != saved) == (accuracy > best)
        saved, best = weights, max(best, accuracy)


def test_dropout_scales_what_it_keeps_and_is_off_in_evaluation() -> None:
    net = network(parameters(depth=1, width=500), generator(0, Purpose.INITIALISATION))
    x = torch.randn(40, 784, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        hidden = net[1](net[0](x))
        draws = generator(0, Purpose.DROPOUT, 1)
        kept = torch.empty(hidden.shape).bernoulli_(0.9, generator=draws)
        expected = net[2](hidden * kept / 0.9)
        got = forward(net, x, 0.1, generator(0, Purpose.DROPOUT, 1))
    torch.testing.assert_close(got, expected)
    assert 0.05 < 1 - kept.mean().item() < 0.15
    assert torch.equal(forward(net, x, 0.0, draws), net(x))


def test_the_modes_share_their_first_network_and_its_shuffles() -> None:
    first = {mode: start(1, mode=mode).epoch() for mode in ("none", *ABLATIONS)}
    assert len({tuple(row.items()) for row in first.values()}) == 1


def test_a_checkpoint_of_another_shape_is_refused_and_changes_nothing() -> None:
    run, other = start(width=6), start(width=7)
    other.epoch()
    with pytest.raises(StoreError):
        run.load(other.save())
    with pytest.raises(StoreError):
        run.load(b"no checkpoint")
    assert run.epoch() == start(width=6).epoch()
