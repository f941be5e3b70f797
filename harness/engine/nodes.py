"""Find the nodes that can run trials, and name the code that Ray copies to them.

Ray's own labels and ids identify the nodes. A node that is being drained (before a preemption, say)
takes no new work, so it counts as gone. A node whose software differs from the driver's gets no
trial, because a result must not depend on the node.
"""

import importlib.util
import json
import logging
import os
import platform
import threading
import time
from collections.abc import Callable, Collection, Iterable, Mapping
from concurrent.futures import Future
from dataclasses import asdict, dataclass
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from typing import Any, TypeVar

import ray
from ray._private.ray_constants import DEBUG_AUTOSCALING_STATUS
from ray.autoscaler._private.util import format_readonly_node_type
from ray.autoscaler.sdk import request_resources
from ray.exceptions import RayError, RayTaskError, RuntimeEnvSetupError
from ray.experimental.internal_kv import _internal_kv_get
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from harness.engine.interface import Request, request
from harness.errors import ResourceError, UsageError
from harness.plan import Job
from harness.source import package_digest

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Software:
    """The versions in one process. The harness's version is the digest of its files."""

    python: str
    torch: str
    ray: str
    harness: str

    def differences(self, other: "Software") -> list[str]:
        """Describe each version in which another process differs from this one."""
        pairs = zip(asdict(self).items(), asdict(other).values(), strict=True)
        return [
            f"{name} {theirs[:12]} there and {ours[:12]} here"
            for (name, ours), theirs in pairs
            if ours != theirs
        ]


@cache
def software() -> Software:
    """Return the versions in this process."""
    return Software(platform.python_version(), _version("torch"), _version("ray"), package_digest())


def _version(package: str) -> str:
    """Return the installed version. Importing torch to ask it would take seconds on each node."""
    try:
        return version(package)
    except PackageNotFoundError:
        return "missing"


T = TypeVar("T")

_ANSWER_S = 180.0
"""Time limit for the first answer of a node, in seconds. A node's first worker imports packages for
some seconds, and for longer from a network disk."""

_OTHERS_S = 30.0
"""How long to wait for the other nodes once one node can run trials, in seconds. A node that does
not answer in time is not unfit: it is asked again when a trial is placed on it."""

_POLL_S = 1.0

_FRESH_S = 1.0
"""How long the driver uses its list of nodes before it asks Ray again, in seconds."""

_unfit: dict[str, str] = {}
"""The nodes that were found unfit when the cluster was joined: Ray's id and the reason."""


_QUERY_S = 5.0
"""Time limit for a query of the node table during a run, in seconds. Without a limit, a query that
meets the loss of the head blocks until Ray aborts the process after 60 s."""


def alive() -> list[dict[str, Any]]:
    """Return Ray's own description of each node that is alive and takes new work."""
    return [node for node in _table() if node["Alive"]]


def _table() -> list[dict[str, Any]]:
    """Return Ray's own description of every node. A node that is being drained counts as dead."""
    draining = ray._private.state.state.get_draining_nodes()
    nodes = ray.nodes()  # type: ignore[no-untyped-call]
    return [{**node, "Alive": node["Alive"] and node["NodeID"] not in draining} for node in nodes]


class Nodes:
    """The nodes of the cluster that this process is connected to.

    While the head does not answer, the nodes are those that it named last. The watch on the head
    decides when the head counts as gone.
    """

    def __init__(self) -> None:
        self._table = _table()
        self._read_s = time.monotonic()
        self._autoscales = autoscales()

    def unfit(self) -> Mapping[str, str]:
        """Return the nodes that were found unfit before the run: Ray's id and the reason."""
        return {node: why for node, why in _unfit.items() if self.has(node)}

    def can_meet(self, request: Request, *, without: Collection[str] = ()) -> bool:
        """Return whether a node outside `without` could meet the request if it were empty."""
        return any(_meets(node, request) for node in self._alive() if node["NodeID"] not in without)

    def has(self, node: str) -> bool:
        """Return whether the node is alive and takes new work."""
        return any(each["NodeID"] == node for each in self._alive())

    def name(self, node: str) -> str:
        """Return the node's address and host name, for messages."""
        for each in self._fresh():
            if each["NodeID"] == node:
                return _name(each)
        return f"node {node[:8]}"

    def may_grow(self) -> bool:
        """Return whether the cluster autoscales."""
        return self._autoscales

    def slots(self, request: Request) -> int:
        """Return how many trials with this request run at once."""
        fit = (node for node in self._alive() if node["NodeID"] not in _unfit)
        return sum(_holds(node, request) for node in fit)

    def ahead(self) -> int:
        """Return how many trials with one request may wait, so that no worker is idle.

        If they are short, several end while the driver lets messages gather.
        """
        return max(8, int(sum(_size(node)[0] for node in self._alive())))

    def _alive(self) -> list[dict[str, Any]]:
        return [node for node in self._fresh() if node["Alive"]]

    def _fresh(self) -> list[dict[str, Any]]:
        """Return the node table, read anew if the last reading is too old."""
        if time.monotonic() - self._read_s > _FRESH_S:
            try:
                self._table = _within(_QUERY_S, _table)
            except TimeoutError:
                _log.debug("the head did not name its nodes within %g s", _QUERY_S)
            self._read_s = time.monotonic()
        return self._table


def _within(limit_s: float, ask: Callable[[], T]) -> T:
    """Return the answer to a query that may block for ever.

    Raises:
        TimeoutError: there was no answer within `limit_s` seconds. The query goes on in its thread,
            which ends with the process.
    """
    answer: Future[T] = Future()

    def run() -> None:
        try:
            answer.set_result(ask())
        except BaseException as error:  # noqa: BLE001 - it is raised in the caller's thread
            answer.set_exception(error)

    threading.Thread(target=run, name="nodes", daemon=True).start()
    return answer.result(timeout=limit_s)


def require(jobs: Iterable[Job], nodes: Nodes, *, wait_s: float) -> None:
    """Refuse requests that no node of the cluster could ever meet, instead of waiting for ever.

    Args:
        jobs: all jobs of the run, so that a request is refused before the first job starts.
        nodes: the cluster's nodes.
        wait_s: how long to wait for a new node if the cluster autoscales, in seconds.

    Raises:
        ResourceError: the message says which experiment asks for what, and what the cluster has.
    """
    wanted: dict[Request, str] = {}
    for job in jobs:
        wanted.setdefault(request(job), job.experiment)
    for (_, gpus), experiment in wanted.items():
        if gpus > 1 and gpus % 1:
            raise ResourceError(
                f"{experiment}: {gpus:g} GPUs for a trial: a share of one, or whole ones"
            )
    unfit = nodes.unfit()
    missing = _missing(wanted, unfit)
    came = ""
    if missing and autoscales():
        missing = _await(wanted, missing, unfit, wait_s)
        came = f", and none has come within {wait_s:g} s"
    if missing:
        wants = [f"{wanted[each]}: a trial wants {_words(each)} on one node" for each in missing]
        sizes = sorted({_size(node) for node in alive() if node["NodeID"] not in unfit})
        has = "; ".join(map(_words, sizes)) or "no node"
        bad = [f"{nodes.name(node)}: {why}" for node, why in unfit.items()]
        raise ResourceError(
            "\n".join([*wants, f"the nodes of this cluster have {has}{came}", *bad])
        )


def autoscales() -> bool:
    """Return whether an autoscaler, of either version, manages the cluster.

    Ray has no public call for this, so this function does what Ray itself does. A slow test starts
    an autoscaling cluster and checks this function with the pinned version of Ray.
    """
    config = ray._private.state.state.get_cluster_config()
    if config is not None and config.node_group_configs:
        return True
    # The first version shows only a status, which a fixed cluster has too. In a fixed cluster
    # each node is a type of its own.
    status = json.loads(_internal_kv_get(DEBUG_AUTOSCALING_STATUS) or "{}")
    types = (status.get("autoscaler_report") or {}).get("node_type_mapping") or {}
    return any(kind != format_readonly_node_type(node) for node, kind in types.items())


def _missing(wanted: Iterable[Request], unfit: Collection[str]) -> list[Request]:
    """Return the requests that no node could meet, even if it were empty."""
    nodes = [node for node in alive() if node["NodeID"] not in unfit]
    return [each for each in wanted if not any(_meets(node, each) for node in nodes)]


def _meets(node: Mapping[str, Any], request: Request) -> bool:
    cpus, gpus = _size(node)
    return request[0] <= cpus and request[1] <= gpus


def _holds(node: Mapping[str, Any], request: Request) -> int:
    """Return how many trials with this request a node runs at once."""
    pairs = zip(_size(node), request, strict=True)
    # Ray counts in ten-thousandths, so a third of a GPU leaves room for three.
    return min((int(has / wanted + 1e-3) for has, wanted in pairs if wanted), default=1)


def _size(node: Mapping[str, Any]) -> Request:
    return node["Resources"].get("CPU", 0.0), node["Resources"].get("GPU", 0.0)


def _await(
    wanted: dict[Request, str], missing: list[Request], unfit: Collection[str], wait_s: float
) -> list[Request]:
    """Ask the autoscaler for nodes and wait. Return the requests that are still not met."""
    words = "; ".join(map(_words, missing))
    _log.warning("no node has %s yet: the cluster autoscales, waiting up to %g s", words, wait_s)
    request_resources(bundles=[{"CPU": cpus, "GPU": gpus} for cpus, gpus in missing])
    until = time.monotonic() + wait_s
    try:
        while missing and time.monotonic() < until:
            time.sleep(_POLL_S)
            missing = _missing(wanted, unfit)
    finally:
        request_resources(bundles=[])  # a standing request would keep the node for ever
    return missing


def _words(request: Request) -> str:
    return f"{request[0]:g} CPUs and {request[1]:g} GPUs"


def require_same_software() -> None:
    """Compare every node's software with the driver's. A node that differs gets no trial.

    A node that does not answer now is not excluded: its worker is asked again when a trial comes.

    Raises:
        ResourceError: no node can run trials. The message names each node and both versions.
    """
    _unfit.clear()
    asked = {_ask(node): node for node in alive()}
    faults, fit = dict[str, str](), False
    began_s = time.monotonic()
    left = list(asked)
    while left and time.monotonic() - began_s < (_OTHERS_S if fit else _ANSWER_S):
        answered, left = ray.wait(left, timeout=_POLL_S)
        for each in answered:
            node = asked[each]
            if fault := _fault(each, node["NodeID"]):
                faults[_name(node)] = fault
            fit = fit or not fault
    faults |= {_name(asked[each]): f"no answer within {_ANSWER_S:g} s" for each in left}
    if not fit:
        raise ResourceError("\n".join(f"{name}: {fault}" for name, fault in faults.items()))
    for node in asked.values():
        if why := _unfit.get(node["NodeID"]):
            _log.warning("%s: %s; no trial runs on this node", _name(node), why)


def _fault(answer: Any, node: str) -> str:
    """Return what is wrong with a node, or ''. Mark a node that can never run a trial as unfit."""
    try:
        there: Software = ray.get(answer)
    except (RayTaskError, RuntimeEnvSetupError) as error:
        _unfit[node] = f"cannot run the harness: {_last_line(error)}"
    except RayError as error:  # the node has gone, or its worker died
        return _last_line(error)
    else:
        if differences := software().differences(there):
            _unfit[node] = "; ".join(differences)
    return _unfit.get(node, "")


def _ask(node: dict[str, Any]) -> Any:
    here_only = NodeAffinitySchedulingStrategy(node["NodeID"], soft=False)
    remote: Any = ray.remote(num_cpus=0, max_retries=0)(_answer)
    return remote.options(name="versions", scheduling_strategy=here_only).remote()


def _answer() -> Software:
    """Return the software versions of the node."""
    return software()


def _name(node: dict[str, Any]) -> str:
    return f"node {node['NodeManagerAddress']} ({node['NodeManagerHostname']})"


def _last_line(error: RayError) -> str:
    """Return the last line of the error, which is the cause; the lines above are Ray's frames."""
    return (str(error).strip().splitlines() or [type(error).__name__])[-1].strip()


def runtime_env(packages: Iterable[str]) -> dict[str, Any]:
    """Return the runtime environment that makes Ray copy these packages to every worker.

    Args:
        packages: names of top-level packages or modules.

    Raises:
        UsageError: a package does not exist, or lies in several folders.
    """
    job = json.loads(os.environ.get("RAY_JOB_CONFIG_JSON_ENV_VAR") or "{}")
    if "py_modules" in (job.get("runtime_env") or {}):
        return {}  # the job already names the code that it runs, and Ray refuses a second answer
    return {"py_modules": [_location(name) for name in sorted({"harness", *packages})]}


def _location(package: str) -> str:
    """Return the folder or file of a top-level package."""
    spec = importlib.util.find_spec(package)
    if spec is None:
        raise UsageError(f"{package}: no such package, to be carried to the workers")
    folders = list(spec.submodule_search_locations or [])
    if len(folders) > 1:
        raise UsageError(f"{package}: lies in several folders, of which Ray carries one")
    return folders[0] if folders else str(spec.origin)
