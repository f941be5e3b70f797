"""Persistent Stochastic Ablation on MNIST, the second paper: its method as a workload.

Source: T. Cotten, "Beyond Pruning and Dropout: Evolving Robust Networks via Persistent Stochastic
Ablation" (2025).

Importing this loads neither torch nor data; `start` does.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Annotated, Literal

from pydantic import Field

from harness.errors import DataError
from harness.workload import Arrays, Context, DataSet, Metric, Pack, Parameters, Run, Workload
from harness.workloads import mnist

__all__ = ["PersistentAblationParameters", "persistent_ablation"]

Count = Annotated[int, Field(strict=True, gt=0)]
Mode = Literal["none", "decay", "dropout", "full", "hidden", "output"]


class PersistentAblationParameters(Parameters):
    """One cell of the paper's grid: a shape (depth*width), a mode, and how a network is trained."""

    depth: Count
    """Number of hidden layers."""
    width: Count
    """Units in each hidden layer."""
    mode: Mode
    """`none`, `decay` and `dropout` are the baselines; the others name what is ablated."""
    learning_rate: Annotated[float, Field(strict=True, gt=0)]
    """Of AdamW, which starts afresh in every meta-loop."""
    weight_decay: Annotated[float, Field(strict=True, ge=0)]
    """Of AdamW in mode `decay`; the other modes use 0."""
    dropout: Annotated[float, Field(strict=True, ge=0, lt=1)]
    """Dropout rate after each hidden layer in mode `dropout`; the other modes use 0."""
    batch_size: Count
    split_seed: Annotated[int, Field(strict=True, ge=0)]
    """Seed of the permutation that splits off the validation set, the same for all trials."""
    validation_images: Annotated[int, Field(strict=True, gt=0, lt=60_000)]
    """How many of the 60,000 training images form the validation set."""


METRICS: Mapping[str, Metric] = MappingProxyType(
    {
        "validation_accuracy": Metric(
            "%", "Accuracy on the validation set of the network trained in this meta-loop"
        ),
        "best_so_far": Metric("%", "Best validation accuracy up to this meta-loop"),
        "bounty": Metric(
            "%", "Best validation accuracy of the trial, which the paper reports", final=True
        ),
        "test_accuracy": Metric(
            "%", "Accuracy on the test set of the network with that accuracy", final=True
        ),
    }
)


@dataclass
class PersistentAblation:
    """Train, ablate a neuron, keep the network only if it improved. An epoch is a meta-loop."""

    name: str = "persistent_ablation"
    revision: int = 1
    """Raised when another function, gradient, draw or update is computed."""
    parameters: type[Parameters] = PersistentAblationParameters
    metrics: Mapping[str, Metric] = field(default_factory=lambda: METRICS, repr=False)
    prefix: bool = True
    """Every meta-loop draws from generators of its own, whatever the length of the run."""

    def data_sets(self, parameters: Parameters) -> tuple[DataSet, ...]:
        """MNIST, always."""
        return (mnist.DATA_SET,)

    def load_data(self, name: str, cache: Path) -> Arrays:
        """Read MNIST, fetching it into `cache` first if it is not there.

        Raises:
            DataError: no source answers, or the digest is another.
        """
        if name != mnist.DATA_SET.name:
            raise DataError(f"no data set {name!r}; this workload reads {mnist.DATA_SET.name}")
        return mnist.load_arrays(cache)

    def start(self, parameters: PersistentAblationParameters, context: Context) -> Run:
        """Set up a trial before its first meta-loop.

        Raises:
            ResourceError: a GPU is asked for and there is none.
        """
        from harness.workloads.persistent_ablation.run import (  # noqa: PLC0415 (loads torch)
            AblationRun,
        )

        return AblationRun(parameters, context)

    def start_pack(
        self, parameters: PersistentAblationParameters, contexts: Sequence[Context], size: int
    ) -> Pack:
        """Set up trials that train together, before their first meta-loop.

        Raises:
            ResourceError: a GPU is asked for and there is none.
        """
        from harness.workloads.persistent_ablation.pack import (  # noqa: PLC0415 (loads torch)
            AblationPack,
        )

        return AblationPack(parameters, contexts, size)


persistent_ablation: Workload = PersistentAblation()
