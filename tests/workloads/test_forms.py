"""Laws of the fast form: its values, gradients and steps are the plain form's."""

from collections.abc import Callable
from copy import deepcopy
from functools import partial

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Generator, Tensor, nn

from harness.errors import StoreError
from harness.workload import Context, Run
from harness.workloads.mine.run import (
    Form,
    Scores,
    donsker_varadhan,
    estimates_of,
    log_mean_exp,
)
from harness.workloads.mutual_information import networks
from harness.workloads.mutual_information.networks import (
    FORMS,
    EncoderCritic,
    NetForImagePair,
    NetForImageValuesPair,
    NetForSequencePair,
    fast,
    plain,
)
from harness.workloads.mutual_information.pairs import LabelledPairs
from tests.workloads.tiny import PAPER, PARAMETERS, each_of_the_paper, images

Batch = tuple[Tensor, Tensor, Tensor]
"""a, b and permuted b."""
EXACT = 1e-10
"""In float64, on values and gradients of the order of one."""


def digits(count: int, generator: Generator) -> Tensor:
    """Like MNIST's, normalised: noise in a box of any size, within a border all of one value."""
    pixels = torch.zeros(count, 1, 28, 28, dtype=torch.float64)
    for image, (side, top, left) in zip(
        pixels, torch.randint(0, 15, (count, 3), generator=generator).tolist(), strict=True
    ):
        box = image[0, top : top + side, left : left + side]
        box.copy_(torch.rand(box.shape, generator=generator, dtype=torch.float64))
    return (pixels - 0.1307) / 0.3081


def image_batch(count: int, generator: Generator) -> Batch:
    a, b, permuted = (digits(count, generator) for _ in range(3))
    return a, b, permuted


def values_batch(count: int, generator: Generator) -> Batch:
    b, permuted = 10 * torch.rand(2, count, 2, generator=generator, dtype=torch.float64)
    return digits(count, generator), b, permuted


def sequence_batch(count: int, length: int, generator: Generator) -> Batch:
    a, b, permuted = torch.randn(3, count, length, generator=generator, dtype=torch.float64)
    return a, b, permuted


def network(make: Callable[[], EncoderCritic], seed: int = 0) -> EncoderCritic:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return make().double()


def paper_sequence_network() -> EncoderCritic:
    return NetForSequencePair(kernel_size=11, pooling_size=4)


NETWORKS: dict[str, tuple[Callable[[], EncoderCritic], Callable[[int, Generator], Batch]]] = {
    "image pairs": (NetForImagePair, image_batch),
    "image-values pairs": (NetForImageValuesPair, values_batch),
    "sequence pairs": (
        paper_sequence_network,
        lambda count, generator: sequence_batch(count, 1300, generator),
    ),
}
each_network = pytest.mark.parametrize("name", list(NETWORKS))


def drawn(name: str, count: int, seed: int = 0) -> tuple[EncoderCritic, Batch]:
    make, batch = NETWORKS[name]
    return network(make, seed), batch(count, Generator().manual_seed(seed))


def value_and_gradients(scores: Scores, critic: EncoderCritic, batch: Batch) -> list[Tensor]:
    critic.zero_grad()
    estimate = donsker_varadhan(*scores(critic, *batch))
    estimate.backward()
    gradients = [parameter.grad for parameter in critic.parameters()]
    return [
        estimate.detach(),
        *(gradient.clone() for gradient in gradients if gradient is not None),
    ]


def assert_same(critic: EncoderCritic, batch: Batch) -> None:
    """Both forms give the same scores, estimate and gradient of every parameter."""
    scores = fast(critic, *batch), plain(critic, *batch)
    torch.testing.assert_close(*scores, rtol=EXACT, atol=EXACT)
    ours, theirs = (value_and_gradients(scores, critic, batch) for scores in (fast, plain))
    assert len(ours) == len(theirs) == 1 + len(list(critic.parameters()))
    torch.testing.assert_close(ours, theirs, rtol=EXACT, atol=EXACT)


@each_network
@pytest.mark.parametrize("count", [1, 7, 8, 17])
def test_value_and_gradients_are_the_plain_form_s(
    name: str, count: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(networks, "CHUNK", 8)  # so that few sequences make several chunks
    assert_same(*drawn(name, count, seed=count))


@settings(deadline=None, max_examples=40)
@given(
    kernel=st.integers(1, 6),
    pooling=st.integers(1, 4),
    surplus=st.integers(0, 60),
    count=st.integers(1, 4),
    seed=st.integers(0, 2**16),
)
def test_averages_of_any_width_are_folded_and_remainders_left_out(
    kernel: int, pooling: int, surplus: int, count: int, seed: int
) -> None:
    shortest = 1
    for _ in range(4):
        shortest = shortest * pooling + kernel - 1
    critic = network(lambda: NetForSequencePair(kernel_size=kernel, pooling_size=pooling), seed)
    generator = Generator().manual_seed(seed)
    assert_same(critic, sequence_batch(count, shortest + surplus, generator))


@pytest.mark.parametrize("pixel", [0.0, -0.4242])
def test_images_without_contrast_give_the_same_gradients_wherever_their_ties_break(
    pixel: float,
) -> None:
    critic = network(NetForImagePair)
    blank = torch.full((5, 1, 28, 28), pixel, dtype=torch.float64)
    assert_same(critic, (blank, blank, blank))


def whole(*shape: int, largest: int, generator: Generator) -> Tensor:
    """Whole numbers, drawn evenly from those of no larger magnitude."""
    return torch.randint(-largest, largest + 1, shape, generator=generator).double()


@settings(deadline=None, max_examples=20)
@given(
    name=st.sampled_from(["image pairs", "image-values pairs"]),
    count=st.integers(1, 60),
    blank=st.integers(0, 28),
    step=st.integers(1, 2),
    seed=st.integers(0, 2**16),
)
def test_layers_of_images_are_exact_in_float32_on_whole_numbers(
    *, name: str, count: int, blank: int, step: int, seed: int
) -> None:
    """oneDNN's layout knows no float64; but sums of whole numbers below 2^24 round in no order.

    So both forms must agree to the last bit. Small numbers tie in most windows of a pooling, blank
    columns in all.
    """
    drawn = partial(whole, generator=Generator().manual_seed(seed))
    make, _ = NETWORKS[name]
    critic = network(make)
    for parameter in critic.parameters():
        parameter.data = drawn(*parameter.shape, largest=1)
    a, image = drawn(2, step * count, 1, 28, 28, largest=3)
    a[..., 28 - blank :] = 1
    b = image if name == "image pairs" else drawn(step * count, 2, largest=3)
    permuted = b.flip(0)
    upstream = drawn(count, largest=1), drawn(count, largest=1)

    def found(scores: Scores[EncoderCritic], dtype: torch.dtype) -> list[Tensor]:
        """Scores, and the gradients of their sum weighted by `upstream`."""
        batch = [part.to(dtype)[::step] for part in (a, b, permuted)]
        terms = scores(critic.to(dtype), *batch)
        weights = [part.to(dtype) for part in upstream]
        gradients = torch.autograd.grad(terms, list(critic.parameters()), weights)
        return [tensor.double() for tensor in (*terms, *gradients)]

    ours, theirs = found(fast, torch.float32), found(plain, torch.float64)
    assert all(map(torch.equal, ours, theirs))


@each_network
def test_rows_that_are_no_contiguous_block_are_scored_alike(name: str) -> None:
    critic, (a, b, permuted) = drawn(name, 8)
    assert_same(critic, (a[::2], b[1::2], permuted.flip(-1)[::2]))


@each_network
def test_test_estimates_are_the_plain_form_s(name: str) -> None:
    critic, (a, b, _) = drawn(name, 23)
    pairs, permutation = LabelledPairs(a, b, torch.zeros(1)), torch.arange(23).flip(0)
    (ours, ours_whole), (theirs, theirs_whole) = (
        estimates_of(critic, pairs, permutation, batch_size=10, scores=scores)
        for scores in (fast, plain)
    )
    torch.testing.assert_close(ours.total_nats, theirs.total_nats, rtol=EXACT, atol=EXACT)
    assert ours_whole == pytest.approx(theirs_whole, rel=EXACT, abs=EXACT)


@each_network
def test_parameters_keep_their_values_and_layout(name: str) -> None:
    critic, batch = drawn(name, 3)
    before = {name: (p.clone(), p.stride()) for name, p in critic.state_dict().items()}
    value_and_gradients(fast, critic, batch)
    for key, parameter in critic.state_dict().items():
        assert torch.equal(parameter, before[key][0])
        assert parameter.stride() == before[key][1]


@each_network
def test_no_input_is_changed(name: str) -> None:
    critic, batch = drawn(name, 3)
    before = [part.clone() for part in batch]
    value_and_gradients(fast, critic, batch)
    assert all(torch.equal(part, then) for part, then in zip(batch, before, strict=True))


def trajectory(form: Form, name: str, steps: int = 10) -> Tensor:
    """The estimates of some steps on one minibatch in float64, in nats, shape (steps,)."""
    critic, batch = drawn(name, 10)
    optimiser = torch.optim.Adam(critic.parameters(), lr=1e-3, fused=form.fused)
    estimates = []
    for _ in range(steps):
        estimate = donsker_varadhan(*form.scores(critic, *batch))
        optimiser.zero_grad()
        (-estimate).backward()
        optimiser.step()
        estimates.append(estimate.detach())
    return torch.stack(estimates)


@each_network
def test_steps_of_the_optimiser_are_the_plain_form_s(name: str) -> None:
    ours, theirs = (trajectory(FORMS[form], name) for form in ("fast", "plain"))
    torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-8)


ROUNDING = 2.0**-24
"""Largest relative error of one rounding to float32."""
LIMIT = 256
"""Roundings by which one step may differ from float64.

A sum of n terms, taken one after the other, errs by about sqrt(n) roundings of its size, and no
order of summation does much worse. The longest sum of a step here has 4 * 1290 terms (the first
kernel of a sequence branch, over four sequences), so it errs by about 72 roundings. Processors
differ in the order of their sums only. bfloat16 and TF32 err by 2^15 and 2^12 roundings a product.
"""


def clear_of_kinks(critic: EncoderCritic, batch: Batch) -> bool:
    """Whether LIMIT roundings cannot move any unit across a kink of the function.

    ReLU has its kink at zero; max pooling has one where the two largest inputs are equal. Across a
    kink the gradient jumps, whatever the precision.
    """
    distances = []

    def measure(layer: nn.Module, inputs: tuple[Tensor, ...], _output: Tensor) -> None:
        x = inputs[0]
        if isinstance(layer, nn.MaxPool2d):
            size = layer.kernel_size
            windows = x.unfold(2, size, size).unfold(3, size, size).flatten(4)
            first, second = windows.topk(2).values.unbind(-1)
            distances.append((first - second).min() / x.std())
        elif isinstance(layer, nn.ReLU | nn.LeakyReLU):
            distances.append(x.abs().min() / x.std())

    hooks = [layer.register_forward_hook(measure) for layer in critic.modules()]
    with torch.no_grad():
        plain(critic, *batch)
    for hook in hooks:
        hook.remove()
    return min(distances).item() > LIMIT * ROUNDING


def smooth_step(name: str) -> tuple[EncoderCritic, Batch]:
    """A network and four pairs, all float32 numbers, at which the step is smooth."""
    for seed in range(1000):
        critic, batch = drawn(name, 4, seed)
        noise = Generator().manual_seed(seed)
        # Not digits: their uniform borders tie in every pooling window.
        a, b, _ = (torch.randn(part.shape, generator=noise).double() for part in batch)
        critic = critic.float().double()
        if clear_of_kinks(critic, (a, b, b.roll(1, 0))):
            return critic, (a, b, b.roll(1, 0))
    raise AssertionError(name)


def one_step(
    scores: Scores, critic: EncoderCritic, batch: Batch, dtype: torch.dtype
) -> tuple[list[Tensor], list[Tensor]]:
    """What one step computes in this type, and the sizes that its rounding is measured by.

    Returns:
        The two scores and the gradient of each parameter, in float64. And of each the norm: of a
        gradient, that of its two terms, which the bound subtracts.
    """
    critic = deepcopy(critic).to(dtype)
    joint, product = scores(critic, *(part.to(dtype) for part in batch))
    parameters = list(critic.parameters())
    of_joint = torch.autograd.grad(joint.mean(), parameters, retain_graph=True)
    of_product = torch.autograd.grad(log_mean_exp(product), parameters, retain_graph=True)
    gradients = torch.autograd.grad(donsker_varadhan(joint, product), parameters)
    sizes = [joint.norm(), product.norm(), *map(add_norms, of_joint, of_product)]
    return [part.detach().double() for part in (joint, product, *gradients)], sizes


def add_norms(one: Tensor, other: Tensor) -> Tensor:
    return one.norm() + other.norm()


def error_of_one_step(scores: Scores, name: str, *, mantissa_bits: int = 23) -> float:
    """The largest error among a step's scores and gradients, in roundings.

    Args:
        scores: the form that computes the step in float32.
        name: of the network.
        mantissa_bits: that its weights keep.
    """
    critic, batch = smooth_step(name)
    exact, sizes = one_step(plain, critic, batch, torch.float64)
    for parameter in critic.parameters():
        mantissa, exponent = torch.frexp(parameter.data)
        scale = 2 ** (mantissa_bits + 1)
        parameter.data = torch.ldexp((mantissa * scale).round() / scale, exponent)
    found, _ = one_step(scores, critic, batch, torch.float32)
    errors = [
        (ours - theirs).norm() / size
        for ours, theirs, size in zip(found, exact, sizes, strict=True)
    ]
    return max(errors).item() / ROUNDING


@each_network
@pytest.mark.parametrize("form", FORMS)
def test_one_step_in_float32_errs_by_a_few_roundings(form: str, name: str) -> None:
    assert error_of_one_step(FORMS[form].scores, name) < LIMIT


@each_network
@pytest.mark.parametrize(("precision", "mantissa_bits"), [("bfloat16", 7), ("TF32", 10)])
def test_one_step_with_shorter_numbers_errs_by_more_than_the_limit(
    precision: str, mantissa_bits: int, name: str
) -> None:
    assert error_of_one_step(fast, name, mantissa_bits=mantissa_bits) > LIMIT, precision


@each_of_the_paper
def test_a_checkpoint_is_taken_up_in_its_own_form_only(name: str) -> None:
    runs = {form: started(name, form) for form in FORMS}
    saved = {form: run.save() for form, run in runs.items()}
    assert len({run.environment.form for run in runs.values()}) == len(FORMS)
    with pytest.raises(StoreError, match="optimiser"):
        runs["fast"].load(saved["plain"])
    runs["fast"].load(saved["fast"])


@each_of_the_paper
def test_an_epoch_is_the_plain_form_s_but_for_rounding(name: str) -> None:
    ours, theirs = (started(name, form).epoch() for form in ("fast", "plain"))
    assert ours == pytest.approx(theirs, rel=0.01, abs=1e-4)


def started(name: str, form: str) -> Run:
    workload = PAPER[name]
    parameters = workload.parameters.model_validate({**PARAMETERS[name], "learning_rate": 1e-4})
    data = {item.name: images() for item in workload.data_sets(parameters)}
    return workload.start(parameters, Context(0, data, "cpu", 1, {"form": form}))
