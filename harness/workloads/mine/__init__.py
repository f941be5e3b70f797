"""Shared code of the workloads that estimate mutual information by training a critic network.

This module declares the parameters, metrics and planted faults that they share, without importing
torch. `run` trains and tests.

The package of a paper adds three things: how pairs are drawn, which network scores them, and the
true value of the mutual information.
"""

from collections.abc import Mapping
from contextlib import AbstractContextManager
from types import MappingProxyType
from typing import Annotated, Any, Literal
from unittest.mock import patch

from pydantic import Field, StrictBool

from harness.workload import Metric, Parameters, PlantedFault

StrictInt = Annotated[int, Field(strict=True)]
StrictFloat = Annotated[float, Field(strict=True)]
Count = Annotated[StrictInt, Field(gt=0)]
Positive = Annotated[StrictFloat, Field(gt=0)]
NonNegative = Annotated[StrictFloat, Field(ge=0)]


class TrainingParameters(Parameters):
    """Parameters that say how the critic is trained."""

    redraw: StrictBool
    """Whether each epoch draws new pairs. If not, one draw serves the whole run."""
    optimiser: Literal["adam"]
    learning_rate: Positive
    batch_size: Count


def require_a_batch(batch_size: int, **drawn: int) -> None:
    """Check that each number of pairs fills at least one minibatch.

    Args:
        batch_size: pairs in a minibatch.
        drawn: number of pairs, by the name of its parameter.

    Raises:
        ValueError: a number of pairs is too small; the message names the first such parameter.
    """
    for name, pairs in drawn.items():
        if pairs < batch_size:
            raise ValueError(f"{name}: at least one batch of {batch_size}, got {pairs}")


def run_metrics(*, truth: str, test_truth: str) -> Mapping[str, Metric]:
    """Return the metrics of a run, by name.

    Args:
        truth: describes the true value for the training pairs.
        test_truth: describes the true value for the test pairs.
    """
    return MappingProxyType(
        {
            "mi_bits": _bits("Mean over minibatches of the estimate, taken while training"),
            "mi_floor_bits": _bits("The same sum of estimates, over floor(pairs / batch size)"),
            "true_mi_bits": _bits(truth, truth_of="mi_bits"),
            "test_mi_bits": _bits(
                "Mean over minibatches of the estimate on test pairs", final=True
            ),
            "test_mi_floor_bits": _bits("The same sum, over floor(pairs / batch size)", final=True),
            "test_mi_whole_bits": _bits("The estimate from all test pairs at once", final=True),
            "test_true_mi_bits": _bits(test_truth, final=True, truth_of="test_mi_bits"),
        }
    )


def _bits(description: str, *, final: bool = False, truth_of: str | None = None) -> Metric:
    return Metric(unit="bits", description=description, final=final, truth_of=truth_of)


_METHOD = "harness.workloads.mine"


def _without_the_mean() -> AbstractContextManager[object]:
    """Compute log(sum(exp)) in place of log(mean(exp)): too low by the log of the batch size."""
    import torch  # noqa: PLC0415 - runs on a worker only; the driver does not import torch

    return patch(f"{_METHOD}.run.log_mean_exp", lambda scores: torch.logsumexp(scores, 0))


def _unshuffled() -> AbstractContextManager[object]:
    """Use the paired samples as samples of the product of the marginals."""
    import torch  # noqa: PLC0415 - as above

    def permutation(_run: Any, pairs: Any, _stream: Any, _epoch: int = 0) -> Any:
        return torch.arange(len(pairs.b))

    return patch(f"{_METHOD}.run.MineRun._permutation", permutation)


FAULTS: Mapping[str, PlantedFault] = MappingProxyType(
    {
        "bound_without_the_mean": PlantedFault(
            "bound without the logarithm's mean", plant=_without_the_mean
        ),
        "marginals_not_shuffled": PlantedFault("marginals not shuffled", plant=_unshuffled),
        # A network needs dozens of epochs to memorise its pairs.
        "pairs_not_redrawn": PlantedFault(
            "pairs not redrawn", parameters={"redraw": False}, late=True
        ),
    }
)
"""Faults of the method for `harness selftest`, by name. Each replaces one function on a worker, or
changes a parameter."""
