"""The protocol that a workload keeps: a paper's method, of which the core knows nothing else."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from pydantic import BaseModel, ConfigDict

from harness.record import Environment, Json

Arrays = Mapping[str, np.ndarray[Any, Any]]
"""A data set as named arrays, read-only: workers share one copy of it."""


class Parameters(BaseModel):
    """Base of a workload's typed parameters. No defaults: a manifest says where each is from."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", allow_inf_nan=False, use_attribute_docstrings=True
    )


@dataclass(frozen=True)
class Metric:
    """A number that a workload records."""

    unit: str
    """As a manifest names it: 'bits', 'accuracy', '%'."""
    description: str
    final: bool = False
    """Estimated once, at the end of a trial, rather than after every epoch."""


@dataclass(frozen=True)
class DataSet:
    """A data set, known by its digest before it is read."""

    name: str
    digest: str
    """SHA-256 of the data that the results rest on."""


@dataclass(frozen=True)
class Context:
    """What a trial may use: with its parameters, everything that influences its result."""

    seed: int
    data: Mapping[str, Arrays]
    """By the data set's name."""
    device: str
    """'cpu' or 'cuda'; a workload that cannot honour it raises ResourceError."""
    threads: int
    options: Mapping[str, Json] = field(default_factory=dict)
    """Choices that change speed and not results (the form of the step, say)."""
    epochs: int | None = None
    """How many epochs the run has, for a learning-rate schedule. Only a workload whose `prefix` is
    False is told: its number of epochs is part of the trial's identity. Where `prefix` is True this
    is None, because a longer run must continue a shorter one, so a trial must not depend on it.
    """


class Run(Protocol):
    """One trial under way, in this process."""

    environment: Environment

    def epoch(self) -> Mapping[str, float]:
        """Run the next epoch and return its metrics."""

    def final(self) -> Mapping[str, float]:
        """The final estimates at this point; leaves the run as it was, so that it can go on."""

    def save(self) -> bytes:
        """The whole state, from which `load` goes on bit for bit."""

    def load(self, payload: bytes) -> None:
        """Take up the state that `save` gave. Never executes what it reads.

        Raises:
            StoreError: the state does not fit this run, which stays as it was.
        """


class Workload(Protocol):
    """A paper's method. Cheap to import: torch and the like are loaded by `start`.

    A workload that reads environment variables also has the method of
    `harness.variables.ReadsVariables`. A trial sees no other variables of the driver's.
    """

    name: str
    revision: int
    """Raised by hand whenever results change, so that nothing stale is reused."""
    parameters: type[Parameters]
    metrics: Mapping[str, Metric]
    prefix: bool
    """Whether N epochs are the first N of a longer run; then a longer run continues a shorter."""

    def data_sets(self, parameters: Any) -> tuple[DataSet, ...]:
        """What these parameters read, with the digests that it must have."""

    def load_data(self, name: str, cache: Path) -> Arrays:
        """Read one data set, fetching it into `cache` first if it is not there.

        Raises:
            DataError: no source answers, or the digest is another.
        """

    def start(self, parameters: Any, context: Context) -> Run:
        """Set up a trial at epoch 0.

        Raises:
            ResourceError: the device that was asked for is not there.
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
