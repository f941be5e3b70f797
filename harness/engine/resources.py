"""Whether the cluster can ever give what trials ask for, asked before any of them starts."""

import json
import logging
import time
from collections.abc import Collection, Iterable, Mapping
from typing import Any

import ray
from ray._private.ray_constants import DEBUG_AUTOSCALING_STATUS
from ray.autoscaler._private.util import format_readonly_node_type
from ray.autoscaler.sdk import request_resources
from ray.experimental.internal_kv import _internal_kv_get

from harness.engine.nodes import alive
from harness.errors import ResourceError
from harness.plan import Job

_log = logging.getLogger(__name__)

Request = tuple[float, float]
"""CPUs and GPUs that one trial wants on one node."""

_POLL_S = 1.0


def request(job: Job) -> Request:
    """What a trial asks Ray for."""
    return job.resources.cpus, job.resources.gpus


def require(jobs: Iterable[Job], *, wait_s: float) -> None:
    """Refuse what no node of the cluster could ever give, rather than wait for it for ever.

    Args:
        jobs: all that is to be run: what the last of them wants is refused before the first begins.
        wait_s: where the cluster autoscales, how long a node may take to come.

    Raises:
        ResourceError: it says who wants what, and what the cluster has.
    """
    wanted: dict[Request, str] = {}
    for job in jobs:
        wanted.setdefault(request(job), job.experiment)
    for (_, gpus), experiment in wanted.items():
        if gpus > 1 and gpus % 1:
            raise ResourceError(
                f"{experiment}: {gpus:g} GPUs for a trial: a share of one, or whole ones"
            )
    missing = _missing(wanted)
    came = ""
    if missing and autoscales():
        missing = _await(wanted, missing, wait_s)
        came = f", and none has come within {wait_s:g} s"
    if missing:
        said = [f"{wanted[each]}: a trial wants {_words(each)} on one node" for each in missing]
        sizes = sorted({_size(node) for node in alive()})
        has = "; ".join(map(_words, sizes)) or "no node"
        raise ResourceError("\n".join([*said, f"the nodes of this cluster have {has}{came}"]))


def elsewhere(request: Request, shunned: Collection[str]) -> bool:
    """Whether a node could meet the request that is none of these, by Ray's ids."""
    return any(_meets(node, request) for node in alive() if node["NodeID"] not in shunned)


def ahead() -> int:
    """How many trials of one request may wait at Ray for a worker, so that none stands idle."""
    return max(4, int(ray.cluster_resources().get("CPU", 0)))  # type: ignore[no-untyped-call]


def autoscales() -> bool:
    """Whether an autoscaler, of either version, looks after the cluster we are connected to.

    Ray has no public call that tells, so this asks as Ray itself does. A (slow) test that starts an
    autoscaling cluster holds it to the pinned version.
    """
    config = ray._private.state.state.get_cluster_config()
    if config is not None and config.node_group_configs:
        return True
    # The first version tells nothing but its status, which a fixed cluster has as well: there
    # each node is a type of its own.
    status = json.loads(_internal_kv_get(DEBUG_AUTOSCALING_STATUS) or "{}")
    types = (status.get("autoscaler_report") or {}).get("node_type_mapping") or {}
    return any(kind != format_readonly_node_type(node) for node, kind in types.items())


def _missing(wanted: Iterable[Request]) -> list[Request]:
    """The requests that no node could meet, were it empty."""
    nodes = alive()
    return [each for each in wanted if not any(_meets(node, each) for node in nodes)]


def _meets(node: Mapping[str, Any], request: Request) -> bool:
    cpus, gpus = _size(node)
    return request[0] <= cpus and request[1] <= gpus


def _size(node: Mapping[str, Any]) -> Request:
    return node["Resources"].get("CPU", 0.0), node["Resources"].get("GPU", 0.0)


def _await(wanted: dict[Request, str], missing: list[Request], wait_s: float) -> list[Request]:
    """Ask for nodes and wait; returns what is missing even then."""
    words = "; ".join(map(_words, missing))
    _log.warning("no node has %s yet: the cluster autoscales, waiting up to %g s", words, wait_s)
    request_resources(bundles=[{"CPU": cpus, "GPU": gpus} for cpus, gpus in missing])
    until = time.monotonic() + wait_s
    try:
        while missing and time.monotonic() < until:
            time.sleep(_POLL_S)
            missing = _missing(wanted)
    finally:
        request_resources(bundles=[])  # a standing request would keep the node for ever
    return missing


def _words(request: Request) -> str:
    return f"{request[0]:g} CPUs and {request[1]:g} GPUs"
