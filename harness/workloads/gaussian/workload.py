"""The correlated Gaussians as the harness sees them."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from harness.errors import DataError
from harness.workload import Arrays, Context, DataSet, Metric, Parameters, PlantedFault, Run
from harness.workloads.gaussian.spec import METRICS, GaussianParameters
from harness.workloads.mine.faults import FAULTS


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
        from harness.workloads.gaussian.experiment import FORMS, experiment  # noqa: PLC0415 (torch)
        from harness.workloads.mine.run import MineRun  # noqa: PLC0415 (loads torch)

        return MineRun(
            parameters,
            context,
            experiment=lambda device: experiment(parameters, device),
            forms=FORMS,
        )
