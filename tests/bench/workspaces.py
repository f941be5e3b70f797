"""Workspaces of many finished trials, as a run leaves them but for the fsync."""

import os
from collections.abc import Callable, Iterator, Sequence
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


Rows = Callable[[int, int, int], Iterator[EpochRecord | FinalRecord]]
"""The records of a trial: of its experiment's place, its seed and its number of epochs."""


def estimates(_place: int, seed: int, epochs: int) -> Iterator[EpochRecord | FinalRecord]:
    """Records as those of the first paper."""
    for epoch in range(1, epochs + 1):
        bits = 2 - 1 / (epoch + seed % 7)
        metrics = {"mi_bits": bits, "mi_floor_bits": bits * 1.003, "true_mi_bits": 1.9991}
        yield EpochRecord(epoch, metrics, START_MS + 1500 * epoch, 1.5)
    finals = ("test_mi_bits", "test_mi_floor_bits", "test_mi_whole_bits", "test_true_mi_bits")
    yield FinalRecord(epochs, dict.fromkeys(finals, 1.9991), START_MS + 1500 * epochs, 0.3)


def accuracies(place: int, seed: int, epochs: int) -> Iterator[EpochRecord | FinalRecord]:
    """Records as those of the second paper's grid. Every twentieth cell learns worse."""
    best = (70.0 if place % 20 == 0 else 88.0) + seed * 7 % 19 / 4
    for epoch in range(1, epochs + 1):
        reached = best - (epochs - epoch) / 5
        metrics = {"validation_accuracy": reached, "best_so_far": reached}
        yield EpochRecord(epoch, metrics, START_MS + 1000 * epoch, 0.1)
    finals = {"bounty": best, "test_accuracy": best - 0.1}
    yield FinalRecord(epochs, finals, START_MS + 1000 * epochs, 0.1)


def fill(
    folder: Path, experiments: Sequence[Experiment], seeds: range, rows: Rows = estimates
) -> None:
    """Write finished trials of the experiments, beside whatever is there."""
    registry = workloads.registry()
    machine = describe()
    settings = {"deterministic_algorithms": True, "fp32_precision": "ieee", "mkldnn": True}
    versions = {name: machine[name] for name in ("python", "torch")}
    hardware = {"cpu": machine["cpu"], "system": machine["system"]}
    store = Store(folder)
    with store.lock(), pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "fsync", lambda descriptor: None)
        for place, experiment in enumerate(experiments):
            epochs = experiment.manifest.epochs.value
            workload = experiment.workload(registry)
            for spec in specs(experiment, workload, Selection(seeds=tuple(seeds))):
                environment = Environment(
                    "cpu", 1, FORM, versions, hardware, settings, dict(spec.data)
                )
                *records, final = rows(place, spec.seed, epochs)
                messages: list[Message] = [
                    Started(0, Provenance("node", source(), environment)),
                    *records,
                    Checkpoint(epochs, FORM, PAYLOAD),
                    final,
                    Finished(epochs),
                ]
                store.append([(spec, message) for message in messages])
