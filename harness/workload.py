"""The protocol of a workload: everything that the core knows about a paper's method."""

import json
import os
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Any, Protocol, runtime_checkable

import numpy as np
from pydantic import BaseModel, ConfigDict

from harness.errors import Fault
from harness.function import workload
from harness.record import Environment, Json, canonical_json

Arrays = Mapping[str, np.ndarray[Any, Any]]
"""A data set as named arrays. They are read-only: the workers of a node share one copy."""


ARTIFACTS = "artifacts"
"""Name of the folder, in the attempt's folder, whose files are kept with the trial."""

MOST_ARTIFACT_BYTES = 256 << 20
"""Largest size of all artifacts of a trial. Files that would exceed it are left out by name."""


class Parameters(BaseModel):
    """Base class of a workload's parameters: no defaults, since a manifest gives each a source."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", allow_inf_nan=False, use_attribute_docstrings=True
    )


@dataclass(frozen=True)
class Metric:
    """A number that a workload records."""

    unit: str
    """The unit's name in manifests: 'bits', 'accuracy', '%'."""
    description: str
    final: bool = False
    """Whether it is estimated once, at the end of a trial, instead of after every epoch."""
    truth_of: str | None = None
    """The metric that estimates this one, if this one is a known true value."""
    sparse: bool = False
    """Whether some rows may lack it, as when it is evaluated every tenth epoch. A row that lacks
    another metric fails the trial. A verdict never takes a lacking value for a pass."""


SECONDS, PEAK_MEMORY_MIB = "seconds", "peak_memory_mib"

COSTS: Mapping[str, Metric] = {
    SECONDS: Metric("s", "Wall-clock time of the epochs and the final estimates", final=True),
    PEAK_MEMORY_MIB: Metric("MiB", "Largest resident memory of the trial's process", final=True),
}
"""What the harness itself measures of every trial. It depends on the machine, so it is no part of
the records that are compared bit for bit. No workload may have a metric of such a name."""


@dataclass(frozen=True)
class Row:
    """The metrics of an epoch that the workload names, for a run that does not record every epoch.

    An epoch may be skipped only if every metric of an epoch is sparse.
    """

    epoch: int
    """The epoch, or the step if the manifest counts steps. It rises from row to row."""
    metrics: Mapping[str, float]


@dataclass(frozen=True)
class DataSet:
    """A data set and the digest that it must have."""

    name: str
    digest: str
    """SHA-256 of the data."""


@dataclass(frozen=True)
class Context:
    """What a trial may use. Only this and the parameters may influence its result."""

    seed: int
    data: Mapping[str, Arrays]
    """Arrays by the data set's name."""
    device: str
    """'cpu' or 'cuda'. A workload that cannot use it raises ResourceError."""
    threads: int
    options: Mapping[str, Json] = field(default_factory=dict)
    """Options that change speed but not results, such as the form of the step."""
    epochs: int | None = None
    """Number of epochs of the run, for a learning-rate schedule. It is given only if the workload's
    `prefix` is False; then it is part of the trial's identity. It is None if `prefix` is True,
    because a longer run must continue a shorter one, so a trial must not depend on its length."""
    folder: Path = Path(os.devnull)
    """A folder on the worker for this attempt alone, which is removed afterwards. The files in its
    folder `artifacts` are kept with the trial, up to `MOST_ARTIFACT_BYTES`. The default is for
    tests: a path below which nothing can be written."""


@dataclass(frozen=True)
class PlantedFault:
    """A fault that `harness selftest` plants in a workload, to check that it is noticed.

    The verdict must reject a claim. If the fault is in the data, the data's digest must reveal it.
    """

    title: str
    """What is wrong, in a few words."""
    parameters: Mapping[str, Json] = field(default_factory=dict)
    """Parameters that replace the manifest's in the trial."""
    data: Callable[[Mapping[str, Arrays]], Mapping[str, Arrays]] | None = None
    """Returns what the trial reads instead of its data sets."""
    plant: Callable[[], AbstractContextManager[object]] = nullcontext
    """Returns a context that a worker enters whenever the trial starts or computes. The context
    leaves nothing behind."""
    late: bool = False
    """Whether the fault shows only late in the run. Only `--full` plants such a fault."""


class Run(Protocol):
    """One running trial in this process.

    A run whose work is done by other processes may have an attribute `peak_memory_bytes`, which
    counts after `final`: their largest resident memory, or None if it is unknown.
    """

    environment: Environment

    def epoch(self) -> Mapping[str, float] | Row | None:
        """Run the next epoch and return its metrics.

        A run that does not record every epoch goes on to its next row and returns it as a `Row`.
        It returns None if it has come to its end and has no further row.
        """

    def final(self) -> Mapping[str, float]:
        """Return the final estimates. The run stays as it is, so that it can be continued."""

    def save(self) -> bytes | Path:
        """Return the whole state, from which `load` continues bit for bit.

        Return a large state as the path of a file, which the run does not change before the next
        call of `epoch`. Such a file does not have to fit into memory.
        """

    def load(self, payload: Any) -> None:
        """Restore the state that `save` returned. Must not execute what it reads.

        Args:
            payload: the bytes that `save` returned; or the path of a file with the same content, if
                `save` returned a path. The file may have another name, and is removed with the
                attempt's folder.

        Raises:
            StoreError: the state does not fit this run, which stays as it was.
        """


class Pack(Protocol):
    """K trials of one experiment in this process that compute their epochs together.

    Each trial keeps its own random numbers, and its records are those of the trial alone but for
    rounding. What a trial computes must depend on the pack's size K alone, not on which trials are
    with it, so that it can go on from a checkpoint after others have ended.
    """

    runs: Sequence[Run]
    """The trials, in the order of their contexts. Their environments have the same form, which ends
    in 'pack of K'. Their `epoch` is not called, and `save` returns bytes (a file is refused)."""

    def epoch(
        self, members: Sequence[int]
    ) -> Sequence[Mapping[str, float] | Row | Exception | None]:
        """Run the next epoch of some of the trials, which may be at different epochs.

        Args:
            members: indices into `runs`, in rising order.

        Returns:
            For each of them what `Run.epoch` returns, or the exception with which that trial alone
            has failed. Whatever this method raises has happened to all of them.
        """


class Workload(Protocol):
    """A paper's method. It is cheap to import: `start` loads torch and the like.

    A workload that reads environment variables also has the method of
    `harness.variables.ReadsVariables`. A trial sees no other variables of the driver's.

    A workload may bring faults for the self-test: an attribute `faults` with planted faults by
    name.

    A workload may run several trials as one program; see `Packing`.
    """

    name: str
    revision: int
    """Increase it whenever results change, so that no stale result is reused."""
    parameters: type[Parameters]
    metrics: Mapping[str, Metric]
    prefix: bool
    """Whether a run of N epochs equals the first N of a longer run. If so, the longer run continues
    the shorter one. If not, the checkpoint of a finished trial is removed."""

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


@dataclass(frozen=True)
class Execution:
    """What a manifest makes the harness execute. The user must allow it first."""

    digest: str
    """SHA-256 of everything that determines what is executed: the words of a command, and the
    bytes of its code. Another digest needs another permission."""
    text: str
    """What is executed, in one line for the user."""
    template: str
    """The same line with the names of parameters in place of their values."""
    values: Mapping[str, str] = field(default_factory=dict)
    """The parameters' values, as the line spells them."""


class SectionError(Exception):
    """Fields of a manifest's `workload` section have faults that their types do not show."""

    def __init__(
        self, faults: Mapping[tuple[str | int, ...], str], elsewhere: Sequence[Fault] = ()
    ) -> None:
        self.faults = dict(faults)
        """The messages, by the place in the section."""
        self.elsewhere = elsewhere
        """Faults in a file that the section names."""
        super().__init__("; ".join([*self.faults.values(), *map(str, elsewhere)]))


@runtime_checkable
class Template(Protocol):
    """A workload that a manifest completes, such as a command that the manifest spells out.

    Such a workload is registered like any other. Its manifests have more fields in their `workload`
    section, and the loader turns each section into a workload of its own, with its own metrics and
    parameters. That workload may have four more attributes: `settings`, a mapping of what in the
    section determines the results, which becomes part of a trial's identity; `executes`, an
    `Execution`; `remarks`, sentences for every verdict; and `warnings`, sentences about the
    section by their place there.
    """

    section: type[BaseModel]
    """The fields of the `workload` section besides `name` and `parameters`."""

    def complete(self, section: Any, manifest: Mapping[str, Json], folder: Path) -> "Workload":
        """Return the workload that a manifest describes. Must not execute what it describes.

        Args:
            section: the section's fields, as an instance of `section`.
            manifest: the whole manifest as plain values. It may have faults elsewhere.
            folder: the manifest's folder.

        Raises:
            SectionError: the section has faults.
        """


def settings_of(workload: Workload) -> Mapping[str, Json] | None:
    """Return what a manifest's section adds to a trial's identity, as JSON reads it back.

    The result is None if the section adds nothing.
    """
    settings: Mapping[str, Json] | None = getattr(workload, "settings", None)
    return None if settings is None else json.loads(canonical_json(dict(settings)))


def execution_of(workload: Workload) -> Execution | None:
    """Return what the manifest of this workload makes the harness execute, if anything."""
    execution: Execution | None = getattr(workload, "executes", None)
    return execution


def remarks_of(workload: Workload) -> tuple[str, ...]:
    """Return the workload's own remarks for every verdict; usually none."""
    remarks: tuple[str, ...] = getattr(workload, "remarks", ())
    return remarks


def warnings_of(workload: Workload) -> Mapping[tuple[str | int, ...], str]:
    """Return what to look at in the manifest's section, by the place there; usually nothing."""
    warnings: Mapping[tuple[str | int, ...], str] = getattr(workload, "warnings", {})
    return warnings


@runtime_checkable
class Packing(Protocol):
    """What a workload has besides if it can run several trials of one experiment as one program."""

    def start_pack(self, parameters: Any, contexts: Sequence[Context], size: int) -> Pack:
        """Set up trials at epoch 0.

        Args:
            parameters: of all of them.
            contexts: one for each trial. They differ in their seeds and folders only.
            size: K, at least as many as there are contexts. It is larger if some trials of the
                pack have ended before.

        Raises:
            ResourceError: the requested device is missing.
        """


class Registry(Mapping[str, Workload]):
    """Workloads by name. It also knows which registered workloads cannot be used, and why."""

    def __init__(self, usable: Mapping[str, Workload], broken: Mapping[str, str]) -> None:
        self._usable = dict(usable)
        self.broken = dict(broken)
        """The reason why each broken workload cannot be used, in one line, by name."""

    def __getitem__(self, name: str) -> Workload:
        return self._usable[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._usable)

    def __len__(self) -> int:
        return len(self._usable)


def planted_faults(workload: Workload) -> Mapping[str, PlantedFault]:
    """Return the faults that a workload brings for the self-test, by name. There may be none."""
    faults: Mapping[str, PlantedFault] = getattr(workload, "faults", {})
    return faults


class _CallableModule(ModuleType):
    """Makes `harness.workload` both this module and the decorator of the same name.

    Importing a module sets the attribute of its package, so `harness.workload` is the function of
    `harness.function` until something imports this module.
    """

    __call__ = staticmethod(workload)


sys.modules[__name__].__class__ = _CallableModule
