"""Parameters and metrics that all of these workloads have, without torch."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Annotated, Literal

from pydantic import Field, StrictBool

from harness.workload import Metric, Parameters

StrictInt = Annotated[int, Field(strict=True)]
StrictFloat = Annotated[float, Field(strict=True)]
Count = Annotated[StrictInt, Field(gt=0)]
Positive = Annotated[StrictFloat, Field(gt=0)]
NonNegative = Annotated[StrictFloat, Field(ge=0)]


class TrainingParameters(Parameters):
    """How a critic is trained."""

    redraw: StrictBool
    """Whether the pairs are drawn anew in every epoch, or once for the whole run."""
    optimiser: Literal["adam"]
    learning_rate: Positive
    batch_size: Count


def require_a_batch(batch_size: int, **drawn: int) -> None:
    """Refuse parameters, named here with how many pairs they ask for, that fill no minibatch.

    Raises:
        ValueError: names the first.
    """
    for name, pairs in drawn.items():
        if pairs < batch_size:
            raise ValueError(f"{name}: at least one batch of {batch_size}, got {pairs}")


def metrics(*, truth: str, test_truth: str) -> Mapping[str, Metric]:
    """The metrics of a run, by name; the two texts say what the true values are."""
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
