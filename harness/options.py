"""The options for running trials, shared by the command line, nights, notebooks and the engine.

Each field's name, default, limits and help stand only here. The command line builds its options
from them, a night's file has the same fields, and the engine reads them.
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
from harness.variables import has_home


@dataclass(frozen=True)
class Flag:
    """Marks a field as an option of the command line, `--field-name`."""

    also: tuple[str, ...] = ()
    """Older spellings, which scripts may still use."""
    env: str | None = None
    """An environment variable that gives the default."""
    default: str | None = None
    """The default in words, if the value does not explain itself."""


class Again(StrEnum):
    """Which recorded outcomes are run again."""

    FAILED = "failed"


def data_folder(given: Path | None) -> Path:
    """Return the folder of data sets: `given`, or else the user's cache folder.

    Call it only when a data set is needed, because a user in a container may have no home folder.

    Raises:
        DataError: no folder is given, and this user has no home folder.
    """
    if given is not None:
        return given
    if not (os.environ.get("XDG_CACHE_HOME") or has_home()):
        reason = f"user {os.getuid()} has no home folder; name a folder by --data or HARNESS_DATA"
        raise DataError(f"no folder for data sets: {reason}")
    return Path(platformdirs.user_cache_dir("harness"))


class Options(Frozen):
    """How the engine runs trials. No option changes a trial's results."""

    retries: Annotated[NonNegativeInt, Flag()] = 3
    """How often a trial is retried after an infrastructure failure."""
    deadline_s: Annotated[PositiveFloat, Flag(also=("--deadline",))] = 600.0
    """Timeout: after so many seconds without progress a trial counts as lost and is retried."""
    isolate: Annotated[bool, Flag()] = False
    """Run every trial in a new process. Slower, because each process imports everything."""
    pack: Annotated[
        str, Flag(), Field(pattern=r"^(auto|[1-9][0-9]{0,3})$", coerce_numbers_to_str=True)
    ] = "1"
    """How many seeds of an experiment run as one program, if its workload can do that; 'auto'
    measures the first epochs and chooses."""
    backoff_s: NonNegativeFloat = 1.0
    """Seconds before the first retry. The wait doubles with each retry, up to a minute."""
    node_wait_s: NonNegativeFloat = 600.0
    """Seconds to wait for an autoscaling cluster to add a node that a trial needs."""
    checkpoint_interval_s: NonNegativeFloat = 30.0
    """Seconds between two checkpoints of a trial."""
    stop_s: NonNegativeFloat = 10.0
    """Seconds to wait for cancelled trials to end."""
    workload: Mapping[str, Json] = Field(default_factory=dict)
    """Options for the workload, which change speed but not results."""


class ClusterOptions(Options):
    """The engine's options, with the cluster and the time limit."""

    address: Annotated[str | None, Flag(default="RAY_ADDRESS, or else local")] = None
    """Ray cluster to use: host:port, auto for the cluster on this machine, or local for a private
    one."""
    time_limit_min: PositiveFloat | None = None
    """Time limit in minutes for all trials together. Trials that are not done count as missing."""


def _path(text: str | None) -> Path | None:
    return Path(text) if text else None


class RunOptions(ClusterOptions):
    """All options of a run: the engine's, the cluster, the data, and MLflow."""

    tracking_uri: Annotated[
        str | None, Flag(env="MLFLOW_TRACKING_URI", default="SQLite in the workspace")
    ] = Field(default_factory=lambda: os.environ.get("MLFLOW_TRACKING_URI") or None)
    """An MLflow server or database; 'none' turns tracking off."""
    data: Annotated[Path | None, Flag(env="HARNESS_DATA", default="the user's cache folder")] = (
        Field(default_factory=lambda: _path(os.environ.get("HARNESS_DATA")))
    )
    """Folder of data sets; several processes may share it."""
    from_records: Annotated[bool, Flag()] = False
    """Copy finished trials from the committed records, so that they do not run again."""
    again: Annotated[Again | None, Flag(default="nothing")] = None
    """Which recorded outcomes to run again. Old failures stay in the trial's history."""
    allow_commands: Annotated[bool, Flag()] = False
    """Run the commands and functions that manifests name. The workspace remembers it until one of
    them or its code changes."""
    address_named_by: str = "--address"
    """The option or file that `address` comes from, for messages."""
