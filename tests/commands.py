"""Manifests that run a script, and their trials, for tests."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from harness.manifest import Experiment, load
from harness.plan import Job, Selection, jobs
from harness.workload import Workload
from harness.workloads.command import command, function

REGISTRY: dict[str, Workload] = {"command": command, "function": function}

COMMAND = {"name": "command", "argv": ["python", "train.py", "{seed}", "{epochs}"]}
FUNCTION = {"name": "function", "file": "train.py"}

CLAIM = {"kind": "value", "source": "Table 1", "tolerance": {"value": 1, "reason": "so"}}
EVERY_EPOCH = {"name": "loss", "metric": "loss", "reported": {1: 1.0}, **CLAIM}
AT_THE_END = {"name": "accuracy", "metric": "accuracy", "reported": 90, **CLAIM}

SOUND = """
import json, sys
seed, epochs = int(sys.argv[1]), int(sys.argv[2])
print("a line of another kind")
for epoch in range(1, epochs + 1):
    print(json.dumps({"epoch": epoch, "loss": seed + 1 / epoch, "time": "later"}))
print(json.dumps({"accuracy": 90 + seed}))
"""
"""A script whose output fits the claims above, for seed 0."""

OUTSIDE = ("epochs", "resources", "seeds", "unit")


def write(
    folder: Path,
    script: str = SOUND,
    *,
    name: str = "script",
    workload: Mapping[str, Any] = COMMAND,
    claims: Any = None,
    **fields: Any,
) -> Path:
    """Write a manifest and its script. Fields replace those of a sound section; None omits one."""
    (folder / workload.get("file", "train.py")).write_text(script)
    outside = {name: fields.pop(name) for name in OUTSIDE if name in fields}
    manifest = {
        "format": 1,
        "title": "A script",
        "paper": {"title": "t", "author": "a", "listing": "Table 1", "command": "python"},
        "unit": "%",
        "workload": {**workload, **fields},
        "epochs": {"value": 3, "stated": "page 1"},
        "seeds": "0-4",
        "claims": claims or [EVERY_EPOCH, AT_THE_END],
    } | outside
    path = folder / f"{name}.yaml"
    given = {key: value for key, value in manifest.items() if value is not None}
    path.write_text(yaml.safe_dump(given, sort_keys=False))
    return path


def written(folder: Path, script: str = SOUND, **fields: Any) -> Experiment:
    """Write a manifest and its script, and load it."""
    (experiment,) = load([write(folder, script, **fields)], REGISTRY)
    return experiment


def job_of(experiment: Experiment, seed: int = 0, **asked: Any) -> Job:
    """One trial of the experiment."""
    (job,) = jobs([experiment], REGISTRY, Selection(seeds=(seed,), **asked))
    return job
