"""Trials that wait for one another, so that all of them hold their devices at the same time."""

import json
import sys
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import ray

from harness import engine
from harness.plan import Job
from harness.store import Store
from harness.workload import Context
from tests.engine.sinks import StoreSink, load
from tests.toy import Toy, Walk, job

WHOLE, QUARTERS = 2, 8
"""Trials with a device of their own, and such as want a quarter: together, four devices."""


@dataclass(frozen=True)
class Crowd(Toy):
    """`marker` is a folder to sign in at, `at` how many have to come."""

    name: str = "crowd"

    def start(self, parameters: Any, context: Context) -> Walk:
        run = super().start(parameters, context)
        place = Path(parameters.marker)
        (place / str(context.seed)).touch()
        until = time.monotonic() + 120
        while len(list(place.iterdir())) < parameters.at:
            if time.monotonic() > until:
                raise TimeoutError("some have not come")
            time.sleep(0.05)
        ids = ",".join(map(str, ray.get_gpu_ids()))
        run.environment = replace(run.environment, hardware={"ray": ids})
        return run


def crowd(folder: Path) -> list[Job]:
    """All of them."""
    place = folder / "place"
    place.mkdir()
    shares = [1.0] * WHOLE + [0.25] * QUARTERS
    walks = [
        job(seed, gpus=gpus, cpus=0.4, epochs=2, marker=str(place), at=len(shares))
        for seed, gpus in enumerate(shares)
    ]
    return [replace(each, spec=replace(each.spec, workload="crowd")) for each in walks]


if __name__ == "__main__":
    folder = Path(sys.argv[1])
    store = Store(folder / "results")
    sink = StoreSink(store)
    with engine.cluster(cpus=4, gpus=4), store.lock():
        jobs = crowd(folder)
        engine.run(jobs, sink, workloads={"crowd": Crowd()}, load_data=load)
    seen = []
    for each in jobs:
        (started,) = sink.started(each)
        found = started.provenance.environment
        seen.append([each.resources.gpus, found.device, found.hardware["ray"]])
    sys.stdout.write(json.dumps(seen))
