"""Correlated Gaussians as the harness sees them: parameters, metrics and the workload, no torch."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

from pydantic import Field, model_validator

from harness.errors import DataError
from harness.workload import Arrays, Context, DataSet, Metric, Parameters, PlantedFault, Run
from harness.workloads.mine.faults import FAULTS
from harness.workloads.mine.spec import (
    Count,
    StrictFloat,
    TrainingParameters,
    metrics,
    require_a_batch,
)

Correlation = Annotated[StrictFloat, Field(gt=-1, lt=1)]


class GaussianParameters(TrainingParameters):
    """a and b standard normal in d dimensions, their i-th components correlated by rho, and no
    others."""

    dimensions: Count
    """d, of a and of b."""
    correlation: Correlation
    """rho."""
    pairs: Count
    """Drawn for an epoch of training."""
    test_pairs: Count
    hidden: Count
    """Units in each of the critic's two hidden layers."""

    @model_validator(mode="after")
    def _fills_a_batch(self) -> "GaussianParameters":
        require_a_batch(self.batch_size, pairs=self.pairs, test_pairs=self.test_pairs)
        return self


METRICS = metrics(
    truth="The mutual information in closed form; what the estimate should reach",
    test_truth="The same value: it does not depend on the draw",
)


@dataclass
class Gaussian:
    """Gaussians of any dimension and correlation, and a critic trained on them."""

    name: str = "mine_gaussian"
    parameters: type[Parameters] = GaussianParameters
    revision: int = 1
    """Raised when another function, gradient, draw or update is computed."""
    metrics: Mapping[str, Metric] = field(default_factory=lambda: METRICS, repr=False)
    faults: Mapping[str, PlantedFault] = field(default_factory=lambda: FAULTS, repr=False)
    prefix: bool = True
    """Every epoch draws from generators of its own, whatever the length of the run."""

    def data_sets(self, parameters: Parameters) -> tuple[DataSet, ...]:
        """None: everything is drawn."""
        return ()

    def load_data(self, name: str, cache: Path) -> Arrays:
        """There is nothing to load.

        Raises:
            DataError: always.
        """
        raise DataError(f"no data set {name!r}; this workload reads none")

    def start(self, parameters: GaussianParameters, context: Context) -> Run:
        """Set up a trial at epoch 0.

        Raises:
            ResourceError: a GPU is asked for and there is none.
        """
        from harness.workloads.gaussian.estimator import FORMS, experiment  # noqa: PLC0415 (torch)
        from harness.workloads.mine.run import MineRun  # noqa: PLC0415 (loads torch)

        return MineRun(
            parameters,
            context,
            experiment=lambda device: experiment(parameters, device),
            forms=FORMS,
        )
