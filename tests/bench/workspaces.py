"""Workspaces of many finished trials, as a run leaves them but for the fsync."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from harness import workloads
from harness.manifest import Experiment
from harness.plan import Selection, specs
from harness.record import (
    Checkpoint,
    Environment,
    EpochRecord,
    FinalRecord,
    Finished,
    Message,
    Provenance,
    Started,
)
from harness.source import source
from harness.store import Store
from tests.bench.machine import describe

START_MS = 1_700_000_000_000
FORM = "cpu/1 thread/fast"
PAYLOAD = bytes(4096)
"""In place of a checkpoint's, which nobody reads of a finished trial."""


def fill(folder: Path, experiment: Experiment, seeds: range) -> None:
    """Finished trials of the experiment, beside whatever is there."""
    workload = workloads.registry()[experiment.manifest.workload.name]
    epochs = experiment.manifest.epochs.value
    store = Store(folder)
    with store.lock(), pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "fsync", lambda descriptor: None)
        for spec in specs(experiment, workload, Selection(seeds=tuple(seeds))):
            data = dict(spec.data)
            store.append([(spec, each) for each in _messages(spec.seed, epochs, data)])


def _messages(seed: int, epochs: int, data: dict[str, str]) -> Iterator[Message]:
    machine = describe()
    settings = {"deterministic_algorithms": True, "fp32_precision": "ieee", "mkldnn": True}
    versions = {name: machine[name] for name in ("python", "torch")}
    hardware = {"cpu": machine["cpu"], "system": machine["system"]}
    environment = Environment("cpu", 1, FORM, versions, hardware, settings, data)
    yield Started(0, Provenance("node", source(), environment))
    for epoch in range(1, epochs + 1):
        bits = 2 - 1 / (epoch + seed % 7)
        metrics = {"mi_bits": bits, "mi_floor_bits": bits * 1.003, "true_mi_bits": 1.9991}
        yield EpochRecord(epoch, metrics, START_MS + 1500 * epoch, 1.5)
    yield Checkpoint(epochs, FORM, PAYLOAD)
    finals = ("test_mi_bits", "test_mi_floor_bits", "test_mi_whole_bits", "test_true_mi_bits")
    yield FinalRecord(epochs, dict.fromkeys(finals, 1.9991), START_MS + 1500 * epochs, 0.3)
    yield Finished(epochs)
