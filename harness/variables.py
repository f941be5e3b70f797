"""Choose the environment variables that a trial sees: the machine's, and those that it declares.

Without this rule a trial on the driver's machine would see everything that the driver's shell
exported, and a trial on a cluster nothing of it. A workload that reads a variable would then
measure different numbers on different machines.
"""

import logging
import os
import pwd
import re
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Protocol, runtime_checkable

from harness.errors import UsageError

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")

_MACHINE = re.compile(
    "|".join(
        (
            # The user and the place: programs and libraries find their files with these.
            r"PATH|HOME|USER|LOGNAME|SHELL|PWD|TMPDIR|TMP|TEMP|TZ|LANG|LANGUAGE|LC_.*|XDG_.*",
            r"HARNESS_DATA",
            # The interpreter, and how the loader finds shared libraries.
            r"PYTHON.*|VIRTUAL_ENV|CONDA_.*|LD_.*|DYLD_.*",
            # GPUs, and how their libraries behave.
            r"CUDA.*|CUBLAS.*|CUDNN.*|NVIDIA.*|NCCL_.*|HIP_.*|ROCR_.*|TORCH.*|PYTORCH_.*|TRITON_.*",
            # Threads, instruction sets and memory of the numeric libraries.
            r"OMP_.*|GOMP_.*|KMP_.*|MKL_.*|OPENBLAS_.*|NUMEXPR_.*|VECLIB_.*",
            r"ONEDNN.*|DNNL.*|ATEN.*|GLIBC_TUNABLES|MALLOC_.*",
            # Ray finds its cluster, its token and its own settings with these.
            r"RAY_.*",
            # Network access belongs to the node. It fetches a data set through its own proxy and
            # checks it against its own certificates, whatever the driver's are.
            r"(?i:https?_proxy|ftp_proxy|all_proxy|no_proxy)",
            r"SSL_CERT_FILE|SSL_CERT_DIR|REQUESTS_CA_BUNDLE|CURL_CA_BUNDLE",
        )
    )
)
"""Names of variables that describe the machine. A trial sees the values of the machine on which it
runs."""


@runtime_checkable
class ReadsVariables(Protocol):
    """A workload that declares which environment variables it reads. The method is optional."""

    def environment_variables(self, parameters: Any) -> tuple[str, ...]:
        """Return the names that a trial with these parameters reads.

        The driver sends their values to every node. The values are never stored, printed or logged,
        and they are not part of a trial's identity. So use a variable only for what must not change
        a result: a token, the address of a server. Use a parameter for what changes a result. Read
        variables in `start` or later: a module that the driver imports sees all of the driver's
        variables.
        """


NO_HOME = "/nonexistent"
"""The home folder of a user that has none. Debian uses the same name."""


def name_home_and_user() -> None:
    """Set `HOME` and `USER` if they are unset and the system does not know this user id.

    Containers run under such ids. MLflow, torch and others ask for both when they are imported, and
    fail with a traceback if they get no answer. Nothing is ever written to this home.
    """
    try:
        pwd.getpwuid(os.getuid())
    except KeyError:
        os.environ.setdefault("HOME", NO_HOME)
        os.environ.setdefault("USER", f"uid-{os.getuid()}")
    if os.environ.get("HOME") == NO_HOME:
        # Matplotlib would warn of a temporary folder, and the user cannot change that.
        logging.getLogger("matplotlib").setLevel(logging.ERROR)


def has_home() -> bool:
    """Return whether this user has a home folder."""
    home = os.path.expanduser("~")
    return home != NO_HOME and os.path.isdir(home)


@dataclass(frozen=True)
class Variables:
    """Environment variables that are sent to a worker. The repr shows their names only."""

    values: Mapping[str, str] = field(default_factory=dict, repr=False)

    def __str__(self) -> str:
        return f"Variables({', '.join(self.values)})"

    __repr__ = __str__


def declared(workload: object, parameters: Any) -> tuple[str, ...]:
    """Return the names that a workload declares for these parameters. There may be none."""
    if not isinstance(workload, ReadsVariables):
        return ()
    return tuple(workload.environment_variables(parameters))


def carried(readers: Iterable[tuple[str, object, Any]]) -> Variables:
    """Return this process's values of the variables that some workloads declare.

    Args:
        readers: each experiment's id, its workload, and the workload's parameters.

    Raises:
        UsageError: a variable is not set, or its name is not valid. The message names every such
            variable and its experiment.
    """
    values: dict[str, str] = {}
    faults: list[str] = []
    for experiment, workload, parameters in readers:
        for name in declared(workload, parameters):
            if not _NAME.fullmatch(name):
                faults.append(f"{experiment}: {name!r} can be no environment variable's name")
            elif name not in os.environ:
                faults.append(
                    f"{experiment}: the workload reads the environment variable {name}, "
                    "which is not set; set it where you run the harness"
                )
            else:
                values[name] = os.environ[name]
    if faults:
        raise UsageError("\n".join(faults))
    return Variables(values)


def visible(environment: Mapping[str, str]) -> dict[str, str]:
    """Return the part of an environment that describes the machine, which every trial sees."""
    return {name: value for name, value in environment.items() if _MACHINE.fullmatch(name)}


@contextmanager
def trial_environment(variables: Variables, *, hide: bool = False) -> Iterator[None]:
    """Set `os.environ` to what the trial sees, and restore it afterwards.

    Child processes of the trial inherit it. A declared variable replaces the machine's own value.

    Args:
        variables: the declared variables.
        hide: whether what the trial does not see stays hidden afterwards. A worker needs none of
            it, and to set it again for each trial takes time.
    """
    before = dict(os.environ)
    _replace_environment(before, {**visible(before), **variables.values})
    try:
        yield
    finally:
        _replace_environment(dict(os.environ), visible(before) if hide else before)


def _replace_environment(now: Mapping[str, str], wanted: Mapping[str, str]) -> None:
    """Change only what differs: each change calls putenv, and other threads may read it."""
    for name in now.keys() - wanted.keys():
        del os.environ[name]
    for name, value in wanted.items() - now.items():
        os.environ[name] = value
