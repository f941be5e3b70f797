"""How trials are run: one object from the command line, a night's file or a notebook to the engine.

A field's name, default, limits and docstring stand here and nowhere else: the command line makes
its option and its help from them, a night's file takes the same fields, and the engine reads them.
"""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import platformdirs
from pydantic import Field, NonNegativeFloat, NonNegativeInt, PositiveFloat

from harness.errors import DataError
from harness.manifest.fields import Frozen
from harness.record import Json


@dataclass(frozen=True)
class Flag:
    """Marks a field that is an option of the command line, `--field-name`."""

    also: tuple[str, ...] = ()
    """Other spellings, kept for scripts that use them."""
    env: str | None = None
    """An environment variable that may hold the value."""
    default: str | None = None
    """The default in words, where the value itself would not tell the reader."""


class Again(StrEnum):
    """Which recorded outcomes are run again."""

    FAILED = "failed"


def data_folder(given: Path | None) -> Path:
    """The folder of data sets: `given`, or else the user's cache folder.

    It is looked up only when a data set is needed: a user id in a container may have no home.

    Raises:
        DataError: none is given, and this user has no home folder.
    """
    if given is not None:
        return given
    if not (os.environ.get("XDG_CACHE_HOME") or os.path.isdir(os.path.expanduser("~"))):
        said = f"user {os.getuid()} has no home folder; name a folder by --data or HARNESS_DATA"
        raise DataError(f"no folder for data sets: {said}")
    return Path(platformdirs.user_cache_dir("harness"))


class Options(Frozen):
    """How the engine runs trials; none of it changes what they find."""

    retries: Annotated[NonNegativeInt, Flag()] = 3
    """How often a trial is tried again after infrastructure trouble."""
    deadline_s: Annotated[PositiveFloat, Flag(also=("--deadline",))] = 600.0
    """Seconds without progress after which a trial counts as lost and is tried again."""
    isolate: Annotated[bool, Flag()] = False
    """Give every trial a process of its own, which imports everything anew."""
    backoff_s: NonNegativeFloat = 1.0
    """Seconds before the first retry; each next one waits twice as long, up to a minute."""
    node_wait_s: NonNegativeFloat = 600.0
    """Seconds that an autoscaling cluster may take to bring a node that a trial needs."""
    checkpoint_interval_s: NonNegativeFloat = 30.0
    """Seconds between two checkpoints of a trial."""
    stop_s: NonNegativeFloat = 10.0
    """Seconds to wait for cancelled trials to end."""
    workload: Mapping[str, Json] = Field(default_factory=dict)
    """Handed to the workload: choices that change speed and not results."""


class ClusterOptions(Options):
    """Where trials run and for how long, and how the engine runs them."""

    address: Annotated[str | None, Flag(default="RAY_ADDRESS, or else local")] = None
    """Ray cluster to join: host:port, or auto for the one on this machine; local starts a private
    one."""
    time_limit_min: PositiveFloat | None = None
    """Minutes for all trials together; trials that are not done by then count as missing."""


def _path(text: str | None) -> Path | None:
    return Path(text) if text else None


class RunOptions(ClusterOptions):
    """All that a session must know to run: the cluster, the data, and where results are tracked."""

    tracking_uri: Annotated[
        str | None, Flag(env="MLFLOW_TRACKING_URI", default="SQLite in the workspace")
    ] = Field(default_factory=lambda: os.environ.get("MLFLOW_TRACKING_URI") or None)
    """An MLflow server or database; 'none' turns tracking off."""
    data: Annotated[Path | None, Flag(env="HARNESS_DATA", default="the user's cache folder")] = (
        Field(default_factory=lambda: _path(os.environ.get("HARNESS_DATA")))
    )
    """Folder of data sets; several processes may share it."""
    from_records: Annotated[bool, Flag()] = False
    """Take finished trials over from the records committed beside the manifests."""
    again: Annotated[Again | None, Flag(default="nothing")] = None
    """Run recorded failures of the method again; the old ones stay in the trial's history."""
    address_named_by: str = "--address"
    """The option or file that `address` comes from, for messages."""
