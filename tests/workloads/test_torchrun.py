"""A command that starts several processes on one node, as torchrun does."""

import json
import os
from pathlib import Path

import pytest

from harness.source import source
from harness.trial import attempt
from tests.commands import EVERY_EPOCH, REGISTRY, job_of, written
from tests.workloads.test_command import alive, final, rows

SCRIPT = """
import json, os, subprocess, sys
import torch
import torch.distributed as dist

dist.init_process_group("gloo")
rank = dist.get_rank()
pids = [None] * dist.get_world_size()
dist.all_gather_object(pids, [os.getpid(), os.getppid()])
generator = torch.Generator().manual_seed(int(sys.argv[1]) + rank)
for epoch in (1, 2):
    loss = torch.randn(1, generator=generator)
    dist.all_reduce(loss)
    if rank == 0:
        print(json.dumps({"epoch": epoch, "loss": loss.item()}))
if rank == 0:
    json.dump(pids, open("pids.json", "w"))
dist.destroy_process_group()
"""
WORDS = ["python", "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2"]


@pytest.mark.slow
def test_a_command_may_have_several_processes_on_one_node(tmp_path: Path) -> None:
    experiment = written(
        tmp_path,
        SCRIPT,
        argv=[*WORDS, "train.py", "{seed}"],
        claims=[EVERY_EPOCH],
        epochs={"value": 2, "stated": "p"},
    )
    curves = []
    for name in ("one", "two"):
        folder = tmp_path / name
        folder.mkdir()
        found = list(
            attempt(
                job_of(experiment),
                experiment.workload(REGISTRY),
                data={},
                source=source(),
                folder=folder,
            )
        )
        assert final(found) == {}
        curves.append(rows(found))
        pids = json.loads((folder / "pids.json").read_text())
        assert len(pids) == 2
        assert not any(alive(pid) for pair in pids for pid in pair if pid != os.getpid())
    assert list(curves[0]) == [1, 2]
    assert curves[0] == curves[1]
