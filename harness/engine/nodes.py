"""The nodes of a cluster that was joined: the driver's code, and the same versions, on each."""

import importlib.util
import json
import os
from collections.abc import Iterable
from typing import Any

import ray
from ray.exceptions import RayError
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from harness.engine.software import Software, software
from harness.errors import ResourceError, UsageError

_ANSWER_S = 180.0
"""A node's first worker imports for seconds, and for longer from a network disk."""


def alive() -> list[dict[str, Any]]:
    """Ray's own description of each node that is there."""
    return [node for node in ray.nodes() if node["Alive"]]  # type: ignore[no-untyped-call]


def require_same_software() -> None:
    """Refuse a cluster on whose nodes a trial would run other code or versions than here.

    Raises:
        ResourceError: it names each such node, and both versions.
    """
    asked = {_ask(node): _name(node) for node in alive()}
    answered, silent = ray.wait(list(asked), num_returns=len(asked), timeout=_ANSWER_S)
    faults = [f"{asked[each]}: no answer within {_ANSWER_S:g} s" for each in silent]
    for each in answered:
        try:
            there: Software = ray.get(each)
        except RayError as error:
            faults.append(f"{asked[each]}: cannot run the harness: {_last_line(error)}")
        else:
            faults += [f"{asked[each]}: {said}" for said in software().differences(there)]
    if faults:
        raise ResourceError("\n".join(faults))


def _ask(node: dict[str, Any]) -> Any:
    here_only = NodeAffinitySchedulingStrategy(node["NodeID"], soft=False)
    remote: Any = ray.remote(num_cpus=0, max_retries=0)(_answer)
    return remote.options(name="versions", scheduling_strategy=here_only).remote()


def _answer() -> Software:
    """What runs on the node."""
    return software()


def _name(node: dict[str, Any]) -> str:
    return f"node {node['NodeManagerAddress']} ({node['NodeManagerHostname']})"


def _last_line(error: RayError) -> str:
    """The cause: what is above it are Ray's frames."""
    return (str(error).strip().splitlines() or [type(error).__name__])[-1].strip()


def runtime_env(packages: Iterable[str]) -> dict[str, Any]:
    """What Ray is to carry to every worker: the files of these packages, as they are here.

    Args:
        packages: names of top-level packages or modules.

    Raises:
        UsageError: one is not there, or lies in several folders.
    """
    job = json.loads(os.environ.get("RAY_JOB_CONFIG_JSON_ENV_VAR") or "{}")
    if "py_modules" in (job.get("runtime_env") or {}):
        return {}  # whoever submitted the job has said which code it runs; two answers are refused
    return {"py_modules": [_location(name) for name in sorted({"harness", *packages})]}


def _location(package: str) -> str:
    """The folder or file of a top-level package."""
    spec = importlib.util.find_spec(package)
    if spec is None:
        raise UsageError(f"{package}: no such package, to be carried to the workers")
    folders = list(spec.submodule_search_locations or [])
    if len(folders) > 1:
        raise UsageError(f"{package}: lies in several folders, of which Ray carries one")
    return folders[0] if folders else str(spec.origin)
