"""Correlated Gaussians: what is drawn, what is true of it, and that the estimator finds it."""

import math
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from harness.errors import DataError
from harness.workloads.gaussian import gaussian
from harness.workloads.gaussian.estimator import (
    GaussianPairs,
    VectorCritic,
    gaussian_pairs,
    together,
    true_bits,
)
from harness.workloads.mine.run import NATS_PER_BIT, MineRun, donsker_varadhan
from tests.workloads.tiny import PARAMETERS, start

PAIRS = 200_000
correlations = st.floats(-0.99, 0.99)


def draw(
    dimensions: int, correlation: float, *, pairs: int = PAIRS, seed: int = 0
) -> GaussianPairs:
    return gaussian_pairs(
        dimensions=dimensions,
        correlation=correlation,
        pairs=pairs,
        device=torch.device("cpu"),
        generator=torch.Generator().manual_seed(seed),
    )


def best_critic(a: torch.Tensor, b: torch.Tensor, rho: float) -> torch.Tensor:
    """The log density ratio without its constant, which the bound ignores; shape (n,)."""
    score = rho * a * b - rho**2 * (a**2 + b**2) / 2
    return (score / (1 - rho**2)).sum(1)


@given(dimensions=st.integers(1, 50), correlation=correlations)
def test_information_adds_over_dimensions_and_ignores_the_sign(
    dimensions: int, correlation: float
) -> None:
    one = true_bits(dimensions=1, correlation=correlation)
    assert true_bits(dimensions=dimensions, correlation=correlation) == pytest.approx(
        dimensions * one
    )
    assert true_bits(dimensions=1, correlation=-correlation) == one >= 0


@given(low=correlations, high=correlations)
def test_a_stronger_correlation_tells_more(low: float, high: float) -> None:
    low, high = sorted((abs(low), abs(high)))
    assert true_bits(dimensions=1, correlation=low) <= true_bits(dimensions=1, correlation=high)


def test_the_closed_form_is_the_entropies_of_the_parts_less_that_of_the_whole() -> None:
    for dimensions, rho in ((1, 0.5), (2, -0.9), (20, 0.3)):
        eye = torch.eye(dimensions, dtype=torch.float64)
        whole = torch.cat((torch.cat((eye, rho * eye), 1), torch.cat((rho * eye, eye), 1)))
        assert true_bits(dimensions=dimensions, correlation=rho) == pytest.approx(
            -0.5 * float(torch.logdet(whole)) / math.log(2)
        )


@pytest.mark.parametrize(("dimensions", "rho"), [(1, 0.0), (2, 0.9), (3, -0.5)])
def test_draws_have_the_covariance_that_they_are_said_to_have(dimensions: int, rho: float) -> None:
    pairs = draw(dimensions, rho)
    both = torch.cat((pairs.a, pairs.b), 1).double()
    eye = torch.eye(dimensions, dtype=torch.float64)
    expected = torch.cat((torch.cat((eye, rho * eye), 1), torch.cat((rho * eye, eye), 1)))
    # An entry's deviation is at most sqrt(2 / n); five of them.
    assert torch.allclose(torch.cov(both.T), expected, atol=5 * math.sqrt(2 / PAIRS))
    assert both.mean(0).abs().max() < 5 / math.sqrt(PAIRS)


@pytest.mark.parametrize(("dimensions", "rho"), [(2, 0.5), (2, 0.9), (20, 0.3)])
def test_the_bound_of_the_best_critic_is_the_closed_form_as_exactly_as_theory_says(
    dimensions: int, rho: float
) -> None:
    """What the manifests' tolerances rest on: the deviation of the estimate over draws."""
    found = []
    for seed in range(20):
        pairs = draw(dimensions, rho, pairs=20_000, seed=seed)
        permuted = pairs.b[torch.randperm(20_000, generator=torch.Generator().manual_seed(seed))]
        joint, product = (best_critic(pairs.a, b, rho).double() for b in (pairs.b, permuted))
        found.append(donsker_varadhan(joint, product).item())
    estimates = torch.tensor(found)
    nats = true_bits(dimensions=dimensions, correlation=rho) * NATS_PER_BIT
    deviation = math.sqrt((dimensions * rho**2 + (1 - rho**2) ** -dimensions - 1) / 20_000)
    assert estimates.mean().item() == pytest.approx(nats, abs=4 * deviation / math.sqrt(20))
    assert 0.5 < estimates.std().item() / deviation < 2


def test_the_two_scores_are_those_of_the_network_called_twice() -> None:
    pairs = draw(3, 0.5, pairs=50)
    critic, permuted = VectorCritic(dimensions=3, hidden=8), pairs.b.flip(0)
    joint, product = together(critic, pairs.a, pairs.b, permuted)
    torch.testing.assert_close(joint, critic(pairs.a, pairs.b))
    torch.testing.assert_close(product, critic(pairs.a, permuted))


def test_the_estimate_comes_near_the_truth_and_stays_at_zero_without_dependence() -> None:
    found, none = (
        start("mine_gaussian", correlation=rho, pairs=30_000, test_pairs=30_000, batch_size=500)
        for rho in (0.9, 0.0)
    )
    for run in (found, none):
        for _ in range(5):
            run.epoch()
    estimate = found.final()
    assert estimate["test_true_mi_bits"] == true_bits(dimensions=2, correlation=0.9)
    assert 0.85 < estimate["test_mi_whole_bits"] / estimate["test_true_mi_bits"] < 1.05
    assert none.final()["test_true_mi_bits"] == 0.0
    assert abs(none.final()["test_mi_whole_bits"]) < 0.02


def test_marginals_that_are_not_shuffled_leave_nothing_to_find(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The control must see the faults that its tolerance is said to exclude."""
    monkeypatch.setattr(MineRun, "_permutation", lambda _, pairs, *__: torch.arange(len(pairs.b)))
    run = start("mine_gaussian", pairs=30_000, test_pairs=30_000, batch_size=500)
    run.epoch()
    estimate = run.final()
    assert estimate["test_mi_whole_bits"] < 0.1 * estimate["test_true_mi_bits"]


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"correlation": 1.0}, "correlation"),
        ({"correlation": -1.5}, "correlation"),
        ({"dimensions": 0}, "dimensions"),
        ({"hidden": 0}, "hidden"),
        ({"test_pairs": 20}, "test_pairs: at least one batch of 30, got 20"),
        ({"independent": True}, "independent"),
    ],
)
def test_parameters_that_mean_nothing_are_refused(changed: dict[str, Any], said: str) -> None:
    with pytest.raises(ValidationError, match=said):
        gaussian.parameters.model_validate({**PARAMETERS["mine_gaussian"], **changed})


def test_there_is_no_data_to_load(tmp_path: Any) -> None:
    parameters = gaussian.parameters.model_validate(PARAMETERS["mine_gaussian"])
    assert gaussian.data_sets(parameters) == ()
    with pytest.raises(DataError, match="no data set 'mnist'"):
        gaussian.load_data("mnist", tmp_path)
