"""The three experiments as workloads: the data that they need, and how a trial starts."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from harness.errors import DataError
from harness.workload import Arrays, Context, DataSet, Metric, Parameters, PlantedFault, Run
from harness.workloads.mine.faults import FAULTS
from harness.workloads.mutual_information import mnist
from harness.workloads.mutual_information.spec import METRICS, ImagePairParameters, PairParameters


@dataclass
class MutualInformation:
    """One experiment of the paper as a workload."""

    name: str
    parameters: type[Parameters]
    revision: int = 1
    """Of the method: raised when another function, gradient, draw or update is computed. Not when
    one is summed in another order, as the forms of the step do: that moves results no more than
    another processor does, and the record names the form."""
    metrics: Mapping[str, Metric] = field(default_factory=lambda: METRICS, repr=False)
    faults: Mapping[str, PlantedFault] = field(default_factory=lambda: FAULTS, repr=False)
    prefix: bool = True
    """Every epoch draws from generators of its own, whatever the length of the run."""

    def data_sets(self, parameters: Parameters) -> tuple[DataSet, ...]:
        """MNIST for the images; the sequences are drawn, not read."""
        return (mnist.DATA_SET,) if isinstance(parameters, ImagePairParameters) else ()

    def load_data(self, name: str, cache: Path) -> Arrays:
        """MNIST as arrays, fetched into `cache` if it is not there.

        Raises:
            DataError: another data set is asked for, no source answers, or a file is not
                the one that its digest names.
        """
        if name != mnist.DATA_SET.name:
            raise DataError(f"no data set {name!r}; this workload reads {mnist.DATA_SET.name!r}")
        return mnist.load(cache)

    def start(self, parameters: PairParameters, context: Context) -> Run:
        """Set up a trial at epoch 0: draws the parameters of the network, reads nothing.

        Raises:
            ResourceError: a GPU is asked for and there is none.
        """
        from harness.workloads.mine.run import MineRun  # noqa: PLC0415 (loads torch)
        from harness.workloads.mutual_information.experiments import experiment  # noqa: PLC0415
        from harness.workloads.mutual_information.forms import FORMS  # noqa: PLC0415

        return MineRun(
            parameters,
            context,
            experiment=lambda device: experiment(parameters, context.data, device),
            forms=FORMS,
        )
