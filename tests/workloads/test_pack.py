"""A pack's trials are the trials alone, but for the order of sums."""

from collections.abc import Iterator

import pytest
import torch
from torch import nn
from torch.nn import functional

from harness.workload import Context
from harness.workloads import torch_runtime
from harness.workloads.persistent_ablation import PersistentAblationParameters
from harness.workloads.persistent_ablation import pack as packed
from harness.workloads.persistent_ablation import run as alone
from harness.workloads.persistent_ablation.pack import (
    PIXELS,
    AblationPack,
    AllPixels,
    BrightPixels,
    StackedNetworks,
)
from harness.workloads.persistent_ablation.run import AblationRun, Purpose, network, normalised
from harness.workloads.torch_runtime import generator
from tests.workloads.test_persistent_ablation import DATA, MODES, parameters

EXACT = 1e-10
"""In float64, on numbers of the order of one."""
ROUNDING = 2.0**-24
"""Largest relative error of one rounding to float32."""
LIMIT = 256
"""Roundings by which one step may differ from float64; see `test_forms`. The longest sum here has
784 terms, so it errs by some 28 roundings."""


@pytest.fixture
def float64(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Let runs and packs compute in float64."""

    def configure(device: str, threads: int) -> torch.device:
        found = torch_runtime.configure(device, threads)
        torch.set_default_dtype(torch.float64)
        return found

    monkeypatch.setattr(alone, "configure", configure)
    monkeypatch.setattr(packed, "configure", configure)
    yield
    torch.set_default_dtype(torch.float32)


def contexts(seeds: int) -> list[Context]:
    return [Context(seed, DATA, "cpu", 1) for seed in range(seeds)]


def weights(run: AblationRun) -> list[torch.Tensor]:
    """Of the last known good network."""
    return list(run._best.state_dict().values())


@pytest.mark.usefixtures("float64")
@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("size", [1, 2, 5])
def test_in_float64_every_seed_of_a_pack_is_the_seed_alone(mode: str, size: int) -> None:
    cell = parameters(mode=mode, depth=2, width=20)
    pack = AblationPack(cell, contexts(size), size)
    runs = [AblationRun(cell, context) for context in contexts(size)]
    for _ in range(3):
        assert pack.epoch(range(size)) == [run.epoch() for run in runs]
    for run, member in zip(runs, pack._runs, strict=True):
        torch.testing.assert_close(weights(member), weights(run), rtol=EXACT, atol=EXACT)
        assert member.final() == run.final()


@pytest.mark.usefixtures("float64")
@pytest.mark.parametrize(("depth", "width"), [(1, 3), (1, 70), (6, 18)])
def test_networks_of_any_shape_are_those_of_the_seeds_alone(depth: int, width: int) -> None:
    cell = parameters(mode="hidden", depth=depth, width=width)
    pack, run = AblationPack(cell, contexts(2), 2), AblationRun(cell, contexts(2)[1])
    for _ in range(2):
        assert pack.epoch([0, 1])[1] == run.epoch()
    torch.testing.assert_close(weights(pack._runs[1]), weights(run), rtol=EXACT, atol=EXACT)


def test_a_seed_does_not_depend_on_those_that_are_with_it() -> None:
    """So a trial goes on from its checkpoint to the last bit, whatever became of the others."""
    cell = parameters(mode="dropout")
    full, left = AblationPack(cell, contexts(3), 3), AblationPack(cell, contexts(3)[2:], 3)
    expected = [full.epoch([0, 1, 2])[2], full.epoch([1, 2])[1], full.epoch([2])[0]]
    assert left.epoch([0]) == expected[:1]
    resumed = AblationPack(cell, contexts(3)[2:], 3)
    resumed.runs[0].load(left.runs[0].save())
    assert [resumed.epoch([0])[0], resumed.epoch([0])[0]] == expected[1:]
    torch.testing.assert_close(weights(resumed._runs[0]), weights(full._runs[2]), rtol=0, atol=0)


@pytest.mark.usefixtures("float64")
@pytest.mark.parametrize(("depth", "width"), [(1, 3), (2, 70)])
def test_a_network_that_diverged_leaves_nothing_to_the_next(
    depth: int, width: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The next meta-loop starts from the last known good network, in a pack too."""
    candidate = AblationRun.candidate

    def diverging(run: AblationRun) -> nn.Sequential:
        found = candidate(run)
        if run._loop == 1:
            nn.init.constant_(found[0].weight, torch.inf)
        return found

    monkeypatch.setattr(AblationRun, "candidate", diverging)
    labels = DATA["mnist"]["train_labels"].clip(1)  # a network of NaN says 0, and is always wrong
    data = {"mnist": {**DATA["mnist"], "train_labels": labels}}
    cell, context = parameters(depth=depth, width=width), Context(0, data, "cpu", 1)
    pack, run = AblationPack(cell, [context], 1), AblationRun(cell, context)
    found = [(pack.epoch([0])[0], run.epoch()) for _ in range(4)]
    assert [ours for ours, _ in found] == [theirs for _, theirs in found]
    first, diverged, *later = (ours["validation_accuracy"] for ours, _ in found)
    assert diverged == 0 < min(first, *later)
    torch.testing.assert_close(weights(pack._runs[0]), weights(run), rtol=EXACT, atol=EXACT)


def test_the_form_names_the_size() -> None:
    cell = parameters()
    forms = [AblationPack(cell, contexts(1), size).runs[0].environment.form for size in (1, 2)]
    assert [form.rsplit("/", 1)[1] for form in forms] == ["pack of 1", "pack of 2"]
    assert AblationRun(cell, contexts(1)[0]).environment.form not in forms


@pytest.mark.parametrize("width", [1, 16, 50, 130])
def test_sums_over_bright_pixels_are_the_dense_products(width: int) -> None:
    draws = torch.Generator().manual_seed(width)
    images = torch.randint(-600, 256, (40, PIXELS), generator=draws).clamp(0).to(torch.uint8)
    images[3] = 0
    bright, dense = BrightPixels(images), AllPixels(images)
    rows = torch.randint(0, 40, (2, 9), generator=draws)
    size = bright.padded(width)
    weight = torch.randn(2, PIXELS, size, generator=draws, dtype=torch.float64)
    bias, upstream = (
        torch.randn(2, count, size, generator=draws, dtype=torch.float64) for count in (1, 9)
    )
    torch.set_default_dtype(torch.float64)
    try:
        ours, theirs = (
            (pixels.scores(rows, weight, bias), pixels.gradient(rows, upstream))
            for pixels in (bright, dense)
        )
    finally:
        torch.set_default_dtype(torch.float32)
    torch.testing.assert_close(ours, theirs, rtol=EXACT, atol=EXACT)


def gradients(
    cell: PersistentAblationParameters, images: torch.Tensor, labels: torch.Tensor
) -> tuple[list[torch.Tensor], list[torch.Tensor]]:
    """One step's gradients: a pack's in float32, and autograd's in float64."""
    net = network(cell, generator(0, Purpose.INITIALISATION))
    stacked = StackedNetworks(cell, 1, BrightPixels(images), torch.device("cpu"))
    stacked.put(0, net)
    rows = torch.arange(len(images)).unsqueeze(0)
    stacked.differentiate(rows, labels.unsqueeze(0), 0.0, {})
    ours = [theirs.grad for theirs in stacked.tensors if theirs.grad is not None]
    found = []
    exact = net.double()
    functional.cross_entropy(exact(normalised(images).double()), labels).backward()
    for gradient, parameter in zip(ours, exact.parameters(), strict=True):
        inputs, outputs = parameter.shape[::-1] if parameter.dim() == 2 else (1, len(parameter))
        found.append(gradient[0, :inputs, :outputs].T.reshape(parameter.shape).double())
    return found, [p.grad for p in exact.parameters() if p.grad is not None]


def test_one_step_in_float32_errs_by_a_few_roundings() -> None:
    cell = parameters(depth=2, width=16)
    images = torch.from_numpy(DATA["mnist"]["train_images"].copy()).flatten(1)[:64]
    labels = torch.from_numpy(DATA["mnist"]["train_labels"].copy()).long()[:64]
    net: nn.Module = network(cell, generator(0, Purpose.INITIALISATION))
    assert len(list(net.parameters())) == 6
    for ours, exact in zip(*gradients(cell, images, labels), strict=True):
        assert (ours - exact).norm() / exact.norm() < LIMIT * ROUNDING
