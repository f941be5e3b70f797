"""A driver for test_bad_nodes, in its own process: `python -m … FOLDER ADDRESS SCENARIO`.

It prints as JSON how the trials ended.
"""

import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import ray
from ray._raylet import GcsClient
from ray.core.generated import autoscaler_pb2
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from harness import engine
from harness.engine import nodes
from harness.errors import ResourceError
from harness.record import FailureKind
from tests.engine.sinks import run
from tests.toy import job
from tests.waiting import wait_until

SEEDS = range(10)


def trials(folder: Path, fault: str) -> dict[str, Any]:
    """Run ten trials, and tell how they ended."""
    jobs = [job(seed, epochs=3, fault=fault, at=2, sleep_s=0.1) for seed in SEEDS]
    sink = run(folder, jobs)
    stored = [trial for each in jobs if (trial := sink.store.read(each.spec.id))]
    failures = [trial.failure for trial in stored if trial.failure]
    return {
        "done": sum(trial.done == 3 for trial in stored),
        "blamed": sum(failure.kind is FailureKind.SCIENTIFIC for failure in failures),
        "failures": [failure.message for failure in failures],
        "history": [past.overruled for trial in stored for past in trial.history],
        "retries": len(sink.retries),
    }


def joined_late(folder: Path) -> dict[str, Any]:
    """As if the node with other software had not been there when the nodes were compared."""
    nodes._unfit.clear()
    return trials(folder, "")


def drained(_: Path) -> dict[str, Any]:
    """Drain a node that still works, as a cloud does before it takes the machine."""
    (node,) = [each["NodeID"] for each in nodes.alive() if each["Resources"].get("CPU") == 3]
    there = NodeAffinitySchedulingStrategy(node, soft=False)
    task: Any = ray.remote(num_cpus=1)(lambda: time.sleep(3600))
    busy = task.options(scheduling_strategy=there).remote()
    everything = ray.cluster_resources()["CPU"]
    wait_until(lambda: ray.available_resources()["CPU"] < everything, "the task runs")
    reason = autoscaler_pb2.DrainNodeReason.Value("DRAIN_NODE_REASON_PREEMPTION")
    client = GcsClient(ray.get_runtime_context().gcs_address)
    deadline_ms = int((time.time() + 600) * 1000)
    accepted, why = client.drain_node(node, reason, "preempted", deadline_ms)
    assert accepted, why
    wait_until(lambda: node not in {each["NodeID"] for each in nodes.alive()}, "it is drained")
    nodes.require_same_software()
    nodes_left = nodes.Nodes()
    ray.cancel(busy, force=True)
    return {"asked": nodes_left.has(node), "others": nodes_left.can_meet((2.0, 0.0))}


SCENARIOS: dict[str, Callable[[Path], dict[str, Any]]] = {
    "alone": lambda folder: trials(folder, ""),
    "bad nodes": lambda folder: trials(folder, "bad node"),
    "joined late": joined_late,
    "drained": drained,
}

if __name__ == "__main__":
    folder, address, name = Path(sys.argv[1]), sys.argv[2], sys.argv[3]
    try:
        with engine.cluster(address, packages=["tests"]):
            told = SCENARIOS[name](folder)
    except ResourceError as error:
        told = {"refused": str(error)}
    sys.stdout.write(json.dumps(told))
