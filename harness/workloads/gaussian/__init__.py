"""Correlated Gaussians: an estimator must find their mutual information, which is known exactly.

The setting is that of Belghazi et al. (2018), Mutual Information Neural Estimation,
arXiv:1801.04062, which compares MINE with a non-parametric estimator.

Importing this package does not load torch. `start` does.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from pydantic import Field, model_validator

from harness.errors import DataError
from harness.workload import (
    Arrays,
    Context,
    DataSet,
    Metric,
    Pack,
    Parameters,
    PlantedFault,
    Run,
    Workload,
)
from harness.workloads.mine import (
    FAULTS,
    Count,
    StrictFloat,
    TrainingParameters,
    require_a_batch,
    run_metrics,
)

if TYPE_CHECKING:
    from harness.workloads.gaussian.estimator import VectorCritic
    from harness.workloads.mine.run import MineRun

__all__ = ["Gaussian", "GaussianParameters", "gaussian"]

Correlation = Annotated[StrictFloat, Field(gt=-1, lt=1)]


class GaussianParameters(TrainingParameters):
    """Parameters of a and b, both standard normal in d dimensions.

    The i-th components of a and b have correlation rho. All others are independent.
    """

    dimensions: Count
    """d, the dimensions of a and of b."""
    correlation: Correlation
    """rho, between -1 and 1."""
    pairs: Count
    """Pairs in an epoch of training."""
    test_pairs: Count
    """Pairs in the test."""
    hidden: Count
    """Units in each of the two hidden layers of the critic."""

    @model_validator(mode="after")
    def _fills_a_batch(self) -> "GaussianParameters":
        require_a_batch(self.batch_size, pairs=self.pairs, test_pairs=self.test_pairs)
        return self


METRICS = run_metrics(
    truth="The mutual information in closed form; what the estimate should reach",
    test_truth="The same value: it does not depend on the draw",
)


@dataclass
class Gaussian:
    """The workload: train a critic on Gaussians of any dimension and correlation."""

    name: str = "mine_gaussian"
    parameters: type[Parameters] = GaussianParameters
    revision: int = 1
    """Raise it when a change computes another function, gradient, draw or update."""
    metrics: Mapping[str, Metric] = field(default_factory=lambda: METRICS, repr=False)
    faults: Mapping[str, PlantedFault] = field(default_factory=lambda: FAULTS, repr=False)
    prefix: bool = True
    """True, because each epoch has its own generators, whatever the length of the run."""

    def data_sets(self, parameters: Parameters) -> tuple[DataSet, ...]:
        """Return none: the pairs are drawn."""
        return ()

    def load_data(self, name: str, cache: Path) -> Arrays:
        """Raise an error, because this workload has no data set.

        Raises:
            DataError: always.
        """
        raise DataError(f"no data set {name!r}; this workload reads none")

    def start(self, parameters: GaussianParameters, context: Context) -> Run:
        """Set up a trial at epoch 0.

        Raises:
            ResourceError: the context asks for a GPU and torch finds none.
        """
        return _run(parameters, context)

    def start_pack(
        self, parameters: GaussianParameters, contexts: Sequence[Context], size: int
    ) -> Pack:
        """Set up trials that train together, at epoch 0.

        Raises:
            ResourceError: the contexts ask for a GPU and torch finds none.
        """
        from harness.workloads.mine.pack import MinePack  # noqa: PLC0415 (loads torch)

        return MinePack([_run(parameters, context, pack=size) for context in contexts], size)


def _run(
    parameters: GaussianParameters, context: Context, *, pack: int = 0
) -> "MineRun[VectorCritic]":
    from harness.workloads.gaussian.estimator import FORMS, gaussian_task  # noqa: PLC0415 (torch)
    from harness.workloads.mine.run import MineRun  # noqa: PLC0415 (loads torch)

    return MineRun(
        parameters,
        context,
        experiment=lambda device: gaussian_task(parameters, device),
        forms=FORMS,
        pack=pack,
    )


gaussian: Workload = Gaussian()
