"""A tiny deterministic workload: a random walk that can be told to fail in every way."""

import json
import os
import random
import signal
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from harness.errors import ResourceError
from harness.manifest import Resources
from harness.plan import Job
from harness.record import Environment, TrialSpec
from harness.workload import Arrays, Context, DataSet, Metric, Parameters

DATA = "steps"

BAD_NODE = "TOY_BAD_NODE"
"""A variable of nodes on which the fault 'bad node' strikes; 'kill', or anything else to raise."""

VARIABLES = (
    "OMP_NUM_THREADS",
    "MKL_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "GLIBC_TUNABLES",
    "PYTHONHASHSEED",
)
"""What the engine sets in a worker's environment; its own list would cost an import of Ray."""


class WalkParameters(Parameters):
    """`at` is the epoch at which `fault` strikes; `marker`, a file that says it struck before."""

    scale: float = 1.0
    sleep_s: float = 0.0
    fault: str = ""
    at: int = 0
    marker: str = ""


@dataclass
class Walk:
    """One random walk; `seen` is where it stands."""

    parameters: WalkParameters
    context: Context
    environment: Environment
    rng: random.Random
    place: float = 0.0
    count: int = 0

    def epoch(self) -> Mapping[str, float]:
        self.count += 1
        if self.parameters.sleep_s:
            time.sleep(self.parameters.sleep_s)
        if self.count == self.parameters.at:
            self._strike()
        steps = self.context.data.get(DATA, {}).get("scale")
        self.place += self.rng.gauss(
            0.0, self.parameters.scale * (1 if steps is None else steps[0])
        )
        bad = self.parameters.fault == "nan" and self.count == self.parameters.at
        return {"place": float("nan") if bad else self.place}

    def _strike(self) -> None:
        """Fail as told; with a marker, only the first time."""
        marker = self.parameters.marker
        if marker and Path(marker).exists():
            return
        if marker:
            Path(marker).write_text(str(os.getpid()))
        match self.parameters.fault:
            case "raise":
                raise RuntimeError("the walk tripped")
            case "exit":
                sys.exit(3)
            case "kill":
                os.kill(os.getpid(), signal.SIGKILL)
            case "hang":
                time.sleep(3600)
            case "resource":
                raise ResourceError("no GPU here")
            case "bad node" if started_with(BAD_NODE) == "kill":
                os.kill(os.getpid(), signal.SIGKILL)
            case "bad node" if started_with(BAD_NODE):
                raise RuntimeError("the walk tripped")

    def final(self) -> Mapping[str, float]:
        return {"end": 2 * self.place}

    def save(self) -> bytes:
        state = {"rng": self.rng.getstate(), "place": self.place, "count": self.count}
        return json.dumps(state).encode()

    def load(self, payload: bytes) -> None:
        state = json.loads(payload)
        version, internal, gauss = state["rng"]
        self.rng.setstate((version, tuple(internal), gauss))
        self.place, self.count = state["place"], state["count"]


@dataclass(frozen=True)
class Toy:
    """The workload; `form` stands for a device or form of the step."""

    name: str = "toy"
    revision: int = 1
    parameters: type[Parameters] = WalkParameters
    metrics: Mapping[str, Metric] = field(
        default_factory=lambda: {
            "place": Metric("steps", "where the walk stands"),
            "end": Metric("steps", "twice where it ended", final=True),
        }
    )
    prefix: bool = True
    form: str = "plain"

    def data_sets(self, parameters: Any) -> tuple[DataSet, ...]:
        return ()

    def load_data(self, name: str, cache: Path) -> Arrays:
        return {"scale": np.full(1000, 0.5)}

    def start(self, parameters: Any, context: Context) -> Walk:
        if parameters.fault == "start" and not Path(parameters.marker).exists():
            Path(parameters.marker).write_text(str(os.getpid()))
            time.sleep(3600)
        environment = Environment(
            device=os.environ.get("CUDA_VISIBLE_DEVICES", "")
            if context.device == "cuda"
            else "cpu",
            threads=context.threads,
            form=self.form,
            versions={},
            hardware={"pid": str(os.getpid())},
            settings={name: started_with(name) for name in VARIABLES},
            data=dict.fromkeys(context.data, "digest"),
        )
        return Walk(parameters, context, environment, random.Random(context.seed))


def started_with(name: str) -> str:
    """A variable in whose sight this process was started, whatever was set since."""
    pairs = Path("/proc/self/environ").read_text().split("\0")
    return next((pair[len(name) + 1 :] for pair in pairs if pair.startswith(f"{name}=")), "")


def job(
    seed: int = 0,
    *,
    epochs: int = 5,
    data: Mapping[str, str] | None = None,
    cpus: float = 1.0,
    gpus: float = 0.0,
    **parameters: Any,
) -> Job:
    """A walk to run."""
    full = WalkParameters(**parameters).model_dump(mode="json")
    spec = TrialSpec("toy", 1, full, seed, data or {})
    return Job(spec, "toy-walk", epochs, Resources(cpus=cpus, gpus=gpus))
