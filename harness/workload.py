"""The protocol of a workload: all that the core knows of a paper's method."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from pydantic import BaseModel, ConfigDict

from harness.record import Environment, Json

Arrays = Mapping[str, np.ndarray[Any, Any]]
"""A data set as named arrays. They are read-only: the workers of a node share one copy."""


class Parameters(BaseModel):
    """Base class of a workload's parameters: no defaults, since a manifest gives each a source."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", allow_inf_nan=False, use_attribute_docstrings=True
    )


@dataclass(frozen=True)
class Metric:
    """A number that a workload records."""

    unit: str
    """As manifests name it: 'bits', 'accuracy', '%'."""
    description: str
    final: bool = False
    """Whether it is estimated once, at the end of a trial, instead of after every epoch."""
    truth_of: str | None = None
    """The metric that estimates this value, where this one is known rather than estimated."""


@dataclass(frozen=True)
class DataSet:
    """A data set and the digest that it must have."""

    name: str
    digest: str
    """SHA-256 of the data."""


@dataclass(frozen=True)
class Context:
    """What a trial may use. With the parameters, this is all that may influence its result."""

    seed: int
    data: Mapping[str, Arrays]
    """Arrays by the data set's name."""
    device: str
    """'cpu' or 'cuda'. A workload that cannot use it raises ResourceError."""
    threads: int
    options: Mapping[str, Json] = field(default_factory=dict)
    """Choices that change speed but not results, such as the form of the step."""
    epochs: int | None = None
    """How many epochs the run has, for a learning-rate schedule. Only a workload whose `prefix` is
    False is told: its number of epochs is part of the trial's identity. Where `prefix` is True this
    is None, because a longer run must continue a shorter one, so a trial must not depend on it.
    """


@dataclass(frozen=True)
class PlantedFault:
    """A fault that `harness selftest` plants in a workload; the verdict must notice it.

    The verdict must reject a claim. A fault in the data must be noticed by the data's digest.
    """

    title: str
    """What is wrong, in a few words."""
    parameters: Mapping[str, Json] = field(default_factory=dict)
    """Parameters that the trial takes in place of the manifest's."""
    data: Callable[[Mapping[str, Arrays]], Mapping[str, Arrays]] | None = None
    """What the trial reads in place of its data sets."""
    plant: Callable[[], AbstractContextManager[object]] = nullcontext
    """Entered on a worker whenever the trial starts or computes. Leaves nothing behind."""
    late: bool = False
    """Whether the fault shows only late in the run; then it is planted by `--full` alone."""


class Run(Protocol):
    """One running trial in this process."""

    environment: Environment

    def epoch(self) -> Mapping[str, float]:
        """Run the next epoch and return its metrics."""

    def final(self) -> Mapping[str, float]:
        """Return the final estimates. The run stays as it is, so that it can be continued."""

    def save(self) -> bytes:
        """Return the whole state, from which `load` continues bit for bit."""

    def load(self, payload: bytes) -> None:
        """Restore the state that `save` returned. Must not execute what it reads.

        Raises:
            StoreError: the state does not fit this run, which stays as it was.
        """


class Workload(Protocol):
    """A paper's method. Cheap to import: torch and the like are loaded by `start`.

    A workload that reads environment variables also has the method of
    `harness.variables.ReadsVariables`. A trial sees no other variables of the driver's.

    A workload may bring faults for the self-test: an attribute `faults`, planted faults by name.
    """

    name: str
    revision: int
    """Increase it whenever results change, so that no stale result is reused."""
    parameters: type[Parameters]
    metrics: Mapping[str, Metric]
    prefix: bool
    """Whether N epochs equal the first N of a longer run: then a longer run continues a shorter."""

    def data_sets(self, parameters: Any) -> tuple[DataSet, ...]:
        """Return the data sets that these parameters need."""

    def load_data(self, name: str, cache: Path) -> Arrays:
        """Read one data set; fetch it into `cache` first if it is missing.

        Raises:
            DataError: no source answers, or the data has another digest.
        """

    def start(self, parameters: Any, context: Context) -> Run:
        """Set up a trial at epoch 0.

        Raises:
            ResourceError: the requested device is missing.
        """


class Registry(Mapping[str, Workload]):
    """Workloads by name; also knows which are announced and cannot be used, and why."""

    def __init__(self, usable: Mapping[str, Workload], broken: Mapping[str, str]) -> None:
        self._usable = dict(usable)
        self.broken = dict(broken)
        """By name, in a line, why the workload cannot be used."""

    def __getitem__(self, name: str) -> Workload:
        return self._usable[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._usable)

    def __len__(self) -> int:
        return len(self._usable)


def planted_faults(workload: Workload) -> Mapping[str, PlantedFault]:
    """The faults that a workload brings for the self-test, by name; empty if it brings none."""
    faults: Mapping[str, PlantedFault] = getattr(workload, "faults", {})
    return faults
