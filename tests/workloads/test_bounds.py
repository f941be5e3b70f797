"""Laws of the Donsker-Varadhan bound, on finite distributions in float64."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from harness.workloads.mine.run import donsker_varadhan, log_mean_exp
from harness.workloads.mutual_information.pairs import entropy_bits

scores = st.floats(-20, 20)
shifts = st.floats(-100, 100)


@st.composite
def distributions(draw: st.DrawFn) -> tuple[Tensor, Tensor]:
    """Two finite distributions p and q as counts, p absolutely continuous to q."""
    size = draw(st.integers(1, 6))
    p = draw(st.lists(st.integers(0, 9), min_size=size, max_size=size).filter(any))
    q = draw(st.lists(st.integers(1, 9), min_size=size, max_size=size))
    return torch.tensor(p), torch.tensor(q)


def kl(p: Tensor, q: Tensor) -> float:
    """KL(p || q) in nats, from counts."""
    shares_p, shares_q = p.double() / p.sum(), q.double() / q.sum()
    return float(torch.special.xlogy(shares_p, shares_p / shares_q).sum())


def bound(p: Tensor, q: Tensor, critic: Tensor) -> float:
    """The bound under p and q themselves: samples in which each value has its exact share."""
    return float(donsker_varadhan(critic.repeat_interleave(p), critic.repeat_interleave(q)))


@given(distributions(), st.lists(scores, min_size=6, max_size=6))
def test_the_bound_never_exceeds_the_divergence(
    pq: tuple[Tensor, Tensor], critic: list[float]
) -> None:
    p, q = pq
    assert bound(p, q, torch.tensor(critic, dtype=torch.float64)[: len(p)]) <= kl(p, q) + 1e-9


@given(distributions(), shifts)
def test_the_bound_is_the_divergence_at_the_log_ratio_plus_any_constant(
    pq: tuple[Tensor, Tensor], shift: float
) -> None:
    p, q = pq
    critic = (p.double() / p.sum()).log() - (q.double() / q.sum()).log() + shift
    assert bound(p, q, critic) == pytest.approx(kl(p, q), abs=1e-9)


@given(distributions(), st.lists(scores, min_size=6, max_size=6), shifts)
def test_the_bound_ignores_a_shift_of_the_critic(
    pq: tuple[Tensor, Tensor], critic: list[float], shift: float
) -> None:
    p, q = pq
    t = torch.tensor(critic, dtype=torch.float64)[: len(p)]
    assert bound(p, q, t + shift) == pytest.approx(bound(p, q, t), abs=1e-9)


@given(st.lists(st.floats(-(2.0**100), 2.0**100, width=32), min_size=1, max_size=20))
def test_no_finite_score_overflows(values: list[float]) -> None:
    result = log_mean_exp(torch.tensor(values, dtype=torch.float32))
    assert torch.isfinite(result)
    assert result <= max(values) + 1e-5 * abs(max(values)) + 1e-5


def test_a_gradient_step_is_finite_where_the_exponential_overflows() -> None:
    joint = torch.tensor([900.0, 1000.0], requires_grad=True)
    product = torch.tensor([1000.0, -1000.0], requires_grad=True)
    donsker_varadhan(joint, product).backward()
    assert joint.grad is not None
    assert product.grad is not None
    assert joint.grad.tolist() == [0.5, 0.5]
    assert product.grad.tolist() == [-1.0, 0.0]


@given(st.lists(st.integers(0, 9), min_size=1, max_size=50))
def test_entropy_lies_between_zero_and_that_of_as_many_even_classes(classes: list[int]) -> None:
    entropy = entropy_bits(torch.tensor(classes))
    assert -1e-12 <= entropy <= math.log2(len(set(classes))) + 1e-12


@given(st.integers(1, 10), st.integers(1, 5))
def test_entropy_of_even_classes_is_the_logarithm_of_their_number(count: int, each: int) -> None:
    classes = torch.arange(count).repeat(each)
    assert entropy_bits(classes) == pytest.approx(math.log2(count), abs=1e-12)
